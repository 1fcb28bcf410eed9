"""One at a time, a few wait, the others are told when to come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from p2plib.web.queue import BusyError, GoneError, Queue


@pytest.fixture
def queue() -> Iterator[Queue]:
    made = Queue(2, 30)
    yield made
    made.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as made:
        yield made


@pytest.fixture
def release(pool) -> Iterator[threading.Event]:
    """Set at the end, so that a test that fails does not hang."""
    event = threading.Event()
    yield event
    event.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_tasks_run_one_by_one_in_one_thread(pool):
    queue, running, most, threads = Queue(20, 30), [], [], set()

    def task(i: int) -> int:
        running.append(i)
        most.append(len(running))
        threads.add(threading.get_ident())
        time.sleep(0.005)
        running.remove(i)
        return i

    done = list(pool.map(lambda i: queue.run(lambda: task(i)), range(20)))
    queue.close()
    assert [result for result, _, _ in done] == list(range(20))
    assert (max(most), len(threads)) == (1, 1)
    assert max(waited for _, _, waited in done) > 10 * 0.005
    assert all(0.005 <= seconds < 1 for _, seconds, _ in done)


def test_a_full_queue_says_when_to_come_back(queue, pool, release):
    tasks = [pool.submit(queue.run, release.wait) for _ in range(3)]
    until(lambda: queue.waiting == 2)
    with pytest.raises(BusyError) as caught:
        queue.run(lambda: None)
    assert 1 <= caught.value.retry_after <= 30
    assert str(caught.value.retry_after) in str(caught.value)
    with pytest.raises(BusyError):
        queue.check_room()
    release.set()
    assert all(task.result().result for task in tasks)
    queue.check_room()
    assert queue.run(lambda: 5).result == 5


def test_the_estimate_grows_with_the_tasks_and_their_length(queue, pool, release):
    assert queue.retry_after == 1
    for _ in range(8):
        queue.run(lambda: time.sleep(0.35))
    tasks = [pool.submit(queue.run, release.wait) for _ in range(3)]
    until(lambda: queue.waiting == 2)
    assert queue.retry_after == 2
    release.set()
    assert len([task.result() for task in tasks]) == 3


def test_who_goes_away_is_dropped(queue, pool, release):
    gone, ran = threading.Event(), []
    first = pool.submit(queue.run, release.wait)
    until(lambda: queue._inside == 1)
    second = pool.submit(queue.run, lambda: ran.append(2), gone.is_set)
    until(lambda: queue.waiting == 1)
    gone.set()
    with pytest.raises(GoneError):
        second.result(10)
    assert queue.waiting == 0
    release.set()
    first.result(10)
    queue.run(lambda: None)
    assert ran == []


def test_nobody_waits_for_ever(pool, release):
    queue = Queue(2, 0.3)
    first = pool.submit(queue.run, release.wait)
    until(lambda: queue._inside == 1)
    with pytest.raises(BusyError):
        queue.run(lambda: None)
    release.set()
    assert first.result(10).result, "what runs may take longer than a wait"
    queue.close()


def test_closing_sends_those_who_wait_away(queue, pool, release):
    first = pool.submit(queue.run, release.wait)
    until(lambda: queue._inside == 1)
    second = pool.submit(queue.run, lambda: None)
    until(lambda: queue.waiting == 1)
    queue.close()
    with pytest.raises(BusyError):
        second.result(10)
    with pytest.raises(BusyError):  # nor is anyone let in
        queue.run(lambda: None)
    assert queue.waiting == 0
    release.set()
    assert first.result(10).result


def test_what_a_task_raises_is_raised_and_the_next_one_runs(queue):
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0)
    assert queue.run(lambda: 5).result == 5
    assert queue.waiting == 0

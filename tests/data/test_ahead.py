"""Threads work a little ahead, in order."""

import itertools
import threading

import pytest

from p2plib.data.ahead import ahead


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_only_a_few_are_done_ahead_and_in_order(threads):
    started = []
    for item, result in ahead(lambda item: started.append(item) or -item, range(40), 3, threads):
        assert result == -item
        assert len(started) <= item + 1 + 3
    assert sorted(started) == list(range(40))


def test_an_error_comes_in_its_turn():
    def fail(item: int) -> int:
        return 1 // (item - 2)

    results = ahead(fail, itertools.count(), 4)
    assert [next(results) for _ in range(2)] == [(0, -1), (1, -1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_thread_is_left_when_nobody_wants_more():
    before = threading.active_count()
    results = ahead(abs, itertools.count(), 4)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before

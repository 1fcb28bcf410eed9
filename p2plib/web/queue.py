"""One task at a time, in one thread, while a few others wait: what a model, and its machine, can bear."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, NamedTuple, TypeVar

from p2plib.errors import P2PError

POLL_SECONDS = 0.2
"""How often a waiting request looks whether its client is still there."""

Result = TypeVar("Result")


class BusyError(P2PError):
    """The queue is full, or did not move in time; `retry_after` seconds later it may be better."""

    def __init__(self, retry_after: int):
        super().__init__(f"The model is busy with other images; try again in {retry_after} s.")
        self.retry_after = retry_after


class GoneError(P2PError):
    """The client went away while its request waited."""

    def __init__(self) -> None:
        super().__init__("The client went away.")


class Done(NamedTuple, Generic[Result]):
    """What a task returned, the seconds that it ran, and those that it had waited."""

    result: Result
    seconds: float
    waited: float


class Queue:
    """Runs tasks one by one, all in the same thread, which TensorFlow and JAX like best.

    Args:
        length: how many tasks may wait.
        wait_s: how long one may wait, in seconds.
    """

    def __init__(self, length: int, wait_s: float) -> None:
        self.length, self.wait_s = length, wait_s
        self._pool = ThreadPoolExecutor(1, "p2plib-model")
        self._lock = threading.Lock()
        self._inside = 0  # running and waiting
        self._recent: deque[float] = deque([1.0], maxlen=8)  # seconds of the last tasks

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return max(0, self._inside - 1)

    @property
    def retry_after(self) -> int:
        """In how many seconds the tasks that are here will be done, going by the last ones."""
        return max(1, math.ceil(self._inside * sum(self._recent) / len(self._recent)))

    def check_room(self) -> None:
        """Raise `BusyError` if a task would not be let in: worth asking before work is done for it."""
        if self._inside > self.length:
            raise BusyError(self.retry_after)

    def run(self, task: Callable[[], Result], gone: Callable[[], bool] = lambda: False) -> Done[Result]:
        """Wait for `task` to have its turn and to end.

        Args:
            task: is called in the queue's thread; what it raises is raised here.
            gone: says that nobody waits for the result any more; a task that has not begun is dropped then.

        Raises:
            BusyError: the queue is full, or the task's turn did not come in time.
            GoneError: `gone` said so.
        """
        with self._lock:
            self.check_room()
            self._inside += 1
        arrived = time.monotonic()
        try:
            future = self._pool.submit(self._timed, task, arrived)
        except RuntimeError:  # the server stops
            self._left()
            raise BusyError(self.retry_after) from None
        future.add_done_callback(self._left)
        while not future.done():
            wait([future], POLL_SECONDS)
            if gone() and future.cancel():
                raise GoneError
            if time.monotonic() - arrived > self.wait_s and future.cancel():
                raise BusyError(self.retry_after)
        try:
            return future.result()
        except CancelledError:  # the server stops
            raise BusyError(self.retry_after) from None

    def call(self, task: Callable[[], Result]) -> Result:
        """Run a task that no limit is meant for, as loading the models is."""
        return self._pool.submit(task).result()

    def close(self) -> None:
        """Drop what waits; what runs runs to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, task: Callable[[], Result], arrived: float) -> Done[Result]:
        began = time.monotonic()
        try:
            result = task()
        finally:
            ended = time.monotonic()
            self._recent.append(ended - began)
        return Done(result, ended - began, began - arrived)

    def _left(self, _: Future[Any] | None = None) -> None:
        with self._lock:
            self._inside -= 1

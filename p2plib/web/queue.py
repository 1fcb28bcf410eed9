"""Runs one task at a time in one thread, while a limited number of others wait."""

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
"""Seconds between checks whether a waiting client is still connected."""

Result = TypeVar("Result")


class BusyError(P2PError):
    """The queue is full or too slow; try again after `retry_after` seconds."""

    def __init__(self, retry_after: int):
        super().__init__(f"The model is busy with other images; try again in {retry_after} s.")
        self.retry_after = retry_after


class GoneError(P2PError):
    """The client disconnected while its request waited."""

    def __init__(self) -> None:
        super().__init__("The client disconnected.")


class Finished(NamedTuple, Generic[Result]):
    """The result of a task, and how many seconds it ran and waited."""

    result: Result
    seconds: float
    waited: float


class Queue:
    """Runs tasks one by one in the same thread, which suits TensorFlow and JAX.

    Args:
        length: maximum number of waiting tasks.
        wait_s: longest wait of a task in seconds.
    """

    def __init__(self, length: int, wait_s: float) -> None:
        self.length, self.wait_s = length, wait_s
        self._pool = ThreadPoolExecutor(1, "p2plib-model")
        self._lock = threading.Lock()
        self._inside = 0  # running and waiting
        self._recent: deque[float] = deque([1.0], maxlen=8)  # durations of the last tasks

    @property
    def waiting(self) -> int:
        """Number of waiting tasks."""
        return max(0, self._inside - 1)

    @property
    def retry_after(self) -> int:
        """Estimated seconds until all current tasks are done, based on the last ones."""
        return max(1, math.ceil(self._inside * sum(self._recent) / len(self._recent)))

    def check_room(self) -> None:
        """Raise `BusyError` if the queue is full; call this before preparing a task."""
        if self._inside > self.length:
            raise BusyError(self.retry_after)

    def run(self, task: Callable[[], Result], gone: Callable[[], bool] = lambda: False) -> Finished[Result]:
        """Run `task` when its turn comes, and wait for it.

        Args:
            task: called in the queue's thread; its exceptions are raised here.
            gone: returns whether nobody waits for the result any more; a task that has not started is then dropped.

        Raises:
            BusyError: the queue is full, or the task's turn did not come in time.
            GoneError: `gone` returned True before the task started.
        """
        with self._lock:
            self.check_room()
            self._inside += 1
        arrived = time.monotonic()
        try:
            future = self._pool.submit(self._timed, task, arrived)
        except RuntimeError:  # the server is stopping
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
        except CancelledError:  # the server is stopping
            raise BusyError(self.retry_after) from None

    def call(self, task: Callable[[], Result]) -> Result:
        """Run a task without limits, such as loading the models."""
        return self._pool.submit(task).result()

    def close(self) -> None:
        """Drop waiting tasks; a running task finishes."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, task: Callable[[], Result], arrived: float) -> Finished[Result]:
        began = time.monotonic()
        try:
            result = task()
        finally:
            ended = time.monotonic()
            self._recent.append(ended - began)
        return Finished(result, ended - began, began - arrived)

    def _left(self, _: Future[Any] | None = None) -> None:
        with self._lock:
            self._inside -= 1

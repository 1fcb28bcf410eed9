"""Work that threads do ahead, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], count: int, threads: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with `function(item)`, in order, while threads compute the next `count`.

    Args:
        function: what to do with an item. What it raises is raised in the item's turn.
        items: any number of them; no more than needed are taken.
        count: how many results may wait.
        threads: how many work at once; None: `count`.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads or count)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > count:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:  # also when nobody wants more
        pool.shutdown(cancel_futures=True)

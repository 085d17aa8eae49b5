"""Several pieces of work at a time, results in order, and no more than a few of them waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 3
"""Pieces a worker that may be begun before the first result is taken: memory stays bounded, and no worker waits."""


def map_ahead(work: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """Apply a function to items in threads; an exception comes out in its item's place, and what is not begun is left.

    Args:
        work: Releases the interpreter's lock for most of its time, as decoding and inference do.
        items: Drawn as they are needed.
        workers: Threads.

    Yields:
        Results in the order of the items.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tumortrace")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

"""Apply a function to many items in threads, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

QUEUED_PER_WORKER = 3
"""Items a worker that may be started before the first result is taken: memory stays bounded, and no worker waits."""

GRACE_SECONDS = 3.0
"""Time that running items have to finish once no result is wanted; one may hang in a dead network folder."""


def map_in_order(work: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """Apply a function to items in threads.

    Exceptions are raised in order; items not yet started are cancelled.

    Args:
        work: Function that releases the interpreter's lock for most of its time, as decoding and inference do.
        items: Items, drawn as they are needed.
        workers: Number of threads.

    Yields:
        Results in the order of the items.
    """
    started: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tumortrace")
    try:
        for item in items:
            started.append(pool.submit(work, item))
            if len(started) >= QUEUED_PER_WORKER * workers:
                yield _take_first(started)
        while started:
            yield _take_first(started)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in started if not future.cancelled()], timeout=GRACE_SECONDS)


def _take_first(started: deque[Future[R]]) -> R:
    """Wait for the first result; an item whose wait is interrupted stays in the queue, because it still runs."""
    result = started[0].result()
    started.popleft()
    return result

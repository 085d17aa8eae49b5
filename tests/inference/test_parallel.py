"""Work in threads: results in order, few items drawn early, exceptions in order, nothing started after them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tumortrace.inference import parallel
from tumortrace.inference.parallel import QUEUED_PER_WORKER, map_in_order


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int):
    assert list(map_in_order(lambda x: x * x, range(30), workers=workers)) == [x * x for x in range(30)]


def test_nothing_gives_nothing():
    assert list(map_in_order(str, [], workers=2)) == []


def test_later_items_are_done_while_an_earlier_one_waits():
    released = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert released.wait(10), "item 1 was not started while item 0 waited"
        else:
            released.set()
        return item

    assert list(map_in_order(work, [0, 1], workers=2)) == [0, 1]


def test_no_more_than_a_few_items_are_drawn_early():
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(1000):
            drawn += 1
            yield item

    results = map_in_order(lambda x: x, items(), workers=2)
    for taken in range(1, 50):
        next(results)
        assert drawn <= taken + 2 * QUEUED_PER_WORKER
    results.close()


def test_an_exception_is_raised_in_order_and_the_rest_is_cancelled():
    started = []

    def work(item: int) -> int:
        started.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = map_in_order(work, range(1000), workers=1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(started) <= 3 + QUEUED_PER_WORKER


def test_a_thread_that_hangs_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel, "GRACE_SECONDS", 0.2)
    released = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            released.wait(60)
        return item

    results = map_in_order(work, range(5), workers=2)
    assert next(results) == 0
    started = time.monotonic()
    results.close()
    assert 0.15 < time.monotonic() - started < 10
    released.set()


def test_a_running_item_is_waited_for_and_none_is_started_after_it():
    running, finished = threading.Event(), []

    def work(item: int) -> int:
        if item == 1:
            running.set()
            time.sleep(0.2)
        finished.append(item)
        return item

    results = map_in_order(work, range(8), workers=1)
    next(results)
    assert running.wait(10)
    results.close()
    assert finished == [0, 1]

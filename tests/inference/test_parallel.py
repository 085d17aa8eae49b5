"""Work in threads: results in order, few items drawn ahead, an exception in its place, nothing begun after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tumortrace.inference.parallel import AHEAD, map_ahead


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int):
    assert list(map_ahead(lambda x: x * x, range(30), workers=workers)) == [x * x for x in range(30)]


def test_nothing_gives_nothing():
    assert list(map_ahead(str, [], workers=2)) == []


def test_later_items_are_done_while_an_earlier_one_waits():
    released = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert released.wait(10), "item 1 was not begun while item 0 waited"
        else:
            released.set()
        return item

    assert list(map_ahead(work, [0, 1], workers=2)) == [0, 1]


def test_no_more_than_a_few_items_are_drawn_ahead():
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(1000):
            drawn += 1
            yield item

    results = map_ahead(lambda x: x, items(), workers=2)
    for taken in range(1, 50):
        next(results)
        assert drawn <= taken + 2 * AHEAD
    results.close()


def test_an_exception_comes_out_in_its_place_and_the_rest_is_left():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    results = map_ahead(work, range(1000), workers=1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(begun) <= 3 + AHEAD

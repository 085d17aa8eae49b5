from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.training.sampling import draw_epoch


def drawn(sources: str, tumours: str, *, negatives: float = 0.1, seed: int = 0, epoch: int = 1) -> list[int]:
    flags = [letter == "1" for letter in tumours]
    return draw_epoch(list(sources), flags, negatives=negatives, seed=seed, epoch=epoch).tolist()


@pytest.mark.parametrize("count", [1, 2, 17])
def test_of_one_source_each_slice_comes_once(count: int):
    assert sorted(drawn("a" * count, "1" * count)) == list(range(count))


def test_one_source_that_holds_no_tumour_is_visited_like_any_other():
    assert sorted(drawn("aaa", "000")) == [0, 1, 2]


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {
        (seed, epoch): tuple(drawn("a" * 9, "1" * 9, seed=seed, epoch=epoch)) for seed in range(4) for epoch in range(4)
    }
    assert len(set(orders.values())) == len(orders)
    assert tuple(drawn("a" * 9, "1" * 9, seed=2, epoch=3)) == orders[2, 3]


def test_sources_of_different_size_have_equal_shares():
    # 8 of a and 2 of b: five of each, so that each of a comes at most once and b's come two and three times.
    order = drawn("aaaaaaaabb", "1111111111")
    counts = Counter(order)
    assert sum(index < 8 for index in order) == 5
    assert max(counts[index] for index in range(8)) == 1
    assert sorted([counts[8], counts[9]]) == [2, 3]


def test_sources_without_tumour_have_their_share():
    # Ten slices: a quarter for the tumour-free c (2 or 3), the rest halved between a and b. A tumour-free slice of a
    # (the first) makes a no such source.
    order = drawn("aaaabbbbcc", "0111111100", negatives=0.25)
    sources = Counter("aaaabbbbcc"[index] for index in order)
    assert sources["a"] + sources["b"] + sources["c"] == 10
    assert sources["c"] in {2, 3}
    assert abs(sources["a"] - sources["b"]) <= 1


def test_no_share_for_tumour_free_sources_leaves_them_out():
    assert all("aaabbcc"[index] != "c" for index in drawn("aaabbcc", "1111100", negatives=0.0))


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 3),
)
def test_an_epoch_is_as_long_as_the_data_and_visits_no_slice_twice_before_its_source_is_through(
    slices: list[tuple[str, bool]], negatives: float, seed: int
):
    sources, tumours = zip(*slices, strict=True)
    order = draw_epoch(sources, tumours, negatives=negatives, seed=seed, epoch=1).tolist()
    assert len(order) == len(slices)
    counts = Counter(order)
    for source in set(sources):
        visits = [counts[index] for index in range(len(slices)) if sources[index] == source]
        assert max(visits) - min(visits) <= 1

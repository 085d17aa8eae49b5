from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.training.sampling import Negatives, draw_epoch, peak_probabilities


def drawn(  # noqa: PLR0913 - each test names only what it is about
    sources: str,
    tumours: str,
    *,
    negatives: float = 0.1,
    seed: int = 0,
    epoch: int = 1,
    count: int = 0,
    hard: float = 0.0,
    peaks: list[float] | None = None,
) -> list[int]:
    flags = [letter == "1" for letter in tumours]
    count = count or len(sources)
    free = Negatives(negatives, hard, torch.tensor(peaks or [1.0] * len(sources)))
    return draw_epoch(list(sources), flags, count=count, negatives=free, seed=seed, epoch=epoch).tolist()


@pytest.mark.parametrize("count", [1, 2, 17])
def test_of_one_source_each_slice_comes_once(count: int):
    assert sorted(drawn("a" * count, "1" * count)) == list(range(count))


def test_one_source_that_holds_no_tumour_is_visited_like_any_other():
    assert sorted(drawn("aaa", "000")) == [0, 1, 2]


def test_tumour_free_slices_of_one_source_have_no_share():
    assert sorted(drawn("aaaaa", "11100", negatives=0.0)) == [0, 1, 2, 3, 4]


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
    # Of three sources, two each.
    assert sorted("aaabbc"[index] for index in drawn("aaabbc", "111111")) == ["a", "a", "b", "b", "c", "c"]


def test_tumour_free_slices_have_their_share_whatever_their_source():
    # Ten slices: two tumour-free ones, one of a and one of c, take half of the epoch; a and b have a quarter each.
    order = drawn("aaaabbbbbc", "0111111110", negatives=0.5)
    counts = Counter(order)
    assert counts[0] + counts[9] == 5
    assert {counts[0], counts[9]} == {2, 3}
    assert sum(counts[index] for index in (1, 2, 3)) in {2, 3}


def test_no_share_for_tumour_free_slices_leaves_them_out():
    assert not {0, 5, 6} & set(drawn("aaabbcc", "0111100", negatives=0.0))


def test_a_short_epoch_keeps_the_shares():
    order = drawn("aaaabbbbcccc", "111111110000", negatives=0.5, count=4)
    assert sorted("aaaabbbbcccc"[index] for index in order) == ["a", "b", "c", "c"]
    assert len(set(drawn("aaaaa", "11111", count=3))) == 3


def test_several_sources_without_any_tumour_are_visited_slice_by_slice():
    assert sorted(drawn("aabbb", "00000")) == [0, 1, 2, 3, 4]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 3),
)
def test_an_epoch_is_as_long_as_the_data_and_no_slice_comes_twice_before_its_pool_is_through(
    slices: list[tuple[str, bool]], negatives: float, seed: int
):
    sources, tumours = zip(*slices, strict=True)
    order = draw_epoch(
        sources,
        tumours,
        count=len(slices),
        negatives=Negatives(negatives, 0.0, torch.ones(len(slices))),
        seed=seed,
        epoch=1,
    ).tolist()
    assert len(order) == len(slices)
    counts = Counter(order)
    pools = [source if tumour else "" for source, tumour in slices] if len(set(sources)) > 1 else ["one"] * len(slices)
    for pool in set(pools):
        visits = [counts[index] for index in range(len(slices)) if pools[index] == pool]
        assert max(visits) - min(visits) <= 1


def test_hard_tumour_free_slices_come_more_often():
    # Of eight slices, the last five without a tumour; the hardest quarter of five is two: slices 4 and 6. Ten of twenty
    # are tumour-free, of which eight are hard; the other two are any.
    peaks = [1.0, 1.0, 1.0, 0.1, 0.9, 0.2, 0.8, 0.3]
    order = drawn("aabcccbb", "11100000", negatives=0.5, count=20, hard=0.8, peaks=peaks)
    counts = Counter(order)
    assert counts[4] + counts[6] >= 8
    assert min(counts[4], counts[6]) >= 4
    assert sum(counts[index] for index in range(3, 8)) == 10


def test_before_the_first_epoch_the_hard_slices_are_any():
    firsts = {
        tuple(sorted(set(drawn("ab" + "c" * 8, "11" + "0" * 8, negatives=0.5, hard=1.0, seed=seed)) - {0, 1}))
        for seed in range(9)
    }
    assert {len(chosen) for chosen in firsts} == {2}
    assert len(firsts) > 1


def test_the_peak_of_a_slice_is_that_of_its_last_map():
    logits = torch.zeros(2, 4, 1, 2)
    logits[0, 1] = 9.0  # the location map says nothing about presence
    logits[1, 3, 0, 1] = 2.0
    assert peak_probabilities(logits).tolist() == pytest.approx([0.5, 0.8807971])
    assert peak_probabilities(logits[:, :2]).tolist() == pytest.approx([0.9998766, 0.5])

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tumortrace.metrics.intervals import (
    count_effective_groups,
    describe_width,
    holm,
    mean_interval,
    paired_p_value,
    ratio_interval,
    sum_flipped,
    warn_of_groups,
)

Floats = NDArray[np.float64]


def names(clusters: NDArray[np.intp]) -> list[str]:
    return [f"g{cluster}" for cluster in clusters]


def draw_images(rng: np.random.Generator, groups: int) -> tuple[Floats, NDArray[np.intp]]:
    """Dice-like values: a lump of failures, a skewed rest, alike within a group of 1 to 12 images."""
    sizes = rng.integers(1, 13, groups)
    centres = np.where(rng.random(groups) < 0.15, 0.05, rng.beta(6, 1.5, groups))
    which = np.repeat(np.arange(groups), sizes)
    return np.clip(centres[which] + rng.normal(0, 0.1, len(which)), 0, 1), which


@pytest.mark.parametrize("groups", [100, 160])
def test_intervals_hold_the_truth_95_times_in_100(groups: int):
    values, which = draw_images(np.random.default_rng(0), 400_000)
    truth = values.mean()
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        values, which = draw_images(rng, groups)
        low, high = mean_interval(values, names(which))
        held += low <= truth <= high
    assert 0.93 <= held / 2000 <= 0.97


@pytest.mark.parametrize(("groups", "held"), [(3, 0.65), (5, 0.82), (10, 0.87), (20, 0.93), (30, 0.94)])
def test_over_few_groups_the_truth_is_mostly_missed_below(groups: int, held: float):
    values, which = draw_images(np.random.default_rng(0), 400_000)
    truth = values.mean()
    rng = np.random.default_rng(1)
    below = above = 0
    for _ in range(2000):
        values, which = draw_images(rng, groups)
        low, high = mean_interval(values, names(which))
        below += truth < low
        above += truth > high
    assert 1 - (below + above) / 2000 == pytest.approx(held, abs=0.015)
    assert below > 2 * above


def test_with_groups_of_one_it_is_the_bca_interval_of_scipy():
    values = np.random.default_rng(2).beta(4, 1, 80)
    ours = mean_interval(values, names(np.arange(80)))
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=9999, rng=3).confidence_interval
    # Ours reaches further out, as the t distribution does for 80 values.
    assert ours[0] == pytest.approx(theirs.low, abs=0.006)
    assert ours[1] == pytest.approx(theirs.high, abs=0.006)


def test_copies_do_not_make_a_mean_surer():
    rng = np.random.default_rng(4)
    values = rng.random(60)
    alone = mean_interval(values, names(np.arange(60)))
    copied = mean_interval(np.repeat(values, 10), names(np.repeat(np.arange(60), 10)))
    strangers = mean_interval(np.repeat(values, 10), names(np.arange(600)))
    assert copied == pytest.approx(alone, abs=1e-9)
    assert strangers[1] - strangers[0] < 0.5 * (alone[1] - alone[0])


def test_undefined_values_are_left_out():
    values = [0.5, math.nan, 0.7, 0.9, 0.2]
    assert mean_interval(values, list("aabcd")) == mean_interval([0.5, 0.7, 0.9, 0.2], list("abcd"))


def test_the_order_of_images_does_not_matter():
    values, which = draw_images(np.random.default_rng(5), 30)
    turned = np.random.default_rng(6).permutation(len(values))
    assert mean_interval(values[turned], names(which[turned])) == pytest.approx(mean_interval(values, names(which)))


def test_agreement_of_all_groups_is_not_certainty():
    # Wilson for 20 of 20: 20 / (20 + 1.96^2).
    low, high = mean_interval(np.ones(40), names(np.repeat(np.arange(20), 2)))
    assert (low, high) == (pytest.approx(20 / (20 + 1.959964**2)), 1.0)
    assert [mean_interval(np.zeros(count), names(np.arange(count)))[0] for count in (6, 20)] == [0, 0]
    assert all(map(math.isnan, mean_interval(np.zeros(5), list("abcde"), shares=False)))  # nothing can be said
    assert all(map(math.isnan, mean_interval(np.full(5, 3.0), list("abcde"), shares=False)))


def test_groups_that_differ_by_rounding_alone_agree():
    before = np.array([0.8, 0.9, 0.7, 0.6, 0.3, 0.85])
    gain = (before + 0.1) - before
    assert len(set(gain.tolist())) > 1
    for differences in (gain, -gain):  # neither the interval of a fraction nor one without width
        assert all(map(math.isnan, mean_interval(differences, list("abcdef"), shares=False)))
    pairs = [0.1, 0.3, 0.3, 0.1]  # the groups' means agree, and not their images
    assert all(map(math.isnan, mean_interval(pairs, list("aabb"), shares=False)))
    assert all(map(math.isnan, mean_interval([math.nan, math.nan], list("ab"), shares=False)))


@pytest.mark.parametrize("values", [[], [0.5], [0.4, 0.6], [math.nan, 0.3]])
def test_fewer_than_two_groups_have_no_interval(values: list[float]):
    assert all(math.isnan(bound) for bound in mean_interval(values, ["a"] * len(values)))


def test_a_ratio_of_sums_lies_within_its_interval():
    rng = np.random.default_rng(7)
    lesions = rng.integers(0, 4, 200)
    found = rng.binomial(lesions, 0.8)
    low, high = ratio_interval(found, lesions, names(np.arange(200) // 4))
    assert 0.7 < low < found.sum() / lesions.sum() < high < 0.9


def test_p_value_by_hand():
    # Sums of groups: 3, 1. Of the four flips, |3 + 1| is reached by two.
    assert paired_p_value([1.0, 2.0, 1.0], ["a", "a", "b"]) == 0.5
    # Eight groups of one, all positive: 2 of 2^8 flips.
    assert paired_p_value(np.ones(8), list("abcdefgh")) == 2 / 256
    assert paired_p_value([math.nan, 1.0], ["a", "b"]) == 1.0
    assert math.isnan(paired_p_value([math.nan], ["a"]))
    assert paired_p_value(np.zeros(3), list("abc")) == 1.0


def test_p_of_random_flips_is_never_0():
    # All 40 groups agree: none of 10,000 flips is as extreme, and the observed one counts.
    assert paired_p_value([0.1] * 40, names(np.arange(40))) == pytest.approx(1 / 10_001)


def test_differences_that_cancel_out_are_no_difference():
    # They add up to 0 but for rounding, which all 16 flips reach.
    assert paired_p_value([0.1, 0.1, 0.1, -0.3], list("abcd")) == 1.0


def test_a_test_over_many_groups_needs_little_memory():
    differences = np.random.default_rng(0).normal(size=600)
    tracemalloc.start()
    paired_p_value(differences, names(np.arange(600)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6  # all 10,000 flips at once would take 96 MB


def test_intervals_over_many_groups_need_little_memory():
    values = np.random.default_rng(0).random(1000)
    tracemalloc.start()
    for count in range(991, 999):  # as many subgroups of an evaluation as are kept
        mean_interval(values[:count], names(np.arange(count)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30e6  # with 8 bytes for each number of all resamples, 128 MB


def test_flips_in_blocks_are_those_of_a_single_draw():
    values = np.random.default_rng(0).normal(size=(13, 2))
    signs = np.random.default_rng(5).choice([-1.0, 1.0], size=(2500, 13))
    flipped = sum_flipped(values, rng=np.random.default_rng(5), flips=2500)
    assert flipped == pytest.approx(signs @ values)


def test_p_agrees_with_scipy():
    differences = np.random.default_rng(8).normal(0.1, 0.4, 60)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=1, vectorized=True
    )
    assert paired_p_value(differences, names(np.arange(60))) == pytest.approx(theirs.pvalue, abs=0.01)


def test_p_is_uniform_under_the_null(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tumortrace.metrics.intervals.FLIPS", 999)
    rng = np.random.default_rng(9)
    p_values = []
    for seed in range(2000):
        which = np.repeat(np.arange(30), rng.integers(1, 5, 30))
        differences = rng.normal(0, 1, 30)[which] + rng.normal(0, 0.3, len(which))
        p_values.append(paired_p_value(differences, names(which), seed=seed))
    assert 0.03 <= np.mean(np.array(p_values) <= 0.05) <= 0.07
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04: times 3, 2, 1, and never below the one before.
    assert holm([0.04, math.nan, 0.01, 0.02])[0] == pytest.approx(0.04)
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert math.isnan(holm([math.nan, 0.5])[0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]):
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    ranked = [adjusted[index] for index in np.argsort(p_values, kind="stable")]
    assert ranked == sorted(ranked)


def test_effective_groups_by_hand():
    assert count_effective_groups([]) == 0
    assert count_effective_groups(["a", "a", "b", "b"]) == 2  # equal groups count fully
    assert count_effective_groups(["a", "a", "a", "b"]) == pytest.approx(16 / 10)  # sizes 3 and 1


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (1, ""),
        (2, "rough and mostly too narrow"),
        (9, "rough and mostly too narrow"),
        (10, "slightly too narrow"),
        (29, "slightly too narrow"),
        (30, ""),
    ],
)
def test_few_groups_have_intervals_that_are_called_too_narrow(groups: int, words: str):
    assert describe_width(groups) == words
    said = f"the groups are few ({groups}), so the intervals are {words}" if words else ""
    assert warn_of_groups(groups, float(groups)) == said


def test_unequal_groups_count_as_fewer():
    assert warn_of_groups(30, 19.9).startswith("the groups are unequal (30 count as 20 equal ones)")
    assert warn_of_groups(30, 20.0) == ""

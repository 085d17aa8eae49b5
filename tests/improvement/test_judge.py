"""Better, no difference shown, or worse."""

from __future__ import annotations

import math

import pytest

from tumortrace.improvement.judge import judge, judgement_document
from tumortrace.metrics.overlap import PixelCounts


def scores(make_score, dices, groups=None):
    """A score for each Dice: of 1000 tumour pixels and as many predicted, so many are right."""
    made = []
    for index, dice in enumerate(dices):
        right = round(1000 * dice)
        counts = PixelCounts(right, 1000 - right, 1000 - right, 98_000)
        made.append(make_score(f"c{index}", counts, group=(groups or [f"g{i}" for i in range(len(dices))])[index]))
    return made


def verdict(make_score, old, new, groups=None):
    return judge(
        scores(make_score, old, groups), scores(make_score, new, groups), part="held-out part", old_model="old"
    )


def test_a_gain_on_every_slice_of_six_groups_is_better(make_score):
    old, new = [0.5, 0.6, 0.4, 0.7, 0.5, 0.6], [0.6, 0.65, 0.6, 0.72, 0.9, 0.7]
    found = verdict(make_score, old, new)
    assert (found.n, found.groups, found.higher, found.lower, found.verdict) == (6, 6, 6, 0, "better")
    assert found.p == 2 / 64
    assert found.difference == pytest.approx(0.87 / 6)
    assert found.sentence.startswith(
        "Held-out part: better than old; mean Dice 0.695 against 0.550, +0.145 (95 % CI +0."
    )
    limits = "; the groups are few (6), so the intervals are rough and mostly too narrow"
    assert found.sentence.endswith(f"p = 0.031, n = 6, 6 groups){limits}")
    assert verdict(make_score, new, old).verdict == "worse"


def test_five_groups_are_too_few_whatever_the_scores(make_score):
    found = verdict(make_score, [0.1, 0.2, 0.1, 0.2, 0.3], [0.8, 0.9, 0.8, 0.9, 0.95])
    assert found.verdict == "no difference shown"
    assert found.sentence.endswith("too small to tell: no difference can be shown with fewer than 6 groups")


def test_copies_do_not_count_as_many(make_score):
    old, new = [0.5] * 8, [0.9, 0.8, 0.9, 0.8, 0.9, 0.8, 0.9, 0.8]
    assert verdict(make_score, old, new).verdict == "better"
    assert (
        verdict(make_score, old, new, groups=["a", "a", "a", "b", "b", "b", "c", "c"]).verdict == "no difference shown"
    )


def test_gains_and_losses_show_no_difference(make_score):
    found = verdict(make_score, [0.5] * 8, [0.6, 0.4, 0.7, 0.3, 0.55, 0.45, 0.52, 0.48])
    assert found.verdict == "no difference shown"
    assert found.sentence.startswith("Held-out part: no difference shown from old;")
    assert "too small" not in found.sentence


def test_a_p_value_above_the_level_shows_no_difference_whatever_the_interval(make_score):
    # One of six groups is equal, so that either sign of it reaches the sum: 4 of 64 flips.
    found = verdict(make_score, [0.5] * 6, [0.8, 0.8, 0.7, 0.75, 0.7, 0.5])
    assert (found.p, found.higher, found.lower) == (4 / 64, 5, 0)
    assert found.ci95[0] > 0
    assert found.verdict == "no difference shown"


def test_an_interval_that_reaches_zero_shows_no_difference_whatever_the_p_value(make_score):
    # One of nine groups is as much worse as most are better: 24 of 512 flips, but resamples that draw it often.
    gains = [0.2, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.01, -0.1]
    found = verdict(make_score, [0.5] * 9, [0.5 + gain for gain in gains])
    assert found.p == 24 / 512
    assert found.ci95[0] == pytest.approx(-0.008, abs=0.002)
    assert found.verdict == "no difference shown"


def test_equal_models_show_no_difference(make_score):
    found = verdict(make_score, [0.5] * 8, [0.5] * 8)
    assert (found.verdict, found.difference, found.p) == ("no difference shown", 0, 1)
    assert judgement_document(found)["ci95"] == [None, None]


def test_one_gain_everywhere_is_better_though_it_has_no_interval(make_score):
    found = verdict(make_score, [0.5] * 8, [0.75] * 8)
    assert math.isnan(found.ci95[0])
    assert found.verdict == "better"
    assert "0.750 against 0.500, +0.250 (p = 0.008, n = 8, 8 groups)" in found.sentence  # 2 of 256 flips


def test_a_p_value_is_never_said_to_be_zero(make_score):
    found = verdict(make_score, [0.1] * 30, [0.2 + i / 100 for i in range(30)])
    assert 0 < found.p < 0.001
    assert found.sentence.endswith("p < 0.001, n = 30, 30 groups)")


def test_a_mark_on_a_tumour_free_slice_counts(make_score):
    silent, marked = PixelCounts(0, 0, 0, 100), PixelCounts(0, 7, 0, 93)
    old = [make_score(f"c{i}", silent) for i in range(6)]
    new = [make_score(f"c{i}", marked) for i in range(6)]
    found = judge(old, new, part="standard set", old_model="old")
    assert (found.old, found.new, found.verdict, found.tumour_free) == (1, 0, "worse", 6)
    assert "; 6 tumour-free slices among them, Dice 1 if left empty and 0 if marked" in found.sentence


def test_the_sentence_says_that_groups_are_unequal_and_slices_generated(make_score):
    # Sizes 24, 1, 1, 1, 1, 1, 1: 30^2 / (576 + 6) = 1.5.
    groups = ["a"] * 24 + list("bcdefg")
    old, new = scores(make_score, [0.5] * 30, groups), scores(make_score, [0.5 + i / 100 for i in range(30)], groups)
    found = judge(old, new, part="standard set", old_model="old", generated=True)
    assert found.effective_groups == 1.5
    assert found.sentence.endswith(
        "; the groups are unequal (7 count as 2 equal ones), so the intervals are too narrow"
        "; the slices are generated, so they show only whether something broke"
    )


def test_no_slice_shows_nothing():
    found = judge([], [], part="standard set", old_model="old")
    assert found.sentence == "Standard set: no difference shown, because no slice counts"
    assert judgement_document(found)["difference"] is None


def test_only_slices_that_both_models_were_scored_on_count(make_score):
    old, new = scores(make_score, [0.5, 0.6, 0.7]), scores(make_score, [0.6, 0.7])
    assert judge(old, new, part="held-out part", old_model="old").n == 2
    assert judge(new, old, part="held-out part", old_model="old").n == 2

"""The rules by which the training sources are chosen and divided, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from studies.screening import THRESHOLDS, Row, cross_fit, fit, half_of
from studies.sources import Compared, deal_out, find_untrue


def test_two_outlines_that_disagree_are_both_left_out():
    assert set(find_untrue([Compared("a", "b", 0.49), Compared("c", "d", 0.5)])) == {"a", "b"}


def test_one_outline_against_two_is_left_out_alone():
    pairs = [Compared("a", "b", 0.9), Compared("a", "c", 0.1), Compared("b", "c", 0.2)]
    assert find_untrue(pairs) == {"c": "disagrees (Dice below 0.5) with 2 of 2 other outlines"}


def test_groups_are_dealt_out_largest_first_to_the_emptiest_fold():
    groups = ["a"] * 3 + ["b"] * 2 + ["c"] * 2 + ["d", "e"]
    assert deal_out(groups) == {"a": "1", "b": "2", "c": "3", "d": "4", "e": "4"}


@pytest.mark.parametrize("groups", [[], ["one"] * 5])
def test_few_groups_leave_folds_empty(groups: list[str]):
    assert set(deal_out(groups).values()) <= {"1"}


ROW = Row("f", "kind", "g", rejected=False, truth=0.0, peak=0.6, marked=(0.2,) * 13, dice=(0.0,) * 13)


def tumour(best: int, group: str = "g") -> Row:
    dice = tuple(0.9 if index == best else 0.5 for index in range(len(THRESHOLDS)))
    return replace(ROW, truth=0.1, peak=0.99, dice=dice, group=group)


def test_the_threshold_is_the_best_for_dice_and_the_peak_the_lowest_with_few_false_alarms():
    free = [replace(ROW, peak=0.88)] * 2 + [replace(ROW, peak=0.2)] * 18
    # Two of twenty are marked up to a peak threshold of 0.85; one of twenty is allowed.
    assert fit([tumour(4), *free]) == (4, 0.9)
    assert fit([tumour(4), *free[1:], replace(ROW, peak=0.2)]) == (4, 0.3)


def test_each_half_is_judged_by_the_other_s_thresholds():
    names = [f"g{number}" for number in range(40)]
    assert {half_of(name) for name in names} == {0, 1}
    judged = cross_fit([tumour(4 + half_of(name), name) for name in names])  # each half is best at its own threshold
    assert sorted(row.group for row, _, _ in judged) == sorted(names)
    assert {dice for _, dice, _ in judged} == {0.5}
    assert all(marked for _, _, marked in judged)


def test_a_peak_threshold_that_the_other_half_needs_unmarks_a_faint_slice():
    one, other = "g0", next(name for name in map(str, range(9)) if half_of(name) != half_of("g0"))
    rows = [tumour(4, one), tumour(4, other), replace(ROW, peak=0.88, group=one), replace(ROW, peak=0.2, group=other)]
    marked = {row.group: bool(is_marked) for row, _, is_marked in cross_fit(rows) if not row.truth}
    assert marked == {one: True, other: False}  # peaks from 0.3 on count in the first half, from 0.9 on in the other

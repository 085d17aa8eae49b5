"""False alarms and lesions of whole heads, on scores whose counts are known by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.evaluation.heads import describe_false_alarms, describe_froc, describe_pooled
from tumortrace.metrics.froc import Mark, SliceMarks
from tumortrace.metrics.lesions import LesionCounts
from tumortrace.metrics.overlap import PixelCounts

MakeScore = Callable[..., CaseScore]


@pytest.fixture
def scores(make_score: MakeScore) -> list[CaseScore]:
    """Head A: a slice with tumour and two without, one of them marked twice; head B: one without, hardly marked."""
    return [
        make_score("a1", PixelCounts(10, 5, 5, 980), group="A", patient="p1", lesions=LesionCounts(1, 1, 2, 1)),
        make_score("a2", PixelCounts(0, 30, 0, 970), group="A", patient="p1", lesions=LesionCounts(0, 0, 2, 0)),
        make_score("a3", PixelCounts(0, 0, 0, 1000), group="A", patient="p1", lesions=LesionCounts(0, 0, 0, 0)),
        make_score("b1", PixelCounts(0, 1, 0, 999), group="B", patient="p2", lesions=LesionCounts(0, 0, 1, 0)),
    ]


def test_false_alarms_by_hand(scores: list[CaseScore]):
    alarms = describe_false_alarms(scores)
    # One pixel in a thousand is not over 0.1 %: of three tumour-free slices one is a false alarm.
    assert (alarms["tumour_free_slices"], alarms["painted"]["share"]) == (3, pytest.approx(1 / 3))
    # False lesions: one in the slice with tumour and two in the next for A, one for B.
    assert (alarms["heads"], alarms["false_lesions_per_head"]["mean"]) == (2, 2.0)
    low, high = alarms["false_lesions_per_head"]["ci95"]
    assert low <= 2.0 <= high


def test_slices_of_one_head_do_not_make_the_interval_narrower(make_score: MakeScore):
    def share_of(heads: int, slices: int) -> list[float]:
        scores = [
            make_score(f"h{head}-{number}", PixelCounts(0, 50 if head % 4 == 0 else 0, 0, 950), group=f"h{head}")
            for head in range(heads)
            for number in range(slices)
        ]
        return list(describe_false_alarms(scores)["painted"]["ci95"])

    assert share_of(24, 10) == pytest.approx(share_of(24, 1))


def test_without_a_tumour_free_slice_there_is_no_share(make_score: MakeScore):
    alarms = describe_false_alarms([make_score("a", PixelCounts(3, 0, 0, 9))])
    assert alarms["tumour_free_slices"] == 0
    assert math.isnan(alarms["painted"]["share"])
    assert alarms["painted"]["ci95"] is None
    assert (alarms["heads"], alarms["false_lesions_per_head"]) == (1, {"mean": 0.0, "ci95": None})


def test_pooled_dice_adds_the_pixels_of_a_patient(scores: list[CaseScore], make_score: MakeScore):
    unnamed = make_score("c", PixelCounts(50, 0, 0, 0))
    other = make_score("d", PixelCounts(4, 0, 2, 90), patient="p1", source="elsewhere")
    pooled = describe_pooled([*scores, unnamed, other])
    assert pooled is not None
    # p1: 20 / (20 + 35 + 5); p2: 0; p1 of another source: 8 / 10.
    assert (pooled["patients"], pooled["slices"]) == (3, 5)
    assert pooled["dice"]["mean"] == pytest.approx((20 / 60 + 0 + 0.8) / 3)
    assert describe_pooled([unnamed]) is None


def test_the_curve_has_the_models_own_point(make_score: MakeScore):
    counts = PixelCounts(1, 0, 0, 9)
    scores = [
        make_score("a", counts, group="A", marks=SliceMarks(10, 1, (0.9,), (Mark(0.9, 1, 1), Mark(0.77, 2, 0)))),
        make_score("b", counts, group="B", marks=SliceMarks(10, 1, (0.75,), (Mark(0.75, 1, 1),))),
        make_score("c", counts, group="B", marks=SliceMarks(10, 0, (), (Mark(0.79, 1, 0),))),
    ]
    curve = {point["peak_threshold"]: point for point in describe_froc(scores, chosen=0.76)}
    assert list(curve) == sorted(curve)
    assert (curve[0.0]["sensitivity"], curve[0.0]["false_lesions_per_head"]) == (1.0, 1.0)
    assert (curve[0.76]["sensitivity"], curve[0.76]["false_lesions_per_head"]) == (0.5, 1.0)
    assert (curve[0.8]["sensitivity"], curve[0.8]["false_lesions_per_head"]) == (0.5, 0.0)
    assert [curve[peak]["painted"] for peak in (0.76, 0.8)] == [1.0, 0.0]
    # Slice a: 2 of 1 + 3 pixels, then 2 of 1 + 1; slice b: all, then nothing.
    assert [curve[peak]["dice"] for peak in (0.0, 0.8)] == [pytest.approx((0.5 + 1) / 2), pytest.approx((1 + 0) / 2)]
    assert curve[0.8]["painted_ci95"] is None  # one head has tumour-free slices
    low, high = curve[0.8]["sensitivity_ci95"]
    assert low <= 0.5 <= high


def test_the_models_own_point_has_the_false_alarms_of_the_masks(make_score: MakeScore):
    scores = [make_score(name, PixelCounts(0, fp, 0, 1000 - fp)) for name, fp in (("a", 0), ("b", 1), ("c", 9))]
    point = next(point for point in describe_froc(scores, chosen=0.65) if point["peak_threshold"] == 0.65)
    alarms = describe_false_alarms(scores)
    assert (point["painted"], point["painted_ci95"]) == tuple(alarms["painted"].values())

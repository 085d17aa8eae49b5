from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.inference.mask import keep_peaks
from tumortrace.metrics.froc import Mark, OperatingPoint, SliceMarks, measure_marks, trace_operating_points
from tumortrace.metrics.intervals import ratio_interval
from tumortrace.metrics.lesions import count_lesions
from tumortrace.metrics.overlap import count_pixels

# Predicted at 0.5: a lesion of peak 0.9 in the first row, one of 0.6 below it at a corner of none, one of 0.7.
PROBABILITY = np.array(
    [
        [0.9, 0.5, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.6, 0.0],
        [0.4, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.7, 0.0, 0.0],
    ],
    dtype=np.float32,
)


def trace(slices: list[SliceMarks], heads: list[str], *peaks: float) -> tuple[OperatingPoint, ...]:
    return trace_operating_points(slices, heads, alarm_area=0.1, peaks=peaks)


def test_marks_by_hand():
    truth = np.zeros((4, 5), dtype=np.bool_)
    truth[0, 1], truth[2:, 0], truth[1, 3:] = True, True, True
    marks = measure_marks(PROBABILITY >= 0.5, PROBABILITY, truth)
    # In the first row by a pixel of 0.5, whose lesion reaches 0.9; at the left, 0.4 is no lesion; at the right, 0.6.
    assert sorted(marks.found) == pytest.approx([-1.0, 0.6, 0.9])
    assert (marks.frame_px, marks.tumour_px) == (20, 5)
    by_peak = sorted(marks.marks, key=lambda mark: mark.peak)
    assert [(mark.area_px, mark.tumour_px) for mark in by_peak] == [(1, 1), (1, 0), (2, 1)]
    assert [mark.peak for mark in by_peak] == pytest.approx([0.6, 0.7, 0.9])


def test_a_true_lesion_under_two_marks_has_the_higher_peak():
    truth = np.ones((1, 5), dtype=np.bool_)
    probability = np.array([[0.6, 0.0, 0.8, 0.0, 0.55]], dtype=np.float32)
    marks = measure_marks(probability >= 0.5, probability, truth)
    assert marks.found == (pytest.approx(0.8),)
    assert [mark.tumour_px for mark in marks.marks] == [1, 1, 1]


def test_nothing_predicted_and_nothing_there():
    nothing, truth = np.zeros((2, 3), dtype=np.float32), np.array([[True, False, False], [False, False, True]])
    assert measure_marks(nothing >= 0.5, nothing, truth) == SliceMarks(6, 2, (-1.0, -1.0), ())
    empty = measure_marks(nothing >= 0.5, nothing, ~np.ones_like(truth))
    assert empty == SliceMarks(6, 0, (), ())
    assert math.isnan(empty.dice(0.5))


def test_points_by_hand():
    slices = [
        SliceMarks(50, 12, (0.9, -1.0), (Mark(0.9, 6, 6), Mark(0.7, 2, 0))),
        SliceMarks(50, 4, (0.6,), (Mark(0.6, 4, 2),)),
        SliceMarks(50, 0, (), (Mark(0.95, 6, 0), Mark(0.7, 1, 0))),
        SliceMarks(50, 0, (), (Mark(0.7, 5, 0),)),
    ]
    points = trace(slices, ["A", "A", "B", "B"], 0.0, 0.7, 0.8)
    assert [point.sensitivity for point in points] == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    assert [point.false_lesions_per_head for point in points] == [2.0, 2.0, 0.5]
    # 12 of 8 + 12 pixels, 12 of 6 + 12; 4 of 4 + 4, none.
    assert [point.dice for point in points] == pytest.approx([(0.6 + 0.5) / 2, 0.6 / 2, (2 / 3) / 2])
    assert [point.painted for point in points] == [0.5, 0.5, 0.5]  # 5 of 50 px are not over a tenth


def test_intervals_are_over_heads():
    slices = [SliceMarks(9, 1, (0.9 if number % 3 else -1.0,), (Mark(0.9, 1, 1),)) for number in range(12)]
    heads = [f"h{number // 2}" for number in range(12)]
    (point,) = trace(slices, heads, 0.5)
    assert point.sensitivity_ci95 == ratio_interval([float(number % 3 > 0) for number in range(12)], [1.0] * 12, heads)
    assert math.isnan(point.false_lesions_ci95[0])  # all heads have none: a count that agrees has no interval
    (alone,) = trace(slices[:2], ["h", "h"], 0.5)
    assert math.isnan(alone.sensitivity_ci95[0])
    assert math.isnan(alone.false_lesions_ci95[0])


def test_what_is_not_there_is_undefined():
    (point,) = trace([SliceMarks(9, 0, (), (Mark(0.7, 1, 0),))], ["h"], 0.5)
    assert math.isnan(point.sensitivity)
    assert math.isnan(point.dice)
    assert (point.false_lesions_per_head, point.painted) == (1.0, 1.0)
    (point,) = trace([SliceMarks(9, 2, (-1.0,), ())], ["h"], 0.5)
    assert math.isnan(point.painted)
    assert (point.sensitivity, point.dice) == (0.0, 0.0)


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.6, 0.8]))
def test_a_point_has_the_scores_of_the_mask_under_its_threshold(seed: int, peak: float):
    rng = np.random.default_rng(seed)
    probability: NDArray[np.float32] = rng.random((9, 12)).astype(np.float32)
    truth = rng.random((9, 12)) < 0.1
    mask = keep_peaks(probability >= 0.55, probability, peak)
    counts = count_lesions(mask, truth)
    (point,) = trace([measure_marks(probability >= 0.55, probability, truth)], ["h"], peak)
    assert point.false_lesions_per_head == counts.false_lesions
    if counts.true_lesions:
        assert point.sensitivity == pytest.approx(counts.found_lesions / counts.true_lesions)
        assert point.dice == pytest.approx(count_pixels(mask, truth).dice)
    else:
        assert point.painted == float(mask.mean() > 0.1)

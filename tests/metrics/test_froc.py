from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.inference.lesions import keep_peaks
from tumortrace.metrics.froc import FrocPoint, LesionPeaks, froc_curve, measure_peaks
from tumortrace.metrics.lesions import count_lesions

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


def test_peaks_by_hand():
    truth = np.zeros((4, 5), dtype=np.bool_)
    truth[0, 1], truth[2:, 0], truth[1, 3:] = True, True, True
    peaks = measure_peaks(PROBABILITY, truth, threshold=0.5)
    # In the first row by a pixel of 0.5, whose lesion reaches 0.9; at the left, 0.4 is no lesion; at the right, 0.6.
    assert sorted(peaks.found) == pytest.approx([-1.0, 0.6, 0.9])
    assert peaks.false == pytest.approx((0.7,))


def test_a_true_lesion_under_two_marks_has_the_higher_peak():
    truth = np.ones((1, 5), dtype=np.bool_)
    probability = np.array([[0.6, 0.0, 0.8, 0.0, 0.55]], dtype=np.float32)
    assert measure_peaks(probability, truth, threshold=0.5) == LesionPeaks(pytest.approx((0.8,)), ())


def test_nothing_predicted_and_nothing_there():
    nothing, truth = np.zeros((2, 3), dtype=np.float32), np.array([[True, False, False], [False, False, True]])
    assert measure_peaks(nothing, truth, threshold=0.5) == LesionPeaks((-1.0, -1.0), ())
    assert measure_peaks(nothing, ~np.ones_like(truth), threshold=0.5) == LesionPeaks((), ())


def test_a_curve_by_hand():
    cases = [LesionPeaks((0.9, -1.0), (0.7,)), LesionPeaks((0.6,), (0.95, 0.7))]
    assert froc_curve(cases, heads=2, peaks=(0.0, 0.7, 0.8)) == (
        FrocPoint(0.0, pytest.approx(2 / 3), 1.5),
        FrocPoint(0.7, pytest.approx(1 / 3), 1.5),
        FrocPoint(0.8, pytest.approx(1 / 3), 0.5),
    )


def test_without_a_true_lesion_sensitivity_is_undefined():
    (point,) = froc_curve([LesionPeaks((), (0.7,))], heads=1, peaks=(0.5,))
    assert math.isnan(point.sensitivity)
    assert point.false_lesions_per_head == 1.0


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.6, 0.8]))
def test_a_point_counts_what_the_mask_under_its_threshold_has(seed: int, peak: float):
    rng = np.random.default_rng(seed)
    probability: NDArray[np.float32] = rng.random((9, 12)).astype(np.float32)
    truth = rng.random((9, 12)) < 0.1
    mask = keep_peaks(probability >= 0.55, probability, peak)
    counts = count_lesions(mask, truth)
    (point,) = froc_curve([measure_peaks(probability, truth, threshold=0.55)], heads=1, peaks=(peak,))
    assert point.false_lesions_per_head == counts.false_lesions
    if counts.true_lesions:
        assert point.sensitivity == pytest.approx(counts.found_lesions / counts.true_lesions)

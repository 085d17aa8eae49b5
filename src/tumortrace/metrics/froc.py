"""Lesions found and false alarms against the peak threshold: FROC and trade-off.

The peak threshold is the probability that a predicted lesion has to reach somewhere. From the lesions of each slice,
measured once, everything follows that another peak threshold would have given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.intervals import mean_interval, ratio_interval
from tumortrace.metrics.lesions import label_lesions

PEAKS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99)
"""Peak thresholds at which the curves are measured."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A predicted lesion.

    Attributes:
        peak: Highest probability in it.
        area_px: Number of pixels.
        tumour_px: Number of its pixels that are tumour; 0 for a false lesion.
    """

    peak: float
    area_px: int
    tumour_px: int


@dataclass(frozen=True)
class SliceMarks:
    """The lesions of one slice, before any peak threshold is applied.

    Attributes:
        frame_px: Number of pixels of the slice.
        tumour_px: Number of tumour pixels of the truth.
        found: Highest probability of the predicted lesions that touch each true lesion; -1 if none does.
        marks: Predicted lesions.
    """

    frame_px: int
    tumour_px: int
    found: tuple[float, ...]
    marks: tuple[Mark, ...]

    def false_lesions(self, peak: float) -> int:
        """Count the predicted lesions of at least this peak that touch no tumour."""
        return sum(mark.peak >= peak and not mark.tumour_px for mark in self.marks)

    def predicted_px(self, peak: float) -> int:
        """Count the pixels of the predicted lesions of at least this peak."""
        return sum(mark.area_px for mark in self.marks if mark.peak >= peak)

    def dice(self, peak: float) -> float:
        """Dice of the predicted lesions of at least this peak; NaN if these and the truth are empty."""
        sizes = self.predicted_px(peak) + self.tumour_px
        right = sum(mark.tumour_px for mark in self.marks if mark.peak >= peak)
        return 2 * right / sizes if sizes else math.nan


@dataclass(frozen=True)
class OperatingPoint:
    """The scores under one peak threshold, with 95 % intervals over heads.

    Attributes:
        peak_threshold: The peak threshold.
        sensitivity: Fraction of the true lesions that is found; NaN without a true lesion.
        sensitivity_ci95: Its interval; NaN where undefined, as for all intervals.
        false_lesions_per_head: Mean number of false lesions per head.
        false_lesions_ci95: Its interval.
        dice: Mean Dice of the slices with tumour; NaN without one.
        dice_ci95: Its interval.
        painted: Fraction of the tumour-free slices with a false alarm; NaN without one.
        painted_ci95: Its interval.
    """

    peak_threshold: float
    sensitivity: float
    sensitivity_ci95: Interval
    false_lesions_per_head: float
    false_lesions_ci95: Interval
    dice: float
    dice_ci95: Interval
    painted: float
    painted_ci95: Interval


def measure_marks(mask: NDArray[np.bool_], probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> SliceMarks:
    """Measure the lesions of one slice.

    Args:
        mask: The prediction before any peak threshold, shape (H, W), bool.
        probability: Probability of tumour, shape (H, W), float32 in [0, 1].
        truth: Shape (H, W), bool.
    """
    predicted, true = label_lesions(mask), label_lesions(truth)
    marked = predicted.labels > 0
    both = marked & truth
    peaks, found = np.zeros(predicted.count + 1), np.full(true.count + 1, -1.0)
    np.maximum.at(peaks, predicted.labels[marked], probability[marked])
    np.maximum.at(found, true.labels[both], peaks[predicted.labels[both]])
    right_px = np.bincount(predicted.labels[both], minlength=predicted.count + 1)
    each = zip(peaks[1:], predicted.areas_px, right_px[1:], strict=True)
    marks = tuple(Mark(float(peak), int(area), int(right)) for peak, area, right in each)
    return SliceMarks(truth.size, int(true.areas_px.sum()), tuple(found[1:].tolist()), marks)


def trace_operating_points(
    slices: Sequence[SliceMarks], heads: Sequence[str], *, alarm_area: float, peaks: Sequence[float] = PEAKS
) -> tuple[OperatingPoint, ...]:
    """Measure the scores under each peak threshold.

    Args:
        slices: Lesions of each slice, at least one slice.
        heads: Name of the head that each slice shows.
        alarm_area: Fraction of the frame above which a mask on a tumour-free slice is a false alarm.
        peaks: Peak thresholds, in rising order.
    """
    pairs = list(zip(slices, heads, strict=True))
    return tuple(_measure(pairs, peak, alarm_area) for peak in peaks)


_Pairs = Sequence[tuple[SliceMarks, str]]


def _measure(pairs: _Pairs, peak: float, alarm_area: float) -> OperatingPoint:
    ill = [pair for pair in pairs if pair[0].tumour_px]
    free = [pair for pair in pairs if not pair[0].tumour_px]
    sensitivity = _rate(ill, lambda each: sum(reached >= peak for reached in each.found), lambda each: len(each.found))
    dice = _rate(ill, lambda each: each.dice(peak), lambda _: 1)
    alarms = _rate(free, lambda each: each.predicted_px(peak) > alarm_area * each.frame_px, lambda _: 1)
    false: dict[str, int] = {}
    for each, head in pairs:
        false[head] = false.get(head, 0) + each.false_lesions(peak)
    return OperatingPoint(
        peak_threshold=peak,
        sensitivity=sensitivity[0],
        sensitivity_ci95=sensitivity[1],
        false_lesions_per_head=sum(false.values()) / len(false),
        false_lesions_ci95=mean_interval(list(false.values()), list(false), shares=False),
        dice=dice[0],
        dice_ci95=dice[1],
        painted=alarms[0],
        painted_ci95=alarms[1],
    )


def _rate(
    pairs: _Pairs, top: Callable[[SliceMarks], float], bottom: Callable[[SliceMarks], float]
) -> tuple[float, Interval]:
    """Divide two sums over slices; the interval is over heads. NaN without slices."""
    if not pairs:
        return math.nan, (math.nan, math.nan)
    tops, bottoms = [float(top(each)) for each, _ in pairs], [float(bottom(each)) for each, _ in pairs]
    return sum(tops) / sum(bottoms), ratio_interval(tops, bottoms, [head for _, head in pairs])

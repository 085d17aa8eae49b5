"""Free-response ROC (FROC): lesions found against false lesions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.lesions import label_lesions

PEAKS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99)
"""Peak thresholds at which the curve is measured."""


@dataclass(frozen=True)
class LesionPeaks:
    """Highest probabilities of the lesions of one case, before any peak threshold is applied.

    Attributes:
        found: Highest probability of the predicted lesions that touch each true lesion; -1 if none does.
        false: Highest probability of each predicted lesion that touches no tumour.
    """

    found: tuple[float, ...]
    false: tuple[float, ...]


@dataclass(frozen=True)
class FrocPoint:
    """One point of the curve.

    Attributes:
        peak_threshold: Probability that a predicted lesion has to reach somewhere.
        sensitivity: Fraction of the true lesions that is found; NaN without a true lesion.
        false_lesions_per_head: Mean number of false lesions per head.
    """

    peak_threshold: float
    sensitivity: float
    false_lesions_per_head: float


def measure_peaks(probability: NDArray[np.float32], truth: NDArray[np.bool_], *, threshold: float) -> LesionPeaks:
    """Measure the highest probabilities of one case's lesions.

    Args:
        probability: Probability of tumour, shape (H, W), float32 in [0, 1].
        truth: Shape (H, W), bool.
        threshold: Probability from which a pixel counts as tumour.
    """
    predicted, true = label_lesions(probability >= threshold), label_lesions(truth)
    peaks = np.zeros(predicted.count + 1)
    marked = predicted.labels > 0
    np.maximum.at(peaks, predicted.labels[marked], probability[marked])
    both = marked & truth
    found = np.full(true.count + 1, -1.0)
    np.maximum.at(found, true.labels[both], peaks[predicted.labels[both]])
    false = np.setdiff1d(np.arange(1, predicted.count + 1), predicted.labels[both])
    return LesionPeaks(tuple(found[1:].tolist()), tuple(peaks[false].tolist()))


def froc_curve(cases: Sequence[LesionPeaks], *, heads: int, peaks: Sequence[float] = PEAKS) -> tuple[FrocPoint, ...]:
    """Count found and false lesions at each peak threshold.

    Args:
        cases: One per slice.
        heads: Number of heads that the slices show.
        peaks: Peak thresholds, in rising order.
    """
    found = np.array([peak for case in cases for peak in case.found])
    false = np.array([peak for case in cases for peak in case.false])
    return tuple(
        FrocPoint(
            peak_threshold=peak,
            sensitivity=float((found >= peak).mean()) if len(found) else math.nan,
            false_lesions_per_head=float((false >= peak).sum() / heads),
        )
        for peak in peaks
    )

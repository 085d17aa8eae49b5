"""Calibration of probabilities, with the temperature and thresholds.

Everything is computed from a histogram of logits for each case, so that thousands of cases fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

Floats = NDArray[np.float64]

BAND_SHARE = 0.05
"""Width of the band around tumour and prediction, as a fraction of the picture's longer side.

Far from both, almost every pixel is trivially correct.
"""

RELIABILITY_BINS = 15

FALSE_ALARM_AREA = 0.001
"""Fraction of the frame above which a mask on a tumour-free slice is a false alarm."""

ACCEPTED_ALARMS = 0.05
"""Fraction of tumour-free slices on which a false alarm is accepted."""

LEAST_REACHED = 0.5
"""Fraction of the cases with tumour that have to reach a peak threshold in their tumour; fewer silence the model."""

EQUAL_DICE = 0.005
"""Difference in mean Dice that does not choose between thresholds: two seeds of a training differ by more."""

_BINS = 320
_LIMIT = 16.0  # logits beyond it, probabilities within 1e-7 of 0 or 1, count as it
_EDGES = np.linspace(-_LIMIT, _LIMIT, _BINS + 1)
_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2
_THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)
_PEAKS = (0.5, 0.6, 0.7, 0.8, 0.825, 0.85, 0.875, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99)
_SHARPNESS = (1 / 20, 20.0)  # lowest and highest inverse of a temperature


@dataclass(frozen=True, eq=False)
class CaseHistogram:
    """Pixels of one case, counted by truth and logit.

    Attributes:
        whole: All pixels of the picture, shape (2, 320), int32: row 0 background, row 1 tumour; a bin is 0.1 wide.
        band: Pixels within the band around tumour and prediction, likewise.
    """

    whole: NDArray[np.int32]
    band: NDArray[np.int32]


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels of similar probability.

    Attributes:
        low: Lower end of the bin.
        high: Upper end of the bin.
        pixels: Number of pixels.
        mean_probability: Mean probability of the pixels; NaN without pixels.
        tumour_share: Fraction of the pixels that is tumour; NaN without pixels.
    """

    low: float
    high: float
    pixels: int
    mean_probability: float
    tumour_share: float


def count_logits(probability: NDArray[np.float32], mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> CaseHistogram:
    """Count the pixels of a case by truth and by logit, log(p / (1 - p)).

    Args:
        probability: Probability of tumour, shape (H, W), float32 in [0, 1].
        mask: The predicted mask, shape (H, W), bool.
        truth: Shape (H, W), bool.

    Returns:
        Histograms; that of the band is 0 where mask and truth are both empty.
    """
    logits = logit(np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9))
    bins = np.clip(np.floor((logits + _LIMIT) * (_BINS / (2 * _LIMIT))).astype(np.intp), 0, _BINS - 1)
    bins += _BINS * truth
    band = _band(mask | truth)
    return CaseHistogram(_count(bins), _count(bins[band]))


def fit_temperature(histograms: Sequence[CaseHistogram]) -> float:
    """Return the temperature that makes the probabilities in the bands most likely (Guo et al. 2017).

    Each case weighs the same, so that large tumours do not decide alone. The negative log-likelihood is convex in
    1 / T; the zero of its slope is found by Brent's method.

    Args:
        histograms: Predictions on cases that the model was not trained on.

    Returns:
        Between 0.05 and 20; 1 if no case has a band.
    """
    shares = [each.band / each.band.sum() for each in histograms if each.band.sum()]
    if not shares:
        return 1.0
    background, tumour = np.sum(shares, axis=0)

    def slope(sharpness: float) -> float:
        expected = expit(sharpness * _CENTRES)
        return float(((background + tumour) * expected * _CENTRES).sum() - (tumour * _CENTRES).sum())

    low, high = _SHARPNESS
    if slope(low) >= 0:
        return 1 / low
    if slope(high) <= 0:
        return 1 / high
    return 1 / float(brentq(slope, low, high))


def reliability(
    histograms: Sequence[CaseHistogram], temperature: float | Sequence[float]
) -> tuple[ReliabilityBin, ...]:
    """Compare the mean probability with the fraction of tumour, in bins of equal width, over the pixels of all bands.

    Args:
        histograms: One per case; without a case, or without a band, the bins have no pixels.
        temperature: Divisor of the logits, the same for all cases or one for each.

    Returns:
        15 bins from 0 to 1. Centres of the histogram's bins stand for logits: a probability is off by 0.0125 at most.
    """
    divisors = np.broadcast_to(np.asarray(temperature, dtype=np.float64), len(histograms))
    pixels, sums, tumours = np.zeros((3, RELIABILITY_BINS))
    for divisor in np.unique(divisors):
        bands = (each.band.astype(np.int64) for each, own in zip(histograms, divisors, strict=True) if own == divisor)
        background, tumour = sum(bands, np.zeros((2, _BINS), np.int64))
        probabilities = expit(_CENTRES / divisor)
        which = np.minimum((probabilities * RELIABILITY_BINS).astype(np.intp), RELIABILITY_BINS - 1)
        pixels += np.bincount(which, background + tumour, RELIABILITY_BINS)
        sums += np.bincount(which, (background + tumour) * probabilities, RELIABILITY_BINS)
        tumours += np.bincount(which, tumour, RELIABILITY_BINS)
    return tuple(
        ReliabilityBin(
            low=index / RELIABILITY_BINS,
            high=(index + 1) / RELIABILITY_BINS,
            pixels=int(pixels[index]),
            mean_probability=float(sums[index] / pixels[index]) if pixels[index] else math.nan,
            tumour_share=float(tumours[index] / pixels[index]) if pixels[index] else math.nan,
        )
        for index in range(RELIABILITY_BINS)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean distance of probability and fraction of tumour, weighted by pixels (Naeini et al. 2015).

    Args:
        bins: Bins from ``reliability``; without pixels the error is NaN.
    """
    total = sum(each.pixels for each in bins)
    gaps = (each.pixels * abs(each.mean_probability - each.tumour_share) for each in bins if each.pixels)
    return sum(gaps) / total if total else math.nan


def choose_threshold(histograms: Sequence[CaseHistogram], temperature: float) -> float:
    """Return the threshold nearest to 0.5 with nearly the highest mean Dice, from 0.05 to 0.95 in steps of 0.05.

    The mean is over the cases with tumour. Many thresholds are within ``EQUAL_DICE`` of the highest, and chance would
    choose among them, while they differ in the tumours that they miss (docs/decisions/0040). Of two as near to 0.5 the
    lower one wins.

    The logit of a threshold, before the temperature, is rounded up to the next edge of the histogram, a multiple of
    0.1; Dice is exact there. A logit beyond the histogram counts as its first or last bin.

    Args:
        histograms: Predictions on cases that the model was not trained on; those without tumour do not count.
        temperature: Divisor of the logits; thresholds are probabilities after it.

    Returns:
        0.5 without a case with tumour.
    """
    ill = [each.whole for each in histograms if each.whole[1].any()]
    if not ill:
        return 0.5
    # Tumour and background pixels at or above each edge, shape (cases, 320).
    above = np.cumsum(np.stack(ill)[:, :, ::-1], axis=2)[:, :, ::-1]
    edges = _edge(_THRESHOLDS, temperature)
    tp, fp = above[:, 1, edges], above[:, 0, edges]
    dices = (2 * tp / (tp + fp + above[:, 1, :1])).mean(axis=0)
    return float(_THRESHOLDS[find_nearest_to_half(_THRESHOLDS, dices)])


def find_nearest_to_half(thresholds: Floats, dices: Floats) -> int:
    """Return the index of the threshold nearest to 0.5 whose mean Dice is within ``EQUAL_DICE`` of the highest.

    Args:
        thresholds: Rising, shape (N,), at least one.
        dices: Mean Dice at each, shape (N,).

    Returns:
        Of two as near to 0.5 that of the lower one.
    """
    good = np.flatnonzero(dices >= dices.max() - EQUAL_DICE)
    return int(good[np.argmin(np.round(np.abs(thresholds[good] - 0.5), 6))])


def choose_peak_threshold(histograms: Sequence[CaseHistogram], temperature: float, threshold: float) -> float:
    """Return the lowest peak threshold with at most ``ACCEPTED_ALARMS`` on tumour-free cases.

    The count uses the highest probability of the whole case. A case may have several lesions, each of which has to
    reach the peak threshold by itself, so the fraction of false alarms is at most the one counted here. Only peak
    thresholds count that ``LEAST_REACHED`` of the cases with tumour reach.

    Args:
        histograms: Predictions on cases that the model was not trained on.
        temperature: Divisor of the logits; thresholds are probabilities after it.
        threshold: Probability above which a pixel counts as tumour.

    Returns:
        0 if false alarms are few without it, or no case is free of tumour; the highest that counts if none suffices.
    """
    healthy = np.array([each.whole[0] for each in histograms if not each.whole[1].any()]).reshape(-1, _BINS)
    above = np.cumsum(healthy[:, ::-1], axis=1)[:, ::-1]
    marked = above[:, _edge(threshold, temperature)] > FALSE_ALARM_AREA * above[:, 0]
    tumours = np.array([each.whole[1] for each in histograms if each.whole[1].any()]).reshape(-1, _BINS)
    chosen = 0.0
    for peak in (0.0, *(peak for peak in _PEAKS if peak > threshold)):
        edge = _edge(peak, temperature) if peak else 0
        if tumours[:, edge:].any(axis=1).sum() < LEAST_REACHED * len(tumours):
            break
        chosen = peak
        if (marked & (above[:, edge] > 0)).sum() <= ACCEPTED_ALARMS * len(healthy):
            break
    return chosen


def _band(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not marked.any():
        return marked
    distance_px = cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance_px <= BAND_SHARE * max(marked.shape))


def _count(bins: NDArray[np.intp]) -> NDArray[np.int32]:
    return np.bincount(bins.ravel(), minlength=2 * _BINS).astype(np.int32).reshape(2, _BINS)


def _edge(probability: Floats | float, temperature: float) -> NDArray[np.intp]:
    """Return the first bin whose logits, divided by the temperature, reach a probability."""
    return np.asarray(np.clip(np.searchsorted(_EDGES, temperature * logit(probability) - 1e-9), 0, _BINS - 1))

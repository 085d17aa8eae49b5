"""Whether probabilities mean what they say, and what follows: temperature, threshold, and a confidence for each mask.

Everything is computed from a histogram of logits for each case, so that thousands of cases fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BAND_SHARE = 0.05
"""Width of the band around tumour and prediction, as a share of the picture's longer side: elsewhere all is easy."""

RELIABILITY_BINS = 15

PAINTED = 0.001
"""Share of the frame above which a mask on a tumour-free slice is a false alarm."""

FALSE_ALARMS = 0.05
"""Share of tumour-free slices that may be painted."""

_BINS = 320
_LIMIT = 16.0  # logits beyond it, probabilities within 1e-7 of 0 or 1, count as it
_EDGES = np.linspace(-_LIMIT, _LIMIT, _BINS + 1)
_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2
_THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)
_PEAKS = (0.5, 0.6, 0.7, 0.8, 0.825, 0.85, 0.875, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99)
_RIDGE = 1e-2
_FEWEST = 20  # masks from which the weights of the confidence can be told
_POINTS = 50


@dataclass(frozen=True, eq=False)
class CaseHistogram:
    """Pixels of one case by truth and logit.

    Attributes:
        whole: Of the whole picture, shape (2, 320), int32: row 0 background, row 1 tumour; a bin is 0.1 wide.
        band: Of those within the band around tumour and prediction.
    """

    whole: NDArray[np.int32]
    band: NDArray[np.int32]


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels of similar probability.

    Attributes:
        low: Lower end of the bin.
        high: Upper end.
        pixels: How many.
        mean_probability: Of them; NaN without pixels.
        tumour_share: How many of them are tumour; NaN without pixels.
    """

    low: float
    high: float
    pixels: int
    mean_probability: float
    tumour_share: float


@dataclass(frozen=True)
class RiskPoint:
    """What remains when the least confident masks are set aside.

    Attributes:
        coverage: Share of the masks that is kept, 0 to 1.
        mean_dice: Of those.
        low_dice_share: How many of those have a low Dice.
    """

    coverage: float
    mean_dice: float
    low_dice_share: float


def count_logits(probability: NDArray[np.float32], mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> CaseHistogram:
    """Count the pixels of a case by truth and by logit, log(p / (1 - p)).

    Args:
        probability: Of tumour, shape (H, W), float32 in [0, 1].
        mask: That was predicted, shape (H, W), bool.
        truth: Shape (H, W), bool.

    Returns:
        Histograms; that of the band is 0 where mask and truth are both empty.
    """
    p = np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9)
    logits = np.log(p) - np.log1p(-p)
    bins = np.clip(np.floor((logits + _LIMIT) * (_BINS / (2 * _LIMIT))).astype(np.intp), 0, _BINS - 1)
    bins += _BINS * truth
    band = _band(mask | truth)
    return CaseHistogram(_count(bins), _count(bins[band]))


def fit_temperature(histograms: Sequence[CaseHistogram]) -> float:
    """The temperature that makes the probabilities in the bands most likely (Guo et al. 2017).

    Each case weighs the same, so that large tumours do not decide alone. The loss is convex in 1 / T; its slope is
    bisected.

    Args:
        histograms: Of predictions on cases that the model did not learn from.

    Returns:
        Between 0.05 and 20; 1 if no case has a band.
    """
    shares = [each.band / each.band.sum() for each in histograms if each.band.sum()]
    if not shares:
        return 1.0
    background, tumour = np.sum(shares, axis=0)
    low, high = 1 / 20, 20.0
    for _ in range(60):
        sharpness = math.sqrt(low * high)
        expected = _sigmoid(sharpness * _CENTRES)
        slope = float(((background + tumour) * expected * _CENTRES).sum() - (tumour * _CENTRES).sum())
        low, high = (sharpness, high) if slope < 0 else (low, sharpness)
    return 1 / math.sqrt(low * high)


def reliability(histograms: Sequence[CaseHistogram], temperature: float) -> tuple[ReliabilityBin, ...]:
    """Mean probability against the share of tumour, in bins of equal width, over the pixels of all bands.

    Args:
        histograms: None, or none with a band, gives bins without pixels.
        temperature: By which logits are divided first.

    Returns:
        15 bins from 0 to 1. Centres of the histogram's bins stand for logits: a probability is off by 0.0125 at most.
    """
    background, tumour = sum((each.band.astype(np.int64) for each in histograms), np.zeros((2, _BINS), np.int64))
    probabilities = _sigmoid(_CENTRES / temperature)
    which = np.minimum((probabilities * RELIABILITY_BINS).astype(np.intp), RELIABILITY_BINS - 1)
    pixels = np.bincount(which, background + tumour, RELIABILITY_BINS)
    sums = np.bincount(which, (background + tumour) * probabilities, RELIABILITY_BINS)
    tumours = np.bincount(which, tumour, RELIABILITY_BINS)
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
    """Mean distance of probability and share of tumour, weighted by pixels (Naeini et al. 2015); NaN without pixels."""
    total = sum(each.pixels for each in bins)
    gaps = (each.pixels * abs(each.mean_probability - each.tumour_share) for each in bins if each.pixels)
    return sum(gaps) / total if total else math.nan


def choose_threshold(histograms: Sequence[CaseHistogram], temperature: float) -> float:
    """The threshold with the highest mean Dice, from 0.05 to 0.95 in steps of 0.05.

    A threshold's logit before the temperature is rounded up to the next edge of the histogram, a multiple of 0.1; from
    there Dice is exact. One beyond the histogram counts as its first or last bin. Cases without tumour count as 1 where
    nothing is marked and 0 elsewhere. Of equals, the one nearest to 0.5, then the lower.

    Args:
        histograms: Of predictions on cases that the model did not learn from.
        temperature: The thresholds are probabilities after it is applied.

    Returns:
        0.5 without a case.
    """
    if not histograms:
        return 0.5
    # Tumour and background pixels at or above each edge, shape (cases, 320).
    above = np.cumsum(np.stack([each.whole for each in histograms])[:, :, ::-1], axis=2)[:, :, ::-1]
    truth = above[:, 1, 0]
    edges = _edge(_THRESHOLDS, temperature)
    tp, fp = above[:, 1, edges], above[:, 0, edges]
    sums = tp + fp + truth[:, None]
    dices = np.where(sums > 0, 2 * tp / np.maximum(sums, 1), 1.0).mean(axis=0)
    best = np.flatnonzero(dices >= dices.max() - 1e-12)
    return float(_THRESHOLDS[best[np.argmin(np.abs(_THRESHOLDS[best] - 0.5))]])


def choose_peak_threshold(histograms: Sequence[CaseHistogram], temperature: float, threshold: float) -> float:
    """The lowest peak threshold under which few tumour-free cases are painted (``FALSE_ALARMS``, ``PAINTED``).

    Told from the highest probability of the whole case: a case may have several lesions, each of which has to reach the
    peak by itself, so that the share that is painted in the end is at most the one counted here.

    Args:
        histograms: Of predictions on cases that the model did not learn from.
        temperature: Thresholds are probabilities after it is applied.
        threshold: Of a pixel.

    Returns:
        0 if few are painted anyway, or no case is free of tumour; the highest of the list if none is high enough.
    """
    healthy = np.array([each.whole[0] for each in histograms if not each.whole[1].any()]).reshape(-1, _BINS)
    above = np.cumsum(healthy[:, ::-1], axis=1)[:, ::-1]
    painted = above[:, _edge(threshold, temperature)] > PAINTED * above[:, 0]
    for peak in (0.0, *(peak for peak in _PEAKS if peak > threshold)):
        reached = above[:, _edge(peak, temperature)] > 0 if peak else True
        if (painted & reached).sum() <= FALSE_ALARMS * len(healthy):
            return peak
    return _PEAKS[-1]


def fit_confidence(features: Floats, dices: Floats) -> tuple[float, ...]:
    """Weights under which the confidence predicts Dice: a fractional logistic regression (Papke and Wooldridge 1996).

    Args:
        features: Of masks on cases that the model did not learn from, shape (N, F), float64.
        dices: Shape (N,), in [0, 1]; an empty mask of a tumour-free slice is right, and counts as 1.

    Returns:
        The constant, then one weight a feature. A small ridge keeps weights finite where a feature never varies. With
        fewer than 20 masks features weigh nothing, and the confidence is the mean Dice (within 0.001 of 0 and 1).

    Raises:
        ValueError: There is no mask, or a Dice is NaN.
    """
    if not len(dices) or np.isnan(dices).any():
        raise ValueError(
            f"{len(dices)} masks, {int(np.isnan(dices).sum())} with a Dice of NaN: give at least one, none NaN"
        )
    if len(dices) < _FEWEST:
        return (float(_logit(np.clip(dices.mean(), 0.001, 0.999))), *[0.0] * features.shape[1])
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    design = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    penalty = np.diag([1e-6, *[_RIDGE] * features.shape[1]]) * len(features)
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        expected = _sigmoid(design @ weights)
        slope = design.T @ (expected - dices) + penalty @ weights
        curvature = design.T @ (design * (expected * (1 - expected))[:, None]) + penalty
        step = np.linalg.solve(curvature, slope)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    slopes = weights[1:] / spread
    return (float(weights[0] - slopes @ mean), *(float(slope) for slope in slopes))


def risk_coverage(confidences: Sequence[float], dices: Sequence[float], *, low: float = 0.5) -> tuple[RiskPoint, ...]:
    """The quality of the masks that remain when the least confident are set aside (El-Yaniv and Wiener 2010).

    Args:
        confidences: One a mask.
        dices: One a mask; NaN is left out.
        low: Below it a Dice is low.

    Returns:
        At most 50 points, from all masks to the most confident ones; none without a mask.
    """
    confident = _by_confidence(confidences, dices)[::-1]
    count = len(confident)
    kept = sorted({max(1, round(count * step / _POINTS)) for step in range(1, _POINTS + 1)} if count else set())
    return tuple(
        RiskPoint(number / count, float(confident[:number].mean()), float((confident[:number] < low).mean()))
        for number in reversed(kept)
    )


def caught_share(
    confidences: Sequence[float], dices: Sequence[float], *, flagged: float = 0.2, low: float = 0.5
) -> float:
    """Of the masks with a low Dice, the share among the flagged least confident ones; NaN if there is none."""
    ordered = _by_confidence(confidences, dices)
    bad = ordered < low
    return float(bad[: round(flagged * len(ordered))].sum() / bad.sum()) if bad.any() else math.nan


def _by_confidence(confidences: Sequence[float], dices: Sequence[float]) -> Floats:
    """Dice from the least to the most confident mask; ties keep their order."""
    values = np.asarray(dices, dtype=np.float64)
    order = np.argsort(np.asarray(confidences, dtype=np.float64), kind="stable")
    return np.asarray(values[order][~np.isnan(values[order])])


def _band(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not marked.any():
        return marked
    distance_px = cv2.distanceTransform((~marked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance_px <= BAND_SHARE * max(marked.shape))


def _count(bins: NDArray[np.intp]) -> NDArray[np.int32]:
    return np.bincount(bins.ravel(), minlength=2 * _BINS).astype(np.int32).reshape(2, _BINS)


def _edge(probability: Floats | float, temperature: float) -> NDArray[np.intp]:
    """The first bin whose logits, divided by the temperature, reach a probability."""
    return np.clip(np.searchsorted(_EDGES, temperature * _logit(probability) - 1e-9), 0, _BINS - 1)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def _logit(probabilities: Floats | float) -> Floats:
    return np.asarray(np.log(probabilities) - np.log1p(-probabilities))

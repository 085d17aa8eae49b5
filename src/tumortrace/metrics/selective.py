"""Selective prediction: confidence of a mask, and the worth of review."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

Floats = NDArray[np.float64]

_RIDGE = 1e-2
_FEWEST = 20  # masks from which the weights of the confidence can be estimated
_POINTS = 50

LOW_DICE = 0.5
"""Dice below which a mask is bad."""


@dataclass(frozen=True)
class RiskPoint:
    """The masks that remain when the least confident ones are set aside.

    Attributes:
        coverage: Fraction of the masks that is kept, 0 to 1.
        mean_dice: Mean Dice of the kept masks.
        low_dice_share: Fraction of the kept masks that has a low Dice.
    """

    coverage: float
    mean_dice: float
    low_dice_share: float


def fit_confidence(features: Floats, dices: Floats) -> tuple[float, ...]:
    """Fit the weights under which the confidence predicts Dice.

    This is a fractional logistic regression (Papke and Wooldridge 1996) with a small ridge penalty, which keeps the
    weights finite where a feature never varies.

    Args:
        features: Features of masks on cases that the model was not trained on, shape (N, F), float64.
        dices: Dice of these masks, shape (N,), in [0, 1]; an empty mask of a tumour-free slice counts as 1.

    Returns:
        The constant, then one weight per feature. With fewer than 20 masks all weights are 0, and the confidence is the
        mean Dice (within 0.001 of 0 and 1).

    Raises:
        ValueError: There is no mask, or a Dice is NaN.
    """
    if not len(dices) or np.isnan(dices).any():
        raise ValueError(
            f"{len(dices)} masks, {int(np.isnan(dices).sum())} with a Dice of NaN: give at least one, none NaN"
        )
    if len(dices) < _FEWEST:
        return (float(logit(np.clip(dices.mean(), 0.001, 0.999))), *[0.0] * features.shape[1])
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    design = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    penalty = np.diag([1e-6, *[_RIDGE] * features.shape[1]]) * len(features)
    weights = _minimise_logistic_loss(design, dices, penalty)
    slopes = weights[1:] / spread
    return (float(weights[0] - slopes @ mean), *(float(slope) for slope in slopes))


def risk_coverage(confidences: Sequence[float], dices: Sequence[float]) -> tuple[RiskPoint, ...]:
    """Measure the masks that remain when the least confident ones are set aside (El-Yaniv and Wiener 2010).

    Args:
        confidences: One value per mask.
        dices: One value per mask; masks with NaN are omitted.

    Returns:
        At most 50 points, from all masks to the most confident ones; none without a mask.
    """
    means, lows = (each[::-1] for each in _by_confidence(confidences, dices))
    count = len(means)
    kept = sorted({max(1, round(count * step / _POINTS)) for step in range(1, _POINTS + 1)} if count else set())
    return tuple(
        RiskPoint(number / count, float(means[:number].mean()), float(lows[:number].mean()))
        for number in reversed(kept)
    )


def caught_share(confidences: Sequence[float], dices: Sequence[float], *, flagged: float) -> float:
    """Return the fraction of the bad masks that is among the least confident ones; NaN without a bad mask.

    Args:
        confidences: One value per mask.
        dices: One value per mask; masks with NaN are omitted.
        flagged: Fraction of the masks that is reviewed, least confident first.
    """
    _, bad = _by_confidence(confidences, dices)
    return float(bad[: round(flagged * len(bad))].sum() / bad.sum()) if bad.any() else math.nan


def _minimise_logistic_loss(design: Floats, targets: Floats, penalty: Floats) -> Floats:
    """Minimise the cross-entropy of targets in [0, 1] plus a quadratic penalty, by Newton steps in a trust region."""

    def loss(weights: Floats) -> float:
        scores = design @ weights
        return float(np.sum(np.logaddexp(0, scores) - targets * scores) + weights @ penalty @ weights / 2)

    def slope(weights: Floats) -> Floats:
        return np.asarray(design.T @ (expit(design @ weights) - targets) + penalty @ weights)

    def curvature(weights: Floats) -> Floats:
        expected = expit(design @ weights)
        return np.asarray(design.T @ (design * (expected * (1 - expected))[:, None]) + penalty)

    found = minimize(
        loss, np.zeros(design.shape[1]), jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-9}
    )
    return np.asarray(found.x, dtype=np.float64)


def _by_confidence(confidences: Sequence[float], dices: Sequence[float]) -> tuple[Floats, Floats]:
    """Return the Dice of each mask, and whether it is low (1 or 0), from the least to the most confident mask.

    Masks of equal confidence each get the mean over all of these, which is what chance would give: the order of the
    files says nothing.
    """
    values = np.asarray(dices, dtype=np.float64)
    known = ~np.isnan(values)
    _, level = np.unique(np.asarray(confidences, dtype=np.float64)[known], return_inverse=True)
    counts = np.bincount(level)
    means, lows = (np.bincount(level, each[known]) / counts for each in (values, values < LOW_DICE))
    return np.repeat(means, counts), np.repeat(lows, counts)

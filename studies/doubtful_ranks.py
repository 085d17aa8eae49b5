"""Ways to rank outlines by the probabilities of a held-out model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumortrace.evaluation.doubtful import measure_doubt

WRONG = 0.5
"""Dice with the second outline below which an outline counts as wrong."""

MARKED = 0.5
"""Probability from which a pixel counts as marked."""

_THRESHOLDS = np.linspace(0.1, 0.9, 17)

Masks = NDArray[np.bool_]


def rank(truths: Masks, levels: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Return the doubt of each outline, by the ways of ranking; both arrays have the shape (N, H, W)."""
    truth, level = (each.reshape(len(each), -1).astype(np.float64) for each in (truths, levels))
    mask = (level >= MARKED).astype(np.float64)
    dice = 2 * (truth * mask).sum(1) / np.maximum(truth.sum(1) + mask.sum(1), 1)
    soft = 2 * (truth * level).sum(1) / np.maximum(truth.sum(1) + (level**2).sum(1), 1e-6)
    expected = 2 * (mask * level).sum(1) / np.maximum(mask.sum(1) + level.sum(1), 1e-6)
    expected = np.where(mask.any(1), expected, 1 - level.max(1))
    outside, inside = (level * (1 - truth)).max(1), (level * truth).max(1)
    return {
        "1 - Dice": 1 - dice,
        "(1 - Dice) (1 + s) / 2": (1 - dice) * (1 + np.maximum(outside, 1 - inside)) / 2,
        "1 - soft Dice": 1 - soft,
        "expected Dice - soft Dice": expected - soft,
        "expected Dice x (1 - Dice)": expected * (1 - dice),
        "expected Dice x (1 - soft Dice)": expected * (1 - soft),
        "root of expected Dice x (1 - soft Dice)": np.sqrt(expected) * (1 - soft),
        "the doubt": np.array([measure_doubt(each >= MARKED, each, t) for t, each in zip(truths, levels, strict=True)]),
        "1 - best Dice at any threshold": 1 - _find_best(truth, level),
    }


def _find_best(truth: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the highest Dice of each outline with the mask at any threshold; both have the shape (N, pixels)."""
    best = np.zeros(len(truth))
    for threshold in _THRESHOLDS:
        mask = level >= threshold
        best = np.maximum(best, 2 * (truth * mask).sum(1) / np.maximum(truth.sum(1) + mask.sum(1), 1))
    return best

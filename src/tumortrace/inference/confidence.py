"""Confidence in a mask: its expected Dice, from its probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

FEATURES = (
    "mean probability over the mask",
    "expected Dice",
    "stability",
    "log of the expected area",
    "empty mask",
    "logit of the highest probability of an empty mask",
)
"""What ``mask_features`` measures, in order."""

_LOW, _HIGH = 0.3, 0.7  # a mask that hardly changes between these thresholds has a sharp border
_SMALLEST = 1e-5  # of the frame: less is as good as nothing
_FAINTEST = 1e-6  # probability that is as good as 0; its logit is finite


def mask_features(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Describe a prediction by what may betray a bad mask.

    - the mean probability over the mask, 0 for an empty one;
    - the Dice to expect if the probabilities are right: 2 sum(p over the mask) / (sum(p) + area of the mask);
    - the Dice of the masks at a low and at a high threshold, 0 if the latter is empty;
    - log10 of the expected area as a share of the frame, from -5;
    - 1 if the mask is empty;
    - the logit of the highest probability if the mask is empty, from -13.8 to 13.8, else 0. A missed tumour often
      leaves a trace, and the logit tells a faint one from none (docs/decisions/0042).

    Args:
        probability: Probability of tumour, shape (H, W), float32 in [0, 1].
        mask: Shape (H, W), bool.

    Returns:
        Shape (6,), float64, finite for any input.
    """
    total = float(cv2.sumElems(probability)[0])  # in double precision
    area = np.count_nonzero(mask)
    inside = float(probability[mask].sum(dtype=np.float64))
    low, high = np.count_nonzero(probability >= _LOW), np.count_nonzero(probability >= _HIGH)
    return np.array(
        [
            inside / area if area else 0.0,
            2 * inside / (total + area) if area else 0.0,
            2 * high / (low + high) if high else 0.0,
            math.log10(max(total / probability.size, _SMALLEST)),
            0.0 if area else 1.0,
            0.0 if area else _logit(float(probability.max())),
        ]
    )


def estimate_confidence(features: NDArray[np.float64], weights: Sequence[float]) -> float:
    """Estimate the Dice of a mask.

    Args:
        features: Features from ``mask_features``.
        weights: The constant, then one a feature (``metrics.selective.fit_confidence``).

    Returns:
        Between 0 and 1; those only where a score is beyond floating point, about 37.

    Raises:
        ValueError: Another number of weights.
    """
    if len(weights) != len(features) + 1:
        raise ValueError(f"{len(weights)} weights for {len(features)} features and a constant")
    score = weights[0] + float(np.dot(weights[1:], features))
    return 0.5 * (1.0 + math.tanh(0.5 * score))


def _logit(probability: float) -> float:
    bounded = min(max(probability, _FAINTEST), 1.0 - _FAINTEST)
    return math.log(bounded / (1.0 - bounded))

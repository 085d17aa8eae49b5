"""Lesions found and lesions marked: counts of connected components, whatever their size.

A true lesion is found if at least one of its pixels is predicted; a predicted lesion is right if at least one of its
pixels is tumour. Overlap says how well a lesion is outlined; these counts say whether it was seen at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LesionCounts:
    """8-connected components of truth and prediction.

    Attributes:
        true_lesions: In the truth.
        found_lesions: Of these, touched by the prediction.
        predicted_lesions: In the prediction.
        right_lesions: Of these, touching the truth.
    """

    true_lesions: int
    found_lesions: int
    predicted_lesions: int
    right_lesions: int


def count_lesions(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> LesionCounts:
    """Count the lesions of two masks; all counts are 0 for empty ones.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.

    Raises:
        ValueError: Another type than bool, or different shapes.
    """
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool, not {prediction.dtype} (prediction) and {truth.dtype} (truth)")
    if prediction.shape != truth.shape:
        raise ValueError(f"masks differ in shape: prediction {prediction.shape}, truth {truth.shape}")
    true_lesions, found = _count_touched(truth, by=prediction)
    predicted, right = _count_touched(prediction, by=truth)
    return LesionCounts(true_lesions, found, predicted, right)


def _count_touched(mask: NDArray[np.bool_], *, by: NDArray[np.bool_]) -> tuple[int, int]:
    """Number of components, and of those that another mask touches."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count - 1, len(np.unique(np.asarray(labels)[mask & by]))

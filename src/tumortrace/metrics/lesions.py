"""Lesions, the 8-connected components of a mask, labelled and counted.

A true lesion is found if at least one of its pixels is predicted. A predicted lesion is right if at least one of its
pixels is tumour. Overlap measures how well a lesion is outlined; these counts say whether it was detected at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.masks import check_masks


@dataclass(frozen=True, eq=False)
class LabelledMask:
    """A mask whose lesions are numbered from 1, in no particular order.

    Attributes:
        labels: Number of the lesion that each pixel belongs to, 0 for background; shape (H, W), int32.
        boxes_xywh: First column, first row, width and height of each lesion, shape (N, 4), int32.
        areas_px: Number of pixels of each lesion, shape (N,), int32.
    """

    labels: NDArray[np.int32]
    boxes_xywh: NDArray[np.int32]
    areas_px: NDArray[np.int32]

    @property
    def count(self) -> int:
        """Number of lesions."""
        return len(self.areas_px)


@dataclass(frozen=True)
class LesionCounts:
    """Numbers of lesions in the truth and in the prediction.

    Attributes:
        true_lesions: Lesions of the truth.
        found_lesions: True lesions that the prediction touches.
        predicted_lesions: Lesions of the prediction.
        right_lesions: Predicted lesions that touch the truth.
    """

    true_lesions: int
    found_lesions: int
    predicted_lesions: int
    right_lesions: int

    @property
    def false_lesions(self) -> int:
        """Predicted lesions that do not touch the truth."""
        return self.predicted_lesions - self.right_lesions


def label_lesions(mask: NDArray[np.bool_]) -> LabelledMask:
    """Number the lesions of a mask; pixels that touch at a corner belong to one lesion.

    Args:
        mask: Shape (H, W), bool.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    stats = np.asarray(stats, dtype=np.int32)[1:]  # without the background
    areas_px = stats[:, cv2.CC_STAT_AREA]
    return LabelledMask(np.asarray(labels, dtype=np.int32), stats[:, : cv2.CC_STAT_AREA], areas_px)


def count_lesions(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> LesionCounts:
    """Count the lesions of two masks; empty masks have none.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.

    Raises:
        ValueError: A mask is not boolean, or the shapes differ.
    """
    check_masks(prediction, truth)
    true_lesions, found = _count_touched(truth, by=prediction)
    predicted, right = _count_touched(prediction, by=truth)
    return LesionCounts(true_lesions, found, predicted, right)


def _count_touched(mask: NDArray[np.bool_], *, by: NDArray[np.bool_]) -> tuple[int, int]:
    """Count the lesions of a mask, and those among them that another mask touches."""
    labelled = label_lesions(mask)
    return labelled.count, len(np.unique(labelled.labels[mask & by]))

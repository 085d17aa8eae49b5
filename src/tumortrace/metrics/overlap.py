"""Overlap of a predicted mask with the truth, by the textbook formulas.

| truth | prediction | precision | recall | Dice | IoU |
|-------|------------|-----------|--------|------|-----|
| empty | empty      | undefined | undefined | undefined | undefined |
| empty | not empty  | 0 | undefined | 0 | 0 |
| not empty | empty  | undefined | 0 | 0 | 0 |

An undefined value is NaN here and an empty cell in tables. Means omit it and say how many values they omit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.masks import check_masks


@dataclass(frozen=True)
class PixelCounts:
    """The confusion matrix of a predicted mask against the truth, in pixels of one slice.

    Attributes:
        tp: True positives: tumour in both masks.
        fp: False positives: tumour in the prediction only.
        fn: False negatives: tumour in the truth only.
        tn: True negatives: tumour in neither mask.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def precision(self) -> float:
        """TP / (TP + FP), in [0, 1]; NaN if nothing was predicted."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """TP / (TP + FN), in [0, 1]; NaN if the truth is empty."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN) (Dice 1945), in [0, 1]; NaN if both masks are empty."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN) (Jaccard 1901), in [0, 1]; NaN if both masks are empty."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)


def count_pixels(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> PixelCounts:
    """Compare two masks pixel by pixel.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.

    Raises:
        ValueError: A mask is not boolean, or the shapes differ.
    """
    check_masks(prediction, truth)
    tp = int(np.count_nonzero(prediction & truth))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return PixelCounts(tp=tp, fp=fp, fn=fn, tn=truth.size - tp - fp - fn)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan

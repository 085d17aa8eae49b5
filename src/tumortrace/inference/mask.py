"""From the probability of tumour to the mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.metrics.lesions import LabelledMask, label_lesions
from tumortrace.metrics.masks import surround

SPECK_SHARE = 0.02
"""Fraction of the largest lesion of a slice below which another may be a speck."""

SPECK_PEAK = 0.8
"""Probability that it nowhere reaches then: a small lesion of which the network is sure is none."""


def cut_mask(probability: NDArray[np.float32], recipe: Recipe) -> NDArray[np.bool_]:
    """Cut a calibrated probability at the recipe's threshold, and drop specks and the lesions without a peak.

    Args:
        probability: Shape (H, W), float32 in [0, 1].
        recipe: Recipe of the model.

    Returns:
        Shape (H, W), bool.
    """
    mask = drop_specks(probability >= recipe.threshold, probability)
    return keep_peaks(mask, probability, recipe.peak_threshold)


def drop_specks(mask: NDArray[np.bool_], probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Drop small, unsure lesions beside larger ones (docs/decisions/0041).

    Args:
        mask: Shape (H, W), bool.
        probability: Shape (H, W), float32 in [0, 1].

    Returns:
        A mask of the same shape without the lesions that are smaller than ``SPECK_SHARE`` of the largest one and
        nowhere reach ``SPECK_PEAK``; the given one if it loses nothing.
    """
    window = surround(mask)
    if window is None:
        return mask
    labelled = label_lesions(mask[window])
    large = labelled.areas_px >= SPECK_SHARE * labelled.areas_px.max()
    if large.all():
        return mask
    return _keep(mask, window, labelled, large | _reaching(labelled, probability[window], SPECK_PEAK))


def keep_peaks(mask: NDArray[np.bool_], probability: NDArray[np.float32], lowest: float) -> NDArray[np.bool_]:
    """Drop the lesions of a mask whose probability nowhere reaches a level.

    Args:
        mask: Shape (H, W), bool.
        probability: Shape (H, W), float32 in [0, 1].
        lowest: Probability that a lesion must reach somewhere; 0 keeps all lesions.

    Returns:
        A mask of the same shape; the given one if it loses nothing.
    """
    window = surround(mask) if lowest > 0 else None
    if window is None:
        return mask
    labelled = label_lesions(mask[window])
    return _keep(mask, window, labelled, _reaching(labelled, probability[window], lowest))


def _reaching(labelled: LabelledMask, probability: NDArray[np.float32], level: float) -> NDArray[np.bool_]:
    """Return whether each lesion reaches a level somewhere, shape (N,)."""
    reached = np.zeros(labelled.count + 1, dtype=np.bool_)
    reached[labelled.labels[probability >= level]] = True
    return reached[1:]


def _keep(
    mask: NDArray[np.bool_], window: tuple[slice, slice], labelled: LabelledMask, kept: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the mask with only the kept lesions; the mask itself if all are kept."""
    if kept.all():
        return mask
    result = np.zeros_like(mask)
    result[window] = np.concatenate([[False], kept])[labelled.labels]
    return result

"""Distances between the border of a predicted mask and that of the truth.

A border pixel is a pixel of the mask with a neighbour (above, below, left, right) outside it; beyond the picture counts
as outside. Distances are Euclidean, between pixel centres. The definitions are those of MONAI; tests compare both.

| truth | prediction | NSD | HD95, ASSD |
|-------|------------|-----|------------|
| empty | empty      | undefined | undefined |
| one of them empty | | 0 | undefined: there is no distance to nothing |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortrace.metrics.masks import check_masks, surround

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceScores:
    """Distances between two borders, in the unit of the spacing; NaN where undefined.

    Attributes:
        nsd: Normalised surface distance: fraction of both borders that lies within the tolerance of the other border
            (Nikolov et al. 2018), 0 to 1.
        hd95: 95th percentile of the distances from border to border, the larger of both directions.
        assd: Average symmetric surface distance: mean over the pixels of both borders.
    """

    nsd: float
    hd95: float
    assd: float


def compare_surfaces(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    tolerance: float = 2.0,
) -> SurfaceScores:
    """Compare the borders of two masks.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.
        spacing: Distance between pixel centres along rows and columns (axis 0, axis 1); (1, 1) counts pixels.
        tolerance: Largest distance that counts as agreement, in the unit of the spacing.

    Raises:
        ValueError: A mask is not boolean, the shapes differ, or a spacing or tolerance is not positive.
    """
    _check(prediction, truth, spacing, tolerance)
    if not (prediction.any() and truth.any()):
        nsd = 0.0 if prediction.any() or truth.any() else math.nan
        return SurfaceScores(nsd, math.nan, math.nan)
    window = surround(prediction | truth)
    first, second = _border(prediction[window]), _border(truth[window])
    there = _distances(first, second, spacing)
    back = _distances(second, first, spacing)
    both = np.concatenate([there, back])
    return SurfaceScores(
        nsd=float((both <= tolerance * (1 + 1e-9)).mean()),  # a tie is within, whatever the rounding
        hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        assd=float(both.mean()),
    )


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that have a neighbour outside it."""
    inside = np.pad(mask, 1)
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return np.asarray(mask & ~core)


def _distances(start: NDArray[np.bool_], goal: NDArray[np.bool_], spacing: tuple[float, float]) -> Distances:
    """Return the distance from each border pixel of one mask to the nearest border pixel of the other."""
    return np.asarray(ndimage.distance_transform_edt(~goal, sampling=spacing)[start], dtype=np.float64)


def _check(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: tuple[float, float], tolerance: float
) -> None:
    check_masks(prediction, truth)
    if not all(0 < length < math.inf for length in (*spacing, tolerance)):
        raise ValueError(f"spacing {spacing} and tolerance {tolerance} must be positive numbers")

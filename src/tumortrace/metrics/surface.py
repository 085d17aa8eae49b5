"""How far the border of a predicted mask lies from that of the truth.

A border pixel is a pixel of the mask with a neighbour (above, below, left, right) outside it; beyond the picture counts
as outside. Distances are Euclidean, between pixel centres. The definitions are MONAI's, and tests hold them to it.

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

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceScores:
    """Distances between two borders, in the unit of the spacing; NaN where undefined.

    Attributes:
        nsd: Share of both borders within the tolerance of the other (Nikolov et al. 2018), 0 to 1.
        hd95: 95th percentile of the distances from border to border, the larger of both directions.
        assd: Mean distance from border to border, over the pixels of both.
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
        tolerance: In the unit of the spacing; a distance equal to it is within.

    Raises:
        ValueError: Another type than bool, different shapes, or a spacing or tolerance that is not positive.
    """
    _check(prediction, truth, spacing, tolerance)
    if not (prediction.any() and truth.any()):
        nsd = 0.0 if prediction.any() or truth.any() else math.nan
        return SurfaceScores(nsd, math.nan, math.nan)
    window = _common_box(prediction | truth)
    first, second = _border(prediction[window]), _border(truth[window])
    there = _distances(first, second, spacing)
    back = _distances(second, first, spacing)
    both = np.concatenate([there, back])
    return SurfaceScores(
        nsd=float((both <= tolerance * (1 + 1e-9)).mean()),  # a tie is within, whatever the rounding
        hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        assd=float(both.mean()),
    )


def _common_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask with a neighbour outside; nothing of the mask may lie beyond the array."""
    inside = np.pad(mask, 1)
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return np.asarray(mask & ~core)


def _distances(start: NDArray[np.bool_], goal: NDArray[np.bool_], spacing: tuple[float, float]) -> Distances:
    """From each border pixel of the one to the nearest of the other."""
    return np.asarray(ndimage.distance_transform_edt(~goal, sampling=spacing)[start], dtype=np.float64)


def _check(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: tuple[float, float], tolerance: float
) -> None:
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool, not {prediction.dtype} (prediction) and {truth.dtype} (truth)")
    if prediction.shape != truth.shape:
        raise ValueError(f"masks differ in shape: prediction {prediction.shape}, truth {truth.shape}")
    if not all(0 < length < math.inf for length in (*spacing, tolerance)):
        raise ValueError(f"spacing {spacing} and tolerance {tolerance} must be positive numbers")

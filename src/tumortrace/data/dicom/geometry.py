"""Geometry of stacked DICOM slices: order, steps, tilt and affine.

Positions and directions are in DICOM's patient coordinates (LPS), in millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.volume import Affine

SAME_MM = 0.01
"""Distance below which two planes are the same."""

EVEN = 0.05
"""Deviation of a step from the median step, as a fraction of it, that still counts as even: headers are rounded."""

TILTED_DEGREES = 0.5
"""Angle between the line of first pixels and the normal of the planes from which a stack is tilted."""

SAME_DIRECTION = 0.01
"""Difference of direction cosines up to which two planes are parallel."""

Directions = NDArray[np.float64]
"""Unit vectors along the rows (growing columns) and along the columns (growing rows), shape (2, 3)."""


@dataclass(frozen=True)
class Stack:
    """How parallel slices lie.

    Attributes:
        step_mm: Distance between neighbouring planes; None for a single slice, or if uneven.
        steps_mm: All distances between neighbouring planes, in order.
        usual_mm: Median of these distances, the lower one of two; 0 for a single slice.
        odd: Numbers of the gaps whose step deviates, counted from 0.
        tilt_degrees: Angle between the line of first pixels and the normal.
        shift_mm: Largest distance of a first pixel from the line of all, within its plane.
        affine: Index (column, row, slice) to place; None if no matrix fits.
    """

    step_mm: float | None
    steps_mm: tuple[float, ...]
    usual_mm: float
    odd: tuple[int, ...]
    tilt_degrees: float
    shift_mm: float
    affine: Affine | None


def read_directions(orientation: Sequence[float] | None) -> Directions | None:
    """Return unit vectors of rows and columns; None where they are unknown, zero, or at no right angle."""
    if orientation is None or len(orientation) != 6:
        return None
    directions = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1)
    if not np.isfinite(directions).all() or np.abs(lengths - 1).max() > 0.05:
        return None
    directions = directions / lengths[:, None]
    return directions if abs(float(directions[0] @ directions[1])) < 0.05 else None


def measure_depths(directions: Directions, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far planes lie along their normal (rows x columns, a right-handed system), shape (slices,)."""
    return np.asarray(positions @ np.cross(directions[0], directions[1]))


def name_plane(directions: Directions) -> str:
    """Return the body plane that lies nearest: axial, coronal or sagittal."""
    normal = np.abs(np.cross(directions[0], directions[1]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def measure_stack(
    directions: Directions,
    positions: NDArray[np.float64],
    spacing_mm: tuple[float, float] | None,
    thickness_mm: float | None,
) -> Stack:
    """Measure slices that are in their order, at different depths.

    Args:
        directions: Directions of rows and columns.
        positions: First pixels, shape (slices, 3).
        spacing_mm: Distance between rows and between columns; without it there is no matrix.
        thickness_mm: Step of a single slice; None if unknown.

    Returns:
        The step is the mean of all; the matrix goes through the first and the last slice.
    """
    if len(positions) == 1:
        normal = np.cross(directions[0], directions[1])
        affine = _compose(directions, positions[0], spacing_mm, normal * (thickness_mm or 1.0))
        return Stack(thickness_mm, (), 0.0, (), 0.0, 0.0, affine)
    steps = np.diff(measure_depths(directions, positions))
    median = float(np.sort(steps)[(len(steps) - 1) // 2])
    odd = tuple(int(gap) for gap in np.flatnonzero(np.abs(steps - median) > max(EVEN * median, SAME_MM)))
    normal = np.cross(directions[0], directions[1])
    across = positions - np.outer(positions @ normal, normal)  # within the planes
    depths = measure_depths(directions, positions) - measure_depths(directions, positions[:1])
    drift = (across[-1] - across[0]) / depths[-1]
    shift = float(np.linalg.norm(across - across[0] - np.outer(depths, drift), axis=1).max())
    tilt = float(np.degrees(np.arctan(np.linalg.norm(drift))))
    even = not odd
    fits = even and shift <= EVEN * max(median, *(spacing_mm or (median,)))
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine = _compose(directions, positions[0], spacing_mm, step) if fits else None
    return Stack(float(steps.mean()) if even else None, tuple(map(float, steps)), median, odd, tilt, shift, affine)


def _compose(
    directions: Directions,
    first: NDArray[np.float64],
    spacing_mm: tuple[float, float] | None,
    step: NDArray[np.float64],
) -> Affine | None:
    if spacing_mm is None:
        return None
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * spacing_mm[1]  # a column further: along the row, by the distance of columns
    affine[:3, 1] = directions[1] * spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = first
    return affine

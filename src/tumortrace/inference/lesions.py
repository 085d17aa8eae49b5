"""Lesions of a mask, each with its size, place and confidence."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.lesions import label_lesions
from tumortrace.metrics.masks import surround


@dataclass(frozen=True)
class Lesion:
    """One 8-connected component of a mask.

    Attributes:
        area_px: Number of pixels.
        area_mm2: Area in square millimetres; None without spacing.
        centroid_xy: Mean of its pixel centres, (x, y) in pixels; (0, 0) is the centre of the first pixel.
        bbox_xyxy: First column, first row, last column + 1, last row + 1, in pixels.
        diameter_px: Longest distance between two corners of its pixels, in pixels: 1.41 for one pixel.
        diameter_mm: The same in millimetres; None without spacing.
        confidence: Mean tumour probability over its pixels, 0 to 1; not calibrated.
    """

    area_px: int
    area_mm2: float | None
    centroid_xy: tuple[float, float]
    bbox_xyxy: tuple[int, int, int, int]
    diameter_px: float
    diameter_mm: float | None
    confidence: float


def find_lesions(
    mask: NDArray[np.bool_], probability: NDArray[np.float32], *, spacing_mm: tuple[float, float] | None = None
) -> tuple[Lesion, ...]:
    """Measure every lesion of a mask, largest first (equally large ones by the first row, then column, of their boxes).

    Args:
        mask: Shape (H, W), bool.
        probability: Shape (H, W), float32 in [0, 1].
        spacing_mm: Distance between pixel centres along rows and columns (axis 0, axis 1).

    Returns:
        One for each component; none for an empty mask.
    """
    window = surround(mask)
    if window is None:
        return ()
    corner_xy = window[1].start, window[0].start
    labelled = label_lesions(mask[window])
    found = [
        _measure(labelled.labels == label, probability[window], corner_xy=corner_xy, spacing_mm=spacing_mm)
        for label in range(1, labelled.count + 1)
    ]
    # OpenCV labels in blocks of 2 x 2 pixels, not row by row.
    return tuple(sorted(found, key=lambda lesion: (-lesion.area_px, lesion.bbox_xyxy[1], lesion.bbox_xyxy[0])))


def _measure(
    pixels: NDArray[np.bool_],
    probability: NDArray[np.float32],
    *,
    corner_xy: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
) -> Lesion:
    """Measure one lesion in a window of the slice whose first pixel is ``corner_xy``."""
    rows, columns = np.nonzero(pixels)
    area_px = len(rows)
    left, top = corner_xy
    return Lesion(
        area_px=area_px,
        area_mm2=area_px * spacing_mm[0] * spacing_mm[1] if spacing_mm else None,
        centroid_xy=(float(columns.mean()) + left, float(rows.mean()) + top),
        bbox_xyxy=(
            int(columns.min()) + left,
            int(rows[0]) + top,
            int(columns.max()) + left + 1,
            int(rows[-1]) + top + 1,
        ),
        diameter_px=_longest_distance(pixels, (1.0, 1.0)),
        diameter_mm=_longest_distance(pixels, spacing_mm) if spacing_mm else None,
        confidence=float(probability[pixels].mean(dtype=np.float64)),
    )


def _longest_distance(pixels: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> float:
    """Return the longest distance between two pixel corners of a component, which lie on its convex hull."""
    contours, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outer_xy = np.concatenate(contours)[:, 0, :]
    corners = np.concatenate([outer_xy + np.array([dx, dy]) for dx in (0, 1) for dy in (0, 1)])
    hull = cv2.convexHull(corners.astype(np.int32))[:, 0, :] * np.array([spacing_mm[1], spacing_mm[0]])
    steps = hull[:, None, :] - hull[None, :, :]
    return float(np.sqrt((steps**2).sum(axis=2).max()))

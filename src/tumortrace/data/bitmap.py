"""Pixels marked one by one, stored as runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.lesions import label_lesions
from tumortrace.metrics.masks import surround


@dataclass(frozen=True, eq=False)
class Bitmap:
    """Pixels of an image that a brush marked, within the smallest box round them.

    Attributes:
        origin_xy: Column and row of the box's first pixel in the image.
        size_hw: Height and width of the box in pixels; (0, 0) if no pixel is marked.
        runs: First pixel of each run and the pixel after its last, counted row by row within the box; shape (N, 2),
            int64, ascending.
    """

    origin_xy: tuple[int, int]
    size_hw: tuple[int, int]
    runs: NDArray[np.int64]


def to_bitmap(mask: NDArray[np.bool_], origin_xy: tuple[int, int] = (0, 0)) -> Bitmap:
    """Store the marked pixels of a mask.

    Args:
        mask: Shape (H, W), bool.
        origin_xy: Column and row of the mask's first pixel in the image.
    """
    box = surround(mask)
    if box is None:
        return Bitmap(origin_xy, (0, 0), np.zeros((0, 2), np.int64))
    marked = mask[box]
    flat = np.concatenate([[False], marked.ravel(), [False]])
    runs = np.flatnonzero(flat[1:] != flat[:-1]).astype(np.int64).reshape(-1, 2)
    rows, columns = box
    return Bitmap((origin_xy[0] + columns.start, origin_xy[1] + rows.start), marked.shape, runs)


def draw_bitmap(bitmap: Bitmap) -> NDArray[np.bool_]:
    """Return the box of a bitmap with its pixels marked; shape ``bitmap.size_hw``, bool."""
    height, width = bitmap.size_hw
    return draw_runs(bitmap.runs, height * width).reshape(height, width)


def draw_runs(runs: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Mark runs of pixels in a row.

    Args:
        runs: First pixel of each run and the pixel after its last, shape (N, 2), ascending and apart.
        length: Number of pixels.

    Returns:
        Shape (length,), bool.
    """
    steps = np.zeros(length + 1, np.int8)
    steps[runs[:, 0]] += 1
    steps[runs[:, 1]] -= 1
    return np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)


def split_lesions(mask: NDArray[np.bool_]) -> list[Bitmap]:
    """Return one bitmap for each 8-connected component of a mask (H, W), by the row and column of their boxes."""
    if not mask.any():
        return []
    labelled = label_lesions(mask)
    boxes = [(int(top), int(left), int(height), int(width)) for left, top, width, height in labelled.boxes_xywh]
    bitmaps = []
    for index in sorted(range(len(boxes)), key=boxes.__getitem__):
        top, left, height, width = boxes[index]
        component = labelled.labels[top : top + height, left : left + width] == index + 1
        bitmaps.append(to_bitmap(component, (left, top)))
    return bitmaps

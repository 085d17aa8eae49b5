"""Boxes and clicks as a person would give them, simulated from an outline."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tumortrace.inference.prompts.grid import Box, widen_box
from tumortrace.metrics.lesions import label_lesions

DEEP = 0.5
"""A click falls where the distance to the border of the error is at least this fraction of the largest."""


class Click(NamedTuple):
    """A click on a slice.

    Attributes:
        x: Column of the pixel.
        y: Row of the pixel.
        on_tumour: Whether it marks tumour; otherwise it removes some.
    """

    x: int
    y: int
    on_tumour: bool


def loosen_box(box_xyxy: Box, looseness: float, shift_xy: tuple[float, float] = (0.0, 0.0)) -> Box:
    """Move each side of a box outwards, and then the whole box.

    Args:
        box_xyxy: The box.
        looseness: Distance that each side moves, as a fraction of the box's width or height.
        shift_xy: Shift as fractions of its width and height.
    """
    across, down = shift_xy[0] * (box_xyxy[2] - box_xyxy[0]), shift_xy[1] * (box_xyxy[3] - box_xyxy[1])
    x0, y0, x1, y1 = widen_box(box_xyxy, looseness)
    return x0 + across, y0 + down, x1 + across, y1 + down


def draw_loose_box(box_xyxy: Box, rng: Generator) -> Box:
    """Return a box as it is drawn in haste: 0 to 30 % too wide on each side, a little uneven, or shifted.

    Args:
        box_xyxy: The smallest box around the outline.
        rng: Decides everything.
    """
    looseness = rng.uniform(0.0, 0.36)
    most = min(looseness + 0.04, 0.15)  # a shift cuts little of the tumour off
    x0, y0, x1, y1 = loosen_box(box_xyxy, looseness, (rng.uniform(-most, most), rng.uniform(-most, most)))
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    uneven = rng.normal(0.0, 0.04, size=4).clip(-0.1, 0.1) * (width, height, width, height)
    x0, y0, x1, y1 = np.array([x0, y0, x1, y1]) + uneven
    return float(x0), float(y0), float(max(x1, x0 + 1)), float(max(y1, y0 + 1))


def click_error(mask: NDArray[np.bool_], truth: NDArray[np.bool_], rng: Generator | None = None) -> Click | None:
    """Return the next click: deep within the largest connected error, missed or false (Sofiiuk et al. 2022).

    Args:
        mask: The mask so far, shape (H, W).
        truth: The outline that the person has in mind, shape (H, W).
        rng: Draws a pixel around the deepest one; None takes the deepest one.

    Returns:
        The click; None if mask and truth are equal.
    """
    deepest, best = None, 0
    for error, on_tumour in ((truth & ~mask, True), (mask & ~truth, False)):
        parts = label_lesions(error)
        area = int(parts.areas_px.max(initial=0))
        if area > best:
            deepest, best = (parts.labels == 1 + parts.areas_px.argmax(), on_tumour), area
    return None if deepest is None else Click(*_pick(deepest[0], rng), deepest[1])


def _pick(region: NDArray[np.bool_], rng: Generator | None) -> tuple[int, int]:
    """Return column and row of the pixel farthest from the border, or of one about as far."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    if rng is None:
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        rows, columns = np.nonzero(depth >= DEEP * depth.max())
        chosen = int(rng.integers(len(rows)))
        row, column = rows[chosen], columns[chosen]
    return int(column), int(row)

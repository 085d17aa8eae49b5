"""Where the head lies in a slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.grey import TAIL, Grey

SIDE_PX = 96
"""Longer side of the small picture on which a head is sought: its shape survives that."""

SMALLEST = 0.01
"""Fraction of the slice below which the largest object is no head."""

SMALL_BOX = 0.1
"""Fraction of the slice below which the box around the head is sought again, on a picture of its surroundings."""

BOX = 0.94
"""Fraction of its box from which an object fills it; an ellipse fills 0.785."""

MARGIN = 0.03
"""Margin around the box on each side, as a fraction of its longer side."""

ABOVE_NOISE = 1.5
"""Factor by which the background's level is raised where an object may be noise in the air."""

RAGGED, COMPACT = 0.64, 0.85
"""Share of its convex hull below which an object may be noise, and from which it is none."""

EDGE_PX = 3
"""Distance from an edge of the small picture below which an object reaches it."""

ROUNDING = 1e-5
"""Contrast below this fraction of the brightest value is what resizing makes of a constant picture."""

BRAIN_DEPTH = 0.3
"""Fraction of the greatest depth below the head's edge from which there is brain, not scalp or skull."""

_BALL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))

Mask = NDArray[np.bool_]


class Window(NamedTuple):
    """Rows and columns of a slice, first and last + 1; those before 0 or beyond the slice are outside of it."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


class Box(NamedTuple):
    """Edges of a box in fractions of pixels; (0, 0) is the corner of the first pixel."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def area(self) -> float:
        """Area in pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


class SmallPicture(NamedTuple):
    """A part of a slice with its longer side at ``SIDE_PX``, and the largest object in it.

    Attributes:
        window: Part of the slice that it shows.
        ends: Darkest and brightest grey value of the slice that count.
        grey: The part between these, from 0 to 1.
        level: Grey value up to which a pixel of it is background.
        bright: Pixels that stand out of the background.
        head: The largest object among them.
    """

    window: Window
    ends: tuple[float, float]
    grey: Grey
    level: float
    bright: Mask
    head: Mask

    def find_box(self) -> Box:
        """Return the box around the object on the slice's own grid, without a margin."""
        x, y, width, height = cv2.boundingRect(self.head.astype(np.uint8))
        top, bottom, left, right = self.window
        row_px, column_px = (bottom - top) / self.head.shape[0], (right - left) / self.head.shape[1]
        return Box(top + y * row_px, top + (y + height) * row_px, left + x * column_px, left + (x + width) * column_px)


@dataclass(frozen=True, eq=False)
class Head:
    """The head in a slice.

    Attributes:
        whole: The whole slice.
        close: The part of it in which the head is of usual size; the whole slice unless the head is small in it.
        box: Box around the head with a margin, within the slice; the whole slice if the head is too small for one.
    """

    whole: SmallPicture
    close: SmallPicture
    box: Window

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the box around the head in pixels, without the margin."""
        box = self.close.find_box()
        return round(box.bottom - box.top), round(box.right - box.left)

    @property
    def is_box(self) -> bool:
        """Whether the object fills the box around it, as a frame does and a head cannot within dark margins."""
        box = self.close.find_box()
        return self.area * self.whole.window.area > BOX * box.area

    @property
    def area(self) -> float:
        """Fraction of the slice that the head fills, holes included."""
        return float(self.close.head.mean()) * self.close.window.area / self.whole.window.area

    @property
    def outside(self) -> float:
        """Fraction of the slice's brightness above the background that lies outside the head.

        A count of pixels would make an object of faint noise in the air around a head.
        """
        above = np.where(self.whole.bright, self.whole.grey - self.whole.level, 0.0)
        return float(above[~self.whole.head].sum() / above.sum())


def find_head(grey: Grey, small: Grey | None = None) -> Head | None:
    """Find the head: the largest object that stands out of the background.

    Args:
        grey: Shape (H, W), float32, air dark.
        small: The same shrunk to ``SIDE_PX``, if it is at hand.

    Returns:
        The head; None if the slice is blank but for a few pixels, or nothing stands out.
    """
    height, width = grey.shape
    whole = _draw_small(shrink(grey, SIDE_PX) if small is None else small, Window(0, height, 0, width))
    if whole is None:
        return None
    close, box = whole, whole.find_box()
    if box.area < SMALL_BOX * grey.size:
        top, bottom, left, right = around = _surround(box, grey.shape)
        close = _draw_small(shrink(grey[top:bottom, left:right], SIDE_PX), around) or whole
        box = close.find_box()
    head = Head(whole, close, _add_margin(box, grey.shape))
    return head if head.area >= SMALLEST else Head(whole, whole, whole.window)


def shrink(pixels: Grey, side_px: int) -> Grey:
    """Resize a picture to a longer side, averaged over areas; each side has at least eight pixels."""
    height, width = pixels.shape
    scale = side_px / max(height, width)
    size_wh = (max(8, round(width * scale)), max(8, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA), dtype=np.float32)


def find_ends(small: Grey) -> tuple[float, float] | None:
    """Return the darkest and brightest value but for half a per cent each; None if nothing lies between them."""
    low, high = rank(small, TAIL), rank(small, 1 - TAIL)
    return None if high - low <= ROUNDING * max(abs(high), abs(low)) else (low, high)


def scale(grey: Grey, ends: tuple[float, float]) -> Grey:
    """Scale grey values to 0 to 1 between two ends, and cut them off there."""
    low, high = ends
    return np.asarray(np.clip((grey - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def measure_depth(head: NDArray[np.bool_] | NDArray[np.uint8]) -> Grey:
    """Return the distance of each pixel to the head's edge; the frame is an edge too.

    Args:
        head: Shape (H, W), bool, or uint8 of 0 and 1.

    Returns:
        In pixels, shape (H, W), float32; 0 outside.
    """
    padded = cv2.copyMakeBorder(head.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1], dtype=np.float32)


def trace_outline(head: Mask) -> NDArray[np.int32]:
    """Return the outline (N, 1, 2) of the largest object of a mask, which holds at least one, as x and y in pixels."""
    contours, _ = cv2.findContours(head.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(max(contours, key=cv2.contourArea), dtype=np.int32)


def measure_solidity(outline: NDArray[np.int32]) -> float:
    """Return the area within an outline of ``trace_outline`` over that of its convex hull."""
    return cv2.contourArea(outline) / max(cv2.contourArea(cv2.convexHull(outline)), 1.0)


def rank(values: NDArray[Any], fraction: float) -> float:
    """Return the value below which a fraction of the others lies; five times as fast as NumPy's quantiles.

    Args:
        values: Any shape, at least one value.
        fraction: Fraction of the values, from 0 (the smallest value) to 1 (the largest).
    """
    place = int(fraction * (values.size - 1))
    return float(np.partition(values, place, axis=None)[place])


def _draw_small(small: Grey, window: Window) -> SmallPicture | None:
    ends = find_ends(small)
    if ends is None:
        return None
    scaled = scale(small, ends)
    level = 0.12 + 0.25 * float(scaled.mean())  # it follows how bright the whole is
    found = _find_object(window, ends, scaled, level)
    if found is not None and _may_be_noise(found.head):
        above = _find_object(window, ends, scaled, ABOVE_NOISE * level)
        if above is not None and _stands_free(above.head):
            return above
    return found


def _find_object(window: Window, ends: tuple[float, float], grey: Grey, level: float) -> SmallPicture | None:
    bright = _find_bright(grey, level)
    head = _find_largest(bright)
    return None if head is None else SmallPicture(window, ends, grey, level, bright, head)


def _find_bright(grey: Grey, level: float) -> Mask:
    """Pixels that stand out of the background, single ones left out."""
    above = (grey > level).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(above, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def _may_be_noise(mask: Mask) -> bool:
    """Whether an object lies as noise in the air does: up to all edges, or in ragged patches."""
    return all(_reaches_edges(mask)) or measure_solidity(trace_outline(mask)) < RAGGED


def _stands_free(mask: Mask) -> bool:
    """Whether an object is compact and has background on all sides, as a head within noise has."""
    return not any(_reaches_edges(mask)) and measure_solidity(trace_outline(mask)) >= COMPACT


def _reaches_edges(mask: Mask) -> list[bool]:
    """Whether an object comes as near to the top, bottom, left and right edge as noise in the air does."""
    edges = (mask[:EDGE_PX], mask[-EDGE_PX:], mask[:, :EDGE_PX], mask[:, -EDGE_PX:])
    return [bool(edge.any()) for edge in edges]


def _find_largest(bright: Mask) -> Mask | None:
    """The largest object, its gaps closed and its holes filled; None if there is none."""
    margin = 12  # so that closing does not stick to the frame
    padded = cv2.copyMakeBorder(bright.astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _BALL)[margin:-margin, margin:-margin]
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    filled = cv2.drawContours(np.zeros(bright.shape, np.uint8), [largest], -1, 1, cv2.FILLED)
    return np.asarray(filled > 0)


def _surround(box: Box, size_hw: tuple[int, ...]) -> Window:
    """A window of twice the box's sides around it, within the slice."""
    return _widen(box, (box.bottom - box.top) / 2, (box.right - box.left) / 2, size_hw)


def _add_margin(box: Box, size_hw: tuple[int, ...]) -> Window:
    margin = MARGIN * max(box.bottom - box.top, box.right - box.left)
    return _widen(box, margin, margin, size_hw)


def _widen(box: Box, rows: float, columns: float, size_hw: tuple[int, ...]) -> Window:
    return Window(
        top=max(int(box.top - rows), 0),
        bottom=min(int(np.ceil(box.bottom + rows)), size_hw[0]),
        left=max(int(box.left - columns), 0),
        right=min(int(np.ceil(box.right + columns)), size_hw[1]),
    )

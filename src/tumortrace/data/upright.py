"""A slice prepared for measuring: upright, one scale, head found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.grey import Grey, repair_defects, scale_unrepaired
from tumortrace.data.head import SIDE_PX, Head, Window, find_ends, find_head, rank, scale, shrink

BRIGHT_CORNER = 0.7
"""Grey value, from 0 to 1, that three corners of an inverted slice reach."""

WHITE_CORNER, TISSUE_CORNER = 0.9, 0.3
"""Grey values that two corners and the other two reach where tissue fills these, as a neck does."""

FRAME = 0.25
"""Grey value from which a plain line along an edge is a frame and not air."""

PLAIN = 0.15
"""Greatest difference of the grey values along a line of a frame; JPEG makes some."""

SMALLEST_FRAMED = 16
"""Shorter side of a picture, in pixels, from which its edges can be a frame."""

DARKER_HEAD = 0.05
"""Least difference of the grey values in an inverted slice's corners and in its middle."""

_BLURRED_PX = 2  # lines inside a frame that may be a mixture of it and the slice


@dataclass(frozen=True, eq=False)
class UprightSlice:
    """A slice with air dark and its head found.

    Attributes:
        grey: Grey values on the slice's own grid, shape (H, W), float32; nearly all of them from 0 to 1.
        inverted: Whether the slice was shown inverted, with white air around a dark head.
        framed: Whether a bright frame along the edges was made as dark as air.
        head: The head; None if the slice is blank but for a few pixels.
    """

    grey: Grey
    inverted: bool
    framed: bool
    head: Head | None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.grey.shape
        return height, width


def turn_upright(pixels: NDArray[Any]) -> UprightSlice:
    """Bring a slice into the form that features, gate and network input are made from.

    Args:
        pixels: Grey values, shape (H, W), any real dtype, finite.
    """
    grey = scale_unrepaired(pixels)
    small = shrink(grey, SIDE_PX)
    inverted = _is_inverted(small)
    if inverted:
        np.subtract(np.float32(1), grey, out=grey)
        np.subtract(np.float32(1), small, out=small)
    repaired = repair_defects(grey)
    framed = _starts_with_frame(grey) and _darken_frame(grey, lowest=FRAME)
    if repaired or framed:
        small = shrink(grey, SIDE_PX)
    head = find_head(grey, small)
    if head is not None and head.is_box and _darken_frame(grey, lowest=-1.0):  # a frame within a dark margin
        framed, head = True, find_head(grey)
    return UprightSlice(grey, inverted, framed, head)


def _is_inverted(small: Grey) -> bool:
    """Return whether the corners of a slice are bright; air gives no signal, so upright they are dark.

    Plain lines along the edges are left out: they may be a frame, black or white. Of 3,000 slices of eight sources no
    upright one is taken for inverted, and 3 of the inverted ones are missed.
    """
    ends = find_ends(small)
    if ends is None:
        return False
    scaled = scale(small, ends)
    top, bottom, left, right = _find_frame(scaled, lowest=-1.0)
    inside = scaled[top:bottom, left:right]
    if not inside.size:
        return False
    height, width = (max(side // 10, 1) for side in inside.shape)
    corners = [inside[rows, columns] for rows in two_ends(height) for columns in two_ends(width)]
    levels = sorted(rank(corner, 0.5) for corner in corners)
    rows, columns = (slice(side // 4, side - side // 4) for side in inside.shape)
    if float(inside[rows, columns].mean()) > levels[2] - DARKER_HEAD:
        return False
    return levels[1] >= BRIGHT_CORNER or (levels[2] >= WHITE_CORNER and levels[0] >= TISSUE_CORNER)


def two_ends(length: int) -> tuple[slice, slice]:
    """Return the first and the last rows or columns, so many of each."""
    return slice(None, length), slice(-length, None)


def _starts_with_frame(grey: Grey) -> bool:
    """Return whether one of the four outermost lines is plain and bright."""
    edges = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
    return any(line.min() >= FRAME and line.max() - line.min() <= PLAIN for line in edges)


def _darken_frame(grey: Grey, *, lowest: float) -> bool:
    """Make plain lines along the edges as dark as the rest is anywhere, in place, if some of them are a bright frame.

    Args:
        grey: Shape (H, W), float32, changed in place.
        lowest: Grey value from which plain lines count; below 0, those of a dark margin count too.

    Returns:
        Whether there is a frame.
    """
    window = _find_frame(grey, lowest=lowest)
    top, bottom, left, right = _skip_blur(window, grey.shape)
    inside = grey[top:bottom, left:right].copy()
    if not inside.size or min(grey.shape) < SMALLEST_FRAMED:
        return False
    lines = (grey[: window.top], grey[window.bottom :], grey[:, : window.left], grey[:, window.right :])
    levels = [float(line.max()) for line in lines if line.size]
    around = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    # What is not brighter than the lines within is the air of a slice on grey.
    if not levels or max(levels) - rank(around, 0.5) < FRAME:
        return False
    grey[:] = inside.min()
    grey[top:bottom, left:right] = inside
    return True


def _skip_blur(window: Window, size_hw: tuple[int, ...]) -> Window:
    """The window without the lines that may be a mixture of frame and slice."""
    height, width = size_hw
    top, bottom, left, right = window
    return Window(
        top + _BLURRED_PX * (top > 0),
        bottom - _BLURRED_PX * (bottom < height),
        left + _BLURRED_PX * (left > 0),
        right - _BLURRED_PX * (right < width),
    )


def _find_frame(grey: Grey, *, lowest: float) -> Window:
    """The window within the plain lines along the edges that are at least so bright; it may be empty."""
    top, bottom, left, right = 0, grey.shape[0], 0, grey.shape[1]
    while top < bottom and left < right:
        inside = grey[top:bottom, left:right]
        above, below = _count_plain(inside, 1, lowest)
        before, after = _count_plain(inside, 0, lowest)
        if not (above or below or before or after):
            break
        top, bottom, left, right = top + above, bottom - below, left + before, right - after
    return Window(top, bottom, left, right)


def _count_plain(grey: Grey, axis: int, lowest: float) -> tuple[int, int]:
    """Plain lines in a row from either edge; all of them are counted once if there are no others.

    Both ends of a line are left out, because they may be a mixture with a frame on the sides.
    """
    ends = (slice(None), slice(_BLURRED_PX, -_BLURRED_PX)) if axis else (slice(_BLURRED_PX, -_BLURRED_PX), slice(None))
    lines = grey[ends] if grey.shape[axis] > 2 * _BLURRED_PX else grey
    lows, highs = lines.min(axis=axis), lines.max(axis=axis)
    others = np.flatnonzero((highs - lows > PLAIN) | (lows < lowest))
    return (int(others[0]), len(lows) - 1 - int(others[-1])) if len(others) else (len(lows), 0)

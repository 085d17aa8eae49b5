"""Where the head lies in a slice: what stands out of the background, largest object first."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 96
"""Longer side of the small picture on which a head is looked for: its shape survives it, its size does not matter."""

ROUNDING = 1e-5
"""Contrast below this share of the brightest value is what resizing makes of a constant picture."""

SMALLEST = 0.1
"""Share of the frame below which the box of the largest object is no head that a picture was taken of."""

MARGIN = 0.03
"""Of the box's longer side, left around it on each side."""

BRIGHT_CORNER = 0.7
"""Grey value, from 0 to 1, that three corners of an inverted slice reach. Of 1,783 slices as they are, no third darkest
corner lies above 0.29, which is 0.71 when it is inverted."""

Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Window(NamedTuple):
    """Rows and columns of a slice, first and last + 1; those before 0 or beyond the slice are outside of it."""

    top: int
    bottom: int
    left: int
    right: int


def on_black(grey: Grey) -> Grey:
    """Turn back a slice that is shown inverted: around a head is air, which gives no signal.

    Args:
        grey: Shape (H, W), float32, any range.

    Returns:
        The same slice if not three of its corners are bright; else a new one, its brightest value 0.
    """
    step = -(-max(grey.shape) // SIDE_PX)
    ends = grey_range(grey[::step, ::step])
    if ends is None:
        return grey
    height, width = (max(side // 10, 1) for side in grey.shape)
    corners = [grey[rows, columns] for rows in two_ends(height) for columns in two_ends(width)]
    second = sorted(rank(scale_grey(corner, ends), 0.5) for corner in corners)[1]
    return np.float32(grey.max()) - grey if second >= BRIGHT_CORNER else grey


def two_ends(length: int) -> tuple[slice, slice]:
    """So many of the first and of the last rows or columns."""
    return slice(None, length), slice(-length, None)


def find_head(pixels: NDArray[Any]) -> Window:
    """The box around the head, with a margin; the whole slice if no head stands out.

    Inverted slices are turned back first.

    Args:
        pixels: Shape (H, W), any real dtype.

    Returns:
        A window within the slice.
    """
    height, width = pixels.shape
    whole = Window(0, height, 0, width)
    small = shrink(on_black(pixels.astype(np.float32)), SIDE_PX)
    ends = grey_range(small)
    head = find_largest(find_bright(scale_grey(small, ends))) if ends else None
    if head is None:
        return whole
    x, y, box_width, box_height = cv2.boundingRect(head.astype(np.uint8))
    if box_width * box_height < SMALLEST * head.size:
        return whole
    steps_hw = height / head.shape[0], width / head.shape[1]
    margin = MARGIN * max(box_height * steps_hw[0], box_width * steps_hw[1])
    return Window(
        top=max(int(y * steps_hw[0] - margin), 0),
        bottom=min(int(np.ceil((y + box_height) * steps_hw[0] + margin)), height),
        left=max(int(x * steps_hw[1] - margin), 0),
        right=min(int(np.ceil((x + box_width) * steps_hw[1] + margin)), width),
    )


def shrink(pixels: Grey, side_px: int) -> Grey:
    """With the longer side at a length, averaged over areas; each side has eight pixels at least."""
    height, width = pixels.shape
    scale = side_px / max(height, width)
    size_wh = (max(8, round(width * scale)), max(8, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA), dtype=np.float32)


def grey_range(small: Grey) -> tuple[float, float] | None:
    """Darkest and brightest value, half a percent cut off each; None if the picture is blank but for a few pixels."""
    low, high = rank(small, 0.005), rank(small, 0.995)
    return None if high - low <= ROUNDING * max(abs(high), abs(low)) else (low, high)


def scale_grey(small: Grey, ends: tuple[float, float]) -> Grey:
    """Grey values from 0 to 1 between two ends, cut off there."""
    low, high = ends
    return np.asarray(np.clip((small - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def find_bright(grey: Grey) -> Mask:
    """What stands out of the background, single pixels left out; the level follows how bright the whole is."""
    above = (grey > 0.12 + 0.25 * float(grey.mean())).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(above, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def find_largest(bright: Mask) -> Mask | None:
    """The largest object, its gaps closed and its holes filled; None if there is none."""
    margin = 12  # so that closing does not stick to the frame
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    padded = cv2.copyMakeBorder(bright.astype(np.uint8), margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, ball)[margin:-margin, margin:-margin]
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    filled = cv2.drawContours(np.zeros(bright.shape, np.uint8), [largest], -1, 1, cv2.FILLED)
    return np.asarray(filled > 0)


def rank(values: Grey, share: float) -> float:
    """The value below which so large a share of the others lies; numpy's quantiles take five times as long."""
    place = int(share * (values.size - 1))
    return float(np.partition(values, place, axis=None)[place])

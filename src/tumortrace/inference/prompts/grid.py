"""The square around a box that a network sees, and prompts drawn on it.

A box is (x0, y0, x1, y1) on pixel edges, like the boxes of lesions: the first column and row, the last column and row
plus one. Points are pixel centres. On the network's grid, a square of ``side`` pixels of the slice around the box's
middle, box and clicks have the same size for a small tumour as for a large one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Point = tuple[float, float]

SURROUNDINGS = 1.4
"""Side of the square that the network sees, as a multiple of the box's longer side."""

LEAST_SIDE = 24.0
"""Shortest side of that square in pixels of the slice."""

CLICK_RADIUS = 4
"""Radius of a click's disc on the network's grid, in pixels."""

PROMPT_CHANNELS = 4
"""Maps that the decoder sees: the box, clicks on tumour, clicks on no tumour, and the previous mask."""


@dataclass(frozen=True)
class Square:
    """A square of the slice, on pixel edges.

    Attributes:
        left: First edge along the columns, in pixels of the slice; it may lie outside of it, as the others may.
        top: First edge along the rows.
        side: Length of the sides, above 0.
    """

    left: float
    top: float
    side: float

    def holds(self, point_xy: Point) -> bool:
        """Return whether a pixel centre lies in the square."""
        x, y = point_xy[0] + 0.5 - self.left, point_xy[1] + 0.5 - self.top
        return 0 <= x < self.side and 0 <= y < self.side


def pixels_between(low: float, high: float, count: int) -> slice:
    """Return the pixels of a row or column whose centres lie between two edges.

    A centre on the first edge is inside and one on the last edge is outside, as in ``geometry.rasterize``.

    Args:
        low: First edge; it may lie outside of the slice.
        high: Last edge, likewise.
        count: Number of pixels in the row or column.
    """
    first, last = (min(max(math.ceil(edge - 0.5), 0), count) for edge in (low, high))
    return slice(first, last)


def pixel_of(point_xy: Point) -> tuple[int, int]:
    """Return row and column of the pixel in whose square a point lies; on an edge it is the later pixel."""
    return math.floor(point_xy[1] + 0.5), math.floor(point_xy[0] + 0.5)


def box_of(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box around the marked pixels of a mask (H, W), of which there is at least one."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return float(left), float(top), float(left + width), float(top + height)


def widen_box(box_xyxy: Box, share: float, *, least_px: float = 0.0) -> Box:
    """Move each side of a box outwards.

    Args:
        box_xyxy: The box.
        share: Distance as a fraction of the box's width or height.
        least_px: Shortest distance in pixels.
    """
    x0, y0, x1, y1 = box_xyxy
    across, down = (max(share * side, least_px) for side in (x1 - x0, y1 - y0))
    return x0 - across, y0 - down, x1 + across, y1 + down


def cut_to_slice(box_xyxy: Box, size_hw: tuple[int, int]) -> Box:
    """Return the part of a box that lies on the slice; beyond it a side may be 0 or less."""
    height, width = size_hw
    x0, y0, x1, y1 = box_xyxy
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def square_around(box_xyxy: Box) -> Square:
    """Return the square that the network sees of a box."""
    x0, y0, x1, y1 = box_xyxy
    side = max(SURROUNDINGS * max(x1 - x0, y1 - y0), LEAST_SIDE)
    return Square((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)


def cut_square(
    grey: NDArray[Any], square: Square, *, grid: int, turn: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Sample a square of a slice on a grid, bilinearly; pixels are averaged first where two or more meet in one.

    Args:
        grey: Shape (H, W), uint8 or float32.
        square: Square of the slice.
        grid: Pixels along each side of the result.
        turn: Matrix (2, 3) from pixel edges of the square's plane to those of the slice; None where they are the same.

    Returns:
        Shape (grid, grid), of the same dtype; the darkest grey beyond the slice.
    """
    step = square.side / grid
    to_slice = np.array([[step, 0.0, square.left + step / 2], [0.0, step, square.top + step / 2]])
    if turn is not None:
        to_slice = np.column_stack([turn[:, :2] @ to_slice[:, :2], turn[:, :2] @ to_slice[:, 2] + turn[:, 2]])
    scale = float(np.sqrt(abs(np.linalg.det(to_slice[:, :2]))))
    darkest = float(grey.min())
    fewer = int(scale)
    if fewer >= 2:
        size_wh = (max(grey.shape[1] // fewer, 1), max(grey.shape[0] // fewer, 1))
        shrink = np.array([[size_wh[0] / grey.shape[1]], [size_wh[1] / grey.shape[0]]])
        grey, to_slice = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA), to_slice * shrink
    to_slice[:, 2] -= 0.5  # from edges to pixel centres, where OpenCV counts from
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(grey, to_slice, (grid, grid), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=darkest)
    )


def paste_square(values: NDArray[np.float32], square: Square, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Bring values from the network's grid back onto the slice: bilinear in the square, 0 outside of it.

    Args:
        values: Shape (grid, grid), float32.
        square: The square that they cover.
        size_hw: Height and width of the slice.

    Returns:
        Shape ``size_hw``, float32.
    """
    height, width = size_hw
    grid = values.shape[0]
    step = grid / square.side
    to_grid = np.array(
        [
            [step, 0.0, (0.5 - square.left) * step - 0.5],
            [0.0, step, (0.5 - square.top) * step - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pasted = cv2.warpAffine(values, to_grid, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    result = np.zeros(size_hw, dtype=np.float32)
    rows = pixels_between(square.top, square.top + square.side, height)
    columns = pixels_between(square.left, square.left + square.side, width)
    result[rows, columns] = pasted[rows, columns]
    return result


def draw_prompts(
    box_xyxy: Box, clicks: Sequence[tuple[Point, bool]], before: NDArray[np.float32], square: Square
) -> NDArray[np.float32]:
    """Return the input of the decoder: the box, clicks on tumour, clicks on no tumour, and the previous answer.

    Args:
        box_xyxy: The box.
        clicks: Pixel centres, each with whether it marks tumour.
        before: Probability that the network gave before the last click, shape (grid, grid); zeros if it gave none.
        square: Square of the slice.

    Returns:
        Shape (4, grid, grid), float32 in [0, 1].
    """
    grid = before.shape[0]
    added = draw_clicks([point for point, on_tumour in clicks if on_tumour], square, grid=grid)
    removed = draw_clicks([point for point, on_tumour in clicks if not on_tumour], square, grid=grid)
    return np.stack([draw_box(box_xyxy, square, grid=grid), added, removed, before])


def draw_box(box_xyxy: Box, square: Square, *, grid: int) -> NDArray[np.float32]:
    """Return the box filled with 1 on the network's grid, 0 elsewhere; edges of pixels that it shares are between.

    Args:
        box_xyxy: The box.
        square: Square of the slice.
        grid: Pixels along each side of the result.

    Returns:
        Shape (grid, grid), float32 in [0, 1].
    """
    step = square.side / grid
    edges = np.arange(grid)
    shares = []
    for low, high, start in ((box_xyxy[1], box_xyxy[3], square.top), (box_xyxy[0], box_xyxy[2], square.left)):
        first, last = (low - start) / step, (high - start) / step
        shares.append(np.clip(np.minimum(last, edges + 1) - np.maximum(first, edges), 0.0, 1.0))
    return np.outer(shares[0], shares[1]).astype(np.float32)


def draw_clicks(points_xy: Sequence[Point], square: Square, *, grid: int) -> NDArray[np.float32]:
    """Return discs of 1 around clicks on the network's grid.

    Args:
        points_xy: Clicks, as pixel centres of the slice; none gives zeros.
        square: Square of the slice.
        grid: Pixels along each side of the result.

    Returns:
        Shape (grid, grid), float32, 0 or 1.
    """
    step = square.side / grid
    drawn = np.zeros((grid, grid), dtype=np.float32)
    for x, y in points_xy:
        centre = (int((x + 0.5 - square.left) // step), int((y + 0.5 - square.top) // step))
        cv2.circle(drawn, centre, CLICK_RADIUS, 1.0, cv2.FILLED)
    return drawn

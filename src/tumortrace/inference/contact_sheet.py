"""Contact sheet of a volume: all slices with their masks side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.inference.overlay import OUTLINE_RGB, draw_overlay, to_display

TILE_PX = 192
"""Longer side of a slice on the sheet: a lesion of 5 mm has five pixels in a head of 190 mm."""

GAP_PX = 4
_TEXT_PX = 14
_COVERED = 0.25  # fraction of a tile's pixel from which the mask covers it

Tile = NDArray[np.uint8]
"""A small picture of a slice with square pixels, shape (h, w), uint8."""


def draw_tile(image: Slice) -> Tile:
    """Draw a slice small, and with the proportions of the head where its pixels are not square.

    Args:
        image: The slice.
    """
    size_hw = _fit(image.size_hw, image.spacing_mm or (1.0, 1.0))
    grey = to_display(image.pixels)
    return np.asarray(cv2.resize(grey, size_hw[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)


def draw_sheet(tiles: Sequence[Tile | None], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw all slices of a volume side by side with the outlines of their masks.

    Args:
        tiles: A picture of each slice; None for one that could not be read, which stays dark grey.
        masks: Shape (slices, rows, columns), bool.

    Returns:
        Red-green-blue, shape (H, W, 3), uint8. Slices run from left to right, then down; each has its index, from 0,
        and an amber bar below if it has a mask.
    """
    height, width = next((tile.shape for tile in tiles if tile is not None), (TILE_PX, TILE_PX))
    columns = math.ceil(math.sqrt(len(tiles) * (height + _TEXT_PX) / width))
    cell_hw = height + _TEXT_PX + GAP_PX, width + GAP_PX
    sheet = np.zeros((math.ceil(len(tiles) / columns) * cell_hw[0], columns * cell_hw[1], 3), dtype=np.uint8)
    for index, (tile, mask) in enumerate(zip(tiles, masks, strict=True)):
        down, across = divmod(index, columns)
        cell = sheet[down * cell_hw[0] :, across * cell_hw[1] :][: cell_hw[0], : cell_hw[1]]
        cell[_TEXT_PX : _TEXT_PX + height, :width] = 32 if tile is None else _draw_mask(tile, mask)
        cv2.putText(cell, str(index), (2, _TEXT_PX - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (200, 200, 200), 1, cv2.LINE_AA)
        if mask.any():
            cell[-GAP_PX:-1, :width] = OUTLINE_RGB
    return sheet


def _fit(size_hw: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """Size of a tile whose longer side in millimetres has ``TILE_PX`` pixels."""
    sides = size_hw[0] * spacing_mm[0], size_hw[1] * spacing_mm[1]
    return max(1, round(TILE_PX * sides[0] / max(sides))), max(1, round(TILE_PX * sides[1] / max(sides)))


def _draw_mask(tile: Tile, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw a mask over a tile; a small one stays visible."""
    share = cv2.resize(mask.astype(np.float32), tile.shape[::-1], interpolation=cv2.INTER_AREA)
    return draw_overlay(tile, (share > 0) & (share >= min(_COVERED, float(share.max()))))

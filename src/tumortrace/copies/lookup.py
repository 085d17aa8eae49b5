"""The nearest training mask, laid onto another slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.similarity import Match, head_box, orient


@dataclass(frozen=True)
class HeadFrame:
    """Where the head lies in a slice.

    Attributes:
        size_hw: Height and width of the slice.
        box_xywh: First column, first row, width and height of the head.
    """

    size_hw: tuple[int, int]
    box_xywh: tuple[int, int, int, int]

    @classmethod
    def of_head(cls, pixels: NDArray[Any]) -> HeadFrame:
        """Of a slice's grey values, shape (H, W)."""
        rows, columns = head_box(pixels)
        box_xywh = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        return cls((pixels.shape[0], pixels.shape[1]), box_xywh)

    def lay(self, values: NDArray[Any], *, how: int = cv2.INTER_LINEAR) -> NDArray[np.float32]:
        """Values in head coordinates on the slice's grid; 0 outside the head. Shape ``size_hw``, float32."""
        x, y, width, height = self.box_xywh
        laid = np.zeros(self.size_hw, dtype=np.float32)
        square = np.ascontiguousarray(values, dtype=np.float32)
        laid[y : y + height, x : x + width] = cv2.resize(square, (width, height), interpolation=how)
        return laid


def copy_mask(match: Match, head_mask: NDArray[np.bool_], place: HeadFrame) -> NDArray[np.bool_]:
    """Copy the mask of the most similar training slice, flipped and turned to fit: a lookup table.

    Args:
        match: Match from ``References.find_nearest``.
        head_mask: Mask of the matched slice in head coordinates, shape (MASK_PX, MASK_PX), bool.
        place: Place of the head in the slice that receives the mask.

    Returns:
        Shape ``place.size_hw``, bool.
    """
    turned = orient(head_mask, turns=match.turns, flip=match.flip)
    return np.asarray(place.lay(turned, how=cv2.INTER_NEAREST_EXACT) > 0)

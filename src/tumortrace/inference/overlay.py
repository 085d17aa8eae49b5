"""Draw a mask over its slice, for a person to judge."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.grey import scale_grey

OUTLINE_RGB = (255, 176, 0)  # amber: visible on every grey, also with the common kinds of colour blindness


def draw_overlay(pixels: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw a mask over a slice: a light tint inside, a full outline at its edge.

    Args:
        pixels: Grey values, shape (H, W), any real dtype; shown as by ``to_display``.
        mask: Shape (H, W), bool.

    Returns:
        Red-green-blue, shape (H, W, 3), uint8.
    """
    picture = np.repeat(to_display(pixels)[:, :, None], 3, axis=2).astype(np.float32)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outline = mask & (inner == 0)
    colour = np.array(OUTLINE_RGB, dtype=np.float32)
    picture[mask] = 0.8 * picture[mask] + 0.2 * colour
    picture[outline] = colour
    return np.rint(picture).astype(np.uint8)


def to_display(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch grey values into 0..255; half a per cent at each end is cut off, so that hot pixels change nothing.

    Args:
        pixels: Shape (H, W), any real dtype.

    Returns:
        Shape (H, W), uint8; black if the picture is constant.
    """
    return np.asarray(np.rint(np.clip(scale_grey(pixels), 0.0, 1.0) * np.float32(255)), dtype=np.uint8)

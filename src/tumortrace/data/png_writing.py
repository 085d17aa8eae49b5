"""Writing of pictures and masks as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.errors import DataError
from tumortrace.files import write_atomically


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture atomically: a killed program leaves the old file or the new one.

    Args:
        path: File to write; its folder is made if need be.
        pixels: Shape (H, W) grey or (H, W, 3) red-green-blue, uint8.
    """
    write_atomically(path, encode_png(pixels))


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask, shape (H, W), bool, as PNG with 0 and 255."""
    return encode_png(mask.astype(np.uint8) * np.uint8(255))


def encode_png(pixels: NDArray[np.unsignedinteger[Any]]) -> bytes:
    """Return a picture as PNG, without loss.

    Args:
        pixels: Shape (H, W) grey or (H, W, 3) red-green-blue, uint8 or uint16.

    Raises:
        DataError: It has no pixel, or another shape.
    """
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    ok, encoded = cv2.imencode(".png", ordered)
    if not ok:
        raise DataError(f"a picture of shape {pixels.shape} cannot be written as PNG")
    return encoded.tobytes()

"""Grey values and probabilities of a slice for a viewer."""

from __future__ import annotations

import base64
import math
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.pictures import read_picture
from tumortrace.data.slice import Slice
from tumortrace.json_csv import Document

WHITE = 65_535
"""Largest number that stands for a grey value."""

_TAIL = 0.005  # of the pixels at each end, beyond the window where the file states none
_FAST = 1  # of zlib's levels


def describe_pixels(image: Slice) -> Document:
    """Describe the grey values of a slice: ``grey = number * slope + intercept``.

    Whole numbers whose range is less than 65,536 are exact; all others are rounded to a 65,535th of their range.

    Args:
        image: The slice.

    Returns:
        ``data`` (base64 of zlib of the numbers: little-endian uint16, row by row), ``slope``, ``intercept``, and
        ``window``: centre and width in grey values, as the file states them or so that half a per cent of the pixels
        lie beyond each end.
    """
    numbers, slope, intercept = to_numbers(image.pixels)
    low, high = image.window or (math.nan, math.nan)
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = _find_window(image.pixels)
    return {
        "data": base64.b64encode(zlib.compress(numbers.astype("<u2").tobytes(), _FAST)).decode(),
        "slope": slope,
        "intercept": intercept,
        "window": [low / 2 + high / 2, min(max(high - low, slope), sys.float_info.max)],
    }


def describe_colours(path: Path) -> Document:
    """Describe the colours of a picture file: ``rgb_png``, base64 of a PNG of 8 bits a channel, upright."""
    colour = read_picture(path).colour
    narrow = (colour >> 8).astype(np.uint8) if colour.dtype == np.uint16 else colour
    return {"rgb_png": base64.b64encode(cv2.imencode(".png", narrow[:, :, ::-1])[1].tobytes()).decode()}


def to_numbers(pixels: NDArray[Any]) -> tuple[NDArray[np.uint16], float, float]:
    """Turn grey values into whole numbers.

    Args:
        pixels: Shape (H, W), any real dtype, finite.

    Returns:
        Numbers (H, W), uint16, with slope and intercept: ``grey = number * slope + intercept``.
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.uint16), 1.0, 0.0
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind in "iu" and int(high) - int(low) <= WHITE:
        return (pixels.astype(np.int64) - int(low)).astype(np.uint16), 1.0, float(low)
    wide = pixels.astype(np.float64)
    slope = float(high) / WHITE - float(low) / WHITE
    if not (slope > 0 and math.isfinite(slope)):
        return np.zeros(pixels.shape, dtype=np.uint16), 1.0, float(low)
    return np.clip(np.rint((wide - float(low)) / slope), 0, WHITE).astype(np.uint16), slope, float(low)


def inflate_exactly(data: bytes, size: int) -> bytes | None:
    """Decompress zlib data of a known size; None if it is damaged or has another size.

    Args:
        data: The data.
        size: Number of bytes that it has to hold; not many more are unpacked.
    """
    unpacking = zlib.decompressobj()
    try:
        numbers = unpacking.decompress(data, size + 1)
    except zlib.error:
        return None
    return numbers if len(numbers) == size and unpacking.eof else None


def encode_levels(levels: NDArray[np.uint8]) -> bytes:
    """Encode probabilities in 255ths, shape (H, W), uint8, as a grey PNG."""
    return bytes(cv2.imencode(".png", levels, [cv2.IMWRITE_PNG_COMPRESSION, _FAST])[1].tobytes())


def _find_window(pixels: NDArray[Any]) -> tuple[float, float]:
    low, high = np.quantile(pixels[::2, ::2], (_TAIL, 1 - _TAIL))
    return float(low), float(high)

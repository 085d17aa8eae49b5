"""Masks stored as PNG pictures within annotation files."""

from __future__ import annotations

import base64
import binascii
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.shapes import ShapeError, excerpt
from tumortrace.data.pictures import decode_picture

_MOST_BYTES = 2**24  # of a packed picture, unpacked once


def decode_mask_picture(text: object, *, deflated: bool = False) -> NDArray[np.bool_]:
    """Decode a mask from the base64 text of a picture.

    Args:
        text: Base64 text, with or without the head of a data address.
        deflated: Whether the picture is compressed once more, as Supervisely does.

    Returns:
        True where a pixel is not black and not transparent, shape (H, W), bool.

    Raises:
        ShapeError: It is no such text, or the picture is damaged.
    """
    if not isinstance(text, str):
        raise ShapeError("empty-region", f"its mask is {excerpt(text)}, not a picture as base64 text")
    try:
        data = base64.b64decode(text.rpartition(",")[2], validate=True)
        data = zlib.decompressobj().decompress(data, _MOST_BYTES) if deflated else data
        samples = decode_picture(data, Path("mask"))
    except (binascii.Error, zlib.error) as error:
        raise ShapeError("empty-region", f"its mask is no picture as base64 text ({error})") from None
    except Exception as error:  # noqa: BLE001 - on a damaged picture a decoder may raise anything
        raise ShapeError("empty-region", f"its mask cannot be decoded ({error})") from None
    marked = samples.colour != 0
    marked = marked if marked.ndim == 2 else marked.any(axis=2)
    return np.asarray(marked if samples.alpha is None else marked & (samples.alpha > 0), np.bool_)

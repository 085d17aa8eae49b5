"""Reading of BMP files with the palette index of each pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from tumortrace.data.samples import Samples, check_header, take_samples
from tumortrace.errors import DataError

SIGNATURE = b"BM"
_FILE_HEADER = 14  # bytes before the header whose size is said in its first four
_OLD_HEADER = 12  # size of the oldest header, whose palette has three bytes an entry instead of four


def read_bmp(data: bytes, path: Path) -> Samples:
    """Read a BMP of any type.

    Raises:
        DataError: The file has too many pixels.
    """
    header_bytes = _number(data, _FILE_HEADER, 4)
    is_old = header_bytes == _OLD_HEADER
    bits = _number(data, 24 if is_old else 28, 2)
    if bits > 8:
        return _read_colour(data, path)
    step = 3 if is_old else 4
    entries = (0 if is_old else _number(data, 46, 4)) or 2**bits
    start = _FILE_HEADER + header_bytes
    stop = start + min(entries, 256) * step
    palette = np.zeros((256, 3), np.uint8)
    blue_green_red = np.frombuffer(data[start:stop], np.uint8).reshape(-1, step)
    palette[: len(blue_green_red)] = blue_green_red[:, 2::-1]
    # Where the palette is grey, Pillow takes the indices for grey values, of which a mask of 0 and 1 would not survive.
    image = BmpImageFile(io.BytesIO(data[:start] + b"\x01" * (stop - start) + data[stop:]))
    check_header(path, kind="a BMP", size_wh=image.size)
    if image.mode != "P":
        raise DataError(f"its palette of {entries} entries is not understood")
    index = np.asarray(image)
    return Samples(palette[index], index=index)


def _read_colour(data: bytes, path: Path) -> Samples:
    image = BmpImageFile(io.BytesIO(data))
    check_header(path, kind="a BMP", size_wh=image.size)
    return take_samples(image)


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")

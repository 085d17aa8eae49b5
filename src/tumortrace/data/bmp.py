"""Reading of BMP files with the palette index of each pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from tumortrace.data.samples import Header, Samples, take_samples
from tumortrace.errors import DataError

SIGNATURE = b"BM"
_FILE_HEADER = 14  # bytes before the header whose size is said in its first four
_OLD_HEADER = 12  # size of the oldest header, whose palette has three bytes an entry instead of four


def read_header(data: bytes) -> Header:
    """Read the size; the height is negative where the first row is the top one."""
    if _number(data, _FILE_HEADER, 4) == _OLD_HEADER:
        return Header("a BMP", (_number(data, 18, 2), _number(data, 20, 2)))
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    return Header("a BMP", (width, abs(height)))


def read_bmp(data: bytes, _path: Path) -> Samples:
    """Read a BMP of any type.

    Raises:
        DataError: Its palette is damaged; the message lacks the file.
    """
    header_bytes = _number(data, _FILE_HEADER, 4)
    is_old = header_bytes == _OLD_HEADER
    bits = _number(data, 24 if is_old else 28, 2)
    if bits > 8:
        return take_samples(BmpImageFile(io.BytesIO(data)))
    step = 3 if is_old else 4
    entries = (0 if is_old else _number(data, 46, 4)) or 2**bits
    start = _FILE_HEADER + header_bytes
    stop = start + min(entries, 256) * step
    palette = np.zeros((256, 3), np.uint8)
    blue_green_red = np.frombuffer(data[start:stop], np.uint8).reshape(-1, step)
    palette[: len(blue_green_red)] = blue_green_red[:, 2::-1]
    # Where the palette is grey, Pillow takes the indices for grey values, of which a mask of 0 and 1 would not survive.
    image = BmpImageFile(io.BytesIO(data[:start] + b"\x01" * (stop - start) + data[stop:]))
    if image.mode != "P":
        raise DataError(f"its palette of {entries} entries is not understood")
    index = np.asarray(image)
    return Samples(palette[index], index=index)


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")

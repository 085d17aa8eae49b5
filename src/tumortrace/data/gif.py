"""Reading of GIF files of one frame."""

from __future__ import annotations

import io
from pathlib import Path

from PIL.GifImagePlugin import GifImageFile

from tumortrace.data.samples import Header, Samples, take_samples
from tumortrace.errors import DataError

SIGNATURES = (b"GIF87a", b"GIF89a")

_MOST_FRAMES = 10_000
_MOST_BLOCKS = 200_000
_EXTENSION, _FRAME = 0x21, 0x2C


def read_header(data: bytes) -> Header:
    """Read the size and count the frames, of which those behind the 10,000th no longer count.

    Raises:
        DataError: The file ends within its header; the message lacks the file.
    """
    if len(data) < 13:
        raise DataError("its header is cut off")
    right, bottom = _number(data, 6), _number(data, 8)
    at, frames = 13 + _table_bytes(data[10]), 0
    for _ in range(_MOST_BLOCKS):
        if at + 10 >= len(data) or data[at] not in (_EXTENSION, _FRAME) or frames == _MOST_FRAMES:
            break
        if data[at] == _FRAME:
            frames += 1
            right = max(right, _number(data, at + 1) + _number(data, at + 5))
            bottom = max(bottom, _number(data, at + 3) + _number(data, at + 7))
            at += 11 + _table_bytes(data[at + 9])
        else:
            at += 2
        while at < len(data) and data[at]:  # sub-blocks, each with its length before it
            at += 1 + data[at]
        at += 1
    return Header("a GIF", (right, bottom), max(frames, 1))


def read_gif(data: bytes, _path: Path) -> Samples:
    """Read a GIF of one frame."""
    return take_samples(GifImageFile(io.BytesIO(data)))


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")

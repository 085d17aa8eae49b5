"""Reading of WebP files of one frame."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL.WebPImagePlugin import WebPImageFile

from tumortrace.data.samples import Header, Samples, apply_orientation, read_orientation, take_samples
from tumortrace.errors import DataError

_MOST_CHUNKS = 100_000


def is_webp(data: bytes) -> bool:
    """Whether data begins as a WebP file does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def read_header(data: bytes) -> Header:
    """Read the size, the number of frames and the orientation.

    Raises:
        DataError: It states no size; the message lacks the file.
    """
    size_wh, frames, orientation = None, 0, 1
    for kind, start, end in _walk(data):
        if kind == b"VP8X":
            size_wh = tuple(1 + int.from_bytes(data[at : at + 3], "little") for at in (start + 4, start + 7))
        elif kind == b"VP8 ":
            size_wh = size_wh or tuple(
                int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (start + 6, start + 8)
            )
        elif kind == b"VP8L":
            bits = int.from_bytes(data[start + 1 : start + 5], "little")
            size_wh = size_wh or (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif kind == b"EXIF":
            orientation = read_orientation(data[start:end])
        frames += kind == b"ANMF"
    if size_wh is None:
        raise DataError("it states no size")
    return Header("a WebP", (size_wh[0], size_wh[1]), max(frames, 1), orientation=orientation)


def read_webp(data: bytes, path: Path) -> Samples:
    """Read a still WebP, upright.

    Raises:
        DataError: The file is truncated.
    """
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise DataError(f"{path}: the picture is truncated ({len(data)} bytes); copy it again from its source")
    image = WebPImageFile(io.BytesIO(data))
    samples = apply_orientation(take_samples(image), read_orientation(image.info.get("exif")))
    return replace(samples, lossy=all(kind != b"VP8L" for kind, _, _ in _walk(data)))


def _walk(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first and last place of each chunk."""
    at = 12  # behind RIFF, the file's length and WEBP
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield bytes(data[at : at + 4]), at + 8, at + 8 + length
        at += 8 + length + length % 2

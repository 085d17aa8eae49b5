"""Size of a compressed picture: JPEG, JPEG-LS and JPEG 2000."""

from __future__ import annotations

from typing import NamedTuple

from tumortrace.data.jpeg import FRAMES, SCAN, SIGNATURE, walk_segments

_JPEG_2000 = b"\xff\x4f\xff\x51"  # start and size; high-throughput JPEG 2000 begins likewise
_JP2 = b"\0\0\0\x0cjP  "  # the file format around JPEG 2000, which some writers leave in
_JPEG_LS = 0xF7  # its frame
_MOST_BOXES = 1000


class CodeSize(NamedTuple):
    """What compressed data says of itself.

    Attributes:
        size_hw: Height and width in pixels.
        components: Number of samples a pixel.
        parts: Number of scans of a JPEG, or of tiles of JPEG 2000.
    """

    size_hw: tuple[int, int]
    components: int
    parts: int


def read_code_size(data: bytes) -> CodeSize | None:
    """Return what compressed data begins with; None if it is of another kind or cut off."""
    if data.startswith(_JP2):
        data = _find_codestream(data)
    if data.startswith(_JPEG_2000):
        return _read_jpeg_2000(data) if len(data) >= 42 else None
    return _read_jpeg(data) if data.startswith(SIGNATURE) else None


def _find_codestream(data: bytes) -> bytes:
    """The codestream in its box; what looks like one in another box is none."""
    at = 0
    for _ in range(_MOST_BOXES):
        length, kind, head = _number(data, at, 4), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = _number(data, at + 8, 8), 16
        if kind == b"jp2c":
            return data[at + head :]
        if length < head:
            break
        at += length
    return b""


def _read_jpeg_2000(data: bytes) -> CodeSize | None:
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
        _number(data, at, 4) for at in range(8, 40, 4)
    )
    if not tile_width or not tile_height:
        return None
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    return CodeSize((bottom - top, right - left), _number(data, 40, 2), tiles)


def _read_jpeg(data: bytes) -> CodeSize | None:
    frames = (each.start for each in walk_segments(data) if each.marker in (*FRAMES, _JPEG_LS))
    at = next(frames, len(data))
    if at + 6 > len(data):
        return None
    return CodeSize((_number(data, at + 1, 2), _number(data, at + 3, 2)), data[at + 5], data.count(SCAN))


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")

"""Size of a compressed picture: JPEG, JPEG-LS and JPEG 2000."""

from __future__ import annotations

_START = b"\xff\xd8"
_JPEG_2000 = b"\xff\x4f\xff\x51"  # start and size; high-throughput JPEG 2000 begins likewise
_JP2 = b"\0\0\0\x0cjP  "  # the file format around JPEG 2000, which some writers leave in
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOFn, and that of JPEG-LS
_LONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length


def read_size(data: bytes) -> tuple[int, int] | None:
    """Return height and width that compressed data begins with; None if it is of another kind or cut off."""
    if data.startswith(_JP2):
        data = data[data.find(_JPEG_2000) :] if _JPEG_2000 in data else b""
    if data.startswith(_JPEG_2000):
        right, bottom, left, top = (_number(data, at, 4) for at in (8, 12, 16, 20))
        return (bottom - top, right - left) if len(data) >= 24 else None
    return _read_jpeg(data) if data.startswith(_START) else None


def _read_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            return _number(data, at + 5, 2), _number(data, at + 7, 2)
        if marker == 0xFF:  # fill
            at += 1
        else:
            at += 2 if marker in _LONE else 2 + max(_number(data, at + 2, 2), 2)
    return None


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")

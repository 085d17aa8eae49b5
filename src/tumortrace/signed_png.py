"""A mark in the PNG files that tumortrace draws, by which it recognises them."""

from __future__ import annotations

import zlib
from pathlib import Path

_HEAD = 33  # bytes of signature and header: a PNG's other chunks follow
_MARK = b"Software\x00tumortrace "
_START = _HEAD + 8  # behind the length and the name of the chunk
_LENGTH = len(_MARK) + 8  # and eight digits of a checksum


def sign_png(png: bytes) -> bytes:
    """Add a text chunk to a PNG that says that tumortrace wrote it, with a checksum of all that follows.

    Args:
        png: A whole PNG file.
    """
    rest = png[_HEAD:]
    text = b"tEXt" + _MARK + b"%08x" % zlib.crc32(rest)
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    return png[:_HEAD] + chunk + rest


def is_signed_png(path: Path) -> bool:
    """Return whether a file is a PNG that ``sign_png`` marked and nobody has changed since.

    Args:
        path: A file; one that cannot be read is not ours.
    """
    try:
        if not path.is_file():  # a pipe would keep the reader waiting
            return False
        with path.open("rb") as file:
            head = file.read(_START + _LENGTH)
            return head.startswith(_MARK, _START) and is_signed_png_bytes(head + file.read())
    except OSError:
        return False


def is_signed_png_bytes(data: bytes) -> bool:
    """Return whether the content of a file is a PNG that ``sign_png`` marked and nobody has changed since."""
    if not data.startswith(_MARK, _START):
        return False
    rest = memoryview(data)[_START + _LENGTH + 4 :]  # behind the text and its own checksum
    return data[_START : _START + _LENGTH] == _MARK + b"%08x" % zlib.crc32(rest)

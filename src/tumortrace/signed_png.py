"""A mark in the PNG files that tumortrace draws, by which it recognises them."""

from __future__ import annotations

import zlib
from pathlib import Path

_HEAD = 33  # bytes of signature and header: a PNG's other chunks follow
_MARK = b"Software\x00tumortrace "


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
    length = len(_MARK) + 8
    try:
        if not path.is_file():  # a pipe would keep the reader waiting
            return False
        with path.open("rb") as file:
            text = file.read(_HEAD + 8 + length)[_HEAD + 8 :]
            return text.startswith(_MARK) and text == _MARK + b"%08x" % zlib.crc32(file.read()[4:])
    except OSError:
        return False

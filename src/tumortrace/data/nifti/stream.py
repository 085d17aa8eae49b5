"""The bytes of a NIfTI file, compressed or not."""

from __future__ import annotations

import gzip
import zlib
from contextlib import closing
from functools import lru_cache
from io import BufferedReader
from pathlib import Path

from tumortrace.errors import DataError

_GZIP = b"\x1f\x8b"

_CHUNK = 2**20


def is_gzip(path: Path) -> bool:
    """Return whether a file is compressed, by its first bytes and not by its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def open_bytes(path: Path) -> gzip.GzipFile | BufferedReader:
    """Open a file for reading its uncompressed bytes."""
    return gzip.open(path, "rb") if is_gzip(path) else path.open("rb")


def stamp(path: Path) -> tuple[int, int]:
    """Return time and size of a file: other ones mean other content."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1)
def unpack(path: Path, _version: tuple[int, int], offset: int, length: int) -> bytearray:
    """The voxels of the first volume of a gzip file, once its checksum is known to fit; the last one is kept.

    Memory grows with what the file holds, up to the ``length`` that was checked before.
    """
    voxels = bytearray()
    try:
        with closing(gzip.open(path, "rb")) as file:
            _skip(file, offset)
            while len(voxels) < length and (piece := file.read(min(_CHUNK, length - len(voxels)))):
                voxels += piece
            while file.read(_CHUNK):  # the checksum is at the end
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({describe_cause(error)}); copy it again from its source") from None
    if len(voxels) < length:
        raise DataError(f"{path}: truncated ({len(voxels):,} of {length:,} bytes of voxels); copy it from its source")
    return voxels


def _skip(file: gzip.GzipFile, count: int) -> None:
    while count and (piece := file.read(min(_CHUNK, count))):
        count -= len(piece)


def describe_cause(error: Exception) -> str:
    """Return why a file cannot be read, in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__

"""The bytes of a NIfTI file, compressed or not."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tumortrace.errors import DataError, describe_cause
from tumortrace.regular_files import open_regular

_GZIP = b"\x1f\x8b"

MOST_FOLD = 400
"""How often a scan may unpack to its own size: gzip packs zeros a thousandfold, and scans tenfold."""

_CHUNK = 2**20

_LIKELY_BYTES = 2**26  # unpacked before that counts

_SLACK = 2**20  # bytes behind the voxels that some programs pad a file with


def is_gzip(path: Path) -> bool:
    """Return whether a file is compressed, by its first bytes and not by its name."""
    with open_regular(path) as file:
        return file.read(2) == _GZIP


@contextmanager
def open_bytes(path: Path) -> Iterator[gzip.GzipFile | BinaryIO]:
    """Open a file for reading its uncompressed bytes, until the block ends."""
    with open_regular(path) as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if packed else file


def stamp(path: Path) -> tuple[int, int]:
    """Return time and size of a file: other ones mean other content."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def unpack(path: Path, version: tuple[int, int], offset: int, length: int, rest: int, fold: int | None) -> bytearray:
    """Return the voxels of the first volume of a gzip file, once its checksum is known to fit; the last one is kept.

    Memory grows with what the file holds, up to the ``length`` that was checked before.

    Args:
        path: The file.
        version: Stamp of the file.
        offset: Place of the first voxel.
        length: Bytes of the first volume.
        rest: Bytes of the other volumes.
        fold: Number of times its own size that the file may unpack to; None for any number.

    Raises:
        DataError: The file is damaged or truncated, or holds more than it says.
    """
    with _unpacking:  # the slices of a volume come in several threads, and each would unpack all of it
        voxels = _unpack(path, version, offset, length, rest, fold)
    if isinstance(voxels, str):
        raise DataError(voxels)
    return voxels


_unpacking = threading.Lock()


@lru_cache(maxsize=1)
def _unpack(
    path: Path, _version: tuple[int, int], offset: int, length: int, rest: int, fold: int | None
) -> bytearray | str:
    """The voxels, or what is wrong with the file: it is kept too, since every slice of the file asks for them."""
    try:
        return _unpack_whole(path, offset, length, rest, fold)
    except DataError as error:
        return str(error)


def _unpack_whole(path: Path, offset: int, length: int, rest: int, fold: int | None) -> bytearray:
    voxels = bytearray()
    try:
        with open_regular(path) as packed, closing(gzip.open(packed, "rb")) as file:
            _skip(file, offset)
            while len(voxels) < length and (piece := file.read(min(_CHUNK, length - len(voxels)))):
                voxels += piece
                if fold is not None and len(voxels) > max(_LIKELY_BYTES, fold * packed.tell()):
                    raise DataError(
                        f"{path}: unpacks to more than {fold} times its size, as no scan does; give the original"
                    )
            left = rest + _SLACK
            while piece := file.read(_CHUNK):  # the checksum is at the end
                left -= len(piece)
                if left < 0:
                    raise DataError(f"{path}: unpacks to more than its header says; copy it again from its source")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({describe_cause(error)}); copy it again from its source") from None
    if len(voxels) < length:
        raise DataError(f"{path}: truncated ({len(voxels):,} of {length:,} bytes of voxels); copy it from its source")
    return voxels


def _skip(file: gzip.GzipFile, count: int) -> None:
    while count and (piece := file.read(min(_CHUNK, count))):
        count -= len(piece)

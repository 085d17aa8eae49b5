"""The list of a run's pictures, one file of which each task reads a range."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.files import NewFile
from tumortrace.inference.batch.archives import PackedTarMember, TarMember, ZipMember
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.remote import RemoteFile
from tumortrace.regular_files import open_regular
from tumortrace.stored_path import Source

_SOURCES = {kind.__name__: kind for kind in (TarMember, PackedTarMember, ZipMember, RemoteFile)}


def write_listing(path: Path, blocks: Iterable[Iterable[PictureFile]]) -> array[int]:
    """Write pictures, a line of JSON each.

    Args:
        path: The file; it appears when all pictures stand in it.
        blocks: Blocks of pictures, drawn one by one.

    Returns:
        Places where the blocks begin, and the place where the last one ends.

    Raises:
        OSError: The disk is full or fails.
    """
    places = array("q", [0])
    file = NewFile(path)
    try:
        for block in blocks:
            lines = b"".join(_encode(one) for one in block)
            file.write(lines, at=places[-1])
            places.append(places[-1] + len(lines))
        file.put_in_place()
    except BaseException:
        file.discard()
        raise
    return places


def read_listing(path: Path, begin: int, end: int) -> list[PictureFile]:
    """Return the pictures that stand in a file from one place to another.

    Raises:
        DataError: The file is another one, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            file.seek(begin)
            return [_decode(line) for line in file.read(end - begin).splitlines()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the same command again") from None


def _encode(one: PictureFile) -> bytes:
    source = None if one.source is None else {"kind": type(one.source).__name__, **asdict(one.source)}  # type: ignore[call-overload]
    return json.dumps([one.path, one.name, one.fault, source]).encode() + b"\n"


def _decode(line: bytes) -> PictureFile:
    path, name, fault, fields = json.loads(line)
    source: Source | None = None if fields is None else _SOURCES[fields.pop("kind")](**fields)
    return PictureFile(path, name, fault, source)

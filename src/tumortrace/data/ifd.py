"""Directories of tags in TIFF, EXIF and MPF data, walked before they are loaded.

A directory's entries may all claim the same megabyte as their value. A library copies it for each of them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tumortrace.errors import DataError

MOST_PAGES = 10_000
"""Directories up to which they are counted."""

SHORT, LONG = 3, 4
"""Types of whole numbers of 16 and 32 bits."""

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_VERSIONS = {42: False, 43: True}  # whether offsets have 64 bits


class Entry(NamedTuple):
    """One entry of a directory: its type, the number of its values, and their place in the data."""

    kind: int
    number: int
    offset: int


class _Form(NamedTuple):
    """How the numbers of a directory are stored."""

    order: str
    is_big: bool

    @property
    def entry(self) -> str:
        return f"{self.order}HHQ" if self.is_big else f"{self.order}HHI"

    @property
    def length(self) -> str:
        return f"{self.order}Q" if self.is_big else f"{self.order}H"

    @property
    def offset(self) -> str:
        return f"{self.order}Q" if self.is_big else f"{self.order}I"


class Directories(NamedTuple):
    """The first directory of some data, and how many there are, counted up to ``MOST_PAGES``."""

    entries: dict[int, Entry]
    pages: int
    order: str


def walk(data: bytes | memoryview) -> Directories:
    """Walk the directories of TIFF data without copying a value.

    Args:
        data: All of it, from the byte order on.

    Raises:
        DataError: It is no such data, a directory is cut off, or its values claim more bytes than there are; the
            message lacks the file.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
    version = int.from_bytes(data[2:4], "little" if order == "<" else "big")
    if not order or version not in _VERSIONS:
        raise DataError("its list of tags is cut off or damaged")
    form = _Form(order, _VERSIONS[version])
    try:
        (offset,) = struct.unpack_from(form.offset, data, 8 if form.is_big else 4)
        entries, following = _read_directory(data, offset, form)
    except struct.error:
        raise DataError("its list of tags is cut off or damaged") from None
    return Directories(entries, _count(data, offset, following, form), order)


def read_whole(data: bytes | memoryview, entry: Entry | None, order: str) -> int | None:
    """Return the first value of an entry as a whole number; None if there is no entry, or another type."""
    if entry is None or entry.number < 1 or entry.kind not in (SHORT, LONG):
        return None
    code = order + ("H" if entry.kind == SHORT else "I")
    return int(struct.unpack_from(code, data, entry.offset)[0])


def _read_directory(data: bytes | memoryview, offset: int, form: _Form) -> tuple[dict[int, Entry], int]:
    """The entries of one directory, and the place of the next one."""
    (count,) = struct.unpack_from(form.length, data, offset)
    step, head = (20, 8) if form.is_big else (12, 2)
    if offset + head + count * step > len(data):
        raise struct.error
    entries: dict[int, Entry] = {}
    left = len(data)
    for at in range(offset + head, offset + head + count * step, step):
        tag, kind, number = struct.unpack_from(form.entry, data, at)
        length = _TYPE_BYTES.get(kind, 0) * number
        inline = step - struct.calcsize(form.entry)
        place = at + step - inline
        if length > inline:
            (place,) = struct.unpack_from(form.offset, data, place)
            left -= length
        if left < 0:
            raise DataError("its list of tags is cut off or damaged (it claims more bytes than the file has)")
        if length and place + length <= len(data):
            entries.setdefault(tag, Entry(kind, number, place))
    following = offset + head + count * step
    end = len(data) < following + struct.calcsize(form.offset)
    return entries, 0 if end else struct.unpack_from(form.offset, data, following)[0]


def _count(data: bytes | memoryview, first: int, offset: int, form: _Form) -> int:
    """The number of directories, from the second one's place on; one that was seen before ends them."""
    step, head = (20, 8) if form.is_big else (12, 2)
    seen = {first}
    while offset and offset not in seen and len(seen) < MOST_PAGES:
        seen.add(offset)
        try:
            (count,) = struct.unpack_from(form.length, data, offset)
            (offset,) = struct.unpack_from(form.offset, data, offset + head + count * step)
        except (struct.error, OverflowError):  # past the end, by less or more than 2^63 bytes
            break
    return len(seen)

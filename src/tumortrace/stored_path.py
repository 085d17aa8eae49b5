"""Paths of members of archives and of objects in buckets."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tumortrace.errors import DataError

_KEPT_BYTES = 2**20  # content from which on the last one is kept: of a volume, all slices are read from it


class Source(Protocol):
    """What holds the content of a file that is none of its own: an archive, a bucket. It may be pickled."""

    def read(self) -> bytes:
        """Return the content; ``DataError`` if it cannot be read or is too large."""

    def stamp(self) -> tuple[int, str]:
        """Return size, and a text that changes with the content; ``DataError`` if they are unknown."""


class StoredPath(type(Path())):  # type: ignore[misc] # the class of this system's paths
    """The path of a member of an archive or of an object, ``ARCHIVE/MEMBER``, from which it is read as from a file.

    Readers take it as any other path, and open it by ``regular_files.open_regular``. The content is read whole, into
    memory.

    Attributes:
        source: Place of its content; None for a path that leads nowhere.
    """

    source: Source | None = None
    _text = ""
    _beside: Mapping[str, Source] = {}

    def __new__(cls, text: str, source: Source | None = None, beside: Mapping[str, Source] | None = None) -> StoredPath:
        """Make a path.

        Args:
            text: The path as it is shown.
            source: Place of its content.
            beside: Files in the same folder that belong to it, by their names: the other half of a pair.
        """
        path: StoredPath = super().__new__(cls, text)
        path.source, path._text, path._beside = source, text, beside or {}
        return path

    def __init__(self, text: str, source: Source | None = None, beside: Mapping[str, Source] | None = None) -> None:  # noqa: ARG002
        """Make a path, as ``__new__`` says."""
        if sys.version_info >= (3, 12):
            super().__init__(text)

    def __str__(self) -> str:
        """Return the path as it is shown: ``s3://`` keeps both of its slashes."""
        return self._text or super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredPath, (self._text, self.source, dict(self._beside))

    @property
    def parent(self) -> Path:
        """The folder in the archive, or the archive, by its name."""
        return StoredPath(self._text.rpartition("/")[0] or ".")

    def with_name(self, name: str) -> StoredPath:
        """Return the path of a file beside it, which may lead nowhere."""
        text = self._text[: len(self._text) - len(self.name)] + name
        return StoredPath(text, self.source if name == self.name else self._beside.get(name), self._beside)

    def with_suffix(self, suffix: str) -> StoredPath:
        """Return the path of a file beside it with another suffix."""
        return self.with_name(self.stem + suffix)

    def is_file(self) -> bool:
        """Whether it leads somewhere."""
        return self.source is not None

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return size and, as its time of change, a number that changes with the content.

        Raises:
            OSError: The archive or bucket cannot be read.
        """
        del follow_symlinks
        try:
            size, stamp = self._find_source().stamp()
        except DataError as error:
            raise self._fault(error) from None
        changed = zlib.crc32(stamp.encode())
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, size, 0, 0, 0), {"st_mtime_ns": changed})

    def open_content(self) -> io.BufferedReader:
        """Open the content for reading.

        Raises:
            OSError: It cannot be read; ``strerror`` says why.
        """
        content = _Content(self.read_content())
        content.name = str(self)
        return io.BufferedReader(content)

    def read_content(self) -> bytes:
        """Return the content; that of a large one is kept until it changes, or the next large one is read.

        Raises:
            OSError: It cannot be read; ``strerror`` says why.
        """
        source = self._find_source()
        reading = _reading[hash(source) % len(_reading)]
        try:
            with reading:  # of several threads one reads it; the others take what it kept
                return _read_or_take(source)
        except DataError as error:
            raise self._fault(error) from None

    def _find_source(self) -> Source:
        if self.source is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return self.source

    def _fault(self, error: DataError) -> OSError:
        """What is wrong with the content, without the archive's name, which the path begins with."""
        text = str(error)
        start = next(
            (place for place in (f"{self}: ", *(f"{one}: " for one in self._ends())) if text.startswith(place)), ""
        )
        return OSError(errno.EIO, text.removeprefix(start).partition("; ")[0], str(self))

    def _ends(self) -> list[str]:
        parts = self._text.split("/")
        return ["/".join(parts[:count]) for count in range(1, len(parts))]


class _Content(io.BytesIO):
    """Bytes with the name of their file, which pydicom asks for."""

    name: str


class _Kept(NamedTuple):
    """A large content that was read last, with its source and the stamp of that."""

    source: Source
    stamp: tuple[int, str]
    data: bytes


_reading = tuple(threading.Lock() for _ in range(64))  # one for each source, shared by few
_last: list[_Kept] = []  # one or none


def _read_or_take(source: Source) -> bytes:
    for kept in _last:
        if kept.source == source and kept.stamp == source.stamp():
            return kept.data
    data = source.read()
    if len(data) >= _KEPT_BYTES:
        _last[:] = [_Kept(source, source.stamp(), data)]  # at once: other threads may look
    return data

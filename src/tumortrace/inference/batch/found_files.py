"""Files behind inputs, packed: a million of them take some 50 MB."""

from __future__ import annotations

import os
import zlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.pictures import MOST_BYTES
from tumortrace.errors import DataError
from tumortrace.regular_files import read_regular_file
from tumortrace.stored_path import Source, StoredPath

T = TypeVar("T")

Hashes: TypeAlias = NDArray[np.int64]
"""Hashes of texts, shape (texts,), int64."""

_BLOCK = 4096  # paths that are compressed together


class FoundFile(NamedTuple):
    """A file behind an input.

    Attributes:
        path: Path of the file.
        start: Place in it where the path relative to the input begins.
        fault: Reason why it cannot be read; empty if there is none.
        named: Whether the user named the file itself.
        source: Place of its content; None for a file of its own.
    """

    path: str
    start: int
    fault: str = ""
    named: bool = False
    source: Source | None = None

    @property
    def relative(self) -> str:
        """Path relative to the input."""
        return self.path[self.start :]


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One file to segment, and the name of its results.

    Attributes:
        path: Path of the file.
        name: Path of its results within the output folder, without the ``_mask.png``; empty if there is a fault.
        fault: Reason why it cannot be read, if known before it is opened: a folder without permission.
        source: Place of its content; None for a file of its own.
    """

    path: str
    name: str
    fault: str = ""
    source: Source | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Its mask and its overlay, within the folder of the results; none if there is a fault."""
        return () if self.fault else (f"{self.name}_mask.png", f"{self.name}_overlay.png")

    @property
    def place(self) -> Path:
        """Path by which its content is opened; that of a member leads into its archive."""
        return Path(self.path) if self.source is None else StoredPath(self.path, self.source)

    def read(self) -> bytes:
        """Read the file whole.

        Raises:
            DataError: It cannot be read, is no regular file, or is too large.
        """
        if self.fault:
            raise DataError(self.fault)
        if self.source is not None:
            return self.source.read()
        return read_regular_file(Path(self.path), most_bytes=MOST_BYTES)


class _Lazy(Sequence[T]):
    """A sequence whose items are made when they are asked for."""

    @overload
    def __getitem__(self, number: int) -> T: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[T]: ...
    def __getitem__(self, number: int | slice) -> T | Sequence[T]:
        if isinstance(number, slice):
            return [self._make(one) for one in range(*number.indices(len(self)))]
        return self._make(range(len(self))[number])

    def _make(self, number: int) -> T:
        raise NotImplementedError


class FoundFiles(_Lazy[FoundFile]):
    """Files behind inputs in their order, packed."""

    def __init__(self, files: Iterable[FoundFile] = ()) -> None:
        """Pack files.

        Args:
            files: Files, drawn one by one.
        """
        self._blocks: list[bytes] = []
        self._last = (-1, b"")  # the block that was read last, as it was before it was compressed
        self._open: list[bytes] = []
        self._begins = array("I")  # of each path within its block
        self._starts = array("i")
        self._places, self._names = array("q"), array("q")  # hashes, from which equal ones are found
        self._odd: dict[int, FoundFile] = {}  # faults, named files, members of archives
        for one in files:
            self.append(one)

    def __len__(self) -> int:
        """Number of files."""
        return len(self._starts)

    def append(self, one: FoundFile) -> None:
        """Add a file."""
        if one.fault or one.named or one.source is not None:
            self._odd[len(self)] = one
        path = os.fsencode(one.path)
        self._begins.append(self._begins[-1] + len(self._open[-1]) if self._open else 0)
        self._open.append(path)
        if len(self._open) == _BLOCK:
            self._blocks.append(zlib.compress(b"".join(self._open), level=1))
            self._open.clear()
        self._starts.append(one.start)
        self._places.append(hash(place_of(one.path)))
        self._names.append(hash(self._name(len(self) - 1, one)))

    def path(self, number: int) -> str:
        """Return the path of a file."""
        block, rank = divmod(number, _BLOCK)
        if block == len(self._blocks):
            return os.fsdecode(self._open[rank])
        end = self._begins[number + 1] if rank + 1 < _BLOCK else None
        return os.fsdecode(self._open_block(block)[self._begins[number] : end])

    def relative(self, number: int) -> str:
        """Return the path of a file relative to its input."""
        return self.path(number)[self._starts[number] :]

    def name(self, number: int) -> str:
        """Return the plain name of a file's results; one that no other file has where there is a fault."""
        return self._name(number, self[number])

    def odd(self) -> Iterator[tuple[int, FoundFile]]:
        """Yield the files of which more is known than their paths, with their numbers."""
        yield from self._odd.items()

    def without_repeats(self) -> FoundFiles:
        """Return each file once, in the place where it comes first, however its path is written."""
        groups = _group_equal(np.asarray(self._places), lambda number: place_of(self.path(number)))
        again = {number for group in groups for number in group[1:]}
        return FoundFiles(one for number, one in enumerate(self) if number not in again) if again else self

    def resolve_names(self) -> dict[int, str]:
        """Make the names of results unique; return those that differ from the plain ones, by the files' numbers.

        Where two plain names collide, they keep their suffix; where these collide too, they are numbered.
        """
        hashes = np.asarray(self._names)
        return resolve_collisions(hashes, self.name, lambda number: self.relative(number).replace(os.sep, "/"))

    def _open_block(self, block: int) -> bytes:
        last, paths = self._last
        if last != block:
            paths = zlib.decompress(self._blocks[block])
            self._last = block, paths  # both at once: other threads may read too
        return paths

    def _name(self, number: int, one: FoundFile) -> str:
        return f"\0{number}" if one.fault else _plain_name(one.relative)

    def _make(self, number: int) -> FoundFile:
        return self._odd.get(number) or FoundFile(self.path(number), self._starts[number])


class PictureFiles(_Lazy[PictureFile]):
    """Pictures with the names of their results, packed.

    A name is the path relative to the input without its suffix; the few that differ are kept apart.
    """

    def __init__(self, files: FoundFiles, renamed: dict[int, str]) -> None:
        """Name files.

        Args:
            files: The files.
            renamed: Names of those whose plain name another one has, by their numbers.
        """
        self._files = files
        self._renamed = renamed

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._files)

    def _make(self, number: int) -> PictureFile:
        one = self._files[number]
        name = self._renamed.get(number)
        return PictureFile(
            one.path, "" if one.fault else _plain_name(one.relative) if name is None else name, one.fault, one.source
        )


def _plain_name(relative: str) -> str:
    """Return the name of a picture's results where no other one has it: its path without suffix, forward slashes."""
    return os.path.splitext(relative)[0].replace(os.sep, "/")


def place_of(path: str) -> str:
    """Return a file's path from the root, by which it is recognised however it was named."""
    # abspath is slow, and of a million paths most are from the root already.
    return path if path.startswith("/") and "/." not in path and "//" not in path else os.path.abspath(path)


def hash_texts(texts: Iterable[str]) -> Hashes:
    """Return the hashes of texts, as this process computes them."""
    return np.asarray(array("q", map(hash, texts)))


def resolve_collisions(hashes: Hashes, plain: Callable[[int], str], full: Callable[[int], str]) -> dict[int, str]:
    """Make names unique; return those that differ from the plain ones, by their numbers.

    Args:
        hashes: Hashes of the plain names.
        plain: Function that returns the name to use where no other one is equal.
        full: Function that returns the name to use where one is; where these collide too, they are numbered.
    """
    groups = _group_equal(hashes, plain)
    if not groups:
        return {}
    taken = _Names(hashes, plain)
    renamed: dict[int, str] = {}
    for number in sorted(number for group in groups for number in group):
        free, again = full(number), 2
        while free in taken:
            free, again = f"{full(number)}-{again}", again + 1
        taken.add(free)
        renamed[number] = free
    return renamed


def _group_equal(hashes: Hashes, text: Callable[[int], str]) -> list[list[int]]:
    """Return the numbers of equal texts, in ascending order, for each text that comes more than once.

    Args:
        hashes: Hashes of all texts.
        text: Function that returns one; called for the few that have equal hashes.
    """
    order = np.argsort(hashes, kind="stable")
    ascending = hashes[order]
    equal = np.flatnonzero(ascending[1:] == ascending[:-1])
    groups: dict[str, list[int]] = defaultdict(list)
    for number in sorted({int(order[at + step]) for at in equal for step in (0, 1)}):
        groups[text(number)].append(number)
    return [group for group in groups.values() if len(group) > 1]


class _Names:
    """A set of texts that are not kept: only their hashes are."""

    def __init__(self, hashes: Hashes, text: Callable[[int], str]) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._text = text
        self._added: set[str] = set()

    def __contains__(self, name: str) -> bool:
        if name in self._added:
            return True
        first = int(np.searchsorted(self._hashes, hash(name)))
        last = int(np.searchsorted(self._hashes, hash(name), side="right"))
        return any(self._text(int(number)) == name for number in self._order[first:last])

    def add(self, name: str) -> None:
        self._added.add(name)

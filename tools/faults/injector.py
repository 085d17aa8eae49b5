"""An operating system in which one chosen call fails; it remembers all writes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tumortrace.locks import LOCK

KINDS = ("open", "write", "fsync", "rename", "mkdir")
"""Calls that are counted and can be made to fail."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Fault:
    """One call that fails.

    Attributes:
        kind: One of ``KINDS``.
        number: Its number among the calls of its kind, from 1.
        code: Its error, such as ``errno.ENOSPC``; of a write, half of the bytes are written first. Of a negative one
            the process is killed by that signal.
        lasting: Whether all later calls of its kind fail too, as on a disk that stays full.
    """

    kind: str
    number: int
    code: int
    lasting: bool = False

    def __str__(self) -> str:
        """Return it as ``write 3 ENOSPC``."""
        name = errno.errorcode.get(self.code, f"signal {-self.code}")
        return f"{self.kind} {self.number} {name}{' on' if self.lasting else ''}"


@dataclass
class Calls:
    """The calls so far.

    Attributes:
        counts: Number of calls of each kind.
        log: Each call with the path that it concerns, in order; a rename has both.
        hit: Whether the fault has come.
        past: Files that were opened for writing, or renamed, without ``tumortrace.files``.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    log: list[tuple[str, ...]] = field(default_factory=list)
    hit: bool = False
    past: list[tuple[str, str]] = field(default_factory=list)


class FaultyOs:
    """The module ``os`` as ``tumortrace.files`` sees it."""

    def __init__(self, fault: Fault | None, calls: Calls) -> None:
        """Let one call fail.

        Args:
            fault: The call; None lets all succeed.
            calls: Record that is filled.
        """
        self._fault, self._calls = fault, calls
        self._paths: dict[int, str] = {}
        self.inside = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever os has
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:  # noqa: ANN401 - as in os
        """Open a file; only writing counts."""
        if flags & _WRITING:
            self._count("open", str(path))
        with self._through():
            descriptor = os.open(path, flags, mode)
        self._paths[descriptor] = str(path)
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:  # noqa: ANN401 - as in os
        """Write, or write half and fail."""
        try:
            self._count("write", self._paths[descriptor])
        except OSError:
            os.write(descriptor, data[: len(data) // 2])
            raise
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Note it; the disk itself is not waited for."""
        self._count("fsync", self._paths[descriptor])

    def ftruncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        self._calls.log.append(("write", self._paths[descriptor]))
        os.ftruncate(descriptor, size)

    def replace(self, source: Any, target: Any) -> None:  # noqa: ANN401 - as in os
        """Rename a file or folder."""
        self._count("rename", str(source), str(target))
        with self._through():
            os.replace(source, target)  # noqa: PTH105 - the call itself

    def mkdir(self, path: Any) -> None:  # noqa: ANN401 - as in os
        """Make a folder."""
        self._count("mkdir", str(path))
        os.mkdir(path)  # noqa: PTH102 - the call itself

    @contextmanager
    def _through(self) -> Iterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def _count(self, kind: str, *paths: str) -> None:
        counts, fault = self._calls.counts, self._fault
        counts[kind] += 1
        if fault and fault.kind == kind:
            number = counts[kind]
            if number == fault.number or (fault.lasting and number > fault.number):
                self._calls.hit = True
                if fault.code < 0:
                    os.kill(os.getpid(), -fault.code)
                raise OSError(fault.code, os.strerror(fault.code), paths[0])
        self._calls.log.append((kind, *paths))


class _Watch:
    """Notes what is opened for writing or renamed below a folder without ``tumortrace.files``."""

    def __init__(self) -> None:
        self.faulty: FaultyOs | None = None
        self.calls = Calls()
        self.root = ""
        self._added = False

    def start(self, faulty: FaultyOs, calls: Calls, root: Path) -> None:
        if not self._added:
            sys.addaudithook(self)  # there is no way to remove one
            self._added = True
        self.faulty, self.calls, self.root = faulty, calls, str(root)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.faulty is None or event not in {"open", "os.rename"}:
            return
        path = arguments[0] if event == "open" else arguments[1]
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING):
            return
        below = isinstance(path, str | Path) and str(path).startswith(self.root)
        if below and not self.faulty.inside and Path(path).name != LOCK:
            self.calls.past.append((event, str(path)))


_WATCH = _Watch()


@contextmanager
def inject(fault: Fault | None, *, below: Path) -> Iterator[Calls]:
    """Let one call of ``tumortrace.files`` fail, and watch a folder.

    Args:
        fault: The call; None lets all succeed.
        below: Folder in which nothing may be written past ``tumortrace.files``.

    Yields:
        The calls, filled while the block runs.
    """
    calls = Calls()
    faulty = FaultyOs(fault, calls)
    _WATCH.start(faulty, calls, below)
    try:
        with patch("tumortrace.files.os", faulty):
            yield calls
    finally:
        _WATCH.faulty = None


def find_disorder(calls: Calls) -> list[str]:
    """Say where fsync(file), rename, fsync(folder) did not come in this order.

    Args:
        calls: Calls of a command that met no fault.

    Returns:
        A line for each name that a loss of power could leave without its content; empty if there is none.
    """
    dirty: set[str] = set()
    unnamed: dict[str, str] = {}
    faults = []
    for kind, path, *target in calls.log:
        if kind in {"open", "write"}:
            dirty.add(path)
        elif kind == "fsync":
            dirty.discard(path)
            unnamed = {name: folder for name, folder in unnamed.items() if folder != path}
        elif kind == "rename":
            faults += [
                f"{each}: renamed before its content was on the disk" for each in sorted(dirty) if _lies(each, path)
            ]
            faults += [
                f"{each}: its folder was renamed before its name was on the disk"
                for each in unnamed
                if _lies(each, path)
            ]
            unnamed[target[0]] = str(Path(target[0]).parent)
        elif kind == "mkdir":
            unnamed[path] = str(Path(path).parent)
        if kind == "rename" and Path(target[0]).name == "results.json":
            early = [name for name in unnamed if name != target[0]]
            faults += [f"{name}: its record was in place before its own name" for name in early]
    return faults + [f"{name}: its name never reached the disk" for name in unnamed]


def _lies(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")

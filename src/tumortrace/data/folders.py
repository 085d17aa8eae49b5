"""Listing of a folder with all its subfolders."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tumortrace.data.findings import Finding, left_out
from tumortrace.data.names import describe_unprintable, natural_key
from tumortrace.data.pictures import IMAGE_SUFFIXES
from tumortrace.errors import DataError, printable

SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})
"""Folders that operating systems and file servers leave behind; they count as hidden."""


@dataclass(frozen=True)
class Tree:
    """The visible files of a folder and its subfolders.

    Attributes:
        root: The folder.
        files: Paths within it, with forward slashes, in natural order.
        folders: Paths of its subfolders, and ``""`` for itself, likewise.
        findings: Entries that are no usable files: folders that cannot be opened, dead links, pipes, names that are not
            UTF-8.
    """

    root: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    findings: tuple[Finding, ...]

    @cached_property
    def pictures(self) -> tuple[str, ...]:
        """The files that are pictures by their suffix."""
        return tuple(file for file in self.files if is_picture(file))

    def children(self, folder: str) -> list[str]:
        """The subfolders directly in a folder."""
        return self._children.get(folder, [])

    def files_in(self, folder: str) -> list[str]:
        """The files directly in a folder."""
        return self._files_in.get(folder, [])

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        return _by_parent(folder for folder in self.folders if folder)

    @cached_property
    def _files_in(self) -> dict[str, list[str]]:
        return _by_parent(self.files)


def list_tree(root: Path) -> Tree:
    """List a folder with its subfolders.

    Folders behind links are listed once, however many links lead to them, and after all others.

    Raises:
        DataError: The folder is missing, a file, or cannot be opened.
    """
    if root.is_file():
        raise DataError(f"{root}: a file; give the folder that holds the images")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    files: list[str] = []
    findings: list[Finding] = []
    folders: list[str] = []
    listed: set[tuple[int, int]] = set()
    waiting = deque([""])
    while waiting:
        folder = waiting.popleft()
        try:
            entries = _list_entries(root / folder, listed)
        except OSError as error:
            if not folder:
                raise DataError(f"{root}: cannot be opened ({error.strerror}); check its permissions") from None
            cause = f"the folder cannot be opened ({error.strerror})"
            findings.append(left_out("unreadable", folder, cause, "check its permissions"))
            continue
        folders += [] if entries is None else [folder]
        for entry in entries or ():
            name = join(folder, entry.name)
            if fault := _find_fault(entry, name):
                findings.append(fault)
            elif entry.is_dir():
                (waiting.append if entry.is_symlink() else waiting.appendleft)(name)
            else:
                files.append(name)
    findings.sort(key=lambda finding: natural_key(finding.file))
    return Tree(root, tuple(sorted(files, key=natural_key)), tuple(sorted(folders, key=natural_key)), tuple(findings))


def parent_of(path: str) -> str:
    """The folder that a file or folder lies in; ``""`` at the top."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The own name of a file or folder."""
    return path.rpartition("/")[2]


def join(folder: str, name: str) -> str:
    """A path within a folder, which may be ``""``."""
    return f"{folder}/{name}" if folder else name


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - asked of a million files; a Path takes five times as long


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or made by the system, by its own name."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def _by_parent(paths: Iterable[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for path in paths:
        grouped.setdefault(parent_of(path), []).append(path)
    return grouped


def _list_entries(folder: Path, listed: set[tuple[int, int]]) -> list[Path] | None:
    """The visible entries of a folder; None if it was listed before, under whatever name."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in listed:
        return None
    listed.add(identity)
    return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))


def _find_fault(entry: Path, name: str) -> Finding | None:
    """Why an entry is neither a folder nor a file that can be read."""
    if unprintable := describe_unprintable(entry.name):
        return left_out("unsafe-filename", printable(name), f"its name {unprintable}", "rename it")
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        kind, remedy = ("a link that leads nowhere", "correct the link") if entry.is_symlink() else ("", "check it")
        return left_out("unreadable", name, kind or f"cannot be opened ({error.strerror})", remedy)
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return None
    return left_out("unreadable", name, "not a regular file (a pipe, socket or device)", "remove it from the folder")

"""A download as it was published: a folder, a zip, or zips within either."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tumortrace.data.findings import Finding, left_out
from tumortrace.data.folders import is_hidden, list_tree
from tumortrace.data.names import describe_unsafe, natural_key
from tumortrace.errors import DataError, describe_cause, printable
from tumortrace.files import is_disk_fault
from tumortrace.regular_files import read_regular_file, refuse_irregular

MOST_FILES = 200_000
"""Largest number of files in a download; the largest that is known here has about 10,000."""

MOST_NESTED_BYTES = 8 * 2**30
"""Largest zip within a zip that is unpacked to a temporary file."""

_DEPTH = 2  # a zip within a zip: the article at figshare comes so
_AGAIN = "download it again"
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError, OSError)


@dataclass(frozen=True, eq=False)
class Member:
    """One file of a download.

    Attributes:
        path: Path within the download with forward slashes; a zip counts as a folder.
        size_bytes: Size as the zip states it, -1 for a file in a folder.
        read: Function that returns its content, given the largest size that is read.
    """

    path: str
    size_bytes: int
    read: Callable[[int], bytes]


@dataclass(frozen=True, eq=False)
class Download:
    """The files of a download.

    Attributes:
        root: The folder or zip.
        members: The files by their path, in natural order.
        findings: Entries that are no usable files.
    """

    root: Path
    members: dict[str, Member]
    findings: tuple[Finding, ...]

    def read(self, path: str, *, most_bytes: int) -> bytes:
        """Read one file whole.

        Raises:
            DataError: It is larger than ``most_bytes``, damaged or encrypted; names it.
        """
        member = self.members[path]
        if member.size_bytes > most_bytes:
            raise DataError(f"{path}: {member.size_bytes:,} bytes, more than the limit of {most_bytes:,}; {_AGAIN}")
        return member.read(most_bytes)


@contextmanager
def open_download(root: Path, *, scratch: Path) -> Iterator[Download]:
    """Open a download; nothing is written into it.

    Args:
        root: A folder or a zip.
        scratch: Folder for temporary files, which hold the zips within a zip.

    Raises:
        DataError: There is no such file or folder, it is a pipe or no zip, or it holds more than ``MOST_FILES`` files.
    """
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; give the download, as a zip or unpacked")
    with ExitStack() as stack:
        lister = _Lister(stack, scratch)
        if root.is_dir():
            lister.list_folder(root)
        else:
            refuse_irregular(root)  # a pipe could keep the reader waiting
            lister.list_zip(root, prefix="", depth=1)
            if lister.findings and not lister.members:
                raise DataError(f"{root}: {lister.findings[0].cause}; {lister.findings[0].remedy}")
        members = {path: lister.members[path] for path in sorted(lister.members, key=natural_key)}
        yield Download(root, members, tuple(lister.findings))


class _Lister:
    """The files of a download while they are listed.

    Attributes:
        members: Files found so far, by path.
        findings: Entries that are no usable files.
    """

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        self._stack, self._scratch = stack, scratch
        self.members: dict[str, Member] = {}
        self.findings: list[Finding] = []

    def list_folder(self, root: Path) -> None:
        tree = list_tree(root)
        self.findings += tree.findings
        for file in tree.files:
            if file.lower().endswith(".zip"):
                self.list_zip(root / file, prefix=f"{file}/", depth=1)
            else:
                self._add(Member(file, -1, partial(_read_file, root / file)))

    def list_zip(self, file: Path | IO[bytes], *, prefix: str, depth: int) -> None:
        try:
            archive = self._stack.enter_context(zipfile.ZipFile(file))
        except _ZIP_ERRORS as error:
            remedy = f"{_AGAIN}, or give the unpacked folder"
            self._leave_out(
                prefix.rstrip("/") or str(file), f"cannot be read as a zip ({printable(describe_cause(error))})", remedy
            )
            return
        for entry in archive.infolist():
            path = prefix + entry.filename.replace("\\", "/")
            if unsafe := describe_unsafe(entry.filename):
                self._leave_out(printable(path), f"its name {unsafe}", _AGAIN)
            elif entry.is_dir() or any(map(is_hidden, PurePosixPath(path).parts)):
                continue
            elif path.lower().endswith(".zip") and depth < _DEPTH:
                self._list_nested(archive, entry, prefix=f"{path}/", depth=depth + 1)
            else:
                self._add(Member(path, entry.file_size, partial(_read_entry, archive, entry, path)))

    def _list_nested(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, prefix: str, depth: int) -> None:
        if entry.file_size > MOST_NESTED_BYTES:
            cause = f"a zip of {entry.file_size:,} bytes in a zip, more than the limit of {MOST_NESTED_BYTES:,}"
            self._leave_out(prefix.rstrip("/"), cause, "unpack the outer zip first")
            return
        copy = self._stack.enter_context(tempfile.TemporaryFile(dir=self._scratch))  # noqa: SIM115
        try:
            with archive.open(entry) as source:
                shutil.copyfileobj(source, copy, 2**20)
        except _ZIP_ERRORS as error:
            if isinstance(error, OSError) and is_disk_fault(error):  # of the disk that it is unpacked to
                raise OSError(error.errno, error.strerror, str(self._scratch)) from None
            self._leave_out(prefix.rstrip("/"), f"cannot be unpacked ({printable(describe_cause(error))})", _AGAIN)
            return
        self.list_zip(copy, prefix=prefix, depth=depth)

    def _add(self, member: Member) -> None:
        if member.path in self.members:
            self._leave_out(member.path, "comes twice; the first one is used", "remove the second one")
            return
        if len(self.members) == MOST_FILES:
            raise DataError(f"{member.path}: more than the limit of {MOST_FILES:,} files; give the download alone")
        self.members[member.path] = member

    def _leave_out(self, file: str, cause: str, remedy: str) -> None:
        self.findings.append(left_out("unreadable", file, cause, remedy))


def _read_file(path: Path, most_bytes: int) -> bytes:
    return read_regular_file(path, most_bytes=most_bytes)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str, _most_bytes: int) -> bytes:
    """Read one file of a zip; it can be no longer than its header says, which ``zipfile`` sees to."""
    try:
        return archive.read(entry)
    except (*_ZIP_ERRORS, MemoryError) as error:
        raise DataError(f"{path}: cannot be unpacked ({describe_cause(error)}); {_AGAIN}") from None

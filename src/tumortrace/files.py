"""Atomic writing of files.

Every file that tumortrace leaves behind is written here, so that one set of tests holds what a fault, a kill or a loss
of power does to it.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from tumortrace.errors import DataError

LONGEST_NAME = 255
"""Bytes that a file's name may have on the usual file systems."""

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would else change line ends

_DISK_FAULTS = {
    number
    for number, name in errno.errorcode.items()
    if name in {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EMFILE", "ENFILE"}  # Windows lacks some
}

_LEFT_BEHIND = re.compile(r"\..*\.partial|\.tumortrace.*\.lock", flags=re.DOTALL)
"""Names of temporary files and locks."""

_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""Answers of systems that cannot bring a folder to the disk, which is no fault of the disk."""

_WAITING: ContextVar[dict[Path, None] | None] = ContextVar("waiting", default=None)
"""Folders whose names are to be brought to the disk when a block ends."""

_WRITING_IN: ContextVar[Path | None] = ContextVar("writing_in", default=None)
"""Folder for files while they are written; None for that of each file."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that no reader ever sees half of it.

    A write that fails leaves the old file, or none, and nothing beside it. After a loss of power the name has the old
    content or the new one.

    Raises:
        DataError: A folder stands in its place.
        OSError: The file cannot be written; names ``path``.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder, and a file should be written there; name a file")
    try:
        for folder in (path.parent, _neighbour(path).parent):
            make_folder(folder)
        file = NewFile(path)
        try:
            file.write(data, at=0)
            file.put_in_place()
        except BaseException:
            file.discard()
            raise
    except OSError as error:  # its own name is the neighbour's, or missing where the disk is full
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


class NewFile:
    """A file while it is written beside its place; every result of tumortrace comes to its name through this class."""

    def __init__(self, path: Path) -> None:
        """Open its neighbour, which replaces that of a killed run.

        Args:
            path: Its place, in a folder that exists.

        Raises:
            OSError: The neighbour cannot be opened.
        """
        self._path, self._neighbour = path, _neighbour(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY
        self._descriptor: int | None = os.open(self._neighbour, flags, 0o666)

    def write(self, data: bytes, *, at: int, reserve: int = 0) -> None:
        """Write all of a content from a byte on, and cut off what stands behind it.

        Args:
            data: The content.
            at: Place of its first byte.
            reserve: Bytes behind it for which space on the disk is taken, where the system can do so.
        """
        if self._descriptor is None:
            raise ValueError("the file is closed")
        os.lseek(self._descriptor, at, os.SEEK_SET)
        _write_all(self._descriptor, data)
        end = at + len(data)
        os.ftruncate(self._descriptor, end + _reserve(self._descriptor, end, reserve))

    def truncate(self, size: int) -> None:
        """Cut off what stands behind a byte."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, size)

    def put_in_place(self) -> None:
        """Bring the content to the disk, rename the file, then bring the name to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            self.close()
        os.replace(self._neighbour, self._path)
        _sync_folder(self._path.parent)

    def discard(self) -> None:
        """Close the file and remove the neighbour, if it is there still."""
        with suppress(OSError):
            self.close()
        with suppress(OSError):
            os.unlink(self._neighbour)

    def close(self) -> None:
        """Close the file, wherever it is; it may be closed already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def write_in(folder: Path) -> Iterator[None]:
    """Write files in a folder, not beside their places, until the block ends: two processes may write the same ones.

    Args:
        folder: A folder of this process alone, on the file system of the places. It is made when it is needed; what a
            killed process leaves there goes with it.
    """
    token = _WRITING_IN.set(folder)
    try:
        yield
    finally:
        _WRITING_IN.reset(token)


def append_whole(path: Path, data: bytes) -> None:
    """Add a piece to a file that grows, such as a journal; of a piece that fails nothing stays.

    Args:
        path: The file, which is made if need be.
        data: The piece.

    Raises:
        OSError: It cannot be written; names ``path``.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, data)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def cut_off(path: Path, size: int) -> None:
    """Remove what stands behind a byte of a file that grows: a piece that a killed run did not write whole.

    Args:
        path: The file; it need not exist.
        size: Number of bytes that stay.

    Raises:
        OSError: It cannot be written; names ``path``.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size > size:
            os.truncate(path, size)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if need be, and bring their names to the disk.

    Raises:
        OSError: It cannot be made, or a file stands there.
    """
    missing = [folder]
    while not missing[-1].exists() and missing[-1] != missing[-1].parent:
        missing.append(missing[-1].parent)
    for new in reversed(missing[:-1]):
        with suppress(FileExistsError):  # another process made it meanwhile
            os.mkdir(new)
            _sync_folder(new.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def holds_results(folder: Path) -> bool:
    """Return whether a folder is there and holds anything but what a killed run leaves: its lock, a file half written.

    Args:
        folder: The folder.
    """
    return folder.exists() and any(not _LEFT_BEHIND.fullmatch(entry.name) for entry in folder.iterdir())


def refuse_inside(out: Path, root: Path) -> None:
    """Refuse to write results into a user's data folder.

    Raises:
        DataError: ``out`` is ``root`` or lies within it.
    """
    if out.resolve().is_relative_to(root.resolve()):
        name = f"{root.resolve().name}-out" if out.resolve() == root.resolve() else out.name
        beside = os.path.normpath(root / os.pardir / name)
        where = f"the data folder {root}, where nothing is written"
        raise DataError(f"{out} lies inside {where}; choose a folder outside, such as {beside}")


def rename_folder(folder: Path, place: Path) -> None:
    """Bring a finished folder into its place, where nothing stands, and the name to the disk.

    Raises:
        OSError: It cannot be renamed; names ``place``.
    """
    try:
        os.replace(folder, place)
        _sync_folder(place.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from None


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, now or, within ``sync_folders_once``, when that block ends.

    Where a system cannot do so (Windows, some network folders) nothing happens.
    """
    waiting = _WAITING.get()
    if waiting is not None:
        waiting[folder] = None
        return
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise OSError(error.errno, error.strerror, str(folder)) from None
    finally:
        os.close(descriptor)


@contextmanager
def sync_folders_once() -> Iterator[None]:
    """Bring the names in each folder to the disk once, when the block ends, in place of once for each file.

    For many small files: each waits for the disk once in place of twice. The files themselves are still on the disk
    before they are renamed.
    """
    waiting: dict[Path, None] = {}
    token = _WAITING.set(waiting)
    try:
        yield
    except BaseException:
        _WAITING.reset(token)
        for folder in waiting:
            with suppress(OSError):  # the first fault is the one that is raised
                _sync_folder(folder)
        raise
    _WAITING.reset(token)
    for folder in waiting:
        _sync_folder(folder)


def is_disk_fault(error: BaseException) -> bool:
    """Return whether the next file would meet the same fault; any other is due to the names of one picture's files.

    Args:
        error: Error that was raised in writing.
    """
    return isinstance(error, OSError) and error.errno in _DISK_FAULTS


def _reserve(descriptor: int, at: int, count: int) -> int:
    """Take space on the disk behind a byte; return how many bytes the file has there afterwards."""
    if not count or not hasattr(os, "posix_fallocate"):  # macOS and Windows lack it
        return 0
    try:
        os.posix_fallocate(descriptor, at, count)
    except OSError as error:
        if error.errno in _CANNOT_SYNC:
            return 0
        raise
    return count


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _neighbour(path: Path) -> Path:
    """The temporary file beside a file, or in the folder of ``write_in``; a name that would be too long is cut."""
    name = os.fsencode(f".{path.name}")[: LONGEST_NAME - len(b".partial")]
    return (_WRITING_IN.get() or path.parent) / os.fsdecode(name + b".partial")

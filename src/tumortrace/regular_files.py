"""Reading of regular files alone: a pipe could keep the reader waiting."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.stored_path import StoredPath

_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ELOOP: "remove the link, which leads back to itself",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EACCES: "check the permissions of the file and its folders",
}


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a file for reading, once it is known to be one: a pipe or device could keep the reader waiting for ever.

    Args:
        path: The file; a ``StoredPath`` opens a member of an archive, or an object.

    Raises:
        OSError: It cannot be opened, or is no regular file; ``strerror`` says what it is.
    """
    if isinstance(path, StoredPath):
        return path.open_content()
    _require_regular(_stat(path).st_mode, path)
    flags = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))  # some systems lack some
    number = os.open(path, os.O_RDONLY | sum(flags))
    try:
        _require_regular(os.fstat(number).st_mode, path)  # again: a pipe may stand there by now
    except OSError:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_regular_file(path: Path, *, most_bytes: int) -> bytes:
    """Read a file whole, once it is known to be a file: a pipe or device could keep the reader waiting for ever.

    Args:
        path: The file; links are followed.
        most_bytes: Size above which it is refused.

    Raises:
        DataError: It cannot be read, is no regular file, or is too large.
    """
    try:
        refuse_irregular(path)
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most_bytes:
                raise DataError(f"{path}: {size:,} bytes, more than the limit of {most_bytes:,}; give a smaller file")
            return file.read()
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the path and its permissions")
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError as error:  # a null byte, or a character that the file system has no bytes for
        raise DataError(f"{path}: cannot be read ({error}); no file has such a name") from None
    except MemoryError:
        raise DataError(f"{path}: cannot be read (there is too little memory for it); give a smaller file") from None


def refuse_irregular(path: Path) -> os.stat_result:
    """Return the status of a regular file.

    Raises:
        DataError: It is a folder, a pipe or a device.
        OSError: There is no such file.
    """
    status = _stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: {_name_type(status.st_mode)}, not a file; only regular files are read")
    return status


def _stat(path: Path | str) -> os.stat_result:
    """The status of a file; a dead link is called so, because a user sees a file there."""
    try:
        return os.stat(path)
    except FileNotFoundError as error:
        if not os.path.islink(path):
            raise
        raise FileNotFoundError(error.errno, "a link to a file that does not exist", str(path)) from None


def _require_regular(mode: int, path: Path | str) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"{_name_type(mode)}, not a file", str(path))


def _name_type(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"

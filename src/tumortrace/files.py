"""Reading of regular files; atomic writing of files, JSON and CSV."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tumortrace.errors import DataError

Document = dict[str, Any]
"""JSON values by name, as a JSON file holds them."""


MOST_TEXT_BYTES = 2**28
"""Largest JSON, CSV, XML or text file that is read: parsed, it takes ten times its size."""

LONGEST_NAME = 255
"""Bytes that a file's name may have on the usual file systems."""

_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ELOOP: "remove the link, which leads back to itself",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EACCES: "check the permissions of the file and its folders",
}


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a file for reading, once it is known to be one: a pipe or device could keep the reader waiting for ever.

    Raises:
        OSError: It cannot be opened, or is no regular file; ``strerror`` says what it is.
    """
    _require_regular(os.stat(path).st_mode, path)
    flags = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))  # some systems lack some
    number = os.open(path, os.O_RDONLY | sum(flags))
    try:
        _require_regular(os.fstat(number).st_mode, path)  # again: a pipe may stand there by now
    except OSError:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_json(path: Path, *, most_bytes: int = MOST_TEXT_BYTES) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file.

    Args:
        path: The file.
        most_bytes: Size above which it is refused.

    Raises:
        OSError: It cannot be read, is no regular file, or is too large.
        ValueError: It is no JSON, or nested too deeply.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise OSError(errno.EFBIG, f"{size:,} bytes, more than the limit of {most_bytes:,}", str(path))
        return parse_json(file.read())


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


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
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: {_name_type(status.st_mode)}, not a file; only regular files are read")
    return status


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that no reader ever sees half of it.

    A write that fails leaves the old file, or none, and nothing beside it.

    Raises:
        DataError: A folder stands in its place.
        OSError: The file cannot be written; names ``path``.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder, and a file should be written there; name a file")
    neighbour = _neighbour(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        neighbour.write_bytes(data)
        neighbour.replace(path)
    except BaseException as error:
        with suppress(OSError):
            neighbour.unlink(missing_ok=True)
        if isinstance(error, OSError):  # its own name is the neighbour's, or missing where the disk is full
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        raise


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON, atomically.

    Raises:
        ValueError: It holds NaN or infinity, which JSON cannot express.
    """
    write_atomically(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], *, columns: Sequence[str]) -> None:
    """Write a table as CSV, atomically; None, NaN and keys that a row lacks become empty cells."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value != value else value for key, value in row.items()})  # noqa: PLR0124 - NaN
    write_atomically(path, text.getvalue().encode())


def _require_regular(mode: int, path: Path | str) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"{_name_type(mode)}, not a file", str(path))


def _name_type(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _neighbour(path: Path) -> Path:
    """The temporary file beside a file; its name is cut where it would be too long."""
    name = os.fsencode(f".{path.name}")[: LONGEST_NAME - len(b".partial")]
    return path.with_name(os.fsdecode(name + b".partial"))

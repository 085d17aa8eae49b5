"""Files behind one input: a file, a folder, an archive, a pattern or a list."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tumortrace.data.folders import is_hidden, is_picture
from tumortrace.data.names import natural_key
from tumortrace.errors import DataError
from tumortrace.inference.batch.archives import is_archive, list_members
from tumortrace.inference.batch.found_files import FoundFile
from tumortrace.inference.batch.remote import RemoteFile, is_remote, list_objects
from tumortrace.regular_files import refuse_irregular

_OUTSIDE = os.path.join(os.pardir, "")
_QUOTED = re.compile(rb"""(["'])(.+)\1""")


def is_manifest(text: str) -> bool:
    """Return whether an input is ``@FILE``, a list of inputs, and no file of that name."""
    return text.startswith("@") and not os.path.lexists(text)


def match_input(text: str) -> list[str]:
    """Return what one input stands for: the file or folder of that name, or else all that match it as a pattern.

    Args:
        text: Input as typed by the user; ``@FILE`` is returned as it is.

    Raises:
        DataError: There is none.
    """
    if is_remote(text):
        return [text]
    path = text[1:] if is_manifest(text) else text
    try:
        os.lstat(path)
    except OSError as error:
        matches = [] if path != text else sorted(glob.glob(text, recursive=True), key=natural_key)
        if matches:
            return matches
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        cause = "no such file or folder" if missing else f"cannot be opened ({error.strerror})"
        if missing and path == text and glob.has_magic(text):
            raise DataError(f"{text}: no file matches this pattern; check the path") from None
        raise DataError(f"{path}: {cause}; check the path") from None
    return [text]


def expand(match: str) -> Iterator[FoundFile]:
    """Yield the files behind one input.

    Args:
        match: A path, or ``@FILE``.

    Raises:
        DataError: A list cannot be read.
    """
    if is_manifest(match):
        yield from _read_manifest(match[1:])
        return
    if is_remote(match):
        yield from list_objects(match)
        return
    path = str(Path(match))  # no more is tidied: ".." behind a link leads elsewhere
    if not os.path.isdir(path):
        if is_archive(path):
            yield from list_members(path)
            return
        yield FoundFile(path, len(path) - len(os.path.basename(path)))
        return
    start = 0 if path == os.curdir else len(os.path.join(path, ""))
    for file, fault in _walk(path, seen=set()):
        yield FoundFile(file, start, fault)


def list_folders(match: str) -> Iterator[str]:
    """Yield the folders that one input names: itself, or those of a list."""
    paths = (path for path, _ in _list_paths(match[1:]) if not is_picture(path)) if is_manifest(match) else [match]
    yield from (path for path in paths if os.path.isdir(path))


def _read_manifest(manifest: str) -> Iterator[FoundFile]:
    """Yield the files behind each line of a list. A picture is known by its suffix: there may be a million."""
    for path, start in _list_paths(manifest):
        if is_remote(path) and is_picture(path):
            yield FoundFile(path, start, source=RemoteFile(path))
        elif is_picture(path):
            yield FoundFile(path, start)
        elif is_remote(path):
            yield from (one._replace(start=start) for one in list_objects(path))
        elif os.path.isdir(path) or (is_archive(path) and os.path.isfile(path)):
            yield from (one._replace(start=start) for one in expand(path))
        else:
            yield FoundFile(path, start, named=True)


def _list_paths(manifest: str) -> Iterator[tuple[str, int]]:
    """Yield the path of each line, and the place in it where the name of its results begins.

    The name is relative to the list's folder; of a path outside of it, to the root.
    """
    base = os.path.dirname(Path(manifest))  # tidy, as all paths by which files are compared
    prefix = os.path.join(base, "")
    for line in _read_lines(manifest):
        if is_remote(line):
            yield line, line.index("//") + 2
            continue
        tidy = os.path.normpath(line)
        if tidy.startswith((os.sep, _OUTSIDE)) or os.path.isabs(line):
            path = os.path.abspath(os.path.join(base, line))
            yield path, len(os.path.splitdrive(path)[0]) + 1
        else:
            yield prefix + tidy, len(prefix)


def _read_lines(manifest: str) -> Iterator[str]:
    """Yield the lines of a text file that are not blank, without quotes around a whole line."""
    try:
        refuse_irregular(Path(manifest))
        with open(manifest, "rb") as file:
            for number, line in enumerate(file):
                text = line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 0 else b"")
                if b"\0" in text:
                    raise DataError(f"{manifest}: line {number + 1} is no path; give UTF-8 text, a path a line")
                if quoted := _QUOTED.fullmatch(text):
                    text = quoted[2]
                if text.strip():
                    yield os.fsdecode(text)
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror}); check the path") from None


def _walk(folder: str, *, seen: set[str]) -> Iterator[tuple[str, str]]:
    """The files below a folder in natural order, hidden ones left out; links are followed, each folder entered once.

    A folder that cannot be opened comes with its fault.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    listing = list_folder(folder)
    if listing.fault:
        yield folder, f"{folder}: cannot be opened ({listing.fault}); check the folder's permissions"
    for name in sorted(listing.names, key=natural_key):
        path = name if folder == os.curdir else os.path.join(folder, name)
        if name in listing.folders:
            yield from _walk(path, seen=seen)
        else:
            yield path, ""


class Listing(NamedTuple):
    """What is in a folder, hidden entries left out.

    Attributes:
        names: Names of all entries.
        folders: Names of those that are folders, or links to folders.
        fault: Reason why there may be more; empty if there is none.
    """

    names: list[str]
    folders: set[str]
    fault: str


def list_folder(folder: Path | str) -> Listing:
    """Return what is in a folder, hidden entries left out."""
    names: list[str] = []
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_hidden(entry.name):
                    names.append(entry.name)
                    if _is_folder(entry):
                        folders.add(entry.name)
    except OSError as error:
        return Listing(names, folders, error.strerror or str(error))
    return Listing(names, folders, "")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False

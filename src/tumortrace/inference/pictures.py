"""Which files a user means by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.dataset import natural_key, refuse_inside
from tumortrace.data.slice import IMAGE_SUFFIXES
from tumortrace.errors import DataError


@dataclass(frozen=True, slots=True)
class Picture:
    """One file to segment, and the name that its results go by. Strings, because there may be a million of them.

    Attributes:
        path: The file.
        name: Path of its results within the output folder, without the ``_mask.png``.
    """

    path: str
    name: str


def find_pictures(inputs: Sequence[str]) -> tuple[list[Picture], list[str]]:
    """The pictures that files, folders (searched through, links followed) and glob patterns stand for.

    Args:
        inputs: As typed by the user. A file that stands for itself is taken whatever its suffix.

    Returns:
        The pictures in natural order of each input, each file once; and the files of other types, which are skipped.
        Hidden files and folders below a folder are in neither.

    Raises:
        DataError: An input that does not exist, a folder that cannot be opened, or not one picture in all of them.
    """
    matches = [path for text in inputs for path in _match(text)]
    found: dict[str, str] = {}  # the file, and its path relative to its input
    others: dict[str, None] = {}
    seen: set[str] = set()
    named = {os.path.abspath(text) for text in inputs if os.path.exists(text)}
    for match in matches:
        for path, relative in _expand(match):
            absolute = os.path.abspath(path)
            if absolute in seen:
                continue
            if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES or absolute in named:
                found[path] = relative
            else:
                others[path] = None
            if len(matches) > 1:  # within one folder, no file comes twice
                seen.add(absolute)
    if not found:
        raise DataError(f"{' '.join(inputs)}: no picture there (JPEG, PNG or TIFF); {len(others)} other files")
    names = _unique_names(list(found.values()))
    return [Picture(path, name) for path, name in zip(found, names, strict=True)], list(others)


def refuse_out_in_inputs(out: Path, inputs: Sequence[str]) -> None:
    """Refuse to write among the pictures that are read.

    Raises:
        DataError: ``out`` lies within one of the input folders, or an input does not exist.
    """
    for path in (path for text in inputs for path in _match(text)):
        if os.path.isdir(path):
            refuse_inside(out, Path(path))


def _match(text: str) -> list[str]:
    """What one input stands for: the file or folder of that name, or else all that match it as a pattern."""
    if os.path.exists(text):
        return [text]
    matches = sorted(glob.glob(text, recursive=True), key=natural_key)
    if not matches:
        raise DataError(f"{text}: no such file or folder; check the path")
    return matches


def _expand(match: str) -> Iterator[tuple[str, str]]:
    """Files behind one input, each with its path relative to that input."""
    if not os.path.isdir(match):
        yield os.path.normpath(match), os.path.basename(match)
        return
    for path in _walk(os.path.normpath(match), seen=set()):
        yield path, os.path.relpath(path, match)


def _walk(folder: str, *, seen: set[str]) -> Iterator[str]:
    """The files below a folder in natural order, hidden ones left out; links are followed, each folder entered once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    except OSError as error:
        raise DataError(f"{folder}: cannot be opened ({error.strerror}); check the folder's permissions") from error
    for name in sorted(names, key=natural_key):
        path = os.path.join(folder, name)
        if names[name]:
            yield from _walk(path, seen=seen)
        else:
            yield path


def _unique_names(relatives: list[str]) -> list[str]:
    """A name for each file: its path without suffix; where two meet, with suffix; where these meet too, numbered."""
    plain = [Path(os.path.splitext(relative)[0]).as_posix() for relative in relatives]
    meets = Counter(plain)
    taken: set[str] = set()
    for index, relative in enumerate(relatives):
        name = plain[index] if meets[plain[index]] == 1 else Path(relative).as_posix()
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique)
        plain[index] = unique
    return plain

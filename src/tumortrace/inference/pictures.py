"""Which files a user means by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.dataset import refuse_inside
from tumortrace.data.names import natural_key
from tumortrace.data.pictures import IMAGE_SUFFIXES
from tumortrace.data.slice import hint_at_dicom
from tumortrace.errors import DataError


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One file to segment, and the name that its results go by. Strings, because there may be a million of them.

    Attributes:
        path: The file.
        name: Path of its results within the output folder, without the ``_mask.png``.
    """

    path: str
    name: str


def find_pictures(inputs: Sequence[str]) -> tuple[list[PictureFile], list[str]]:
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
    named = {os.path.abspath(text) for text in inputs if os.path.exists(text)}
    paths: list[str] = []
    starts: list[int] = []  # where in its path a file's path relative to its input begins
    others: list[str] = []
    for path, start in _each_once(matches):
        if os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES or os.path.abspath(path) in named:
            paths.append(path)
            starts.append(start)
        else:
            others.append(path)
    if not paths:
        found = f"no picture there (JPEG, PNG or TIFF); {len(others)} other files{hint_at_dicom(others)}"
        raise DataError(f"{' '.join(inputs)}: {found}")
    names = _unique_names([path[start:] for path, start in zip(paths, starts, strict=True)])
    return [PictureFile(path, name) for path, name in zip(paths, names, strict=True)], others


def _each_once(matches: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The files behind the inputs, however many of these a file lies in, as ``_expand`` gives them."""
    if len(matches) == 1:  # within one folder no file comes twice, and there may be a million
        yield from _expand(matches[0])
        return
    seen: set[str] = set()
    for match in matches:
        for path, start in _expand(match):
            absolute = os.path.abspath(path)
            if absolute not in seen:
                seen.add(absolute)
                yield path, start


def place_of(path: str) -> str:
    """A file's path from the root, by which it is known again however it was named."""
    return os.path.abspath(path)


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


def _expand(match: str) -> Iterator[tuple[str, int]]:
    """Files behind one input, each with the place in its path where the path relative to that input begins."""
    path = str(Path(match))  # no more is tidied: ".." behind a link leads elsewhere
    if not os.path.isdir(path):
        yield path, len(path) - len(os.path.basename(path))
        return
    start = 0 if path == os.curdir else len(os.path.join(path, ""))
    for file in _walk(path, seen=set()):
        yield file, start


def _walk(folder: str, *, seen: set[str]) -> Iterator[str]:
    """The files below a folder in natural order, hidden ones left out; links are followed, each folder entered once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    names: list[str] = []
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    names.append(entry.name)
                    if entry.is_dir():
                        folders.add(entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be opened ({error.strerror}); check the folder's permissions") from error
    names.sort(key=natural_key)
    for name in names:
        path = name if folder == os.curdir else os.path.join(folder, name)
        if name in folders:
            yield from _walk(path, seen=seen)
        else:
            yield path


def _unique_names(relatives: list[str]) -> list[str]:
    """A name for each file: its path without suffix; where two meet, with suffix; where these meet too, numbered."""
    plain = [os.path.splitext(relative)[0].replace(os.sep, "/") for relative in relatives]
    taken: set[str] = set()
    meeting: set[str] = set()
    for name in plain:
        (meeting if name in taken else taken).add(name)
    for index, relative in enumerate(relatives):
        if plain[index] in meeting:
            name, number = relative.replace(os.sep, "/"), 2
            unique = name
            while unique in taken:
                unique, number = f"{name}-{number}", number + 1
            taken.add(unique)
            plain[index] = unique
    return plain

"""Find the pictures behind files, folders and patterns; name their results."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tumortrace.data.dataset import refuse_inside
from tumortrace.data.folders import is_hidden
from tumortrace.data.names import natural_key
from tumortrace.data.parts import read_folder_name
from tumortrace.data.pictures import IMAGE_SUFFIXES, MOST_BYTES, READABLE
from tumortrace.data.slice import hint_at_dicom
from tumortrace.errors import DataError
from tumortrace.files import open_regular, read_regular_file
from tumortrace.signed_png import is_signed_png

_ANNOTATION_WORDS = (b'"regions"', b"region_shape_attributes", b'"annotations"')
_ANNOTATION_HEAD = 65536  # bytes in which an annotation file shows that it is one


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One file to segment, and the name of its results. Strings, because there may be a million of them.

    Attributes:
        path: Path of the file.
        name: Path of its results within the output folder, without the ``_mask.png``; empty if there is a fault.
        fault: Reason why it cannot be read, if known before it is opened: a folder without permission.
    """

    path: str
    name: str
    fault: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Its mask and its overlay, within the folder of the results; none if there is a fault."""
        return () if self.fault else (f"{self.name}_mask.png", f"{self.name}_overlay.png")

    def read(self) -> bytes:
        """Read the file whole.

        Raises:
            DataError: It cannot be read, is no regular file, or is too large.
        """
        if self.fault:
            raise DataError(self.fault)
        return read_regular_file(Path(self.path), most_bytes=MOST_BYTES)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file behind an input.

    Attributes:
        path: Path of the file.
        start: Place in it where the path relative to the input begins.
        fault: Reason why it cannot be read; empty if there is none.
        named: Whether the user named the file itself.
    """

    path: str
    start: int
    fault: str = ""
    named: bool = False

    @property
    def relative(self) -> str:
        """Path relative to the input."""
        return self.path[self.start :]


def find_pictures(inputs: Sequence[str]) -> tuple[list[PictureFile], list[str]]:
    """Find the pictures behind files, folders (searched with all subfolders, links followed) and glob patterns.

    Args:
        inputs: Inputs as typed by the user. A file that is named itself is taken whatever its suffix.

    Returns:
        The pictures in natural order of each input, each file once, and with them the folders that cannot be opened;
        and the files of other types, which are skipped. Hidden files and folders below a folder are in neither.

    Raises:
        DataError: An input does not exist, or there is not one picture in all of them.
    """
    files, others = sort_files(inputs)
    if all(one.fault for one in files):
        raise describe_no_pictures(inputs, files, others)
    names = iter(unique_names([one.relative for one in files if not one.fault]))
    pictures = [PictureFile(one.path, "" if one.fault else next(names), one.fault) for one in files]
    return pictures, [one.path for one in others]


def sort_files(inputs: Sequence[str]) -> tuple[list[FoundFile], list[FoundFile]]:
    """Find the files behind inputs as ``find_pictures`` does, without names for their results.

    Args:
        inputs: Inputs as typed by the user.

    Returns:
        Pictures by their suffix, files that the user named, and folders that cannot be opened; and all other files.

    Raises:
        DataError: An input does not exist.
    """
    matches = [path for text in inputs for path in _match(text)]
    named = {os.path.abspath(text) for text in inputs if os.path.lexists(text)}
    found: list[FoundFile] = []
    others: list[FoundFile] = []
    for one in _each_once(matches):
        if not one.fault and not _is_picture(one.path) and os.path.abspath(one.path) in named:
            found.append(replace(one, named=True))
        elif one.fault or _is_picture(one.path):
            found.append(one)
        else:
            others.append(one)
    return found, others


def describe_no_pictures(inputs: Sequence[str], files: Sequence[FoundFile], others: Sequence[FoundFile]) -> DataError:
    """Return the error of inputs without a picture.

    Args:
        inputs: Inputs as typed by the user.
        files: Folders that cannot be opened.
        others: Files of other types.
    """
    if files:
        return DataError(files[0].fault)
    count = f"{len(others)} other file{'' if len(others) == 1 else 's'}"
    hint = hint_at_dicom([one.path for one in others])
    return DataError(f"{' '.join(inputs)}: no picture there ({READABLE}); {count}{hint}")


def unique_names(relatives: list[str]) -> list[str]:
    """Name the results of files: by path without suffix; where two meet, with suffix; where these meet too, numbered.

    Args:
        relatives: Paths relative to their inputs.
    """
    plain = [os.path.splitext(relative)[0].replace(os.sep, "/") for relative in relatives]
    return resolve_meeting_names(plain, [relative.replace(os.sep, "/") for relative in relatives])


def resolve_meeting_names(plain: list[str], full: Sequence[str]) -> list[str]:
    """Make names unique.

    Args:
        plain: Names to use where no two are equal.
        full: Names to use where they are; where these meet too, they are numbered.
    """
    taken: set[str] = set()
    meeting: set[str] = set()
    for name in plain:
        (meeting if name in taken else taken).add(name)
    unique = list(plain)
    for index, name in enumerate(plain):
        if name in meeting:
            free, number = full[index], 2
            while free in taken:
                free, number = f"{full[index]}-{number}", number + 1
            taken.add(free)
            unique[index] = free
    return unique


def place_of(path: str) -> str:
    """Return a file's path from the root, by which it is recognised however it was named."""
    return os.path.abspath(path)


def refuse_out_among_pictures(out: Path, inputs: Sequence[str]) -> None:
    """Refuse to write where somebody's pictures are.

    Raises:
        DataError: ``out`` lies inside an input folder or a dataset, or holds pictures that tumortrace did not draw; or
            an input does not exist.
    """
    for path in (path for text in inputs for path in _match(text)):
        if os.path.isdir(path):
            refuse_inside(out, Path(path))
    whole = Path(os.path.realpath(out))
    for folder in (whole, *whole.parents):
        if _is_dataset(folder):
            raise DataError(
                f"--out {out} lies inside the dataset {folder}; choose a folder outside, nothing is written there"
            )
    if picture := _find_foreign(whole):
        raise DataError(f"--out {out} holds pictures ({picture}); choose a folder without your pictures")


def _is_dataset(folder: Path) -> bool:
    """Whether a folder, or one of its parts, holds pictures with annotations or masks."""
    parts = [folder / name for name in _list(folder).folders if read_folder_name(name).part]
    return any(map(_is_annotated, [folder, *parts]))


def _is_annotated(folder: Path) -> bool:
    listing = _list(folder)
    roles = {name: read_folder_name(name).role for name in listing.folders}
    masks = [folder / name for name, role in roles.items() if role == "masks" and "images" in roles.values()]
    if any(map(_find_foreign, masks)):
        return True
    tables = [name for name in listing.names if name.lower().endswith((".json", ".csv"))]
    return any(map(_is_picture, listing.names)) and any(_holds_annotations(folder / name) for name in tables)


def _holds_annotations(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(_ANNOTATION_HEAD)
    except OSError:
        return False
    return any(word in head for word in _ANNOTATION_WORDS)


def _find_foreign(folder: Path) -> str:
    """The name of a picture in a folder that tumortrace did not draw; empty if there is none."""
    pictures = (name for name in _list(folder).names if _is_picture(name))
    return next((name for name in pictures if not is_signed_png(folder / name)), "")


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def _match(text: str) -> list[str]:
    """What one input stands for: the file or folder of that name, or else all that match it as a pattern."""
    try:
        os.lstat(text)
    except OSError as error:
        matches = sorted(glob.glob(text, recursive=True), key=natural_key)
        if matches:
            return matches
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        cause = "no such file or folder" if missing else f"cannot be opened ({error.strerror})"
        raise DataError(f"{text}: {cause}; check the path") from None
    return [text]


def _each_once(matches: Sequence[str]) -> Iterator[FoundFile]:
    """The files behind the inputs, each once however many inputs it lies in."""
    if len(matches) == 1:  # within one folder no file comes twice, and there may be a million
        yield from _expand(matches[0])
        return
    seen: set[str] = set()
    for match in matches:
        for one in _expand(match):
            absolute = os.path.abspath(one.path)
            if absolute not in seen:
                seen.add(absolute)
                yield one


def _expand(match: str) -> Iterator[FoundFile]:
    """The files behind one input."""
    path = str(Path(match))  # no more is tidied: ".." behind a link leads elsewhere
    if not os.path.isdir(path):
        yield FoundFile(path, len(path) - len(os.path.basename(path)))
        return
    start = 0 if path == os.curdir else len(os.path.join(path, ""))
    for file, fault in _walk(path, seen=set()):
        yield FoundFile(file, start, fault)


def _walk(folder: str, *, seen: set[str]) -> Iterator[tuple[str, str]]:
    """The files below a folder in natural order, hidden ones left out; links are followed, each folder entered once.

    A folder that cannot be opened comes with its fault.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    listing = _list(folder)
    if listing.fault:
        yield folder, f"{folder}: cannot be opened ({listing.fault}); check the folder's permissions"
    for name in sorted(listing.names, key=natural_key):
        path = name if folder == os.curdir else os.path.join(folder, name)
        if name in listing.folders:
            yield from _walk(path, seen=seen)
        else:
            yield path, ""


class _Listing(NamedTuple):
    """What is in a folder, hidden entries left out.

    Attributes:
        names: Names of all entries.
        folders: Names of those that are folders, or links to folders.
        fault: Reason why there may be more; empty if there is none.
    """

    names: list[str]
    folders: set[str]
    fault: str


def _list(folder: Path | str) -> _Listing:
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
        return _Listing(names, folders, error.strerror or str(error))
    return _Listing(names, folders, "")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False

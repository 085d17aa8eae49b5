"""Find the files behind files, folders and patterns; refuse to write among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tumortrace.data.folders import is_picture
from tumortrace.data.parts import read_folder_name
from tumortrace.data.pictures import READABLE
from tumortrace.errors import DataError
from tumortrace.files import refuse_inside
from tumortrace.inference.batch.expand import expand, is_manifest, list_folder, list_folders, match_input
from tumortrace.inference.batch.found_files import FoundFile, FoundFiles, place_of
from tumortrace.regular_files import open_regular
from tumortrace.signed_png import is_signed_png
from tumortrace.wording import counted

_ANNOTATION_WORDS = (b'"regions"', b"region_shape_attributes", b'"annotations"')
_ANNOTATION_HEAD = 65536  # bytes in which an annotation file shows that it is one


def sort_files(inputs: Sequence[str]) -> tuple[FoundFiles, list[FoundFile]]:
    """Find the files behind files, folders (searched with all subfolders, links followed) and glob patterns.

    Args:
        inputs: Inputs as typed by the user.

    Returns:
        Pictures by their suffix, files that the user named, and folders that cannot be opened, in natural order of each
        input, each file once; and all other files. Hidden files and folders below a folder are in neither.

    Raises:
        DataError: An input does not exist.
    """
    matches = [path for text in inputs for path in match_input(text)]
    named = {place_of(text) for text in inputs if os.path.lexists(text)}
    found = FoundFiles()
    others: list[FoundFile] = []
    for match in matches:
        for one in expand(match):
            if one.fault or is_picture(one.path):
                found.append(one)
            elif one.named or place_of(one.path) in named:
                found.append(one._replace(named=True))
            else:
                others.append(one)
    if len(matches) != 1 or is_manifest(matches[0]):  # within one folder no file comes twice
        others = list({place_of(one.path): one for one in reversed(others)}.values())[::-1]
        found = found.without_repeats()
    return found, others


def describe_no_pictures(inputs: Sequence[str], files: Sequence[FoundFile], others: int) -> DataError:
    """Return the error of inputs without a picture.

    Args:
        inputs: Inputs as typed by the user.
        files: Folders that cannot be opened.
        others: Number of other files.
    """
    if files:
        return DataError(files[0].fault)
    return DataError(f"{' '.join(inputs)}: no picture there ({READABLE}); {counted(others, 'other file')}")


def refuse_out_among_pictures(out: Path, inputs: Sequence[str]) -> None:
    """Refuse to write where somebody's pictures are.

    Raises:
        DataError: ``out`` lies inside an input folder or a dataset, or holds pictures that tumortrace did not draw; or
            an input does not exist.
    """
    for match in (match for text in inputs for match in match_input(text)):
        for inside in list_folders(match):
            refuse_inside(out, Path(inside))
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
    parts = [folder / name for name in list_folder(folder).folders if read_folder_name(name).part]
    return any(map(_is_annotated, [folder, *parts]))


def _is_annotated(folder: Path) -> bool:
    listing = list_folder(folder)
    roles = {name: read_folder_name(name).role for name in listing.folders}
    masks = [folder / name for name, role in roles.items() if role == "masks" and "images" in roles.values()]
    if any(map(_find_foreign, masks)):
        return True
    tables = [name for name in listing.names if name.lower().endswith((".json", ".csv"))]
    return any(map(is_picture, listing.names)) and any(_holds_annotations(folder / name) for name in tables)


def _holds_annotations(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            head = file.read(_ANNOTATION_HEAD)
    except OSError:
        return False
    return any(word in head for word in _ANNOTATION_WORDS)


def _find_foreign(folder: Path) -> str:
    """The name of a picture in a folder that tumortrace did not draw; empty if there is none."""
    pictures = (name for name in list_folder(folder).names if is_picture(name))
    return next((name for name in pictures if not is_signed_png(folder / name)), "")

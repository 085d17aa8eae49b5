"""What a source plans to make of a download, one item at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding, left_out
from tumortrace.data.pictures import read_picture_bytes
from tumortrace.errors import DataError
from tumortrace.sources.download import Download

MOST_BYTES = 64 * 2**20
"""Largest file of a download that is read; those of the sources here have less than 5 MB."""

COLUMNS = ("image", "mask", "patient", "class", "plane")
"""Columns that ``pairs.csv`` has for every source that has one; unknown values stay empty."""

_HALF = 127  # of 255: masks that were stored with soft edges are cut here


@dataclass(frozen=True)
class Made:
    """What became of one item.

    Attributes:
        files: Contents in the order of the item's outputs.
        row: Row of ``pairs.csv``; empty if the source has no such table.
    """

    files: tuple[bytes, ...]
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Item:
    """Files that are made together, or not at all.

    Attributes:
        sources: Paths in the download.
        outputs: Paths in the prepared folder.
        make: Function from the contents of the sources to what becomes of them; raises DataError.
    """

    sources: tuple[str, ...]
    outputs: tuple[str, ...]
    make: Callable[[Sequence[bytes]], Made]


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is to be made of a download.

    Attributes:
        items: Items in the order of their outputs.
        findings: Files that should be used and cannot.
        columns: Columns of ``pairs.csv``; empty if there is none.
    """

    items: tuple[Item, ...]
    findings: tuple[Finding, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Source:
    """A published dataset that can be prepared.

    Attributes:
        title: Name under which it was published.
        rule: Sentence that says which files are taken and what is done to them.
        layout: Phrase that says what the download must hold, for messages.
        plan: Function from a download to the plan for it.
    """

    title: str
    rule: str
    layout: str
    plan: Callable[[Download], Plan]


def keep_picture(contents: Sequence[bytes], *, name: str) -> Made:
    """Keep a picture file as it is, once it is known to decode.

    Raises:
        DataError: It does not.
    """
    read_picture_bytes(contents[0], Path(name))
    return Made((contents[0],))


def binarise(data: bytes, name: str) -> NDArray[np.bool_]:
    """Decode a grey mask and cut it at half of 255.

    Returns:
        True where there is tumour, shape (H, W), bool.

    Raises:
        DataError: It cannot be decoded, or is coloured or not of 8 bits.
    """
    values = read_picture_bytes(data, Path(name)).colour
    if values.ndim == 3 and (values == values[:, :, :1]).all():
        values = values[:, :, 0]
    if values.ndim != 2 or values.dtype != np.uint8:
        raise DataError(f"{name}: a mask of shape {values.shape}, {values.dtype}; expected 8-bit grey")
    return np.asarray(values > _HALF)


def require_same_size(image_hw: tuple[int, ...], mask_hw: tuple[int, ...], name: str) -> None:
    """Refuse an image whose mask has another size.

    Raises:
        DataError: Height or width differ.
    """
    if image_hw[:2] != mask_hw[:2]:
        (rows, columns), (mask_rows, mask_columns) = image_hw[:2], mask_hw[:2]
        raise DataError(
            f"{name}: {rows} x {columns} pixels, and its mask {mask_rows} x {mask_columns} (rows x columns); "
            "download both again"
        )


def match_files(paths: Iterable[str], pattern: re.Pattern[str]) -> dict[str, re.Match[str]]:
    """Return the paths whose end matches a pattern, with the match, in the order given."""
    return {path: match for path in paths if (match := pattern.search(path))}


def name_second(path: str, first: str) -> Finding:
    """Return the finding of a file whose place another one has taken."""
    cause = f"the same place as {first}, which is used"
    return left_out("duplicate-record", path, cause, "give one copy of the download")


def _name_unpaired(path: str, lacks: str) -> Finding:
    """Return the finding of an image without mask, or of a mask without image."""
    kind = "annotation-missing" if lacks == "mask" else "image-missing"
    return left_out(kind, path, f"there is no {lacks} for it", "download it again")


def name_failed(path: str, error: DataError, root: Path) -> Finding:
    """Return the finding of a file of a download that cannot be used, of the error that says why.

    Args:
        path: Path in the download.
        error: Error that names the file, the fault and perhaps a remedy.
        root: The download.
    """
    text = str(error).removeprefix(f"{root / path}: ").removeprefix(f"{path}: ")
    cause, _, remedy = text.partition("; ")
    return left_out("unreadable", path, cause, remedy or "download it again")


def pair_up(images: Mapping[str, str], masks: Mapping[str, str]) -> tuple[list[str], list[Finding]]:
    """Pair images with masks.

    Args:
        images: Paths of images by the name that both share.
        masks: Paths of masks by that name.

    Returns:
        The names that have both, in the order of the images; and a finding for each file without a partner.
    """
    findings = [_name_unpaired(path, "mask") for name, path in images.items() if name not in masks]
    findings += [_name_unpaired(path, "image") for name, path in masks.items() if name not in images]
    return [name for name in images if name in masks], findings

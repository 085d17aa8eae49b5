"""Which mask belongs to which image: as ``pairs.csv`` lists it, or else as the names say."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tumortrace.data.findings import Finding
from tumortrace.data.names import is_unsafe
from tumortrace.errors import DataError, printable
from tumortrace.files import write_csv

PAIRS = "pairs.csv"
_COLUMNS = ("image", "mask", "patient", "size_bytes")


@dataclass(frozen=True)
class Pair:
    """One image and its mask.

    Attributes:
        image: Path of the image within the folder of the images, with forward slashes.
        mask: Path of the mask within the folder of the masks; empty if there is none.
        patient: Whose slice it is, where known.
        size_bytes: Size of the image file, -1 if unknown.
    """

    image: str
    mask: str
    patient: str | None = None
    size_bytes: int = -1


def read_pairs(path: Path) -> list[Pair]:
    """Read a ``pairs.csv``: columns ``image`` and ``mask``, with or without ``patient`` and ``size_bytes``.

    Raises:
        DataError: The file cannot be read, or the first two columns are not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"image", "mask"} <= set(rows.fieldnames or ()):
                raise DataError(
                    f"{path}: columns {rows.fieldnames}; it must have image and mask (and may have patient, size_bytes)"
                )
            return [_read_row(row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8 text") from None


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write a ``pairs.csv`` atomically; ``read_pairs`` gives the same pairs again."""
    rows = (dict(zip(_COLUMNS, (pair.image, pair.mask, pair.patient, pair.size_bytes), strict=True)) for pair in pairs)
    write_csv(path, rows, columns=_COLUMNS)


def find_pairs(folder: Path, images: Sequence[str], masks: Sequence[str]) -> tuple[list[Pair], list[Finding]]:
    """Pair what stands in ``images/`` and ``masks/`` of a folder.

    Args:
        folder: Where ``pairs.csv`` stands, if there is one.
        images: Names of the files in ``images/``.
        masks: Names of the files in ``masks/``.

    Returns:
        The pairs, each image once and not yet looked for on disk, an image without a mask with an empty one; and the
        faults, each with the file's path within the folder.

    Raises:
        DataError: As ``read_pairs``.
    """
    table = folder / PAIRS
    pairs, findings = _find_listed(table, images, masks) if table.is_file() else _match_names(images, masks)
    checked, faults = check_pairs(pairs, prefix="images/")
    return checked, findings + faults


def check_pairs(pairs: Iterable[Pair], *, prefix: str) -> tuple[list[Pair], list[Finding]]:
    """Leave out pairs whose names lead out of their folder, and all but the first of an image.

    Args:
        pairs: From ``read_pairs``.
        prefix: What the name of the image follows in the findings.
    """
    first: dict[str, Pair] = {}
    findings = []
    for pair in pairs:
        unsafe = next((name for name in (pair.image, pair.mask or "none") if is_unsafe(name)), None)
        image = PurePosixPath(pair.image).as_posix()
        if unsafe is not None:
            cause = f"the name {printable(unsafe)!r} leads out of the folder, or is none"
            file, remedy = prefix + printable(pair.image), "name image and mask relative to their folders"
            findings.append(Finding("unsafe-filename", "left out", file, cause, remedy))
        elif image in first:
            cause = f"listed again, with mask {pair.mask!r}; its first row, with mask {first[image].mask!r}, is used"
            findings.append(
                Finding("duplicate-record", "warning", prefix + image, cause, "leave one row for each image")
            )
        else:
            first[image] = Pair(image, pair.mask, pair.patient, pair.size_bytes)
    return list(first.values()), findings


def _read_row(row: dict[str, str]) -> Pair:
    size = row.get("size_bytes") or ""
    known = size.isascii() and size.isdecimal() and len(size) < 19
    return Pair(row["image"] or "", row["mask"] or "", row.get("patient") or None, int(size) if known else -1)


def _find_listed(table: Path, images: Sequence[str], masks: Sequence[str]) -> tuple[list[Pair], list[Finding]]:
    pairs = read_pairs(table)
    listed_images = {PurePosixPath(pair.image).as_posix() for pair in pairs}
    listed_masks = {PurePosixPath(pair.mask).as_posix() for pair in pairs}
    cause, remedy = f"stands in images/ but not in {PAIRS}", f"add its row to {PAIRS}"
    findings = [
        Finding("annotation-missing", "left out", f"images/{name}", cause, remedy)
        for name in images
        if name not in listed_images
    ]
    findings += [_imageless(name, f"a mask that no row of {PAIRS} names") for name in masks if name not in listed_masks]
    return pairs, findings


def _match_names(images: Sequence[str], masks: Sequence[str]) -> tuple[list[Pair], list[Finding]]:
    """Pair ``NAME.*`` with ``NAME.*`` or else ``NAME_mask.*``."""
    by_stem: dict[str, list[str]] = {}
    for mask in masks:
        by_stem.setdefault(Path(mask).stem, []).append(mask)
    stems = {Path(image).stem for image in images}
    pairs, findings, taken = [], [], set()
    for image in images:
        stem, with_mask = Path(image).stem, f"{Path(image).stem}_mask"
        # An image that is itself called NAME_mask has the first claim on the mask of that name.
        found = by_stem.get(stem, []) + (by_stem.get(with_mask, []) if with_mask not in stems else [])
        pairs.append(Pair(image, found[0] if found else ""))
        taken.update(found)
        if len(found) > 1:
            cause = f"several masks ({', '.join(found)}); {found[0]} is used"
            findings.append(
                Finding("duplicate-record", "warning", f"images/{image}", cause, "leave one mask for each image")
            )
    return pairs, findings + [_imageless(mask, "a mask without an image") for mask in masks if mask not in taken]


def _imageless(mask: str, cause: str) -> Finding:
    return Finding("image-missing", "left out", f"masks/{mask}", cause, "add its image, or take the mask away")

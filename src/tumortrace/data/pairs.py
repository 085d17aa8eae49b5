"""Pairs of image and mask, from ``pairs.csv`` or from names."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.folders import name_of
from tumortrace.data.names import describe_unsafe, spelling_key, stem_of
from tumortrace.data.parts import read_folder_name
from tumortrace.data.patients import PATIENT_COLUMNS, lie_apart, read_patient
from tumortrace.data.tables import list_columns, parse_table, read_text
from tumortrace.errors import DataError, printable
from tumortrace.json_csv import encode_csv

PAIRS = "pairs.csv"

IMAGE_COLUMNS = ("image", "image_path", "image_file", "image_name", "img", "filename", "file", "picture")
"""Headers of the column that names the image, whatever their case, blanks and underscores."""

MASK_COLUMNS = ("mask", "mask_path", "mask_file", "mask_name", "segmentation", "seg")
"""Headers of the column that names the mask, likewise."""

MASK_ENDINGS = ("mask", "masks", "seg", "segmentation", "label", "labels", "gt")
"""What stands behind or before the image's name in that of its mask, with ``_``, ``-`` or a blank between them."""

IMAGE_ENDINGS = ("image", "img", "scan", "slice")
"""What may stand there in the image's name instead: ``img_7`` has the mask ``mask_7``."""

CLASS_COLUMNS = ("class", "tumour_class", "tumor_class", "tumour_type", "tumor_type", "diagnosis")
"""Headers of the column that names the class of the tumour, likewise."""

PLANE_COLUMNS = ("plane", "view", "orientation")
"""Headers of the column that names the plane of the slice, likewise."""

PART_COLUMNS = ("part", "split", "subset", "partition")
"""Headers of the column that names the part of the dataset, likewise."""

PROMPTED = "prompted"
"""Header of the column that says which masks began with a box; it is written only where there are any."""

_YES = "yes"
_OWN_MASK = "give each image a mask of its own"
_CHANNEL = re.compile(r"_\d{4}")  # nnU-Net: case_0000.png is the first channel of case.png


@dataclass(frozen=True)
class Pair:
    """One image and its mask.

    Attributes:
        image: Path of the image within the folder of the images, with forward slashes.
        mask: Path of the mask within the folder of the masks; empty if there is none.
        patient: The patient whose slice it is, where known.
        size_bytes: Size of the image file, -1 if unknown.
        tumour_class: Class of the tumour; empty if the table does not say.
        plane: Plane of the slice; empty if the table does not say.
        prompted: Whether the mask began with a box that a person drew, as the page writes it.
        part: Part of the dataset, ``"train"``, ``"val"`` or ``"test"``; empty if the table does not say.
    """

    image: str
    mask: str
    patient: str | None = None
    size_bytes: int = -1
    tumour_class: str = ""
    plane: str = ""
    prompted: bool = False
    part: str = ""


@dataclass(frozen=True)
class PairsTable:
    """What a ``pairs.csv`` says.

    Attributes:
        pairs: One entry a row; without masks where no column names them.
        names_masks: Whether a column names the masks.
        fault: Fault of its columns and the remedy; None if image and patient have a column.
    """

    pairs: tuple[Pair, ...]
    names_masks: bool
    fault: tuple[str, str] | None


def read_pairs(path: Path) -> PairsTable:
    """Read a ``pairs.csv``, whose columns may have any of the usual names.

    Raises:
        DataError: The file cannot be read as text or CSV.
    """
    try:
        table = parse_table(read_text(path))
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8 text") from None
    image, mask, patient = map(table.find_column, (IMAGE_COLUMNS, MASK_COLUMNS, PATIENT_COLUMNS))
    size = table.find_column(["size_bytes"])
    tumour_class, plane, prompted = map(table.find_column, (CLASS_COLUMNS, PLANE_COLUMNS, [PROMPTED]))
    part = table.find_column(PART_COLUMNS)
    columns = list_columns(table.header)
    if image is None:
        cause = f"no column names the images, so the table is not used; its columns: {columns}"
        return PairsTable((), False, (cause, "call the columns image, mask and patient"))
    pairs = tuple(
        Pair(
            _read_path(row[image]),
            _read_path(row[mask]) if mask else "",
            read_patient(row[patient]) if patient else None,
            _read_size(row[size]) if size else -1,
            _read_word(row[tumour_class]) if tumour_class else "",
            _read_word(row[plane]) if plane else "",
            row[prompted] == _YES if prompted else False,
            read_folder_name(row[part].strip()).part if part else "",
        )
        for row in table.rows
    )
    unread = [column for column in table.header if column and column not in {image, mask, size}]
    fault = None
    if patient is None and unread:
        cause = f"no column names the patients, so they are unknown; its columns: {columns}"
        fault = cause, "call the column patient, if there is one"
    return PairsTable(pairs, mask is not None, fault)


def encode_pairs(pairs: Sequence[Pair]) -> bytes:
    """Return the content of a ``pairs.csv``; ``read_pairs`` gives the pairs again, but no class, plane or part."""
    rows: list[dict[str, object]] = [
        {"image": one.image, "mask": one.mask, "patient": one.patient, "size_bytes": one.size_bytes} for one in pairs
    ]
    columns = ["image", "mask", "patient", "size_bytes"]
    if any(one.prompted for one in pairs):
        columns.append(PROMPTED)
        rows = [{**row, PROMPTED: _YES if one.prompted else ""} for row, one in zip(rows, pairs, strict=True)]
    return encode_csv(rows, columns=columns)


def encode_patients(patients: Mapping[str, str]) -> bytes:
    """Return the content of a ``pairs.csv`` without masks, which names the patients of images.

    Args:
        patients: Patients by the image's path.
    """
    rows = [{"image": image, "patient": patient} for image, patient in patients.items()]
    return encode_csv(rows, columns=("image", "patient"))


def check_pairs(pairs: Iterable[Pair], *, prefix: str) -> tuple[list[Pair], list[Finding]]:
    """Leave out pairs whose names lead out of their folder, and all but the first of an image.

    Args:
        pairs: Pairs from ``read_pairs``.
        prefix: Prefix of the image's name in findings.
    """
    first: dict[str, Pair] = {}
    findings = []
    for pair in pairs:
        unsafe = next((name for name in (pair.image, pair.mask or "none") if describe_unsafe(name)), None)
        image = PurePosixPath(pair.image).as_posix()
        if unsafe is not None:
            cause = f"the name {printable(unsafe)!r} {describe_unsafe(unsafe)}"
            file, remedy = prefix + printable(pair.image), "name image and mask relative to their folders"
            findings.append(left_out("unsafe-filename", file, cause, remedy))
        elif image in first:
            cause = f"listed again, with mask {pair.mask!r}; its first row, with mask {first[image].mask!r}, is used"
            findings.append(warning("duplicate-record", prefix + image, cause, "leave one row for each image"))
        else:
            first[image] = replace(pair, image=image)
    return list(first.values()), findings


def match_names(images: Sequence[str], masks: Sequence[str]) -> tuple[list[Pair], list[Finding], set[str]]:
    """Pair ``NAME.*`` with ``NAME.*``, or else with ``NAME_mask.*`` or another of the ``MASK_ENDINGS``.

    Images of one NAME whose masks have the same suffixes each have their own. The image may have one of the
    ``IMAGE_ENDINGS`` in its place.

    Args:
        images: Paths within the folder of the images.
        masks: Paths within the folder of the masks.

    Returns:
        One pair an image, with an empty mask where there is none, or where another image has the same claim to it;
        findings by the image's path; and all masks that fit an image.
    """
    stems = {image: spelling_key(stem_of(image)) for image in images}
    by_stem = _group_masks(masks, taken=set(stems.values()))
    # Without a mask of its own name, a picture of one channel has that of its case.
    claims = {
        image: by_stem.get(stem) or (by_stem.get(stem[:-5], []) if _CHANNEL.fullmatch(stem[-5:]) else [])
        for image, stem in stems.items()
    }
    claims |= _match_own(claims, stems, lambda image, mask: spelling_key(mask) == spelling_key(image))
    claims |= _match_own(claims, stems, _is_spelt_alike)
    claims |= _match_image_words(claims, stems, by_stem)
    claims |= _match_apart(claims, masks)
    claimed = Counter(claim[0] for claim in claims.values() if claim)
    pairs, findings = [], []
    for image, claim in claims.items():
        shared = bool(claim) and claimed[claim[0]] > 1
        pairs.append(Pair(image, "" if shared or not claim else claim[0]))
        if shared:
            findings.append(
                _name_shared(image, claim[0], [other for other in images if claims[other][:1] == claim[:1]])
            )
        elif len(claim) > 1:
            cause = f"several masks ({', '.join(claim)}); {claim[0]} is used"
            findings.append(warning("duplicate-record", image, cause, "leave one mask for each image"))
    return pairs, findings, {mask for claim in claims.values() for mask in claim}


def strip_mask_word(stem: str) -> str | None:
    """The stem of the image that a mask belongs to by its own stem; None if it is not called as masks are.

    Empty for a mask that is called ``mask`` or ``seg`` alone.
    """
    return "" if name_of(stem).casefold() in MASK_ENDINGS else _strip_word(stem, MASK_ENDINGS)


def strip_image_word(stem: str) -> str | None:
    """A stem without the word that says that it is an image; None if it has none."""
    return _strip_word(stem, IMAGE_ENDINGS)


def _strip_word(stem: str, words: Sequence[str]) -> str | None:
    folder, slash, name = stem.rpartition("/")
    word = "|".join(words)
    match = re.fullmatch(rf"(.+)[ _-](?:{word})|(?:{word})[ _-](.+)", name, flags=re.IGNORECASE | re.DOTALL)
    return f"{folder}{slash}{match[1] or match[2]}" if match else None


def _name_shared(image: str, mask: str, images: Sequence[str]) -> Finding:
    others = ", ".join(other for other in images if other != image)
    cause, remedy = f"its mask {mask} would serve {others} as well, so none of them uses it", _OWN_MASK
    stems = {stem_of(each) for each in images}
    if len(stems) > 1 == len({stem[:-5] for stem in stems}) and all(_CHANNEL.fullmatch(stem[-5:]) for stem in stems):
        remedy = f"a case has one channel here: keep one contrast, or list its images with their masks in {PAIRS}"
    return left_out("mask-shared", image, cause, remedy)


def _match_own(
    claims: Mapping[str, list[str]], stems: Mapping[str, str], fits: Callable[[str, str], bool]
) -> dict[str, list[str]]:
    """The masks that fit best, if each image of that stem has one.

    Args:
        claims: Masks by the image.
        stems: Stems of the images.
        fits: Whether a mask is an image's own: has its suffix too (``c.png`` and ``c.bmp``), or its letter case.
    """
    own = {image: [mask for mask in claim if fits(image, mask)] for image, claim in claims.items()}
    lacking = {stems[image] for image, masks in own.items() if not masks}
    taken = {mask for masks in own.values() for mask in masks}
    return {
        image: [*masks, *(mask for mask in claims[image] if mask not in taken)]
        for image, masks in own.items()
        if stems[image] not in lacking
    }


def _is_spelt_alike(image: str, mask: str) -> bool:
    """Whether a mask is called as an image in the same letter case: ``A.jpg`` and ``A_mask.png``, not ``a.png``."""
    return stem_of(image) in {stem_of(mask), strip_mask_word(stem_of(mask))}


def _match_image_words(
    claims: Mapping[str, list[str]], stems: Mapping[str, str], by_stem: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Masks for images without one whose name has a word of its own: ``img_7`` and ``mask_7``."""
    plain = {image: strip_image_word(stem) for image, stem in stems.items() if not claims[image]}
    taken = set(stems.values())
    return {image: by_stem[stem] for image, stem in plain.items() if stem and stem in by_stem and stem not in taken}


def _match_apart(claims: Mapping[str, list[str]], masks: Sequence[str]) -> dict[str, list[str]]:
    """Masks in other folders for images without one, where the name occurs once among all images and all masks."""
    by_name: dict[str, list[str]] = {}
    for mask in masks:
        stem = spelling_key(stem_of(PurePosixPath(mask).name))
        by_name.setdefault(strip_mask_word(stem) or stem, []).append(mask)
    names = {image: spelling_key(stem_of(PurePosixPath(image).name)) for image in claims}
    times = Counter(names.values())
    return {
        image: by_name[name]
        for image, name in names.items()
        if not claims[image] and times[name] == 1 and len(by_name.get(name, ())) == 1
        if not lie_apart(image, by_name[name][0])
    }


def _group_masks(masks: Sequence[str], *, taken: set[str]) -> dict[str, list[str]]:
    """Masks by the stem of the image that they fit, those of the very name first.

    Args:
        masks: Paths within the folder of the masks.
        taken: Stems of the images; an image that is itself called NAME_mask has the first claim to its mask.
    """
    by_stem: dict[str, list[str]] = {}
    for mask in masks:
        by_stem.setdefault(spelling_key(stem_of(mask)), []).append(mask)
    for stem in [stem for stem in by_stem if stem not in taken]:
        if image := strip_mask_word(stem):
            by_stem.setdefault(image, []).extend(by_stem[stem])
    return by_stem


def _read_path(cell: str) -> str:
    return cell.replace("\\", "/")


def _read_word(cell: str) -> str:
    """The lower-case name in a cell; empty if unknown, as for patients."""
    return (read_patient(cell) or "").casefold()


def _read_size(cell: str) -> int:
    known = cell.isascii() and cell.isdecimal() and len(cell) < 19
    return int(cell) if known else -1

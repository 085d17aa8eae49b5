"""Files that no layout used, each named in a finding."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from tumortrace.data.cases import CaseRecord
from tumortrace.data.findings import describe_main_cause
from tumortrace.data.folders import is_picture, name_of, parent_of
from tumortrace.data.layouts.masks import IMAGE_OF_MASK_MISSING
from tumortrace.data.layouts.opening import RESULTS, Opening, ancestors, below, is_below_any
from tumortrace.data.names import spelling_key, stem_of
from tumortrace.data.pairs import PAIRS, strip_mask_word
from tumortrace.data.parts import is_below_masks, part_of, read_folder_name
from tumortrace.data.patients import lie_apart
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError
from tumortrace.wording import counted

NO_ANNOTATIONS = (
    "no annotations (VIA, COCO, labelme and others), no images/ + masks/ folders, no scans with masks; "
    "is this the data?"
)

_DOCUMENT_SUFFIXES = frozenset({".md", ".rst", ".pdf", ".html", ".htm", ".docx", ".py", ".ipynb", ".db", ".ini"})
_DOCUMENT_NAMES = re.compile(r"(readme|licen[cs]e|citation|changelog|checksums?)\b.*", flags=re.IGNORECASE)
_SAMPLE = 3
_REMEDY = "save pictures as PNG, JPEG or TIFF, and scans as NIfTI; remove what is no data"
_REMEDIES = {".mat": "use tumortrace prepare figshare for the figshare download; save other pictures as PNG"}


def name_leftovers(opening: Opening) -> tuple[CaseRecord, ...]:
    """Name every file that no layout used.

    Returns:
        The pictures that have no truth but look like slices, in natural order.
    """
    stems = {
        folder: {spelling_key(stem_of(file)) for file in opening.tree.files_in(folder) if is_picture(file)}
        for folder in opening.tree.folders
    }
    cases: dict[str, list[str]] = {}
    for record in opening.records:
        cases.setdefault(spelling_key(stem_of(name_of(record.case_id))), []).append(record.case_id)
    free = opening.free_pictures("")
    slices = [file for file in free if not _name_mask_or_overlay(opening, file, stems[parent_of(file)], cases)]
    label_pictures = _name_label_pictures(opening, slices)
    slices = [file for file in slices if file not in label_pictures]
    unusable = _name_unusable_parts(opening)
    _name_unannotated(opening, [file for file in slices if not is_below_any(file, unusable)])
    _name_other_kinds(opening)
    return tuple(_record_without_truth(opening, file) for file in slices)


def _record_without_truth(opening: Opening, file: str) -> CaseRecord:
    return CaseRecord(file, opening.part_of(file), opening.tree.root / file, None, opening.patient_of(file))


def _name_mask_or_overlay(
    opening: Opening, file: str, stems: Collection[str], cases: Mapping[str, Sequence[str]]
) -> bool:
    """Name a picture that is a mask or an overlay by its place or name; False for any other.

    Args:
        opening: The folder.
        file: The picture.
        stems: Stems of the pictures in the same folder.
        cases: All cases by the stem of their names.
    """
    stem = spelling_key(stem_of(file))
    image = strip_mask_word(stem)
    if image is None and stem.endswith("_overlay"):
        image = stem.removesuffix("_overlay")
    if file in opening.machine_made:
        cause, remedy = f"segment wrote it (see {RESULTS}); it is neither a slice nor a truth", "keep results elsewhere"
    elif image in stems or image == "":
        cause, remedy = "a mask or overlay by its name; it is not used", f"list it in {PAIRS}, or remove it"
    elif is_below_masks(file):
        namesakes = cases.get(name_of(image or stem), ())
        _name_mask(opening, file, has_truth=any(not lie_apart(file, case) for case in namesakes))
        return True
    else:
        return False
    opening.leave_out("not-a-slice", file, cause, remedy)
    return True


def _name_mask(opening: Opening, file: str, *, has_truth: bool) -> None:
    """Name a mask in a folder of masks, whose image has another truth or is not there."""
    if has_truth:
        cause = "a mask, but the image of its name has its truth from elsewhere, which is used"
        opening.leave_out("annotations-repeated", file, cause, "remove the truth that does not count")
    else:
        opening.leave_out("image-missing", file, *IMAGE_OF_MASK_MISSING)


def _name_label_pictures(opening: Opening, slices: list[str]) -> set[str]:
    """Name the pictures that hold two values only: those are masks, whatever they and their folder are called.

    In a folder without cases a few pictures speak for all.
    """
    with_cases = {parent_of(record.case_id) for record in opening.records}
    by_folder: dict[str, list[str]] = {}
    for file in slices:
        by_folder.setdefault(parent_of(file), []).append(file)
    label_pictures: set[str] = set()
    for folder, files in by_folder.items():
        if folder in with_cases:
            for file in (file for file in files if _has_two_values(opening, file)):
                label_pictures.add(file)
                cause, remedy = (
                    "looks like a mask (two values only), not like a slice",
                    f"list it in {PAIRS}, or remove it",
                )
                opening.leave_out("looks-like-masks", file, cause, remedy)
        elif all(_has_two_values(opening, file) for file in files[:: max(1, len(files) // _SAMPLE)][:_SAMPLE]):
            label_pictures.update(files)
            cause = f"masks by the look of it, not slices ({counted(len(files), 'picture')} of two values only)"
            remedy = f"call the folders images/ and masks/, or list image and mask in {PAIRS}"
            opening.leave_out("looks-like-masks", f"{folder or '.'}/", cause, remedy)
    return label_pictures


def _has_two_values(opening: Opening, file: str) -> bool:
    try:
        pixels = read_slice(opening.tree.root / file).pixels
    except DataError:  # named when it is read as a slice
        return False
    low, high = pixels.min(), pixels.max()
    return bool(low < high and np.isin(pixels, (low, high)).all())


def _name_unusable_parts(opening: Opening) -> list[str]:
    """Name the parts without a case, and the other folders whose annotations cannot be used."""
    parts = [folder for folder in opening.tree.folders if _names_a_part(folder) and not part_of(folder)]
    with_cases = {record.part for record in opening.records}
    without = [folder for folder in parts if part_of(f"{folder}/x") not in with_cases]
    unusable = [f for f in without if below(opening.tree.pictures, f) or not below(opening.tree.files, f)]
    for folder in unusable:
        inside = [fault for place, fault in opening.faults.items() if f"{place}/".startswith(f"{folder}/")]
        named = [finding for finding in opening.findings if finding.file.startswith(f"{folder}/")]
        opening.findings = [f for f in opening.findings if inside or f.kind != "not-annotations" or f not in named]
        cause = inside[0] if inside else describe_main_cause(named) or NO_ANNOTATIONS
        opening.leave_out("part-unusable", folder, cause, "correct it, or remove the part")
    for folder, fault in opening.faults.items():
        if not is_below_any(f"{folder}/", unusable):
            opening.leave_out("annotations-unusable", folder or ".", fault, "correct the file")
    return unusable


def _names_a_part(folder: str) -> bool:
    name = read_folder_name(name_of(folder))
    return bool(name.part) and name.role != "masks" and not is_below_masks(folder)


def _name_unannotated(opening: Opening, slices: list[str]) -> None:
    """Name pictures without a truth: one by one beside others that have one, else by their folder."""
    with_cases = {folder for record in opening.records for folder in ancestors(record.case_id)}
    named = {finding.file for finding in opening.findings}
    by_folder: dict[str, list[str]] = {}
    for file in (file for file in slices if file not in named):
        outermost = next((folder for folder in reversed(ancestors(file)) if folder and folder not in with_cases), "")
        by_folder.setdefault(outermost, []).append(file)
    why = "an image without annotation is not taken as free of tumour"
    remedy = "annotate it; if there is no tumour, train with its folder as --negatives, or add a black mask in masks/"
    for folder, files in by_folder.items():
        if folder and len(files) > 1:
            cause = f"none of its {len(files)} images is annotated; {why}"
            opening.leave_out("annotation-missing", f"{folder}/", cause, remedy)
            continue
        for file in files:
            opening.leave_out("annotation-missing", file, f"no annotation; {why}", remedy)


def _name_other_kinds(opening: Opening) -> None:
    """Name files that are neither pictures nor annotations, by their suffix; documents are passed over."""
    others = [
        file
        for file in opening.tree.files
        if file not in opening.used
        and file not in opening.own_documents
        and not is_picture(file)
        and not _is_document(name_of(file))
    ]
    by_suffix: dict[str, list[str]] = {}
    for file in others:
        by_suffix.setdefault(PurePosixPath(file).suffix.lower(), []).append(file)
    for suffix, files in by_suffix.items():
        what = f"{suffix} files are" if suffix else "files without a suffix are"
        cause = f"{what} not read; there are {len(files)}" if len(files) > 1 else f"{what} not read"
        opening.leave_out("not-read", files[0], cause, _REMEDIES.get(suffix, _REMEDY))


def _is_document(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _DOCUMENT_SUFFIXES or bool(_DOCUMENT_NAMES.fullmatch(name))

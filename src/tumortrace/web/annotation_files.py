"""Annotation files distinguished from the pictures and scans that they come with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tumortrace.data.layouts.scan_names import is_mask_name
from tumortrace.data.names import stem_of
from tumortrace.data.scans import find_kind, strip_suffix
from tumortrace.errors import installed
from tumortrace.inference.results.signed import is_signed
from tumortrace.web.archives import is_zip, unpack_zip
from tumortrace.web.limits import Limits
from tumortrace.web.uploads import FILE, Upload, UploadedFile, folder_of

DOCUMENTS = (".json", ".csv", ".xml", ".jsonl")
"""Endings of files with annotations."""

PICTURES = (".png", ".tif", ".tiff", ".bmp")
"""Endings of pictures that may be masks."""

_ANNOTATIONS = "annotations"


def set_aside(upload: Upload, limits: Limits) -> tuple[Upload, tuple[UploadedFile, ...]]:
    """Unpack zips, and move annotation files away from the pictures and scans.

    Annotations are documents in any format that ``convert`` reads, masks by their names (``NAME_mask.png``, or a folder
    ``masks``), NIfTI masks by their names or tumortrace's mark, and DICOM segmentations.

    Args:
        upload: The upload.
        limits: Limits on files and bytes.

    Returns:
        The upload without annotations, and these.

    Raises:
        RefusalError: A zip is damaged or too large.
    """
    files = list(_unpack(upload, limits))
    notes = [file for file in files if _is_annotation(file)]
    rest = tuple(file for file in files if file not in notes)
    moved = tuple(_move(file, upload.folder / _ANNOTATIONS) for file in notes)
    return replace(upload, files=rest), moved


def _unpack(upload: Upload, limits: Limits) -> Iterator[UploadedFile]:
    """Yield all files, those of zips in place of the zips."""
    for file in upload.of_part(FILE):
        if not is_zip(file.path):
            yield file
            continue
        folder = file.path.with_name(f"{file.path.name}-unpacked")
        unpack_zip(file.path, folder, name=file.name, limits=limits, unpacked=upload.unpacked)
        file.path.unlink()
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            yield UploadedFile(FILE, path.relative_to(upload.folder / folder_of(FILE)).as_posix(), path)


def _move(file: UploadedFile, folder: Path) -> UploadedFile:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return UploadedFile(file.part, file.name, file.path.rename(path))


def _is_annotation(file: UploadedFile) -> bool:
    name = file.name.lower()
    if name.endswith(DOCUMENTS):
        return True
    if name.endswith(PICTURES):
        return is_mask_name(stem_of(file.name))
    kind = find_kind(file.path)
    if kind == "nifti":
        return is_mask_name(strip_suffix(file.name)) or is_signed(file.path)
    if kind != "dicom" or not installed("formats"):
        return False
    from tumortrace.web.volume_masks import is_segmentation

    return is_segmentation(file.path)

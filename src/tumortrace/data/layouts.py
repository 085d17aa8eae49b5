"""The layouts of a dataset folder: which image has which truth, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.cases import CaseRecord
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.names import natural_key
from tumortrace.data.pairs import find_pairs
from tumortrace.data.pictures import IMAGE_SUFFIXES


def open_folder(folder: Path, *, part: str, prefix: str) -> tuple[list[CaseRecord], list[Finding]]:
    """Find the cases of one folder, whichever layout it has, and its faults."""
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        return _open_masks(folder, part=part, prefix=prefix)
    return _open_via(folder, part=part, prefix=prefix)


def _open_via(folder: Path, *, part: str, prefix: str) -> tuple[list[CaseRecord], list[Finding]]:
    annotated, found = read_annotations(folder)
    findings = [Finding(f.kind, f.severity, prefix + f.file, f.cause, f.remedy) for f in found]
    images = {path.name: path for path in list_images(folder)}
    records = []
    for filename, regions in annotated.items():
        path = images.get(filename) or folder / filename
        if path.is_file():
            records.append(CaseRecord(prefix + filename, part, path, regions))
        else:
            cause = "annotated, but there is no such image"
            findings.append(left_out("image-missing", prefix + filename, cause, "add the image or drop its record"))
    named = annotated.keys() | {finding.file for finding in found}
    for name in images.keys() - named:
        cause = "no annotation; an image without one is not taken as free of tumour"
        remedy = "annotate it; tumour-free images belong into images/ + masks/ with a black mask"
        findings.append(left_out("annotation-missing", prefix + name, cause, remedy))
    records.sort(key=lambda record: natural_key(record.case_id))
    findings.sort(key=lambda finding: natural_key(finding.file))
    return records, findings


def _open_masks(folder: Path, *, part: str, prefix: str) -> tuple[list[CaseRecord], list[Finding]]:
    images, masks = ([path.name for path in list_images(folder / name)] for name in ("images", "masks"))
    pairs, found = find_pairs(folder, images, masks)
    findings = [Finding(f.kind, f.severity, prefix + f.file, f.cause, f.remedy) for f in found]
    records = []
    for pair in pairs:
        case_id = f"{prefix}images/{pair.image}"
        image_path, mask_path = folder / "images" / pair.image, folder / "masks" / pair.mask
        if not image_path.is_file():
            cause = "named in pairs.csv, but there is no such image"
            findings.append(left_out("image-missing", case_id, cause, "add the image or drop its row"))
        elif not (pair.mask and mask_path.is_file()):
            cause = f"no mask {pair.mask or image_path.stem + '.png'} in masks/"
            remedy = "add the mask; all black if free of tumour"
            findings.append(left_out("annotation-missing", case_id, cause, remedy))
        else:
            records.append(CaseRecord(case_id, part, image_path, mask_path, pair.patient))
    records.sort(key=lambda record: natural_key(record.case_id))
    findings.sort(key=lambda finding: natural_key(finding.file))
    return records, findings


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by their suffix, in natural order; hidden ones are passed over."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(files, key=lambda path: natural_key(path.name))

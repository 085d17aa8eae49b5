"""Annotations to masks and back. Outlines are traced on pixel edges, so drawing them gives the very mask again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumortrace.data.dataset import PARTS, CaseRecord, list_images, natural_key, open_dataset, read_cases, refuse_inside
from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Region, mask_to_polygons
from tumortrace.data.slice import read_mask, write_atomically, write_png
from tumortrace.data.via import ViaRecord, write_via
from tumortrace.errors import DataError
from tumortrace.progress import track

MASK_SUFFIX = "_mask.png"
ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        count: Cases written.
        failed: Cases that could not be read; each is among the findings.
        findings: Faults of the source.
    """

    count: int
    failed: int
    findings: tuple[Finding, ...]


def convert_to_masks(source: Path, destination: Path) -> Conversion:
    """Write ``DST/[TRAIN|VAL|TEST/]NAME_mask.png`` (0 and 255, the image's own size) for every case of a dataset.

    Beside the masks stands ``pairs.csv``, which keeps the name and size of each image for the way back.

    Raises:
        DataError: The source is no dataset, or the destination lies inside it.
    """
    refuse_inside(destination, source)
    dataset = open_dataset(source)
    findings = list(dataset.findings)
    pairs: dict[str, list[tuple[str, str, int]]] = {}
    names = _mask_names(dataset.records)
    for record, case, faults in track(read_cases(dataset.records), "Writing masks", total=len(dataset.records)):
        findings += faults
        if case is not None:
            folder, name = record.part.upper(), names[record.case_id]
            write_png(destination / folder / name, case.truth.astype(np.uint8) * np.uint8(255))
            pairs.setdefault(folder, []).append((record.image_path.name, name, record.image_path.stat().st_size))
    for folder, rows in pairs.items():
        _write_pairs(destination / folder / "pairs.csv", rows)
    count = sum(map(len, pairs.values()))
    return Conversion(count, len(dataset.records) - count, tuple(findings))


def convert_to_via(source: Path, destination: Path) -> Conversion:
    """Write ``DST/[TRAIN|VAL|TEST/]annotations.json`` (VIA 2), one polygon a lesion, traced on pixel edges.

    The source is a dataset, or a folder of ``NAME_mask.png`` files (with parts or without) such as
    ``convert_to_masks`` and ``segment`` write. Where neither ``pairs.csv`` nor ``results.json`` names the image, the
    record refers to the mask file itself and a finding says so.

    Raises:
        DataError: Nothing to convert in the source, or the destination lies inside it.
    """
    refuse_inside(destination, source)
    folders = {part.upper(): source / part.upper() for part in PARTS} | {"": source}
    mask_folders = {name: folder for name, folder in folders.items() if folder.is_dir() and _find_masks(folder)}
    if not mask_folders:
        return _dataset_to_via(source, destination)
    findings: list[Finding] = []
    count = failed = 0
    for name, folder in mask_folders.items():
        records, faults, unread = _masks_to_records(folder)
        write_via(destination / name / ANNOTATIONS, records)
        findings += faults
        count += len(records)
        failed += unread
    return Conversion(count, failed, tuple(findings))


def _dataset_to_via(source: Path, destination: Path) -> Conversion:
    dataset = open_dataset(source)
    findings = list(dataset.findings)
    by_part: dict[str, list[ViaRecord]] = {}
    for record, case, faults in track(read_cases(dataset.records), "Tracing", total=len(dataset.records)):
        findings += faults
        if case is not None:
            # What an annotator drew stays as drawn; only a mask has to be traced.
            regions = record.truth if isinstance(record.truth, tuple) else tuple(mask_to_polygons(case.truth))
            findings += _find_empty(record.case_id, regions)
            size_bytes = record.image_path.stat().st_size
            by_part.setdefault(record.part.upper(), []).append(ViaRecord(record.image_path.name, size_bytes, regions))
    for part, records in by_part.items():
        write_via(destination / part / ANNOTATIONS, records)
    count = sum(map(len, by_part.values()))
    return Conversion(count, len(dataset.records) - count, tuple(findings))


def _masks_to_records(folder: Path) -> tuple[list[ViaRecord], list[Finding], int]:
    images = _read_results(folder / "results.json") | _read_pairs(folder / "pairs.csv")
    records: list[ViaRecord] = []
    findings: list[Finding] = []
    failed = 0
    masks = _find_masks(folder)
    for path in track(masks, f"Tracing {folder.name}", total=len(masks)):
        try:
            regions = tuple(mask_to_polygons(read_mask(path)))
        except DataError as error:
            failed += 1
            findings.append(Finding("unreadable", "left out", path.name, str(error), "mend or remove it"))
            continue
        if path.name not in images:
            cause = "no pairs.csv or results.json names its image, so the record refers to the mask file"
            findings.append(Finding("image-unknown", "warning", path.name, cause, "set the file name in VIA"))
        findings += _find_empty(path.name, regions)
        name, size_bytes = images.get(path.name, (path.name, path.stat().st_size))
        records.append(ViaRecord(name, size_bytes, regions))
    return records, findings, failed


def _find_masks(folder: Path) -> list[Path]:
    return [path for path in list_images(folder) if path.name.endswith(MASK_SUFFIX)]


def _mask_names(records: Sequence[CaseRecord]) -> dict[str, str]:
    """Name of each case's mask: the image's stem, or its whole name where two images of a part share a stem."""
    stems: dict[tuple[str, str], int] = {}
    for record in records:
        key = (record.part, record.image_path.stem)
        stems[key] = stems.get(key, 0) + 1
    return {
        record.case_id: (
            record.image_path.name if stems[record.part, record.image_path.stem] > 1 else record.image_path.stem
        )
        + MASK_SUFFIX
        for record in records
    }


def _find_empty(file: str, regions: tuple[Region, ...]) -> list[Finding]:
    if regions:
        return []
    cause = "the mask is empty, and a VIA record without regions reads as not annotated"
    return [Finding("empty-mask", "warning", file, cause, "keep tumour-free images in a folder of their own")]


def _write_pairs(path: Path, rows: list[tuple[str, str, int]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "mask", "size_bytes"])
    in_order: list[tuple[str, str, int]] = sorted(rows, key=lambda row: natural_key(row[0]))
    writer.writerows(in_order)
    write_atomically(path, text.getvalue().encode())


def _read_pairs(path: Path) -> dict[str, tuple[str, int]]:
    """Image name and size in bytes by mask name; empty without a file."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {row["mask"]: (row["image"], int(row["size_bytes"])) for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); it needs the columns image, mask and size_bytes") from None


def _read_results(path: Path) -> dict[str, tuple[str, int]]:
    """Image name and size in bytes by mask name, from what ``segment`` wrote; -1 where the image is gone."""
    if not path.is_file():
        return {}
    try:
        images = {
            record["mask"]: Path(record["file"]) for record in json.loads(path.read_bytes())["images"] if record["mask"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); segment the pictures again") from None
    return {mask: (image.name, image.stat().st_size if image.is_file() else -1) for mask, image in images.items()}

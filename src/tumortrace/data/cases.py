"""Cases: one image with its truth, where it lies on disk, and reading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding, left_out
from tumortrace.data.geometry import Region, rasterize, region_bounds_xyxy
from tumortrace.data.inverted import find_inverted
from tumortrace.data.masks import read_mask
from tumortrace.data.slice import Slice, read_slice
from tumortrace.errors import DataError


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """Where a case lies on disk.

    Attributes:
        case_id: Path of the image within the dataset, with forward slashes, for example ``"TRAIN/y0.jpg"``.
        part: ``"train"``, ``"val"``, ``"test"``, or ``""`` in a dataset that is not divided.
        image_path: The image file.
        truth: The annotator's regions, or the mask file; no region at all where the image is known to hold no
            tumour; None in a folder of images without annotations.
        patient: Whose slice it is, where the dataset says.
        source: Name of the dataset it comes from, where several were opened together.
    """

    case_id: str
    part: str
    image_path: Path
    truth: tuple[Region, ...] | Path | None
    patient: str | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its truth.

    Attributes:
        record: Where it came from.
        slice: The image.
        truth: True where there is tumour; shape (H, W) of the slice, bool. Empty (all False) only in mask datasets and
            where the image is known to hold no tumour.
    """

    record: CaseRecord
    slice: Slice
    truth: NDArray[np.bool_]


def read_case(record: CaseRecord) -> tuple[Case, list[Finding]]:
    """Decode one case, and find the faults that only the decoded image shows.

    Returns:
        The case, and warnings about regions that leave the image (they are cut at its border).

    Raises:
        DataError: The image or mask cannot be read, their sizes differ, or no region covers a pixel of the image.
    """
    if record.truth is None:
        raise DataError(f"{record.case_id}: is not annotated; outline the tumour, or leave the image out")
    image = read_slice(record.image_path, record.case_id)
    if isinstance(record.truth, Path):
        truth = read_mask(record.truth)
        if truth.shape != image.size_hw:
            raise DataError(
                f"{record.case_id}: the image is {image.size_hw} pixels (height, width) and its mask {truth.shape}; "
                "export the mask again on the image's own grid"
            )
        return Case(record, image, truth), []
    findings = _find_outside(record.truth, record.case_id, image.size_hw)
    truth = rasterize(record.truth, image.size_hw)
    if record.truth and not truth.any():
        raise DataError(f"{record.case_id}: no region covers a pixel of the image; outline the tumour again")
    return Case(record, image, truth), findings


def read_cases(records: tuple[CaseRecord, ...]) -> Iterator[tuple[CaseRecord, Case | None, list[Finding]]]:
    """Decode cases one by one; a case that cannot be read comes as None with its finding, and the rest go on.

    With the last one comes what only all of them show: masks that look inverted.
    """
    painted: dict[str, list[float]] = {}
    for number, record in enumerate(records, 1):
        case, findings = _try_case(record)
        if case is not None and isinstance(record.truth, Path):
            painted.setdefault(record.source, []).append(float(case.truth.mean()))
        yield record, case, findings + (find_inverted(painted) if number == len(records) else [])


def _try_case(record: CaseRecord) -> tuple[Case | None, list[Finding]]:
    try:
        return read_case(record)
    except DataError as error:
        return None, [left_out("unreadable", record.case_id, _without_path(error), "mend or remove it")]


def _find_outside(regions: tuple[Region, ...], case_id: str, size_hw: tuple[int, int]) -> list[Finding]:
    height, width = size_hw
    findings = []
    for region in regions:
        left, top, right, bottom = region_bounds_xyxy(region)
        if left >= -0.5 and top >= -0.5 and right <= width - 0.5 and bottom <= height - 0.5:
            continue
        box = f"x {left:.0f}..{right:.0f}, y {top:.0f}..{bottom:.0f} in an image of {width} x {height}"
        whole = right < -0.5 or bottom < -0.5 or left > width - 0.5 or top > height - 0.5
        cause = f"a region lies {'wholly' if whole else 'partly'} outside the image ({box})"
        remedy = (
            "check that the annotation belongs to this image" if whole else "nothing to do: it is cut at the border"
        )
        findings.append(Finding("region-outside", "warning", case_id, cause, remedy))
    return findings


def _without_path(error: DataError) -> str:
    """The error's cause alone: the finding names the file already, and briefly."""
    _, _, cause = str(error).partition(": ")
    return cause or str(error)

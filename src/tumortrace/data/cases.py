"""Cases: one image with its truth, where it lies on disk, and reading it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.geometry import Region, count_overlap, rasterize_region, region_bounds_xyxy
from tumortrace.data.mask_checks import find_doubtful_masks, summarise_mask
from tumortrace.data.masks import read_label, read_united
from tumortrace.data.slice import Slice
from tumortrace.data.slice_file import read_slice
from tumortrace.data.volume import Volume, VolumeMask
from tumortrace.errors import DataError, without_path

NOISE = 2
"""Grey levels by which the pixels of a blank image may differ from black or white."""

MOST_OVERLAP = 0.02
"""Fraction of a region's pixels that its outline may go round twice before that is a finding."""


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """Where a case lies on disk.

    Attributes:
        case_id: Path of the image within the dataset, with forward slashes, for example ``"TRAIN/y0.jpg"``; for a slice
            of a scan, the scan's name and the slice's number from 0, for example ``"p1/t1/slice-007"``.
        part: ``"train"``, ``"val"``, ``"test"``, or ``""`` in a dataset that is not divided.
        image_path: The image file; for a slice of a scan, the file that stores it.
        truth: The annotator's regions, the mask file, or the mask of the scan; no region at all where the image is
            known to hold no tumour; None in a folder of images without annotations.
        patient: The patient whose slice it is, where the dataset says.
        source: Name of the dataset that it comes from.
        expected_sha256: Hash of picture and truth (``hash_case``) that a split file states for it; empty if unknown.
        tumour_class: Class of the tumour, for example ``"glioma"``; empty where the dataset does not say.
        plane: Plane of the slice, for example ``"axial"``; empty where the dataset does not say.
        label: Value of the mask file that is tumour; None for a mask of two classes.
        annotation: Its record in an annotation file, with the regions that count.
        volume: Scan that it is a slice of; None for a picture.
        index: Number of the slice in its scan, from 0.
    """

    case_id: str
    part: str
    image_path: Path
    truth: tuple[Region, ...] | Path | VolumeMask | None
    patient: str | None = None
    source: str = ""
    expected_sha256: str = ""
    tumour_class: str = ""
    plane: str = ""
    label: int | None = None
    annotation: ImageAnnotation | None = None
    volume: Volume | None = None
    index: int = 0

    @property
    def has_mask(self) -> bool:
        """Whether its truth is a mask, not regions."""
        return self.truth is not None and not isinstance(self.truth, tuple)


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its truth.

    Attributes:
        record: Place of the case on disk.
        slice: The image.
        truth: True where there is tumour; shape (H, W) of the slice, bool. Empty (all False) only in mask datasets and
            where the image is known to hold no tumour.
    """

    record: CaseRecord
    slice: Slice
    truth: NDArray[np.bool_]


def read_image(record: CaseRecord) -> Slice:
    """Decode the image of a case: a picture, or a slice of a scan.

    Raises:
        DataError: It cannot be read.
    """
    if record.volume is None:
        return read_slice(record.image_path, record.case_id)
    return replace(record.volume.read(record.index), case_id=record.case_id)


def read_case(record: CaseRecord) -> tuple[Case, list[Finding]]:
    """Decode one case, and find the faults that only the decoded image shows.

    Returns:
        The case, and warnings: regions that leave the image (they are cut at its border), cover no pixel, or go round
        twice; a tumour on a blank image.

    Raises:
        DataError: The image or mask cannot be read, their sizes differ, or no region covers a pixel of the image.
    """
    if record.truth is None:
        raise DataError(f"{record.case_id}: is not annotated; outline the tumour, or leave the image out")
    image = read_image(record)
    findings: list[Finding] = []
    if isinstance(record.truth, Path):
        truth, findings = _read_mask_of(image, record.truth, record.label)
    elif isinstance(record.truth, tuple):
        _check_size(image, record.annotation)
        truth, findings = _draw_regions(image, record.truth)
    else:
        truth = record.truth.read(record.index)
    if record.truth:
        findings += _find_turned(image)
    if truth.any() and (blank := _describe_blank(image)):
        cause = f"the image is {blank} in every pixel, and yet a tumour is marked on it"
        findings.append(warning("image-blank", record.case_id, cause, "copy the image again from its source"))
    return Case(record, image, truth), findings


def read_cases(records: Sequence[CaseRecord]) -> Iterator[tuple[CaseRecord, Case | None, list[Finding]]]:
    """Decode cases one by one; a case that cannot be read comes as None with its finding, and the rest go on.

    With the last one come the doubtful masks, which only all of them together show.
    """
    masks = []
    for number, record in enumerate(records, 1):
        case, findings = try_case(record)
        if case is not None and record.has_mask:
            masks.append(summarise_mask(record.case_id, case.truth, source=record.source))
        yield record, case, findings + (find_doubtful_masks(masks) if number == len(records) else [])


def try_case(record: CaseRecord) -> tuple[Case | None, list[Finding]]:
    """Decode one case as ``read_case`` does; None, with the finding that says why, if it cannot be read."""
    try:
        return read_case(record)
    except DataError as error:
        return None, [left_out("unreadable", record.case_id, without_path(error), "correct or remove it")]


def _describe_blank(image: Slice) -> str | None:
    """The colour of an image that is black or white all over, but for the noise of JPEG; None for any other.

    Values with a sign or a fraction have no white, and black is whatever they all are.
    """
    if image.pixels.dtype.kind != "u":
        return "black" if image.pixels.min() == image.pixels.max() else None
    if image.pixels.max() <= NOISE:
        return "black"
    white = np.iinfo(image.pixels.dtype).max
    return "white" if image.pixels.min() >= white - NOISE else None


def _read_mask_of(image: Slice, path: Path, label: int | None) -> tuple[NDArray[np.bool_], list[Finding]]:
    """The mask of an image, its labels united or one of them; every message says that the mask is at fault."""
    name = f"{path.parent.name}/{path.name}"
    try:
        truth, labels = read_united(path) if label is None else read_label(path, label)
    except DataError as error:
        raise DataError(f"{image.case_id}: its mask {name} cannot be used: {without_path(error)}") from None
    if truth.shape != image.size_hw:
        turned = " after its EXIF tag turned it" if image.turned and truth.shape == image.size_hw[::-1] else ""
        remedy = "turn the mask likewise" if turned else "export the mask again on the image's own grid"
        raise DataError(
            f"{image.case_id}: the image is {image.size_hw} pixels (height, width){turned} and its mask {name} is "
            f"{truth.shape}; {remedy}"
        )
    listed = ", ".join(map(str, labels))
    if labels and label is None:
        cause = f"its mask has the labels {listed}; all are united into the tumour"
        return truth, [warning("labels-united", image.case_id, cause, "choose the tumour's label with --label VALUE")]
    if truth.any() or not labels:
        return truth, []
    cause = f"its mask has no label {label}, but {listed}, and counts as free of tumour"
    return truth, [warning("label-absent", image.case_id, cause, "correct --label if this should be tumour")]


def _check_size(image: Slice, annotation: ImageAnnotation | None) -> None:
    """Refuse regions that were drawn on a picture of another size."""
    drawn_on = annotation.size_hw if annotation else None
    if drawn_on and drawn_on != image.size_hw:
        raise DataError(
            f"{image.case_id}: the image is {image.size_hw} pixels (height, width), and its regions were drawn on one "
            f"of {drawn_on}; annotate this image, or restore the other"
        )


def _find_turned(image: Slice) -> list[Finding]:
    """A warning where a truth fits the size of the image, and yet may be drawn on the grid before EXIF turned it."""
    if not image.turned:
        return []
    cause = "its EXIF tag turns or mirrors the image; a tumour outlined on the stored pixels does not fit"
    remedy = "check the outline; store the image upright, without the tag"
    return [warning("image-turned", image.case_id, cause, remedy)]


def _draw_regions(image: Slice, regions: tuple[Region, ...]) -> tuple[NDArray[np.bool_], list[Finding]]:
    """Draw the regions of an image, and find those that are lost wholly or in part, or go round twice."""
    truth = np.zeros(image.size_hw, np.bool_)
    findings = []
    for number, region in enumerate(regions, 1):
        drawn = rasterize_region(region, image.size_hw)
        truth |= drawn
        twice = count_overlap(region, image.size_hw)
        which = f"region {number} of {len(regions)}" if len(regions) > 1 else "its region"
        findings += _find_outside(region, which, image)
        if not drawn.any() and not _is_outside(region, image.size_hw):
            cause = f"{which} ({_describe_box(region)}) is too thin to cover a pixel"
            findings.append(warning("region-lost", image.case_id, cause, "outline it again, or remove it"))
        if twice > MOST_OVERLAP * drawn.sum():
            cause = f"the outline of {which} goes round {twice} of its {drawn.sum()} pixels twice; all are filled"
            findings.append(warning("outline-overlaps", image.case_id, cause, "outline the tumour once"))
    if regions and not truth.any():
        raise DataError(f"{image.case_id}: no region covers a pixel of the image; outline the tumour again")
    return truth, findings


def _find_outside(region: Region, which: str, image: Slice) -> list[Finding]:
    height, width = image.size_hw
    left, top, right, bottom = region_bounds_xyxy(region)
    if left >= -0.5 and top >= -0.5 and right <= width - 0.5 and bottom <= height - 0.5:
        return []
    whole = _is_outside(region, image.size_hw)
    box = f"{_describe_box(region)} in an image of {width} x {height}"
    cause = f"{which} lies {'wholly' if whole else 'partly'} outside the image ({box})"
    remedy = "check that the annotation belongs to this image" if whole else "nothing to do: it is cut at the border"
    return [warning("region-outside", image.case_id, cause, remedy)]


def _is_outside(region: Region, size_hw: tuple[int, int]) -> bool:
    left, top, right, bottom = region_bounds_xyxy(region)
    return right < -0.5 or bottom < -0.5 or left > size_hw[1] - 0.5 or top > size_hw[0] - 0.5


def _describe_box(region: Region) -> str:
    left, top, right, bottom = region_bounds_xyxy(region)
    return f"x {left:.1f}..{right:.1f}, y {top:.1f}..{bottom:.1f}"

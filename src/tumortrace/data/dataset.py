"""A folder becomes cases: which images have which truth, in which part, and every fault that was found on the way.

Opens the Br35H layout (``TRAIN/ VAL/ TEST/``, each with images and one VIA file), a single folder of images with one
VIA file, and ``images/`` + ``masks/`` folders with an optional ``pairs.csv``. Reads only; links are followed, hidden
files are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations import read_annotations
from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Region, rasterize, region_bounds_xyxy
from tumortrace.data.inverted import find_inverted
from tumortrace.data.pairs import find_pairs
from tumortrace.data.slice import IMAGE_SUFFIXES, Slice, hint_at_dicom, read_mask, read_slice
from tumortrace.errors import DataError

PARTS = ("train", "val", "test")


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


@dataclass(frozen=True, eq=False)
class Dataset:
    """The cases of a folder, in natural order of their names, and the faults found without decoding images."""

    root: Path
    records: tuple[CaseRecord, ...]
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.root.resolve().name

    def parts(self) -> dict[str, int]:
        """Number of cases in each part that has any."""
        counts = {part: sum(record.part == part for record in self.records) for part in (*PARTS, "")}
        return {part: count for part, count in counts.items() if count}

    def select(self, part: str) -> tuple[CaseRecord, ...]:
        """The cases of one part, or of the whole dataset for ``"all"``.

        Raises:
            DataError: The dataset has no usable case in that part, or is not divided; names the parts that it has.
        """
        if part == "all":
            return self.records
        selected = tuple(record for record in self.records if record.part == part)
        if selected:
            return selected
        if self.parts().keys() == {""}:
            raise DataError(
                f"{self.root}: is not divided into parts, so there is no {part!r}; take all of it with --part all, or "
                "divide it with: tumortrace split"
            )
        unusable = (f for f in self.findings if f.kind == "part-unusable" and f.file == part.upper())
        blame = next((finding.line() for finding in unusable), None)
        there = ", ".join(f"{name} ({count})" for name, count in self.parts().items())
        raise DataError(blame or f"{self.root}: no part {part!r} here; it has: {there}; choose one, or all")


def open_dataset(root: Path) -> Dataset:
    """Find the cases of a folder and every fault that shows without decoding the images.

    Raises:
        DataError: The folder is missing, is of no known layout, or holds not one usable case.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give a folder of images with annotations")
    folders = {part: root / part.upper() for part in PARTS if (root / part.upper()).is_dir()}
    records: list[CaseRecord] = []
    findings: list[Finding] = []
    for part, folder in (folders or {"": root}).items():
        try:
            found, faults = _open_folder(folder, part=part, prefix=f"{folder.name}/" if part else "")
        except DataError as error:
            if not folders:
                raise
            faults = [_left_out("part-unusable", folder.name, str(error), "mend it, or take the part away")]
            found = []
        records += found
        findings += faults
    if not records:
        raise DataError(f"{root}: not one usable case; {_first_cause(findings)}")
    return Dataset(root=root, records=tuple(records), findings=tuple(findings))


def open_datasets(roots: Sequence[Path], *, negatives: Path | None = None) -> Dataset:
    """Open several folders as one dataset, whose cases carry the name of the folder that they come from.

    One folder opens as ``open_dataset`` opens it, with its own name as source. Of several, each case's id and patient
    are preceded by the name, made unique where two folders share it; if one of them is divided, the cases of those that
    are not belong to its TRAIN part.

    Args:
        roots: Folders of annotated images.
        negatives: A folder of images that hold no tumour, one more source.

    Raises:
        DataError: As ``open_dataset``, for any of the folders; none is given, or one twice; or the negatives are
            annotated.
    """
    if not roots:
        raise DataError("no dataset is given; name at least one folder")
    resolved = [root.resolve() for root in roots]
    if again := [root for index, root in enumerate(roots) if resolved[index] in resolved[:index]]:
        raise DataError(f"{again[0]}: is given twice; name each folder once")
    opened = [open_dataset(root) for root in roots] + ([open_negatives(negatives)] if negatives else [])
    roots = [dataset.root for dataset in opened]
    if len(opened) == 1:
        records = tuple(replace(record, source=opened[0].name) for record in opened[0].records)
        return replace(opened[0], records=records)
    names = _unique([dataset.name for dataset in opened])
    pairs = list(zip(names, opened, strict=True))
    undivided = "train" if any(dataset.parts().keys() != {""} for dataset in opened) else ""
    return Dataset(
        root=Path(*roots[0].parts[:-1]) if len({root.parent for root in roots}) == 1 else Path(),
        records=tuple(_in_source(record, name, undivided) for name, dataset in pairs for record in dataset.records),
        findings=tuple(replace(f, file=f"{name}/{f.file}") for name, dataset in pairs for f in dataset.findings),
    )


def open_any(root: Path) -> Dataset:
    """A dataset, or a folder of pictures that no annotation goes with.

    Raises:
        DataError: Neither; says what is wrong with the annotations if there are any.
    """
    try:
        return open_datasets([root])
    except DataError:
        if not root.is_dir() or any(path.suffix.lower() in (".json", ".csv") for path in root.rglob("*")):
            raise
        return open_images(root)


def open_negatives(root: Path) -> Dataset:
    """All pictures below a folder as cases that are known to hold no tumour, undivided.

    Raises:
        DataError: The folder is missing, holds no picture, or opens as annotated data, whose slices may hold tumours.
    """
    try:
        annotated = len(open_dataset(root).records)
    except DataError:  # as it should be
        annotated = 0
    if annotated:
        raise DataError(
            f"{root}: {annotated} of its images are annotated, so it is not known to be tumour-free; give a folder of "
            "images without tumour and annotations as --negatives"
        )
    dataset = open_images(root)
    return replace(dataset, records=tuple(replace(record, truth=(), part="") for record in dataset.records))


def open_images(root: Path) -> Dataset:
    """All pictures below a folder as cases without truth: enough to look for copies.

    Raises:
        DataError: The folder is missing, or holds no picture.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give a folder of images")
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir() and not path.name.startswith("."))]
    records = []
    for path in (path for folder in folders for path in list_images(folder)):
        case_id = path.relative_to(root).as_posix()
        part = case_id.split("/", 1)[0].lower()
        records.append(CaseRecord(case_id, part if part in PARTS else "", path, None))
    if not records:
        hint = hint_at_dicom(path for folder in folders for path in sorted(folder.iterdir()) if path.is_file())
        raise DataError(f"{root}: no picture there (JPEG, PNG or TIFF); give a folder of images{hint}")
    return Dataset(root, tuple(records), ())


def exclude(dataset: Dataset, names_file: Path) -> Dataset:
    """A dataset without the cases that a file names, each a finding.

    What only measures (VAL, TEST) stays; a name that fits nothing else is a warning for each case that it fits.

    Args:
        dataset: From ``open_datasets``.
        names_file: Text, one name a line: a case_id or its end from a slash on (``y12.jpg``); blank lines are skipped.

    Raises:
        DataError: The file cannot be read as text, or a name fits no case.
    """
    try:
        lines = names_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{names_file}: cannot be read as text ({cause}); give a file of one name a line") from None
    names = {line.strip() for line in lines if line.strip()}
    fitting = {name: {r.case_id for r in dataset.records if f"/{r.case_id}".endswith(f"/{name}")} for name in names}
    if unknown := sorted(name for name, cases in fitting.items() if not cases):
        first = ", ".join(map(repr, unknown[:3]))
        raise DataError(
            f"{names_file}: {len(unknown)} of {len(names)} names fit no image of {dataset.root} (first: {first}); "
            "correct them or take them out"
        )
    learnt = {r.case_id for r in dataset.records if r.part not in {"val", "test"}}
    gone = set().union(*fitting.values()) & learnt
    idle = set().union(*(cases for cases in fitting.values() if not cases & learnt))
    cause, why = f"named in {names_file.name}", "is not learnt from: nothing changes"
    remedy = "take the image away if it must not be measured on either"
    findings = [
        _left_out("excluded", record.case_id, cause, "nothing to do")
        if record.case_id in gone
        else Finding("not-excluded", "warning", record.case_id, f"{cause}, but {record.part.upper()} {why}", remedy)
        for record in dataset.records
        if record.case_id in gone | idle
    ]
    kept = tuple(record for record in dataset.records if record.case_id not in gone)
    return replace(dataset, records=kept, findings=(*dataset.findings, *findings))


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
        return None, [_left_out("unreadable", record.case_id, _without_path(error), "mend or remove it")]


def refuse_inside(out: Path, root: Path) -> None:
    """Refuse to write results into a user's data folder.

    Raises:
        DataError: ``out`` is ``root`` or lies within it.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"--out {out} lies inside the data folder {root}; choose a folder outside, nothing is written there"
        )


def natural_key(name: str) -> str:
    """Sort key under which ``y9.jpg`` comes before ``y10.jpg``: numbers by their length first, and before all else."""
    return re.sub(r"[0-9]+", lambda run: f"\0{len(run[0].lstrip('0')):03}{run[0].lstrip('0')}\0{run[0]}", name)


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by their suffix, in natural order; hidden ones are passed over."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(files, key=lambda path: natural_key(path.name))


def _unique(names: list[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    unique: list[str] = []
    for name in names:
        numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
        unique.append(next(each for each in numbered if each not in unique))
    return unique


def _in_source(record: CaseRecord, name: str, undivided: str) -> CaseRecord:
    patient = f"{name}/{record.patient}" if record.patient else record.patient
    part = record.part or undivided
    return replace(record, case_id=f"{name}/{record.case_id}", part=part, patient=patient, source=name)


def _open_folder(folder: Path, *, part: str, prefix: str) -> tuple[list[CaseRecord], list[Finding]]:
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
            findings.append(_left_out("image-missing", prefix + filename, cause, "add the image or drop its record"))
    named = annotated.keys() | {finding.file for finding in found}
    for name in images.keys() - named:
        cause = "no annotation; an image without one is not taken as free of tumour"
        remedy = "annotate it; tumour-free images belong into images/ + masks/ with a black mask"
        findings.append(_left_out("annotation-missing", prefix + name, cause, remedy))
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
            findings.append(_left_out("image-missing", case_id, cause, "add the image or drop its row"))
        elif not (pair.mask and mask_path.is_file()):
            cause = f"no mask {pair.mask or image_path.stem + '.png'} in masks/"
            remedy = "add the mask; all black if free of tumour"
            findings.append(_left_out("annotation-missing", case_id, cause, remedy))
        else:
            records.append(CaseRecord(case_id, part, image_path, mask_path, pair.patient))
    records.sort(key=lambda record: natural_key(record.case_id))
    findings.sort(key=lambda finding: natural_key(finding.file))
    return records, findings


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


def _left_out(kind: str, file: str, cause: str, remedy: str) -> Finding:
    return Finding(kind, "left out", file, cause, remedy)


def _first_cause(findings: list[Finding]) -> str:
    return findings[0].line() if findings else "it holds no images"


def _without_path(error: DataError) -> str:
    """The error's cause alone: the finding names the file already, and briefly."""
    _, _, cause = str(error).partition(": ")
    return cause or str(error)

"""A folder while it is opened: cases, used files and faults so far."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.cases import CaseRecord
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.folders import Tree, is_picture, join, name_of, parent_of
from tumortrace.data.geometry import Region
from tumortrace.data.own_files import MANIFEST, PREPARATION
from tumortrace.data.parts import part_of
from tumortrace.data.patients import find_patients_by_folder
from tumortrace.json_csv import read_json

RESULTS, RESULTS_TABLES = "results.json", ("results.csv", "volumes.csv", "lesions.csv")
"""What ``segment`` writes beside its masks."""


@dataclass(eq=False)
class Opening:
    """A folder while it is being opened.

    Attributes:
        tree: Its files.
        label: Label of the regions that count; None for all.
        label_names: Names of the labels of masks by their values, where a ``dataset.json`` names them.
        records: Cases found so far.
        findings: Faults found so far.
        faults: Reasons why the annotations of a folder cannot be used, by folder.
        used: Files that are an image or mask of a case, annotations or a table, or named with their case.
        masks: Pictures that are masks of several classes or objects, never images.
        listed: Folders of images whose files a ``pairs.csv`` lists.
        patients: Patients by the image, as tables name them.
        parts: Parts by the image, as tables or annotation files name them.
        kinds: Class of the tumour and plane of the slice by the image, as tables name them; empty if unknown.
        labels: Number of each label, by its attribute.
        labelled_files: Annotation files whose regions are labelled.
        scan_masks: Masks of scans by the scan, both NIfTI files, as tables pair them.
        unannotated: Slices of scans without a mask.
    """

    tree: Tree
    label: str | None = None
    label_names: dict[int, str] = field(default_factory=dict)
    records: list[CaseRecord] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    masks: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    patients: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    labelled_files: list[str] = field(default_factory=list)
    scan_masks: dict[str, str] = field(default_factory=dict)
    unannotated: list[CaseRecord] = field(default_factory=list)

    @cached_property
    def own_documents(self) -> dict[str, tuple[str, ...]]:
        """Files about results that tumortrace wrote, and the masks and overlays that each of them lists."""
        return dict(_find_own_documents(self.tree))

    @cached_property
    def machine_made(self) -> frozenset[str]:
        """Masks, overlays and segmentations that ``segment`` wrote, by the results beside them."""
        return frozenset(picture for pictures in self.own_documents.values() for picture in pictures)

    @cached_property
    def patients_by_folder(self) -> dict[str, str]:
        """Patients by the image, as folders name them."""
        return find_patients_by_folder(self.tree.pictures)

    @cached_property
    def _label_value(self) -> int | None:
        """Value of the chosen label in mask files; None if none is chosen, or its name means no value."""
        wanted = (self.label or "").strip().casefold()
        named = [value for value, name in self.label_names.items() if name.strip().casefold() == wanted]
        value = int(wanted) if re.fullmatch(r"[0-9]{1,5}", wanted) else next(iter(named), 0)
        return value or None

    def patient_of(self, image: str) -> str | None:
        """The patient of an image, as a table names it, or else its folder."""
        return self.patients.get(image) or self.patients_by_folder.get(image)

    def part_of(self, image: str) -> str:
        """The part of an image, as a folder names it, or else a table or annotation file; ``""`` if none does."""
        return part_of(image) or self.parts.get(image, "")

    def free_pictures(self, folder: str) -> list[str]:
        """The pictures below a folder that are in no case so far."""
        return [file for file in below(self.tree.pictures, folder) if file not in self.used]

    def add_case(
        self,
        image: str,
        truth: Path | tuple[Region, ...],
        *,
        patient: str | None,
        mask: str = "",
        annotation: ImageAnnotation | None = None,
        label: int | None = None,
    ) -> None:
        """Add an image with its truth, and count its files as used."""
        path, patient = self.tree.root / image, patient or self.patient_of(image)
        tumour_class, plane = self.kinds.get(image, ("", ""))
        record = CaseRecord(image, self.part_of(image), path, truth, patient, annotation=annotation)
        self.records.append(replace(record, tumour_class=tumour_class, plane=plane, label=label))
        self.used |= {image, mask} - {""}

    def add_mask_case(self, image: str, mask: str, *, patient: str | None = None) -> None:
        """Add an image with its mask file."""
        self.add_case(image, self.tree.root / mask, patient=patient, mask=mask, label=self._label_value)

    def leave_out(self, kind: str, file: str, cause: str, remedy: str) -> None:
        """Add a finding whose file is not used."""
        self.findings.append(left_out(kind, file, cause, remedy))


def below(files: Iterable[str], folder: str) -> list[str]:
    """The files below a folder; all of them for ``""``."""
    return [file for file in files if not folder or file.startswith(f"{folder}/")]


def within(files: Iterable[str], folder: str) -> list[str]:
    """The paths of files below a folder, relative to it."""
    return [file[len(folder) + 1 :] if folder else file for file in files]


def ancestors(path: str) -> list[str]:
    """The folders that a file lies in, from its own to ``""``."""
    folders = [path]
    while folders[-1]:
        folders.append(parent_of(folders[-1]))
    return folders[1:]


def is_below_any(file: str, folders: Collection[str]) -> bool:
    """Whether a file lies below one of several folders."""
    return any(file.startswith(f"{folder}/") for folder in folders)


def _find_own_documents(tree: Tree) -> Iterator[tuple[str, tuple[str, ...]]]:
    for file in tree.files:
        folder, name = parent_of(file), name_of(file)
        if name in {MANIFEST, PREPARATION}:
            yield file, ()
        if name == RESULTS and (masks := _read_results(tree.root / file)) is not None:
            yield file, tuple(join(folder, made) for mask in masks for made in (mask, *_name_beside(mask)))
            yield from ((join(folder, table), ()) for table in RESULTS_TABLES)


def _name_beside(mask: str) -> tuple[str, ...]:
    """The files that ``segment`` may write beside a mask."""
    if is_picture(mask):
        return (mask.removesuffix("_mask.png") + "_overlay.png",)
    stem = mask.removesuffix("_mask.nii.gz")
    return (f"{stem}_overlay.png", f"{stem}_seg.dcm", f"{stem}_mask.json")


def _read_results(path: Path) -> list[str] | None:
    """The masks that a ``results.json`` of ours lists; None if another program wrote it."""
    try:
        document = read_json(path)
        if not document["model"]["sha256"] or not isinstance(document["volumes"], list):
            return None
        records = [*document["images"], *document["volumes"]]
        return list(dict.fromkeys(record["mask"] for record in records if record["mask"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None

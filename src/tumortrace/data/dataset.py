"""Opening folders as a dataset: one folder or several, annotated or not.

A folder may have any of the layouts in docs/data.md, at any depth. Nothing is written to it; links are followed, hidden
files are passed over, and every other file is used or named in a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tumortrace.data.annotations.labels import describe_labels
from tumortrace.data.cases import CaseRecord
from tumortrace.data.findings import Finding, describe_main_cause, left_out, warning
from tumortrace.data.folders import Tree, list_tree
from tumortrace.data.layouts.leftovers import NO_ANNOTATIONS, name_leftovers
from tumortrace.data.layouts.open import open_layouts
from tumortrace.data.names import make_unique, natural_key, spelling_key
from tumortrace.data.parts import PARTS, is_below_masks, part_of, read_folder_name
from tumortrace.data.pictures import READABLE
from tumortrace.data.tables import read_text
from tumortrace.errors import DataError, printable
from tumortrace.frames import make_frame
from tumortrace.wording import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """The cases of a folder, in natural order of their names, and the faults found without decoding images.

    Attributes:
        root: The folder; of several, the one that they lie in, or else the current folder.
        records: The cases.
        findings: The faults.
        unannotated: Pictures that have no truth and are no case, with their parts: enough to look for copies.
        folders: Folder of each source, where several folders were opened as one dataset.
    """

    root: Path
    records: tuple[CaseRecord, ...]
    findings: tuple[Finding, ...]
    unannotated: tuple[CaseRecord, ...] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part or 'undivided'} {count}" for part, count in self.parts().items())
        cases = counted(len(self.records), "case")
        return f"<Dataset {self.given}: {cases} ({parts}), {counted(len(self.findings), 'finding')}>"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a case: its id, part, patient, source and image file."""
        return make_frame(
            {
                "case_id": record.case_id,
                "part": record.part,
                "patient": record.patient,
                "source": record.source,
                "image_path": str(record.image_path),
            }
            for record in self.records
        )

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folder, or the folders of several sources."""
        return tuple(self.folders.values()) or (self.root,)

    @property
    def given(self) -> str:
        """The folder or folders as they were given, for messages and commands."""
        return " ".join(map(str, self.roots))

    @property
    def name(self) -> str:
        """Name of the folder."""
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
                f"{self.given}: is not divided into parts, so there is no {part!r}; take all of it with --part all, or "
                "the sides of a split with --split FILE (tumortrace split writes it)"
            )
        there = ", ".join(f"{name} ({count})" for name, count in self.parts().items())
        raise DataError(
            self.why_unusable(part) or f"{self.given}: no part {part!r} here; it has: {there}; choose one, or all"
        )

    def why_unusable(self, part: str) -> str | None:
        """Why a part that is there has no case, as one line; None if there is no such part, or nothing is wrong."""
        unusable = (finding for finding in self.findings if finding.kind == "part-unusable")
        return next((finding.line() for finding in unusable if part_of(f"{finding.file}/x") == part), None)


def open_dataset(root: Path, *, label: str | None = None) -> Dataset:
    """Find the cases of a folder and every fault that shows without decoding the images.

    Args:
        root: The folder.
        label: Label of the regions that count, where an annotation file labels its regions; None for all regions.

    Raises:
        DataError: The folder is missing, is of no known layout, holds not one usable case, or has other labels only.
    """
    tree, dataset = _open_folder(root, label)
    if not dataset.records:
        raise DataError(_describe_nothing(tree, dataset))
    return dataset


def open_datasets(roots: Sequence[Path], *, negatives: Path | None = None, label: str | None = None) -> Dataset:
    """Open several folders as one dataset, whose cases carry the name of the folder that they come from.

    One folder opens as ``open_dataset`` opens it, with its own name as source. Of several, each case's id and patient
    are preceded by the name, made unique where two folders share it; if one of them is divided, the cases of those that
    are not belong to its TRAIN part.

    Args:
        roots: Folders of annotated images.
        negatives: A folder of images that hold no tumour, one more source.
        label: Label of the regions that count; see ``open_dataset``.

    Raises:
        DataError: As ``open_dataset``, for any of the folders; none is given, or one twice; or the negatives are
            annotated, in their folder or in one of the others.
    """
    check_roots(roots)
    opened = [open_dataset(root, label=label) for root in roots]
    if negatives:
        opened.append(_refuse_annotated(open_negatives(negatives), opened))
    if len(opened) == 1:
        (dataset,) = opened
        return _map_records(dataset, lambda record: replace(record, source=dataset.name))
    return _join(opened, undivided="train" if any(dataset.parts().keys() != {""} for dataset in opened) else "")


def _refuse_annotated(negatives: Dataset, opened: Sequence[Dataset]) -> Dataset:
    """Return negatives of which no image is a case of another folder, where it may hold a tumour."""
    cases = {record.image_path.resolve() for dataset in opened for record in dataset.records}
    if both := [record for record in negatives.records if record.image_path.resolve() in cases]:
        raise DataError(
            f"{negatives.root}: holds {counted(len(both), 'case')} of the data (first: {both[0].case_id}); "
            "give a folder of other images, without tumour, as --negatives"
        )
    return negatives


def open_apart(roots: Sequence[Path], *, label: str | None = None) -> Dataset:
    """Open several folders to compare them: each as ``open_any``, with the parts that it has itself.

    Of several, each case's id and patient are preceded by the name of its folder, as in ``open_datasets``.

    Raises:
        DataError: As ``open_any``, for any of the folders; or none is given, or one twice.
    """
    check_roots(roots)
    opened = [open_any(root, label=label) for root in roots]
    return opened[0] if len(opened) == 1 else _join(opened, undivided="")


def check_roots(roots: Sequence[Path]) -> None:
    """Refuse no folder at all, one that is given twice, and one inside another.

    Raises:
        DataError: Names the folder.
    """
    if not roots:
        raise DataError("no dataset is given; name at least one folder")
    resolved = [root.resolve() for root in roots]
    if again := [root for index, root in enumerate(roots) if resolved[index] in resolved[:index]]:
        raise DataError(f"{again[0]}: is given twice; name each folder once")
    for (root, place), (other, around) in permutations(zip(roots, resolved, strict=True), 2):
        if place.is_relative_to(around):
            raise DataError(f"{root}: lies inside {other}, so its images would count twice; name one of the two")


def _join(opened: Sequence[Dataset], *, undivided: str) -> Dataset:
    """Several datasets as one; cases without a part go to ``undivided``."""
    names = make_unique([printable(dataset.name) for dataset in opened])
    named = [_in_source(dataset, name, undivided) for name, dataset in zip(names, opened, strict=True)]
    parents = {dataset.root.parent for dataset in opened}
    return Dataset(
        root=parents.pop() if len(parents) == 1 else Path(),
        records=tuple(record for dataset in named for record in dataset.records),
        findings=tuple(finding for dataset in named for finding in dataset.findings),
        unannotated=tuple(record for dataset in named for record in dataset.unannotated),
        folders={name: dataset.root for name, dataset in zip(names, opened, strict=True)},
    )


def open_any(root: Path, *, label: str | None = None) -> Dataset:
    """Open a dataset, or a folder of pictures without annotations, whose cases have no truth.

    Raises:
        DataError: Neither; says what is wrong with the annotations if there are any.
    """
    tree, dataset = _open_folder(root, label)
    damaged = any(
        finding.kind == "annotations-unusable" or (finding.kind == "image-missing" and not is_below_masks(finding.file))
        for finding in dataset.findings
    )
    if not dataset.records and not damaged and dataset.unannotated:
        dataset = _as_pictures(dataset)
    if not (tree.pictures or dataset.records):
        raise DataError(_describe_no_pictures(tree, dataset))
    if not dataset.records:
        raise DataError(_describe_nothing(tree, dataset))
    return _map_records(dataset, lambda record: replace(record, source=dataset.name))


def open_negatives(root: Path) -> Dataset:
    """Open all pictures below a folder as cases that are known to hold no tumour, undivided.

    Raises:
        DataError: The folder is missing, holds no picture, or opens as annotated data, whose slices may hold tumours.
    """
    tree, dataset = _open_folder(root, None)
    if dataset.records:
        raise DataError(
            f"{root}: {len(dataset.records)} of its images are annotated, so it is not known to be tumour-free; give a "
            "folder of images without tumour and annotations as --negatives"
        )
    if not dataset.unannotated:
        raise DataError(_describe_no_pictures(tree, dataset))
    return _map_records(_as_pictures(dataset), lambda record: replace(record, truth=(), part=""))


def exclude(dataset: Dataset, names_file: Path) -> Dataset:
    """Leave out the cases that a file names, each with a finding.

    Cases of VAL and TEST stay; a name that fits no others is a warning for each case that it fits.

    Args:
        dataset: Dataset from ``open_datasets``.
        names_file: Text, one name a line: a case_id or its end from a slash on (``y12.jpg``). Blank lines are skipped,
            and so are blanks around a name that no case has as it stands.

    Raises:
        DataError: The file cannot be read as text, or a name fits no case.
    """
    names = {line for line in read_text(names_file).splitlines() if line.strip()}
    fitting = {name: _find_named(dataset.records, name) for name in names}
    if unknown := sorted(name for name, cases in fitting.items() if not cases):
        first = ", ".join(map(repr, unknown[:3]))
        raise DataError(
            f"{names_file}: {len(unknown)} of {counted(len(names), 'name')} fit no image of {dataset.given} "
            f"(first: {first}); correct or remove them"
        )
    trainable = {r.case_id for r in dataset.records if r.part not in {"val", "test"}}
    gone = set().union(*fitting.values()) & trainable
    idle = set().union(*(cases for cases in fitting.values() if not cases & trainable))
    cause, why = f"named in {names_file.name}", "is not trained on, so nothing changes"
    remedy = "remove the image if it must not be scored either"
    findings = [
        left_out("excluded", record.case_id, cause, "nothing to do")
        if record.case_id in gone
        else warning("not-excluded", record.case_id, f"{cause}, but {record.part.upper()} {why}", remedy)
        for record in dataset.records
        if record.case_id in gone | idle
    ]
    kept = tuple(record for record in dataset.records if record.case_id not in gone)
    return replace(dataset, records=kept, findings=(*dataset.findings, *findings))


def _find_named(records: Sequence[CaseRecord], name: str) -> set[str]:
    """The cases whose id is a name or ends with it after a slash: as it stands, without blanks, or spelt otherwise."""
    for exactly in (name, name.strip()):
        if found := {record.case_id for record in records if f"/{record.case_id}".endswith(f"/{exactly}")}:
            return found
    key = f"/{spelling_key(name.strip())}"
    return {record.case_id for record in records if f"/{spelling_key(record.case_id)}".endswith(key)}


def _open_folder(root: Path, label: str | None) -> tuple[Tree, Dataset]:
    """Open one folder; the dataset may be without a case."""
    tree = list_tree(root)
    opening = open_layouts(tree, label=label)
    unannotated = (*name_leftovers(opening), *opening.unannotated)
    if label is not None and any(opening.labels.values()) and not opening.records:
        raise DataError(f"{root}: no region is labelled {label!r}; it has {describe_labels(opening.labels)}")
    records, outside = _settle_parts(opening.records)
    findings = sorted((*tree.findings, *opening.findings, *outside), key=lambda finding: natural_key(finding.file))
    return tree, Dataset(root, tuple(_unite_patients(records)), tuple(findings), unannotated)


def _settle_parts(records: Sequence[CaseRecord]) -> tuple[list[CaseRecord], list[Finding]]:
    """Leave out cases outside the parts of a divided dataset; a lone ``imagesTr`` does not divide it."""
    parts = {record.part for record in records}
    if parts == {"train"} and all(_is_named_with_role(record.case_id) for record in records):
        return [replace(record, part="") for record in records], []
    if "" not in parts or parts == {""}:
        return list(records), []
    outside = []
    for record in (record for record in records if not record.part):
        mask = f"; its mask {record.truth.name} is left out with it" if isinstance(record.truth, Path) else ""
        cause, remedy = f"is in no part, while others are{mask}", "move it into the folder of its part"
        outside.append(left_out("outside-parts", record.case_id, cause, remedy))
    return [record for record in records if record.part], outside


def _is_named_with_role(case_id: str) -> bool:
    names = [read_folder_name(folder) for folder in PurePosixPath(case_id).parts[:-1]]
    return next((name.role is not None for name in names if name.part), False)


def _unite_patients(records: Sequence[CaseRecord]) -> list[CaseRecord]:
    """Spell each patient in one way, since names that differ in letter case alone mean the same one."""
    spelling: dict[str, str] = {}
    return [
        replace(record, patient=spelling.setdefault(record.patient.casefold(), record.patient))
        if record.patient
        else record
        for record in records
    ]


def _as_pictures(dataset: Dataset) -> Dataset:
    """The pictures without a truth as cases; that they have none is no fault."""
    expected = {"annotation-missing", "part-unusable"}
    findings = tuple(finding for finding in dataset.findings if finding.kind not in expected)
    return Dataset(dataset.root, dataset.unannotated, findings)


def _describe_nothing(tree: Tree, dataset: Dataset) -> str:
    """Why a folder is no dataset: what is wrong with its annotations, or else the most frequent fault."""
    unusable = [f for f in dataset.findings if f.kind in {"annotations-unusable", "part-unusable"}]
    if unusable:
        first, place = unusable[0], f"{tree.root / unusable[0].file}"
        names_file = first.kind == "annotations-unusable" or first.cause.startswith((place, f"{tree.root}"))
        return first.cause if names_file else f"{place}: {first.cause}"
    causes = [finding for finding in dataset.findings if finding.kind not in {"annotation-missing", "not-read"}]
    if causes or dataset.findings:
        return f"{tree.root}: not one usable case; {describe_main_cause(causes or dataset.findings)}"
    return f"{tree.root}: {NO_ANNOTATIONS}"


def _describe_no_pictures(tree: Tree, dataset: Dataset) -> str:
    """Say that a folder holds no picture, and why entries that might be pictures cannot be read."""
    kinds = {"unsafe-filename", "unreadable", "scan-refused", "dicom-no-image", "mask-unusable"}
    unread = [finding for finding in dataset.findings if finding.kind in kinds]
    if unread:
        return f"{tree.root}: no picture that can be read; {describe_main_cause(unread)}"
    return f"{tree.root}: no picture there ({READABLE}); give a folder of images"


def _map_records(dataset: Dataset, change: Callable[[CaseRecord], CaseRecord]) -> Dataset:
    records, unannotated = (tuple(map(change, cases)) for cases in (dataset.records, dataset.unannotated))
    return replace(dataset, records=records, unannotated=unannotated)


def _in_source(dataset: Dataset, name: str, undivided: str) -> Dataset:
    """A dataset as one of several: ids, patients and findings are preceded by its name."""

    def rename(record: CaseRecord) -> CaseRecord:
        patient = f"{name}/{record.patient}" if record.patient else record.patient
        part = record.part or undivided
        return replace(record, case_id=f"{name}/{record.case_id}", part=part, patient=patient, source=name)

    findings = tuple(replace(finding, file=f"{name}/{finding.file}") for finding in dataset.findings)
    return replace(_map_records(dataset, rename), findings=findings)

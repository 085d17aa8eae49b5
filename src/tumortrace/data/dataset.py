"""Opening folders as a dataset: one folder or several, annotated or not.

Opens the Br35H layout (``TRAIN/ VAL/ TEST/``, each with images and one VIA file), a single folder of images with one
VIA file, and ``images/`` + ``masks/`` folders with an optional ``pairs.csv``. Reads only; links are followed, hidden
files are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from tumortrace.data.cases import CaseRecord
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.layouts import list_images, open_folder
from tumortrace.data.slice import hint_at_dicom
from tumortrace.errors import DataError

PARTS = ("train", "val", "test")


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
            found, faults = open_folder(folder, part=part, prefix=f"{folder.name}/" if part else "")
        except DataError as error:
            if not folders:
                raise
            faults = [left_out("part-unusable", folder.name, str(error), "mend it, or take the part away")]
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
        left_out("excluded", record.case_id, cause, "nothing to do")
        if record.case_id in gone
        else Finding("not-excluded", "warning", record.case_id, f"{cause}, but {record.part.upper()} {why}", remedy)
        for record in dataset.records
        if record.case_id in gone | idle
    ]
    kept = tuple(record for record in dataset.records if record.case_id not in gone)
    return replace(dataset, records=kept, findings=(*dataset.findings, *findings))


def refuse_inside(out: Path, root: Path) -> None:
    """Refuse to write results into a user's data folder.

    Raises:
        DataError: ``out`` is ``root`` or lies within it.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"--out {out} lies inside the data folder {root}; choose a folder outside, nothing is written there"
        )


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


def _first_cause(findings: list[Finding]) -> str:
    return findings[0].line() if findings else "it holds no images"

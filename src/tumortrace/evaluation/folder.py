"""The folder of an evaluation; its files are written and read here alone.

``per_image.csv`` holds one row per image and ``summary.json`` everything that follows from these rows. The summary
states how many rows the table has and their SHA-256, so that a table that was cut short or edited is recognised. Both
files are described by JSON Schemas in ``docs/schemas``.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import DataError
from tumortrace.evaluation.evaluate import CaseScore, Evaluation
from tumortrace.evaluation.summary import summary_document
from tumortrace.files import LONGEST_NAME
from tumortrace.json_csv import Document, read_json, write_csv, write_json
from tumortrace.run_folder import CONFIG, MODEL
from tumortrace.wording import command_line

TABLE, SUMMARY = "per_image.csv", "summary.json"
FIGURES = ("best", "worst", "random")

_PICTURES = ("comparisons", "gallery", "figures")
_DECIMALS = 6


@dataclass(frozen=True)
class ImageRow:
    """One row of ``per_image.csv``; the fields are the columns, in this order. Undefined numbers are NaN.

    Attributes:
        file: The case's id.
        part: Its part of the dataset; empty if the dataset is not divided.
        group: Name of the cases that are not independent of this one.
        clean: Whether it shares nothing with the training slices; None if that is unknown.
        tp: True-positive pixels.
        fp: False-positive pixels.
        fn: False-negative pixels.
        tn: True-negative pixels.
        precision: Precision, 0 to 1.
        recall: Recall, 0 to 1.
        dice: Dice, 0 to 1.
        iou: Intersection over union, 0 to 1.
        nsd: Normalised surface distance, 0 to 1.
        hd95: 95th percentile of the distances between the borders, in pixels or millimetres.
        confidence: The model's own confidence, 0 to 1.
        assd: Average symmetric surface distance, in pixels or millimetres.
        true_lesions: Lesions of the truth.
        found_lesions: True lesions that the prediction touches.
        predicted_lesions: Lesions of the prediction.
        right_lesions: Predicted lesions that touch the truth.
        source: The dataset that the case comes from.
        patient: The patient whose slice it is; empty if unknown.
        shape: Kind of its outlines.
        nearest: The training slice that the case is a copy of; empty if there is none.
        similarity: Similarity to that slice; NaN without one.
        fold: The fold in which the case was held out; empty outside a cross-validation.
        sha256: Hash of what the case shows.
        tumour_class: Class of its tumour as the dataset states it; empty if it does not.
        plane: Plane of the slice, stated or recognised; empty if unknown.
    """

    file: str
    part: str
    group: str
    clean: bool | None
    tp: int
    fp: int
    fn: int
    tn: int
    precision: float
    recall: float
    dice: float
    iou: float
    nsd: float
    hd95: float
    confidence: float
    assd: float
    true_lesions: int
    found_lesions: int
    predicted_lesions: int
    right_lesions: int
    source: str
    patient: str
    shape: str
    nearest: str
    similarity: float
    fold: str
    sha256: str
    tumour_class: str
    plane: str

    @property
    def tumour_px(self) -> int:
        """Number of tumour pixels in the truth."""
        return self.tp + self.fn


COLUMNS = tuple(field.name for field in dataclasses.fields(ImageRow))


@dataclass(frozen=True, eq=False)
class StoredEvaluation:
    """The content of an evaluation's folder.

    Attributes:
        folder: The folder.
        name: The end of its path, as long as needed to distinguish it from others that were read with it.
        rows: One per image.
        summary: Content of ``summary.json``.
    """

    folder: Path
    name: str
    rows: tuple[ImageRow, ...]
    summary: Document


def image_row(score: CaseScore) -> ImageRow:
    """Return the table's row of a case."""
    counts, surface, leak = score.counts, score.surface, score.leak
    return ImageRow(
        file=score.file,
        part=score.part,
        group=score.group,
        clean=score.clean,
        **dataclasses.asdict(counts),
        precision=counts.precision,
        recall=counts.recall,
        dice=counts.dice,
        iou=counts.iou,
        nsd=surface.nsd,
        hd95=surface.hd95,
        confidence=score.confidence,
        assd=surface.assd,
        **dataclasses.asdict(score.lesions),
        source=score.source,
        patient=score.patient,
        shape=score.shape,
        nearest=leak.nearest if leak else "",
        similarity=leak.similarity if leak else math.nan,
        fold=score.fold,
        sha256=score.sha256,
        tumour_class=score.tumour_class,
        plane=score.plane,
    )


def claim_folder(folder: Path, *, model: str, hashes: Mapping[str, str]) -> None:
    """Make a folder ready for an evaluation, or refuse it.

    A folder that holds the same evaluation already, finished or interrupted, loses the pictures that it wrote, and no
    other file. Until ``write_evaluation`` has run, ``summary.json`` says that the evaluation is unfinished.

    Args:
        folder: The folder; it may be missing.
        model: SHA-256 of the model.
        hashes: SHA-256 of each case, by its id (``hash_case``).

    Raises:
        DataError: The folder holds a training run, another evaluation, or files of unknown origin.
    """
    refuse_run_folder(folder)
    data = hash_part(dict(hashes))
    if (folder / SUMMARY).exists():
        _refuse_other(folder, model=model, data=data)
        for path in _pictures_of(folder, hashes):
            path.unlink(missing_ok=True)
    else:
        unknown = [name for name in (TABLE, *_PICTURES) if (folder / name).exists()]
        if unknown:
            raise DataError(f"{folder}: holds {unknown[0]} but no {SUMMARY}; choose another --out, or remove them")
    write_json(folder / SUMMARY, {"unfinished": True, "model": {"sha256": model}, "data": {"sha256": data}})


def refuse_run_folder(folder: Path) -> None:
    """Refuse to write an evaluation into a training run.

    Raises:
        DataError: The folder is one.
    """
    for name in (CONFIG, MODEL):
        if (folder / name).exists():
            raise DataError(f"{folder}: is a training run, it has {name}; choose another --out for the evaluation")


def write_evaluation(evaluation: Evaluation, folder: Path, *, folds: Sequence[Document] = ()) -> Document:
    """Write ``per_image.csv`` and ``summary.json``.

    Args:
        evaluation: The evaluation.
        folder: The folder; it is made if need be.
        folds: One row per fold of a cross-validation.

    Returns:
        Content of ``summary.json``.
    """
    write_csv(folder / TABLE, map(_cells, map(image_row, evaluation.scores)), columns=COLUMNS)
    table = {"rows": len(evaluation.scores), "sha256": hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()}
    document = summary_document(evaluation, folds=folds) | {"table": table}
    write_json(folder / SUMMARY, document)
    return document


def is_evaluation(folder: Path) -> bool:
    """Return whether a folder holds an evaluation, whole or not."""
    return (folder / SUMMARY).is_file()


def read_evaluations(folders: Sequence[Path]) -> list[StoredEvaluation]:
    """Read folders that ``write_evaluation`` filled.

    Raises:
        DataError: A folder is named twice, or holds no whole evaluation of this version.
    """
    return [read_evaluation(folder, name=name) for folder, name in zip(folders, name_folders(folders), strict=True)]


def read_evaluation(folder: Path, *, name: str = "") -> StoredEvaluation:
    """Read a folder that ``write_evaluation`` filled.

    Args:
        folder: The folder.
        name: Its name beside others (``name_folders``); that of the folder if empty.

    Raises:
        DataError: It holds no whole evaluation of this version.
    """
    try:
        summary = read_json(folder / SUMMARY)
        if summary.get("unfinished"):
            raise DataError(f"{folder}: the evaluation was interrupted; evaluate again")
        table = (folder / TABLE).read_bytes()
        _check_table(folder / TABLE, table, rows=summary["table"]["rows"], sha256=summary["table"]["sha256"])
        rows = tuple(map(_parse, csv.DictReader(io.StringIO(table.decode("utf-8"), newline=""))))
    except OSError as error:
        if (folder / CONFIG).is_file():
            command = command_line("evaluate", "DATA", "--model", folder)
            raise DataError(f"{folder}: a run, not an evaluation; make one with: {command}") from None
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); evaluate again") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder}: not an evaluation of this version ({error}); evaluate again") from None
    return StoredEvaluation(folder, name or folder.resolve().name, rows, summary)


def name_folders(folders: Sequence[Path]) -> list[str]:
    """Name folders by the ends of their paths, as long as needed to distinguish them.

    Raises:
        DataError: A folder is named twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    for index, part in enumerate(parts):
        if part in parts[:index]:
            raise DataError(f"{folders[index]}: named twice; name each folder once")
    length = 1
    while len({part[-length:] for part in parts}) < len(parts):
        length += 1
    return [Path(*part[-length:]).as_posix() for part in parts]


def comparison_path(folder: Path, file: str) -> Path:
    """Return the place of the picture that compares a case's prediction with its truth."""
    return _inside(folder / "comparisons", file, "_comparison.png")


def gallery_path(folder: Path, file: str) -> Path:
    """Return the place of the slice itself, of a case that a report shows."""
    return _inside(folder / "gallery", file, ".png")


def figure_path(folder: Path, name: str) -> Path:
    """Return the place of a figure of several cases, one of ``FIGURES``."""
    return folder / "figures" / f"{name}.png"


def _inside(folder: Path, file: str, ending: str) -> Path:
    """Return the place of a case's picture in a folder; a case's id that leads out of it is an error.

    A name that no folder can hold with its ending is cut, and a hash distinguishes it from others that begin so.
    """
    path = folder / f"{file}{ending}"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{file}: leads out of {folder}; evaluate again")
    if len(path.name.encode()) <= LONGEST_NAME:
        return path
    ending = f"-{hashlib.sha256(file.encode()).hexdigest()[:16]}{ending}"
    return path.with_name(path.name.encode()[: LONGEST_NAME - len(ending)].decode(errors="ignore") + ending)


def _pictures_of(folder: Path, files: Iterable[str]) -> list[Path]:
    """Return all places where an evaluation of these cases writes pictures."""
    places = [place(folder, file) for file in files for place in (comparison_path, gallery_path)]
    return [*places, *(figure_path(folder, name) for name in FIGURES)]


def _refuse_other(folder: Path, *, model: str, data: str) -> None:
    try:
        document = read_json(folder / SUMMARY)
        earlier = (document["model"]["sha256"], document["data"]["sha256"])
    except (OSError, KeyError, TypeError, ValueError):
        raise DataError(f"{folder}: {SUMMARY} is not an evaluation's; choose another --out, or remove it") from None
    if earlier != (model, data):
        what = "model" if earlier[0] != model else "dataset or part"
        raise DataError(f"{folder}: holds the evaluation of another {what}; choose another --out, or remove it")


def _cells(row: ImageRow) -> dict[str, object]:
    """Format a row for the table: six decimals, and an empty cell for what is undefined or unknown."""
    cells: dict[str, object] = {}
    for column, value in dataclasses.asdict(row).items():
        if isinstance(value, float):
            cells[column] = "" if math.isnan(value) else f"{value:.{_DECIMALS}f}"
        else:
            cells[column] = {True: "true", False: "false", None: ""}[value] if column == "clean" else value
    return cells


def _check_table(path: Path, table: bytes, *, rows: int, sha256: str) -> None:
    if hashlib.sha256(table).hexdigest() == sha256:
        return
    found = max(sum(1 for _ in csv.reader(io.StringIO(table.decode("utf-8", "replace"), newline=""))) - 1, 0)
    what = f"has {found} rows, not the {rows}" if found != rows else "was changed after the evaluation; not the rows"
    raise DataError(f"{path}: {what} that {SUMMARY} was computed from; evaluate again")


def _parse_number(cell: str) -> float:
    return float(cell) if cell else math.nan


_PARSERS: dict[str, Callable[[str], object]] = {"str": str, "int": int, "float": _parse_number}


def _parse(row: dict[str, str]) -> ImageRow:
    """Read a row of a table whose hash is right."""
    clean = {"true": True, "false": False, "": None}[row["clean"]]
    values = {
        field.name: clean if field.name == "clean" else _PARSERS[str(field.type)](row[field.name])
        for field in dataclasses.fields(ImageRow)
    }
    return ImageRow(**values)  # type: ignore[arg-type]

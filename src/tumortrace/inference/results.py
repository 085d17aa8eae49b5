"""``results.json`` and ``results.csv``: a record a picture, written as they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tumortrace.errors import DataError
from tumortrace.inference.acquisition import UNKNOWN, Acquisition
from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction

RESULTS = "results.json"
TABLE = "results.csv"

PARTIAL = f".{RESULTS}.partial"
"""Its neighbour while it is being written; a killed run leaves it."""

COLUMNS = (
    "file", "mask", "status", "reason", "tumour", "confidence", "review", "area_px", "area_mm2", "lesions", "plane",
    "contrast", "seconds",
)  # fmt: skip
"""Columns of ``results.csv``; ``lesions`` is their number."""

Record = dict[str, Any]


class ResultsWriter:
    """Both files of results while they are being written.

    ``results.json`` is complete JSON after each record, so that a full disk or a killed run loses no finished picture.

    Attributes:
        count: Number of records so far.
    """

    def __init__(self, model: Model, out: Path) -> None:
        """Open both files beside their places.

        Args:
            model: Model that the results come from.
            out: Folder of the results.
        """
        head = {"model": {"name": model.name, "sha256": model.sha256, "threshold": model.recipe.threshold}}
        self.count = 0
        self._records, self._rows = _Stream(out / RESULTS), _Stream(out / TABLE)
        try:
            self._records.append(_dump(head).removesuffix("\n}\n").encode() + b',\n  "images": [', tail=_tail([], 0))
            self._rows.append(_row(COLUMNS))
        except BaseException:
            self._records.discard()
            self._rows.discard()
            raise

    def add(self, record: Record) -> None:
        """Add a picture's record."""
        line = (",\n    " if self.count else "\n    ") + json.dumps(record)
        self._records.append(line.encode(), tail=_tail([], self.count + 1))
        self.count += 1
        self._rows.append(_row([_cell(record, column) for column in COLUMNS]))

    def finish(self, skipped: Sequence[str]) -> None:
        """Bring both files into their places.

        Args:
            skipped: Files that were passed over.
        """
        try:
            self._records.append(b"", tail=_tail(skipped, self.count))
        finally:
            self._records.rename()
            self._rows.rename()


@contextmanager
def open_results(model: Model, skipped: Sequence[str], *, out: Path) -> Iterator[ResultsWriter]:
    """Begin ``results.json``; it is complete and in its place when the block ends, by an interruption too.

    Until then the records stand in its neighbour: a killed run leaves the old ``results.json`` or none.

    Args:
        model: Model that the results come from.
        skipped: Files that were passed over; read when the block ends.
        out: Folder of the results.

    Yields:
        The writer of the records.
    """
    out.mkdir(parents=True, exist_ok=True)
    writer = ResultsWriter(model, out)
    try:
        yield writer
    finally:
        writer.finish(skipped)


def read_masks(out: Path) -> list[tuple[str, str]]:
    """Read which pictures have a mask by the results in a folder, those of a killed run included.

    Args:
        out: A folder that exists.

    Returns:
        The picture's file and its mask's, as their records have them; nothing without results.

    Raises:
        DataError: Another program wrote ``results.json`` or ``results.csv``.
    """
    table = out / TABLE
    if table.exists() and not table.is_file():
        raise _not_ours(table)
    if table.is_file():
        with table.open("rb") as file:
            if file.readline() != _row(COLUMNS):
                raise _not_ours(table)
    return [*_read_results(out / RESULTS), *_read_results(out / PARTIAL)]


def describe(prediction: Prediction, *, file: str, mask: str | None, spacing_mm: tuple[float, float] | None) -> Record:
    """Describe a picture that could be read.

    Args:
        prediction: Prediction for the picture.
        file: Path of the picture.
        mask: Path of its mask within the folder of the results; None for a rejected picture.
        spacing_mm: Distance between pixel centres along rows and columns; None if unknown.
    """
    measured = _nothing() if prediction.rejected else _measure(prediction, spacing_mm)
    return {
        "file": file,
        "slice_index": None,
        "mask": mask,
        "status": "rejected" if prediction.rejected else "ok",
        "reason": "; ".join(prediction.reasons),
        **measured,
    }


def describe_failure(reason: str, *, file: str) -> Record:
    """Describe a picture that could not be read or segmented.

    Args:
        reason: One line that names the file.
        file: Path of the picture.
    """
    return {"file": file, "slice_index": None, "mask": None, "status": "error", "reason": reason, **_nothing()}


class _Stream:
    """A file that grows beside its place, whole after each piece; a piece that fails leaves it as it was before."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._partial = place.with_name(f".{place.name}.partial")
        self._file = self._partial.open("wb", buffering=0)
        self._end = 0
        self._tail = b""

    def append(self, data: bytes, *, tail: bytes = b"") -> None:
        """Write a piece in the place of the old tail, and a new tail behind it."""
        try:
            self._write(data + tail)
        except OSError as error:
            with suppress(OSError):  # in blocks that the file has already
                self._write(self._tail)
            raise OSError(error.errno, error.strerror, str(self._place)) from None
        self._end, self._tail = self._end + len(data), tail

    def rename(self) -> None:
        """Close the file and bring it into its place."""
        self._file.truncate(self._end + len(self._tail))  # an interruption may have come amid a piece
        self._file.close()
        self._partial.replace(self._place)

    def discard(self) -> None:
        """Close the file and remove it."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._file.seek(self._end)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._file.truncate()


def _read_results(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise _not_ours(path) from None
    try:
        document = json.loads(text, object_hook=_keep_names)
    except ValueError:
        if path.name != PARTIAL:
            raise _not_ours(path) from None
        document = _read_cut(text)
    if not (isinstance(document, dict) and {"model", "images", "volumes"} <= document.keys()):
        raise _not_ours(path)
    images = document["images"]
    if not (isinstance(document["model"], dict) and isinstance(images, list)):
        raise _not_ours(path)
    return [image for image in images if isinstance(image, tuple)]


def _keep_names(value: Record) -> object:
    """Reduce a record to its names while it is parsed: a million records take a gigabyte less."""
    if "images" in value or {"name", "sha256", "threshold"} <= value.keys():
        return value
    if isinstance(value.get("file"), str) and isinstance(value.get("mask"), str):
        return value["file"], value["mask"]
    return None


def _read_cut(text: str) -> Record:
    """The records of a killed run whose last one may be cut off; each has a line of its own."""
    images = []
    for line in text.splitlines()[1:]:
        with suppress(ValueError):
            images.append(json.loads(line.strip().removesuffix(","), object_hook=_keep_names))
    ours = not text or text.startswith('{\n  "model": {')
    return {"model": {}, "images": images, "volumes": []} if ours else {}


def _not_ours(path: Path) -> DataError:
    return DataError(f"{path}: tumortrace did not write this file and will not replace it; choose another --out")


def _measure(prediction: Prediction, spacing_mm: tuple[float, float] | None) -> Record:
    area_px = int(prediction.mask.sum())
    return {
        "tumour": area_px > 0,
        "confidence": round(prediction.confidence, 4),
        "review": prediction.review,
        **_describe_acquisition(prediction.acquisition),
        "area_px": area_px,
        "area_mm2": area_px * spacing_mm[0] * spacing_mm[1] if spacing_mm else None,
        "lesions": [vars(lesion) for lesion in prediction.lesions],
    }


def _describe_acquisition(acquisition: Acquisition) -> Record:
    return {
        "plane": acquisition.plane,
        "plane_confidence": round(acquisition.plane_confidence, 4),
        "contrast": acquisition.contrast,
        "contrast_confidence": round(acquisition.contrast_confidence, 4),
    }


def _nothing() -> Record:
    """Nothing is known of a picture without a mask: neither that there is a tumour nor that there is none."""
    unknown = dict.fromkeys(("tumour", "confidence"))
    acquisition = dict.fromkeys(_describe_acquisition(UNKNOWN))
    return {**unknown, "review": True, **acquisition, "area_px": None, "area_mm2": None, "lesions": []}


def _tail(skipped: Sequence[str], count: int) -> bytes:
    """What follows the last record."""
    end = _dump({"volumes": [], "skipped": list(skipped)}).removeprefix("{\n")
    return ("\n  ],\n" if count else "],\n").encode() + end.encode()


def _cell(record: Record, column: str) -> object:
    value = record.get(column)
    if column == "lesions":
        return len(record["lesions"]) if record["status"] == "ok" else None
    return str(value).lower() if isinstance(value, bool) else value


def _row(cells: Sequence[object]) -> bytes:
    """A row of CSV; what is no text in a name is escaped."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(errors="backslashreplace")


def _dump(document: Record) -> str:
    return json.dumps(document, indent=2) + "\n"

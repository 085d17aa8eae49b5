"""``results.json``, ``results.csv`` and the tables of volumes, while they grow."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.files import NewFile, make_folder, write_atomically
from tumortrace.inference.model import Model
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.results.describe import describe_model
from tumortrace.inference.results.unit_record import Record, UnitRecord
from tumortrace.inference.results.volume_tables import (
    LESION_COLUMNS,
    LESIONS,
    VOLUME_COLUMNS,
    VOLUMES,
    encode_volume_tables,
)
from tumortrace.json_csv import CsvText
from tumortrace.regular_files import read_regular_file

RESULTS = "results.json"
TABLE = "results.csv"

_BETWEEN_VOLUMES = len(",\n    ")
_AROUND_VOLUMES = len("\n  ") - len(",")

PARTIAL = f".{RESULTS}.partial"
"""Its neighbour while it is being written; a killed run leaves it."""

COLUMNS = (
    "file", "mask", "status", "reason", "tumour", "confidence", "review", "area_px", "area_mm2", "lesions", "plane",
    "contrast", "seconds", "slice_index", "prompt",
)  # fmt: skip
"""Columns of ``results.csv``; ``lesions`` is their number, ``slice_index`` is empty for a picture, and ``prompt`` is
empty for an automatic mask."""

FORMER_COLUMNS = (COLUMNS[:-1],)
"""Columns of earlier versions, by which their files are known as ours."""

_HEADS = {TABLE: (COLUMNS, *FORMER_COLUMNS), VOLUMES: (VOLUME_COLUMNS,), LESIONS: (LESION_COLUMNS,)}


class ResultsWriter:
    """Both files of results while they are being written.

    ``results.json`` is complete JSON after each record, so that a full disk loses no finished picture or volume. The
    records of volumes, which stand behind all others, are written when it is finished: so the time to write grows with
    the results, not with their square. Space for them is reserved before.

    Attributes:
        count: Number of pictures and slices so far.
    """

    def __init__(self, model: Record, out: Path, *, whole: bool = True) -> None:
        """Open both files beside their places.

        Args:
            model: Model that the results come from, as ``describe_model`` returns it.
            out: Folder of the results.
            whole: Whether ``results.json`` is complete after each record; else when it is finished, which is faster.
        """
        head = {"model": model}
        self.count = 0
        self._out = out
        self._whole = whole
        self._volumes: list[str] = []
        self._volume_bytes = 0
        with ExitStack() as undo:
            self._records = _Stream(out / RESULTS)
            undo.callback(self._records.discard)
            self._rows = _Stream(out / TABLE)
            undo.callback(self._rows.discard)
            start = _dump(head).removesuffix("\n}\n").encode() + b',\n  "images": ['
            self._records.append(start, tail=self._tail_so_far(0))
            self._rows.append(_row(COLUMNS))
            undo.pop_all()

    def add(self, *units: UnitRecord) -> None:
        """Add all records of units, or none."""
        images = [image for unit in units for image in unit.images]
        lines = [json.dumps(image) for image in images]
        volumes = [json.dumps(unit.volume) for unit in units if unit.volume is not None]
        text = ((",\n    " if self.count else "\n    ") + ",\n    ".join(lines)) if lines else ""
        reserve = self._volume_bytes + sum(len(line) + _BETWEEN_VOLUMES for line in volumes)
        reserve += _AROUND_VOLUMES if volumes and not self._volumes else 0
        self._records.append(text.encode(), tail=self._tail_so_far(self.count + len(lines)), reserve=reserve)
        self._volumes += volumes
        self._volume_bytes = reserve
        self.count += len(lines)
        self._rows.append(b"".join(_row([_cell(image, column) for column in COLUMNS]) for image in images))

    def discard(self) -> None:
        """Remove both files beside their places; what is in the places stays."""
        self._records.discard()
        self._rows.discard()

    def finish(self, skipped: Sequence[str]) -> None:
        """Bring both files into their places; one that cannot be stays beside its place, for the next run.

        Beside them it writes the tables of volumes, where there are any.

        Args:
            skipped: Files that were passed over.
        """
        with ExitStack() as ending:
            ending.callback(self._rows.rename)
            ending.callback(self._records.rename)
            try:
                self._records.append(b"", tail=self._tail(skipped, self.count, self._volumes))
            except OSError:  # the disk is full, but for the space that was reserved
                self._records.append(b"", tail=self._tail([], self.count, self._volumes))
                raise
            self._write_volume_tables()

    def _write_volume_tables(self) -> None:
        """Write the tables of volumes; without any, only in the place of those of an earlier run."""
        for name, data in encode_volume_tables(map(json.loads, self._volumes)).items():
            if self._volumes or (self._out / name).exists():
                write_atomically(self._out / name, data)

    def _tail_so_far(self, count: int) -> bytes:
        return self._tail([], count, []) if self._whole else b""

    def _tail(self, skipped: Sequence[str], count: int, lines: Sequence[str]) -> bytes:
        """What follows the last picture: volumes, a line each, and the files that were passed over."""
        volumes = ",".join(f"\n    {line}" for line in lines)
        end = _dump({"skipped": list(skipped)}).removeprefix("{\n")
        text = (
            ("\n  ],\n" if count else "],\n") + f'  "volumes": [{volumes}' + ("\n  ],\n" if volumes else "],\n") + end
        )
        return text.encode()


@contextmanager
def open_results(model: Model | PromptModel, skipped: Sequence[str], *, out: Path) -> Iterator[ResultsWriter]:
    """Begin ``results.json``; it is complete and in its place when the block ends, by an interruption too.

    Until then the records stand in its neighbour: a killed run leaves the old ``results.json`` or none.

    Args:
        model: Model that the results come from.
        skipped: Files that were passed over; read when the block ends.
        out: Folder of the results.

    Yields:
        The writer of the records.
    """
    make_folder(out)
    writer = ResultsWriter(describe_model(model), out)
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
        DataError: Another program wrote ``results.json`` or one of the tables.
    """
    for name, heads in _HEADS.items():
        _refuse_foreign(out / name, heads)
    return [*_read_results(out / RESULTS), *_read_results(out / PARTIAL)]


def _refuse_foreign(table: Path, heads: Sequence[Sequence[str]]) -> None:
    if table.exists() and not table.is_file():
        raise not_ours(table)
    if table.is_file():
        with table.open("rb") as file:
            if file.readline() not in map(_row, heads):
                raise not_ours(table)


class _Stream:
    """A file that grows beside its place, whole after each piece; a piece that fails leaves it as it was before."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._file = NewFile(place)
        self._end = 0
        self._tail = b""
        self._reserve = 0
        self._whole = True

    def append(self, data: bytes, *, tail: bytes = b"", reserve: int = 0) -> None:
        """Write a piece in the place of the old tail, a new tail behind it, and reserve space for a longer tail."""
        try:
            self._file.write(data + tail, at=self._end, reserve=reserve)
        except OSError as error:
            self._whole = False
            with suppress(OSError):  # in blocks that the file has already
                self._restore()
            raise OSError(error.errno, error.strerror, str(self._place)) from None
        self._end, self._tail, self._whole, self._reserve = self._end + len(data), tail, True, reserve

    def rename(self) -> None:
        """Bring the file into its place; one that cannot be made whole stays beside it."""
        try:
            if not self._whole:
                self._restore()
            self._file.truncate(self._end + len(self._tail))  # an interruption may have come amid a piece
            self._file.put_in_place()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._place)) from None
        finally:
            self._file.close()

    def discard(self) -> None:
        """Close the file and remove it."""
        self._file.discard()

    def _restore(self) -> None:
        """Write the old tail again, over a piece that was not written whole."""
        self._file.write(self._tail, at=self._end, reserve=self._reserve)
        self._whole = True


_MOST_BYTES = 2**31  # of results.json: a million records are half of it


def _read_results(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    try:
        text = read_regular_file(path, most_bytes=_MOST_BYTES).decode()
    except (DataError, ValueError):
        raise not_ours(path) from None
    try:
        document = json.loads(text, object_hook=_keep_names)
    except (ValueError, RecursionError):
        if path.name != PARTIAL:
            raise not_ours(path) from None
        document = _read_cut(text)
    if not (isinstance(document, dict) and {"model", "images", "volumes"} <= document.keys()):
        raise not_ours(path)
    images = document["images"]
    if not (isinstance(document["model"], dict) and isinstance(images, list)):
        raise not_ours(path)
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
        with suppress(ValueError, RecursionError):
            images.append(json.loads(line.strip().removesuffix(","), object_hook=_keep_names))
    ours = not text or text.startswith('{\n  "model": {')
    return {"model": {}, "images": images, "volumes": []} if ours else {}


def not_ours(path: Path) -> DataError:
    """Return the error of a file that another program wrote in the place of results."""
    return DataError(f"{path}: tumortrace did not write this file and will not replace it; choose another --out")


def _cell(record: Record, column: str) -> object:
    value = record.get(column)
    if column == "lesions":
        return len(record["lesions"]) if record["status"] == "ok" else None
    if column == "prompt":
        return json.dumps(value) if value else None
    return str(value).lower() if isinstance(value, bool) else value


def _row(cells: Sequence[object]) -> bytes:
    """A row of CSV; what is no text in a name is escaped."""
    text = CsvText()
    csv.writer(text, lineterminator=CsvText.END).writerow(cells)
    return text.encode()


def _dump(document: Record) -> str:
    return json.dumps(document, indent=2) + "\n"

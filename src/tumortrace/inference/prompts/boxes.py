"""The boxes of ``segment --box``: one for all pictures, or a table of them."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tumortrace.data.folders import name_of
from tumortrace.data.tables import list_columns, parse_table, read_text
from tumortrace.errors import DataError
from tumortrace.inference.prompts.grid import Box

COLUMNS = ("file", "x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Boxes:
    """Boxes by picture.

    Attributes:
        origin: Text that the user gave, for messages.
        everywhere: Box on every picture; None where a table says.
        by_file: Boxes of each picture of the table, by its path or the end of its path, with forward slashes.
        faults: Rows of the table that cannot be used: the picture of each, empty where it names none, and the fault.
    """

    origin: str
    everywhere: Box | None
    by_file: dict[str, tuple[Box, ...]]
    faults: tuple[tuple[str, str], ...] = ()

    def of(self, path: str) -> tuple[Box, ...]:
        """Return the boxes on a picture.

        Raises:
            DataError: The table has none for it, or one that cannot be used.
        """
        if self.everywhere is not None:
            return (self.everywhere,)
        for name, fault in self.faults:
            if _ends_with(path, name):
                raise DataError(f"{path}: {fault}")
        own = [boxes for name, boxes in self.by_file.items() if _ends_with(path, name)]
        if not own:
            raise DataError(f"{path}: no box in {self.origin}; add a row for it")
        return tuple(box for boxes in own for box in boxes)

    def match(self, paths: Iterable[str]) -> tuple[Boxes, tuple[str, ...]]:
        """Find the picture of each row.

        Args:
            paths: The pictures.

        Returns:
            The boxes, in which a row that fits two pictures is a fault of both; and the faults of rows that fit none.

        Raises:
            DataError: No row fits a picture; names the first fault.
        """
        if self.everywhere is not None:
            return self, ()
        fitting = self._find_fitting(paths)
        unused = [fault for name, fault in self.faults if not fitting[name]]
        several = []
        for name in self.by_file:
            if not fitting[name]:
                unused.append(f"{self.origin}: {name} is not among the pictures; correct the row or add the picture")
            elif len(fitting[name]) > 1:
                first, second, *_ = fitting[name]
                several.append((name, f"{self.origin}: {name} fits {first} and {second}; give more of the path"))
        matched = replace(self, faults=(*self.faults, *several))
        if not any(len(fitting[name]) == 1 for name in self.by_file):
            raise DataError([*unused, *(fault for _, fault in matched.faults)][0])
        return matched, tuple(unused)

    def _find_fitting(self, paths: Iterable[str]) -> dict[str, list[str]]:
        """The pictures that each name in the table fits."""
        fitting: dict[str, list[str]] = {name: [] for name in (*self.by_file, *(name for name, _ in self.faults))}
        by_name = defaultdict(list)
        for name in fitting:
            by_name[name_of(name)].append(name)
        for path in paths:
            for name in by_name[Path(path).name]:
                if _ends_with(path, name):
                    fitting[name].append(path)
        return fitting


def read_boxes(text: str) -> Boxes:
    """Read what a user gave as ``--box``.

    Args:
        text: Four numbers with commas, ``X0,Y0,X1,Y1`` in pixels; or the path of a CSV file with the columns ``file``,
            ``x0``, ``y0``, ``x1`` and ``y1``. Several rows of one file are several tumours.

    Raises:
        DataError: Neither; or the table lacks a column, or has no row.
    """
    numbers = [_read_number(part) for part in text.split(",")]
    if len(numbers) == 4 and None not in numbers:
        x0, y0, x1, y1 = (number for number in numbers if number is not None)
        return Boxes(text, (x0, y0, x1, y1), {})
    path = Path(text)
    if not path.is_file():
        raise DataError(f"--box {text}: neither four numbers X0,Y0,X1,Y1 nor a file; give one or the other")
    return _read_table(path)


def _read_table(path: Path) -> Boxes:
    try:
        table = parse_table(read_text(path))
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error}); save it with the columns {', '.join(COLUMNS)}") from None
    columns = {name: table.find_column([name]) for name in COLUMNS}
    missing = [name for name, column in columns.items() if column is None]
    if missing:
        raise DataError(f"{path}: lacks the column {missing[0]!r}; it has {list_columns(table.header)}")
    if not table.rows:
        raise DataError(f"{path}: no row; give one for each box")
    boxes: dict[str, tuple[Box, ...]] = {}
    faults = []
    for number, row in enumerate(table.rows, 1):
        cells = [row[columns[name] or ""] for name in COLUMNS]
        values = [value for cell in cells[1:] if (value := _read_number(cell)) is not None]
        name = cells[0].strip().replace("\\", "/").removeprefix("./")
        if name and len(values) == 4:
            x0, y0, x1, y1 = values
            boxes[name] = (*boxes.get(name, ()), (x0, y0, x1, y1))
        else:
            faults.append((name, f"{path}: row {number} is {', '.join(cells)!r}; give a file and four numbers"))
    return Boxes(str(path), None, boxes, tuple(faults))


def _read_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ends_with(path: str, name: str) -> bool:
    """Return whether a path is a name, or ends with it after a slash."""
    shown = path.replace("\\", "/")
    return shown.removeprefix("./") == name or shown.endswith(f"/{name}")

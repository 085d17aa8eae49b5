"""The boxes of ``segment --box``: one for all pictures, or a table of them."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
    """

    origin: str
    everywhere: Box | None
    by_file: dict[str, tuple[Box, ...]]

    def of(self, path: str) -> tuple[Box, ...]:
        """Return the boxes on a picture.

        Raises:
            DataError: The table has none for it.
        """
        if self.everywhere is not None:
            return (self.everywhere,)
        own = [boxes for name, boxes in self.by_file.items() if _ends_with(path, name)]
        if not own:
            raise DataError(f"{path}: no box in {self.origin}; add a row for it")
        return tuple(box for boxes in own for box in boxes)

    def refuse_unknown(self, paths: Iterable[str]) -> None:
        """Check that each picture of the table is one of the inputs, and only one.

        Raises:
            DataError: Names the first that is none, or that two inputs fit.
        """
        fitting: dict[str, list[str]] = {name: [] for name in self.by_file}
        by_name = defaultdict(list)
        for name in self.by_file:
            by_name[name.rpartition("/")[2]].append(name)
        for path in paths:
            for name in by_name[Path(path).name]:
                if _ends_with(path, name):
                    fitting[name].append(path)
        for name, found in fitting.items():
            if not found:
                raise DataError(f"{self.origin}: {name} is not among the pictures; correct the row or add the picture")
            if len(found) > 1:
                raise DataError(f"{self.origin}: {name} fits {found[0]} and {found[1]}; give more of the path")


def read_boxes(text: str) -> Boxes:
    """Read what a user gave as ``--box``.

    Args:
        text: Four numbers with commas, ``X0,Y0,X1,Y1`` in pixels; or the path of a CSV file with the columns ``file``,
            ``x0``, ``y0``, ``x1`` and ``y1``. Several rows of one file are several tumours.

    Raises:
        DataError: Neither; or the table lacks a column, a row has no number where one should be, or there is no row.
    """
    numbers = [_read_number(part) for part in text.split(",")]
    if len(numbers) == 4 and None not in numbers:
        x0, y0, x1, y1 = (number for number in numbers if number is not None)
        return Boxes(text, (x0, y0, x1, y1), {})
    path = Path(text)
    if not path.is_file():
        raise DataError(f"--box {text}: neither four numbers X0,Y0,X1,Y1 nor a file; give one or the other")
    return Boxes(text, None, _read_rows(path))


def _read_rows(path: Path) -> dict[str, tuple[Box, ...]]:
    try:
        table = parse_table(read_text(path))
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error}); save it with the columns {', '.join(COLUMNS)}") from None
    columns = {name: table.find_column([name]) for name in COLUMNS}
    missing = [name for name, column in columns.items() if column is None]
    if missing:
        raise DataError(f"{path}: lacks the column {missing[0]!r}; it has {list_columns(table.header)}")
    boxes: dict[str, tuple[Box, ...]] = {}
    for number, row in enumerate(table.rows, 1):
        cells = [row[columns[name] or ""] for name in COLUMNS]
        values = [_read_number(cell) for cell in cells[1:]]
        name = cells[0].strip().replace("\\", "/").removeprefix("./")
        if not name or None in values:
            raise DataError(f"{path}: row {number} is {', '.join(cells)!r}; give a file and four numbers")
        x0, y0, x1, y1 = (value for value in values if value is not None)
        boxes[name] = (*boxes.get(name, ()), (x0, y0, x1, y1))
    if not boxes:
        raise DataError(f"{path}: no row; give one for each box")
    return boxes


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

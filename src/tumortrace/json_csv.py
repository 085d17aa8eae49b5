"""JSON and CSV: reading within limits, writing atomically."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tumortrace.files import write_atomically
from tumortrace.regular_files import open_regular

Document = dict[str, Any]
"""JSON values by name, as a JSON file holds them."""


MOST_TEXT_BYTES = 2**28
"""Largest JSON, CSV, XML or text file that is read: parsed, it takes ten times its size."""


def read_json(path: Path, *, most_bytes: int = MOST_TEXT_BYTES) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file.

    Args:
        path: The file.
        most_bytes: Size above which it is refused.

    Raises:
        OSError: It cannot be read, is no regular file, or is too large.
        ValueError: It is no JSON, or nested too deeply.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise OSError(errno.EFBIG, f"{size:,} bytes, more than the limit of {most_bytes:,}", str(path))
        return parse_json(file.read())


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON, atomically.

    Raises:
        ValueError: It holds NaN or infinity, which JSON cannot express.
    """
    write_atomically(path, encode_json(document))


def encode_json(document: object) -> bytes:
    """Return a document as indented JSON.

    Raises:
        ValueError: It holds NaN or infinity, which JSON cannot express.
    """
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table that ``write_csv`` wrote: a row as its cells by column; undefined ones are empty.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8, or no table.
    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return list(csv.DictReader(file))
        except csv.Error as error:
            raise ValueError(str(error)) from None


def nan_to_none(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace NaN and infinity by null in a JSON document."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], *, columns: Sequence[str]) -> None:
    """Write a table as CSV, atomically; None, NaN and keys that a row lacks become empty cells."""
    write_atomically(path, encode_csv(rows, columns=columns))


def encode_csv(rows: Iterable[Mapping[str, object]], *, columns: Sequence[str]) -> bytes:
    """Return a table as CSV; None, NaN and keys that a row lacks become empty cells. What is no text is escaped."""
    text = CsvText()
    writer = csv.DictWriter(text, columns, lineterminator=CsvText.END)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value != value else value for key, value in row.items()})  # noqa: PLR0124 - NaN
    return text.encode()


class CsvText(io.StringIO):
    """Text of a CSV table whose lines end with a line feed.

    A writer quotes a cell with a carriage return only if its line terminator holds one (before Python 3.13), and a bare
    one would end the row. So the writer is given ``END``.
    """

    END = "\r\n"

    def write(self, line: str) -> int:
        """Add a line that a writer ended with ``END``."""
        return super().write(line.removesuffix(self.END) + "\n")

    def encode(self) -> bytes:
        """Return the text as UTF-8; what is no text is escaped."""
        return self.getvalue().encode(errors="backslashreplace")

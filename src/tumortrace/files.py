"""Atomic writing of files, JSON documents and CSV tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tumortrace.errors import DataError

Document = dict[str, Any]
"""JSON values by name, as a JSON file holds them."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file through a neighbour that is renamed over it, so that no reader ever sees half of it.

    Raises:
        DataError: A folder stands in its place.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, and a file should be written there; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.partial")
    neighbour.write_bytes(data)
    neighbour.replace(path)


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON, atomically.

    Raises:
        ValueError: It holds NaN or infinity, which JSON has no word for.
    """
    write_atomically(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, rows: Iterable[Mapping[str, object]], *, columns: Sequence[str]) -> None:
    """Write a table as CSV, atomically; None, NaN and keys that a row lacks become empty cells."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value != value else value for key, value in row.items()})  # noqa: PLR0124 - NaN
    write_atomically(path, text.getvalue().encode())

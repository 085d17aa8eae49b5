"""Annotation files as JSON values or CSV tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tumortrace.data.tables import Table, list_columns, parse_table, read_text
from tumortrace.errors import DataError, printable

SUFFIXES = frozenset({".json", ".csv"})
"""Suffixes of files that may be annotations, in lower case."""


def load_document(path: Path) -> object:
    """Read a JSON file as its values, a CSV file as a ``Table``; the content decides, not the suffix.

    Raises:
        DataError: The file cannot be read, or is neither.
    """
    text = read_text(path)
    stripped = text.lstrip("# \t\r\n")
    is_csv = path.suffix.lower() == ".csv" and not stripped.startswith(("{", "["))
    if is_csv or stripped.lstrip('"').startswith("filename"):
        try:
            return parse_table(text)
        except csv.Error as error:
            raise DataError(f"{path}: not CSV ({error}); export the annotations again") from None
    try:
        return json.loads(text, object_pairs_hook=_keep_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); export the annotations again") from None


def describe_foreign(document: object) -> str:
    """What a document is that no reader knows, and what to do about it."""
    if isinstance(document, Table):
        columns = printable(list_columns(document.header))[:80]
        return (
            "not a CSV table of VIA 1 or 2 (no filename and region_shape_attributes among its columns: "
            f"{columns}); export the annotations from VIA again"
        )
    known = _name_format(document)
    if known:
        return f"annotations of {known}, which are not read; export them as VIA 2 JSON, or as masks"
    return "not annotations of VIA 1 or 2 (no filename and regions); export them from VIA again"


def _name_format(document: object) -> str | None:
    """The name of a known format that no reader reads."""
    if isinstance(document, list):
        is_task = any(isinstance(task, dict) and "data" in task and "annotations" in task for task in document[:3])
        return "Label Studio" if is_task else None
    keys = document.keys() if isinstance(document, dict) else set()
    if {"project", "file", "metadata"} <= keys:
        return "VIA 3"
    if {"images", "annotations"} <= keys:
        return "COCO"
    return "labelme" if "shapes" in keys and "imagePath" in keys else None


def _keep_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object as a dict in which a key that occurs twice does not silently replace the first."""
    found: dict[str, object] = {}
    for number, (key, value) in enumerate(pairs):
        found[f"{key} (again, {number})" if key in found else key] = value
    return found

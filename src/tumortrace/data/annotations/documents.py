"""Annotation files as JSON values, CSV tables or XML elements."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np

from tumortrace.data.tables import Table, decode_text, list_columns, parse_table
from tumortrace.errors import DataError, printable
from tumortrace.json_csv import MOST_TEXT_BYTES
from tumortrace.regular_files import read_regular_file

MOST_OBJECTS = 1_000_000
"""Largest number of JSON objects or XML elements in a file."""

MOST_NUMBERS = 400_000
"""Largest number of numbers in one outline or mask."""

DEEPEST = 64
"""Levels of nested XML elements."""

_NUMERIC = b"0123456789+-.eE,;:[](){} \t\r\n"

SUFFIXES = frozenset({".json", ".csv", ".xml"})
"""Suffixes of files that may be annotations, in lower case."""


def load_document(path: Path) -> object:
    """Read a JSON file as its values, a CSV file as a ``Table``, an XML file as its root ``Element``.

    The content decides, not the suffix.

    Raises:
        DataError: The file cannot be read, or is neither.
    """
    data = read_regular_file(path, most_bytes=MOST_TEXT_BYTES)
    _check_amount(data, path)
    text = decode_text(data, path)
    del data
    stripped = text.lstrip("# \t\r\n")
    if stripped.startswith("<"):
        return _parse_xml(text, path)
    is_csv = path.suffix.lower() == ".csv" and not stripped.startswith(("{", "["))
    if is_csv or stripped.lstrip('"').startswith("filename"):
        try:
            return parse_table(text)
        except csv.Error as error:
            raise DataError(f"{path}: not CSV ({error}); export the annotations again") from None
    try:
        return json.loads(text, object_pairs_hook=_keep_repeated_keys)
    except RecursionError:
        raise too_deep(path) from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); export the annotations again") from None


def _check_amount(data: bytes, path: Path) -> None:
    """Refuse what holds more than any annotation, before it is parsed: a number of a text takes ten times its bytes.

    Args:
        data: Content of the file.
        path: The file, for the message.

    Raises:
        DataError: There are too many objects, or too many numbers in one of them.
    """
    if max(data.count(b"{"), data.count(b"<")) > MOST_OBJECTS:
        raise DataError(f"{path}: more than {MOST_OBJECTS:,} objects; split the file")
    quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
    ends = np.concatenate([[-1], quotes, [len(data)]])
    for at in np.flatnonzero(np.diff(ends) > MOST_NUMBERS):
        between = data[int(ends[at]) + 1 : int(ends[at + 1])]
        count = between.count(b",") + between.count(b";")
        if count > MOST_NUMBERS and not between.translate(None, _NUMERIC):
            raise DataError(
                f"{path}: a list of {count:,} numbers, more than the limit of {MOST_NUMBERS:,}; simplify it"
            )


def too_deep(path: Path) -> DataError:
    """Return the error of a file that is nested deeper than any annotation."""
    return DataError(f"{path}: nested too deeply; export the annotations again")


def _check_depth(root: Element, path: Path) -> None:
    """Refuse what is nested deeper than any annotation: to copy or write it would exhaust the stack."""
    level = list(root)
    for _ in range(DEEPEST):
        if not level:
            return
        level = [child for element in level for child in element]
    raise too_deep(path)


def describe_foreign(document: object) -> str:
    """Say what a document is that no reader knows, and what to do about it."""
    if isinstance(document, Table):
        columns = printable(list_columns(document.header))[:80]
        return (
            "not a CSV table of VIA 1 or 2 (no filename and region_shape_attributes among its columns: "
            f"{columns}); export the annotations from VIA again"
        )
    if isinstance(document, Element):
        if document.find("source/sourceAnnotation") is not None:
            return "XML of the LabelMe web tool, which is not read; draw the regions in labelme, or export masks"
        return f"XML of an unknown kind (<{printable(document.tag)[:40]}>); export the annotations as CVAT 1.1 or COCO"
    if isinstance(document, dict) and {"classes", "tags"} <= document.keys():
        return "classes of a Supervisely project, which hold no annotation"
    return (
        "not annotations of a known format (VIA, COCO, labelme, Label Studio, Supervisely); export them in one of these"
    )


def _parse_xml(text: str, path: Path) -> Element:
    """Parse XML without expanding entities, which a small file can make fill the memory."""
    try:
        from defusedxml import DefusedXmlException, ElementTree  # noqa: PLC0415 - an extra
    except ImportError:
        remedy = "install it with: pip install 'tumortrace[formats]'"
        raise DataError(f"{path}: defusedxml is needed to read XML; {remedy}") from None
    _, _, body = text.partition("?>") if text.lstrip().startswith("<?xml") else ("", "", text)
    try:
        root: Element = ElementTree.fromstring(body)  # text has no encoding any more
    except DefusedXmlException as error:
        name = type(error).__name__
        raise DataError(f"{path}: its XML declares entities ({name}); export the annotations again") from None
    except (ParseError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: not XML ({error}); export the annotations again") from None
    _check_depth(root, path)
    return root


def _keep_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object as a dict in which a key that occurs twice does not silently replace the first."""
    found: dict[str, object] = {}
    for number, (key, value) in enumerate(pairs):
        found[f"{key} (again, {number})" if key in found else key] = value
    return found

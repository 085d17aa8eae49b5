"""DICOMDIR: an index of files, which is counted and never followed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tumortrace.data.dicom.stream import parse
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.errors import DataError
from tumortrace.wording import counted

_REMEDY = "its files are found by looking into the folder"


def count_missing(path: Path, files: Iterable[Path]) -> Finding:
    """Compare an index with the files of its folder, by name alone: no path in it is opened or looked up.

    Args:
        path: The index.
        files: Files that were found in the folder.

    Returns:
        A warning that says how many of its files are missing; or, if it is damaged, that it is left out.
    """
    try:
        records = parse(path, ["DirectoryRecordSequence"]).dataset.get("DirectoryRecordSequence") or []
        named = {key for record in records if (key := _key(record.get("ReferencedFileID")))}
    except DataError as error:
        return left_out("dicomdir", str(path), str(error).removeprefix(f"{path}: ").partition(";")[0], _REMEDY)
    except Exception as error:  # noqa: BLE001 - a tag of any value may raise anything
        return left_out("dicomdir", str(path), f"the DICOM header is damaged ({type(error).__name__})", _REMEDY)
    there = {os.path.relpath(file, path.parent).replace(os.sep, "/").casefold() for file in files}
    missing = len(named - there)
    cause = (
        f"an index (DICOMDIR) of {counted(len(named), 'file')}, {missing} of them not in the folder; it is not followed"
    )
    return warning("dicomdir", str(path), cause, _REMEDY)


def _key(value: object) -> str:
    """A file's name as the index has it, with slashes."""
    if not value:
        return ""
    return (value if isinstance(value, str) else "/".join(map(str, value))).casefold()  # type: ignore[call-overload]

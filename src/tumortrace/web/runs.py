"""Curves of the trainings in a folder of runs, also of one that is under way."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.json_csv import Document
from tumortrace.regular_files import read_regular_file
from tumortrace.run_folder import METRICS
from tumortrace.web.limits import RefusalError

CURVES = ("train_loss", "val_loss", "val_dice")
"""Columns that are drawn."""

MOST_BYTES = 2**24
"""Size above which a file of curves is refused: that of a hundred thousand epochs."""


def list_runs(folder: Path | None) -> list[str]:
    """List the runs that have curves, the one that wrote last first.

    Args:
        folder: Folder of runs; with None there are none.

    Returns:
        Names of its subfolders.
    """
    if folder is None:
        return []
    written = {}
    for table in folder.glob(f"*/{METRICS}"):
        try:
            written[table.parent.name] = table.stat().st_mtime
        except OSError:
            continue  # it was removed at this moment
    return sorted(written, key=lambda name: (-written[name], name))


def read_curves(folder: Path | None, name: str) -> Document:
    """Read the curves of a run.

    Args:
        folder: Folder of runs; with None there are none.
        name: Name of a run, as ``list_runs`` gives it.

    Returns:
        ``epochs``, and ``curves`` by name: a value an epoch, or None where it was not measured. Curves without a value
        are left out.

    Raises:
        RefusalError: There is no such run, or its file cannot be read.
    """
    if folder is None or name not in list_runs(folder):  # so that no name leads out of the folder
        raise RefusalError(404, f"{name[:100]}: no such run; ask /api/runs for their names")
    try:
        text = read_regular_file(folder / name / METRICS, most_bytes=MOST_BYTES).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        epochs = [int(row["epoch"]) for row in rows]
    except (DataError, ValueError, KeyError, TypeError, csv.Error):
        raise RefusalError(422, f"{name}/{METRICS}: no table of epochs; train wrote none such") from None
    curves = {column: [_read_number(row.get(column)) for row in rows] for column in CURVES}
    return {
        "epochs": epochs,
        "curves": {column: values for column, values in curves.items() if any(value is not None for value in values)},
    }


def _read_number(text: str | None) -> float | None:
    """Read a number; None where there is none, or NaN or infinity, which JSON does not know."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None

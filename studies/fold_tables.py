"""Scores of held-out folds, by source, class, size and fold.

``python -m studies.fold_tables SCORES --split sources/folds.json`` reads the folder that ``studies.calibrate`` wrote,
and prints a CSV table of the slices with tumour and one of the tumour-free slices. Intervals are over the groups of the
split: patients, copies, or runs of 13 slices.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from studies.left_out import MISSED
from studies.means import describe_mean
from tumortrace.cli import run_script
from tumortrace.copies.split_files import read_split
from tumortrace.evaluation.folder import ImageRow, read_evaluation
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.intervals import mean_interval

SIZES = ((0.005, "below 0.5 % of the frame"), (0.02, "0.5 to 2 %"), (0.08, "2 to 8 %"), (1.0, "above 8 %"))


def describe_tumours(rows: Sequence[ImageRow], group_of: dict[str, str]) -> list[str]:
    """Return n, the mean scores with their intervals, the median Dice and the fraction missed."""
    groups = [group_of[row.file] for row in rows]
    dices = [row.dice for row in rows]
    scores = (dices, [row.precision for row in rows], [row.recall for row in rows])
    means = [describe_mean(values, groups) for values in scores]
    missed = float(np.mean([dice < MISSED for dice in dices]))
    return [str(len(rows)), means[0], f"{np.median(dices):.3f}", *means[1:], f"{missed:.1%}"]


def describe_free(rows: Sequence[ImageRow], group_of: dict[str, str]) -> list[str]:
    """Return n, the number of subjects and the false-positive rate with its interval."""
    groups = [group_of[row.file] for row in rows]
    alarms = [float(row.fp > FALSE_ALARM_AREA * (row.fp + row.tn)) for row in rows]
    low, high = mean_interval(alarms, groups)
    return [str(len(rows)), str(len(set(groups))), f"{np.mean(alarms):.1%} ({low:.1%} to {high:.1%})"]


def _source(row: ImageRow) -> str:
    return row.file.partition("/")[0]


def _kind(row: ImageRow) -> str:
    """Return the source of a slice; of a tumour-free one its folder."""
    source, _, inside = row.file.partition("/")
    return inside.partition("/")[0] if source == "tumour_free" else source


def _size(row: ImageRow) -> str:
    share = row.tumour_px / (row.tp + row.fp + row.fn + row.tn)
    return next(name for limit, name in SIZES if share < limit)


def _group(rows: Sequence[ImageRow], *keys: Callable[[ImageRow], str]) -> dict[str, list[ImageRow]]:
    """Return the rows by each key in turn, then all of them."""
    parts: dict[str, list[ImageRow]] = {}
    for key in keys:
        for row in sorted(rows, key=key):
            if key(row):
                parts.setdefault(key(row), []).append(row)
    return parts | {"all": list(rows)}


def main(scores: Path, split: Annotated[Path, typer.Option(help="The folds, as studies.sources wrote them.")]) -> None:
    """Print both tables."""
    group_of = {case.file: case.group for case in read_split(split).cases}
    rows = read_evaluation(scores).rows
    tumours, free = [row for row in rows if row.tumour_px], [row for row in rows if not row.tumour_px]
    table = csv.writer(sys.stdout)
    table.writerow(["slices with tumour", "n", "mean Dice", "median", "precision", "recall", "missed"])
    keys = (_source, lambda row: row.tumour_class, _size, lambda row: f"fold {row.fold}")
    table.writerows([name, *describe_tumours(part, group_of)] for name, part in _group(tumours, *keys).items())
    table.writerow(["tumour-free slices", "n", "subjects", "false-positive rate"])
    table.writerows([name, *describe_free(part, group_of)] for name, part in _group(free, _kind).items())


if __name__ == "__main__":
    run_script(main)

"""Scores and confidence on a source that took no part in the training.

``python -m studies.left_out EVALUATION...`` reads folders of ``tumortrace evaluate --part all`` and prints a row for
each, over its slices with tumour. No confidence can find all slices on which a model marks nothing: where more than a
fifth of the slices are missed, the least confident fifth cannot hold them. So the masks that the model draws are
judged for themselves, too.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tumortrace.cli import run_script
from tumortrace.evaluation.folder import ImageRow, read_evaluations
from tumortrace.evaluation.summary import FLAGGED
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.selective import LOW_DICE, caught_share

MISSED = 0.1
"""A tumour is missed whose mask has a lower Dice."""


def describe(rows: Sequence[ImageRow]) -> dict[str, float]:
    """Return the scores of the slices with tumour, and what the confidence finds among them."""
    tumours = [row for row in rows if row.tumour_px]
    marked = [row for row in tumours if row.tp + row.fp]
    low, high = mean_interval([row.dice for row in tumours], [row.group for row in tumours])
    poor = _poor_share(tumours)
    return {
        "n": len(tumours),
        "dice": float(np.mean([row.dice for row in tumours])),
        "low": low,
        "high": high,
        "missed": float(np.mean([row.dice < MISSED for row in tumours])),
        "marked": len(marked) / len(tumours),
        "below 0.5": poor,
        "caught": _caught(tumours),
        "at most": min(FLAGGED / poor, 1.0) if poor else float("nan"),
        "marked below 0.5": _poor_share(marked),
        "marked caught": _caught(marked),
    }


def _poor_share(rows: Sequence[ImageRow]) -> float:
    return float(np.mean([row.dice < LOW_DICE for row in rows]))


def _caught(rows: Sequence[ImageRow]) -> float:
    return caught_share([row.confidence for row in rows], [row.dice for row in rows], flagged=FLAGGED)


def main(evaluations: Annotated[list[Path], typer.Argument(help="Folders of tumortrace evaluate.")]) -> None:
    """Print a CSV row for each evaluation."""
    described = {stored.name: describe(stored.rows) for stored in read_evaluations(evaluations)}
    table = csv.writer(sys.stdout)
    table.writerow(["evaluation", *next(iter(described.values()))])
    for name, row in described.items():
        table.writerow([name, *(f"{value:.4g}" for value in row.values())])


if __name__ == "__main__":
    run_script(main)

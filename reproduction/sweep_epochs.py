"""The epochs of a sweep's runs, from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from reproduction.committed_numbers import NumbersMissingError
from reproduction.tables import read_table
from tumortrace.reporting.figures import read_metrics


class SweptRun(NamedTuple):
    """A run of a sweep.

    Attributes:
        row: Row of the sweep's ``results.csv``.
        folder: Its run folder.
        epochs: Rows of its ``metrics.csv``, an empty cell as None; empty if the run ended before its first epoch.
    """

    row: dict[str, str]
    folder: Path
    epochs: list[dict[str, float | None]]


def read_sweep(folder: Path) -> list[SweptRun]:
    """The runs in a sweep's ``results.csv``, at least one, diverged ones as far as they came.

    Raises:
        NumbersMissingError: No run is finished yet.
    """
    rows = read_table(folder / "results.csv")
    if not rows:
        raise NumbersMissingError(
            f"{folder}: holds no results.csv of a sweep; give the --out of one that has finished a run"
        )
    runs = []
    for row in rows:
        run = folder / "runs" / row["run"]
        epochs = read_metrics(run / "metrics.csv") if read_table(run / "metrics.csv") else []
        runs.append(SweptRun(row, run, epochs))
    return runs

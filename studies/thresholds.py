"""Dice, missed tumours and false positives of held-out slices at every threshold.

``python -m studies.thresholds DATA --sources DIR --fold 4=RUN --run lgg=RUN`` takes runs that were trained without
a fold of ``studies.sources``, and runs that were trained without a source. Slices of a fold that are copies of training
slices are left out and named. A threshold above one half drops the lesions that only one of the two passes sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from studies.hospitals import open_hospitals
from studies.left_out import MISSED
from studies.named_runs import read_named
from studies.screening import leave_out_copies, open_sources
from tumortrace.cli import run_script
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track
from tumortrace.run_folder import TRAINING_INDEX

THRESHOLDS = (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.75)
"""Of the probability before any temperature."""

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """What every threshold gives.

    Attributes:
        ill: Dice of each slice with tumour, shape (slices, thresholds).
        glioma: Whether it is known to be a glioma, shape (slices,), bool.
        free: Whether each tumour-free slice is marked, shape (slices, thresholds), bool.
    """

    ill: Floats
    glioma: NDArray[np.bool_]
    free: NDArray[np.bool_]


def score(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> Floats:
    """Return the Dice of a slice with tumour at every threshold, or of another whether it is marked: 1 or 0."""
    masks = [probability >= threshold for threshold in THRESHOLDS]
    if not truth.any():
        return np.array([float(mask.mean() > FALSE_ALARM_AREA) for mask in masks])
    return np.array([count_pixels(mask, truth).dice for mask in masks])


def measure(parts: Iterable[tuple[Model, Sequence[CaseRecord]]], name: str) -> Curve:
    """Segment slices, each with the model that was not trained on it, and score them at every threshold."""
    ill, glioma, free = [], [], []
    for model, records in parts:
        for record, case, _ in track(read_cases(records), name, total=len(records)):
            if case is None:
                continue
            scored = score(predict(model, case.slice).probability, case.truth)
            if case.truth.any():
                ill.append(scored)
                glioma.append(record.tumour_class == "glioma")
            else:
                free.append(scored)
    shape = (-1, len(THRESHOLDS))
    return Curve(np.reshape(ill, shape), np.array(glioma, dtype=np.bool_), np.reshape(free, shape) > 0)


def tabulate(name: str, curve: Curve) -> Table:
    """Return a row for each threshold; a column without slices is empty."""
    of_gliomas = curve.ill[curve.glioma]
    title = f"{name}: {len(curve.ill)} with tumour, {len(of_gliomas)} gliomas, {len(curve.free)} tumour-free"
    table = make_table(title, "threshold", "Dice", "of gliomas", "missed", "tumour-free marked")
    for column, threshold in enumerate(THRESHOLDS):
        table.add_row(
            f"{threshold:.2f}",
            *(f"{rows[:, column].mean():.3f}" if len(rows) else "" for rows in (curve.ill, of_gliomas)),
            f"{(curve.ill[:, column] < MISSED).mean():.1%}",
            f"{curve.free[:, column].mean():.1%}" if len(curve.free) else "",
        )
    return table


def open_folds(data: Path, sources: Path, runs: Sequence[str], every: int) -> list[tuple[Model, Sequence[CaseRecord]]]:
    """Return the model of each run with the slices of its fold, without copies of its training slices.

    Args:
        data: Folder of the downloaded sources.
        sources: Folder that ``studies.sources`` wrote.
        runs: ``FOLD=RUN`` for each fold.
        every: One of so many slices is taken, then the copies are left out.
    """
    dataset, split = open_sources(data, sources)
    fold_of = {case.file: case.side for case in split.cases}
    parts: list[tuple[Model, Sequence[CaseRecord]]] = []
    for fold, run in read_named(runs).items():
        records = [record for record in dataset.records if fold_of.get(record.case_id) == fold]
        memory = load_training_index(run / TRAINING_INDEX)
        parts.append((open_model(str(run)), leave_out_copies(records[::every], memory)))
    return parts


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    fold: Annotated[list[str] | None, typer.Option(help="FOLD=RUN, a run that was trained without the fold.")] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="SOURCE=RUN, a run that was trained without the source.")
    ] = None,
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
) -> None:
    """Measure the folds together and every hospital by itself, and print their tables."""
    console = Console(width=110)
    if fold:
        console.print(tabulate("held-out folds", measure(open_folds(data, sources, fold, every), "held-out folds")))
    for each in open_hospitals(data, sources, run or []):
        curve = measure([(each.model, each.records[::every])], each.name)
        console.print(tabulate(each.name, curve))


if __name__ == "__main__":
    run_script(main)

"""Dice on held-out slices of Br35H by minutes of training.

``python -m studies.minutes DATA --out DIR`` trains on the grouped folds but one, with all cores or ``--threads``,
and measures the average of the weights after every epoch on that one, at the network's size (nothing is chosen by it).
It draws Dice against the minutes of training, measuring included; ``DIR/minutes.csv`` holds the numbers.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import typer
from benchmarks.common import make_table
from matplotlib.figure import Figure
from reproduction.runs import finish_run
from rich.console import Console

from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import apply_split
from tumortrace.copies.splits import make_folds
from tumortrace.copies.survey import survey_cases
from tumortrace.data.dataset import open_datasets
from tumortrace.json_csv import write_csv
from tumortrace.machine import usable_cores
from tumortrace.reporting.figures import read_metrics, save_figure
from tumortrace.run_folder import METRICS

FOLDS = 5
AIM = 0.88

Curve = list[tuple[float, float]]


def read_curve(run: Path) -> Curve:
    """Return minutes and Dice after every epoch."""
    rows = read_metrics(run / METRICS)
    minutes = accumulate((row["seconds"] or 0.0) / 60 for row in rows)
    return [(passed, row["val_dice"] or 0.0) for passed, row in zip(minutes, rows, strict=True)]


def draw_curve(curve: Curve, *, threads: int) -> Figure:
    """Draw Dice against minutes, with the aim as a line."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*curve, strict=True), marker="o", markersize=3, color="black", label="average of the weights")
    axes.axhline(AIM, color="grey", linestyle="--", label=f"{AIM}")
    axes.set(xlabel=f"minutes of training, threads: {threads}", ylabel="mean Dice, slices of a fold left out")
    axes.set(title="Br35H, configuration fast", ylim=(0.5, 1.0), xlim=(0, None))
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return figure


def main(
    data: Path,
    fold: Annotated[int, typer.Option(help="Fold that is held out and measured on.")] = 1,
    threads: Annotated[int, typer.Option(help="0 takes all cores.")] = 0,
    out: Annotated[Path, typer.Option()] = Path("runs/minutes"),
) -> None:
    """Train if that was not done before, then write the curve."""
    dataset = open_datasets([data])
    split = make_folds(survey_cases([record for record in dataset.records if record.part != "test"]), folds=FOLDS)
    config = load_config("fast", [f"training.threads={threads}"])
    divided = apply_split(dataset, split, fold=fold)
    watched = tuple(replace(record, part="val") if record.part == "test" else record for record in divided.records)
    finish_run(replace(divided, records=watched), config, out)
    curve = read_curve(out)
    rows = ({"minutes": f"{minutes:.2f}", "dice": f"{dice:.4f}"} for minutes, dice in curve)
    write_csv(out / "minutes.csv", rows, columns=("minutes", "dice"))
    save_figure(draw_curve(curve, threads=threads or usable_cores()), out / "minutes.png")
    table = make_table("Dice of slices left out", "minutes", "Dice")
    for minutes, dice in curve:
        table.add_row(f"{minutes:.1f}", f"{dice:.3f}")
    Console().print(table)


if __name__ == "__main__":
    run_script(main)

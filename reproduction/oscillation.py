"""What damps the oscillation of the student paper's validation loss.

``python -m reproduction.oscillation --sweep runs/sweeps/grid --sweep runs/sweeps/oscillation`` condenses the epochs of
the runs of ``ROWS`` into ``results/oscillation_curves.csv``; from that file alone it writes ``results/oscillation.csv``
and ``figures/oscillation.png`` and ``.svg``, so that without ``--sweep`` it draws what is there. The sweeps themselves:
``tumortrace sweep BR35H --config reproduction/sweeps/grid.toml --out runs/sweeps/grid``, and likewise the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from reproduction.committed_numbers import NumbersMissingError
from reproduction.sweep_epochs import read_sweep
from reproduction.tables import read_table, write_table
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.reporting.figures import save_figure, smooth
from tumortrace.wording import percent

PLAIN = "plain Adam, 1e-3, batch 4"
PLAIN_RATE = 1e-3
ROWS: dict[str, dict[str, object]] = {
    PLAIN: {},
    "half the rate, 5e-4": {"learning_rate": 5e-4},
    "a tenth of the rate, 1e-4": {"learning_rate": 1e-4},
    "larger batch, 8": {"batch_size": 8},
    "clipped gradients, 0.1": {"clip": 0.1},
    "Dice + cross-entropy": {"loss": "dice_cross_entropy"},
    "averaged weights, 0.99": {"average": 0.99},
    "schedule, one cycle": {"schedule": "one_cycle"},
}
"""What each row changes of plain Adam's training."""

NEAR = 1.05
"""A run has come to plain Adam's level when its smoothed loss is at most this many times plain's lowest."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One run.

    Attributes:
        row: Key of ``ROWS``.
        seed: Seed of the run.
        losses: Validation loss of each epoch, mean cross-entropy, shape (epochs,).
        dices: Mean Dice on the same slices, shape (epochs,).
    """

    row: str
    seed: int
    losses: NDArray[np.float64]
    dices: NDArray[np.float64]


def condense_sweep(folder: Path) -> list[Curve]:
    """The runs of a sweep that are rows here; a run that is not finished is left out.

    Raises:
        NumbersMissingError: No run is finished yet.
    """
    curves = []
    for run in read_sweep(folder):
        if run.row["outcome"] != "finished":
            continue
        training = load_config(str(run.folder / "config.toml")).training
        row = find_row({key: getattr(training, key) for key in _changed()})
        if row is not None:
            losses, dices = (np.array([epoch[key] for epoch in run.epochs], float) for key in ("val_loss", "val_dice"))
            curves.append(Curve(row, int(run.row["seed"]), losses, dices))
    return curves


def find_row(settings: Mapping[str, object]) -> str | None:
    """The row with these settings, None if there is none.

    Args:
        settings: The value of each key that any row changes.
    """
    plain = {"learning_rate": PLAIN_RATE, "batch_size": 4, "clip": 0.0, "loss": "cross_entropy", "average": 0.0}
    plain |= {"schedule": "constant"}
    return next((row for row, changed in ROWS.items() if plain | changed == settings), None)


def measure_amplitude(losses: NDArray[np.float64]) -> float:
    """How far the loss jumps from epoch to epoch, as a share of itself, once the first third of the epochs is over.

    The root of half the mean square successive difference of its logarithm (von Neumann et al. 1941): the standard
    deviation about a level that may drift slowly, so that neither learning nor overfitting counts as oscillation.

    Args:
        losses: Shape (epochs,), positive, at least three epochs.
    """
    jumps = np.diff(np.log(losses[len(losses) // 3 :]))
    return float(np.sqrt((jumps**2).mean() / 2))


def find_arrival(losses: NDArray[np.float64], level: float) -> int | None:
    """The first epoch, from 1, whose smoothed loss is at most ``level``; None if no epoch's is."""
    arrived = np.flatnonzero(smooth(losses) <= level)
    return int(arrived[0]) + 1 if len(arrived) else None


def summarise(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """A row a setting that was run: means over its seeds; of an arrival the latest, None if a seed never arrives.

    Args:
        curves: Curves, one or more of them of ``PLAIN``.
    """
    level = NEAR * fmean(smooth(curve.losses).min() for curve in curves if curve.row == PLAIN)
    rows = []
    for name in ROWS:
        own = [curve for curve in curves if curve.row == name]
        if not own:
            continue
        amplitudes = [measure_amplitude(curve.losses) for curve in own]
        arrivals = [find_arrival(curve.losses, level) for curve in own]
        rows.append(
            {
                "row": name,
                "seeds": len(own),
                "amplitude": fmean(amplitudes),
                "amplitude_low": min(amplitudes),
                "amplitude_high": max(amplitudes),
                "lowest_smoothed_loss": fmean(smooth(curve.losses).min() for curve in own),
                "last_loss": fmean(curve.losses[-1] for curve in own),
                "epochs_to_level": None if None in arrivals else max(each for each in arrivals if each is not None),
                "last_dice": fmean(curve.dices[-1] for curve in own),
            }
        )
    return rows


def draw(curves: Sequence[Curve]) -> Figure:
    """A panel a row: its validation losses as they were measured, plain Adam's in grey behind."""
    names = [name for name in ROWS if any(curve.row == name for curve in curves)]
    amplitudes = {row["row"]: row["amplitude"] for row in summarise(curves)}
    columns = 4
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(11, 2.7 * lines + 0.6), facecolor="white", layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw_losses(axes, [curve for curve in curves if curve.row == PLAIN], colour="0.75", width=1.0)
        if name != PLAIN:
            _draw_losses(axes, [curve for curve in curves if curve.row == name], colour="black", width=1.4)
        axes.set_title(f"{name}\njumps {percent(amplitudes[name])} an epoch", fontsize=9)
        axes.grid(visible=True, linewidth=0.3, color="0.88")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    for axes in grid[:, 0]:
        axes.set_ylabel("validation loss (nat/pixel)")
    figure.suptitle("What damps the validation loss (grey: plain Adam; solid and dashed: two seeds)", fontsize=11)
    return figure


def _draw_losses(axes: Axes, curves: Sequence[Curve], *, colour: str, width: float) -> None:
    for curve, style in zip(curves, ("-", "--", ":"), strict=False):
        epochs = np.arange(1, len(curve.losses) + 1)
        axes.plot(epochs, curve.losses, color=colour, linewidth=width, linestyle=style)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _changed() -> list[str]:
    return list(dict.fromkeys(key for changed in ROWS.values() for key in changed))


def _write_curves(curves: Sequence[Curve], path: Path) -> None:
    rows = [
        {"row": curve.row, "seed": curve.seed, "epoch": epoch, "val_loss": loss, "val_dice": dice}
        for curve in curves
        for epoch, (loss, dice) in enumerate(zip(curve.losses, curve.dices, strict=True), start=1)
    ]
    write_table(path, rows)


def _read_curves(path: Path) -> list[Curve]:
    epochs: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in read_table(path):
        epochs.setdefault((row["row"], int(row["seed"])), []).append((float(row["val_loss"]), float(row["val_dice"])))
    return [Curve(row, seed, *np.array(numbers).T) for (row, seed), numbers in epochs.items()]


def main(
    sweep: Annotated[list[Path] | None, typer.Option(help="Folder of a sweep; each that has rows.")] = None,
    into: Annotated[Path, typer.Option(help="Folder of results/ and figures/.")] = Path("reproduction"),
) -> None:
    """Condense the sweeps, if any are given, and write table and figure."""
    path = into / "results" / "oscillation_curves.csv"
    if sweep:
        _write_curves([curve for folder in sweep for curve in condense_sweep(folder)], path)
    curves = _read_curves(path)
    if not any(curve.row == PLAIN for curve in curves):
        raise NumbersMissingError(f"there is no finished run of {PLAIN} yet; give a sweep's folder that has one")
    rows = summarise(curves)
    write_table(into / "results" / "oscillation.csv", rows)
    for suffix in ("png", "svg"):
        save_figure(draw(curves), into / "figures" / f"oscillation.{suffix}")
    for row in rows:
        print("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items()))


if __name__ == "__main__":
    run_script(main)

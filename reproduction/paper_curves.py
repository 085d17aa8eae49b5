"""Loss curves by learning rate and batch size, and of the Dice losses.

``condense_sweep`` makes ``results/grid_curves.csv`` of a sweep's folder, finished or not; all figures but ``dice_loss``
are drawn from that file alone. ``dice_loss`` is drawn from the rows of ``reproduction.dice_collapse``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from reproduction.committed_numbers import Drawn, NumbersMissingError, Rows, clean, read_rows, to_number
from reproduction.size import read_size
from reproduction.sweep_epochs import read_sweep
from reproduction.tables import read_table
from tumortrace.config import load_config
from tumortrace.errors import TumortraceError
from tumortrace.reporting.charts import BLUE, GREEN, ORANGE
from tumortrace.reporting.figures import draw_losses, read_metrics, smooth

Floats = NDArray[np.float64]

BATCH_SIZES = (2, 4, 8)
MEASURED = ("train_loss", "val_loss", "val_dice")
STYLES = ((ORANGE, ":", "D"), (BLUE, "--", "s"), (GREEN, "-.", "^"), ("black", "-", "o"))
"""Colour, line and mark of the learning rates, from the highest down; distinguishable in grey print."""

DICE_ROWS = {
    "slow-5e-7": "each class by itself, 5e-7 (the student paper)",
    "slow-to-1e-4": "each class by itself, 1e-4",
    "pooled": "both classes in one fraction, 1e-4",
}
"""Of ``reproduction.dice_collapse``: its file, and what it is."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One run.

    Attributes:
        batch_size: Slices in a batch.
        learning_rate: Learning rate of Adam.
        seed: Seed of initial weights and order.
        epochs: Counted from 1, shape (N,).
        train_loss: Mean cross-entropy in nat per pixel, shape (N,); NaN where none was measured.
        val_loss: Likewise on the held-out slices.
        val_dice: Mean Dice on the same slices, likewise.
    """

    batch_size: int
    learning_rate: float
    seed: int
    epochs: Floats
    train_loss: Floats
    val_loss: Floats
    val_dice: Floats


@dataclass(frozen=True, eq=False)
class Setting:
    """The runs of one batch size and learning rate.

    Attributes:
        batch_size: Slices in a batch.
        learning_rate: Learning rate of Adam.
        curves: One a seed, at least one.
        epochs: Epochs from 1 to the last of the longest run, shape (E,).
        mean_loss: Mean validation loss over the seeds, shape (E,); NaN where a seed has no finite one.
    """

    batch_size: int
    learning_rate: float
    curves: tuple[Curve, ...]
    epochs: Floats
    mean_loss: Floats

    @property
    def lowest(self) -> float:
        """The lowest of the mean losses; infinite if there is none."""
        defined = self.mean_loss[np.isfinite(self.mean_loss)]
        return float(defined.min()) if len(defined) else math.inf

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with that loss; None if there is none."""
        return int(self.epochs[np.nanargmin(self.mean_loss)]) if math.isfinite(self.lowest) else None


def condense_sweep(folder: Path) -> Rows:
    """The epochs of all runs in a sweep's ``results.csv``, diverged ones as far as they came.

    Raises:
        NumbersMissingError: No run is finished yet, or the folder is none of a sweep over both keys.
        TumortraceError: Two runs differ in something else than batch size, learning rate and seed.
    """
    rows: Rows = []
    seen = set()
    for run in read_sweep(folder):
        keys = ("training.batch_size", "training.learning_rate")
        if not run.row.keys() >= set(keys):
            raise NumbersMissingError(f"{folder} is no sweep over {' and '.join(keys)}")
        key = (int(run.row[keys[0]]), float(run.row[keys[1]]), int(run.row["seed"]))
        if key in seen:
            raise TumortraceError(f"{folder}: more than one run of batch size {key[0]}, rate {key[1]}, seed {key[2]}")
        seen.add(key)
        rows += _condense(run.epochs, *key)
    if not rows:
        raise NumbersMissingError(f"no run in {folder} has an epoch; wait for the sweep's first run")
    return rows


def condense_run(folder: Path) -> Rows:
    """The epochs of one run, as those of a sweep.

    Raises:
        NumbersMissingError: It has no epoch yet.
    """
    training = load_config(str(folder / "config.toml")).training
    if not read_table(folder / "metrics.csv"):
        raise NumbersMissingError(f"{folder} has no epoch yet; wait for the first")
    epochs = read_metrics(folder / "metrics.csv")
    return _condense(epochs, training.batch_size, training.learning_rate, training.seed)


def read_curves(path: Path, *, remedy: str) -> list[Curve]:
    """The runs in a file of the condensed epochs, in its order."""
    runs: dict[tuple[int, float, int], list[list[float]]] = {}
    for row in read_rows(path, remedy=remedy):
        key = (int(row["batch_size"]), float(row["learning_rate"]), int(row["seed"]))
        runs.setdefault(key, []).append([to_number(row[name]) for name in ("epoch", *MEASURED)])
    return [Curve(*key, *np.array(numbers).T) for key, numbers in runs.items()]


def gather(curves: Sequence[Curve]) -> list[Setting]:
    """The settings by batch size, in each from the highest learning rate down."""
    keys = sorted({(curve.batch_size, curve.learning_rate) for curve in curves}, key=lambda key: (key[0], -key[1]))
    settings = []
    for key in keys:
        own = tuple(curve for curve in curves if (curve.batch_size, curve.learning_rate) == key)
        epochs = np.arange(1, max(curve.epochs.max() for curve in own) + 1)
        losses = np.full((len(own), len(epochs)), np.nan)
        for line, curve in zip(losses, own, strict=True):
            line[curve.epochs.astype(int) - 1] = np.where(np.isfinite(curve.val_loss), curve.val_loss, np.nan)
        settings.append(Setting(*key, own, epochs, losses.mean(axis=0)))  # NaN where any is
    return settings


def choose_best(settings: Sequence[Setting]) -> dict[int, Setting]:
    """Of each batch size the setting with the lowest mean validation loss; none where all diverged at once."""
    best: dict[int, Setting] = {}
    for setting in settings:
        other = best.get(setting.batch_size)
        if setting.lowest < (math.inf if other is None else other.lowest):
            best[setting.batch_size] = setting
    return best


def tabulate_settings(settings: Sequence[Setting]) -> Rows:
    """A row a setting: its lowest mean validation loss, and whether it is the best of its batch size."""
    chosen = choose_best(settings).values()
    return [
        {
            "batch_size": setting.batch_size,
            "learning_rate": setting.learning_rate,
            "seeds": len(setting.curves),
            "best_epoch": setting.best_epoch,
            "lowest_val_loss": setting.lowest if setting.best_epoch else math.nan,
            "best_of_batch_size": "yes" if setting in chosen else "no",
        }
        for setting in settings
    ]


def draw_rates(batch_size: int, settings: Sequence[Setting]) -> Figure:
    """Validation loss by epoch, a line a learning rate.

    Args:
        batch_size: Batch size to draw.
        settings: Settings of all batch sizes, so that a learning rate looks the same in each figure.
    """
    figure, axes = _begin()
    rates = sorted({setting.learning_rate for setting in settings}, reverse=True)
    for setting in settings:
        if setting.batch_size == batch_size:
            label = f"{setting.learning_rate:g}{_remark(setting)}"
            _draw_setting(axes, setting, STYLES[rates.index(setting.learning_rate) % len(STYLES)], label)
    axes.set_title(f"Validation loss by epoch, batch size {batch_size}\n(thin: each seed, thick: their mean)", size=11)
    axes.legend(title="learning rate", frameon=False, fontsize=9, title_fontsize=9)
    return figure


def draw_best(best: dict[int, Setting]) -> Figure:
    """Validation loss by epoch of the best learning rate of each batch size, the lowest mean of each ringed."""
    figure, axes = _begin()
    for number, (batch_size, setting) in enumerate(best.items(), start=1):
        style = STYLES[number % len(STYLES)]
        label = f"{batch_size}, rate {setting.learning_rate:g}: {setting.lowest:.4f} in epoch {setting.best_epoch}"
        _draw_setting(axes, setting, style, label + _remark(setting))
        ring: dict[str, Any] = {"marker": "o", "markersize": 13, "fillstyle": "none", "color": style[0], "linewidth": 0}
        axes.plot(np.array([setting.best_epoch]), [setting.lowest], **ring)
    axes.set_title("The best learning rate of each batch size\n(thin: each seed, thick: their mean)", size=11)
    axes.legend(title="batch size and its lowest mean (ringed)", frameon=False, fontsize=9, title_fontsize=9)
    return figure


def draw_dice_losses(results: dict[str, list[dict[str, float]]], network: str) -> Figure:
    """The Dice losses by epoch: training (solid) and held out (dashed).

    Args:
        results: Epochs with ``train_loss`` and ``held_out_loss`` by the name in ``DICE_ROWS``.
        network: Name of the network.
    """
    figure, axes = _begin()
    for (name, rows), (colour, _, mark) in zip(results.items(), (STYLES[3], *STYLES[:2]), strict=False):
        for column, where, line in (("train_loss", "TRAIN side", "-"), ("held_out_loss", "held out", "--")):
            numbers = [(row["epoch"], row[column]) for row in rows if not math.isnan(row[column])]
            look: dict[str, Any] = {
                "color": colour,
                "linestyle": line,
                "marker": mark,
                "markersize": 5,
                "linewidth": 1.6,
            }
            if line == "--":
                look["fillstyle"] = "none"
            axes.plot(*np.array(numbers).reshape(-1, 2).T, label=f"{DICE_ROWS[name]}: {where}", **look)
    axes.set(ylabel="Dice loss, 0 to 1", yscale="linear")
    axes.set_ylim(bottom=0)
    axes.set_title(f"Dice loss by epoch ({network}, one grouped fold)", size=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def make_rates(results: Path, batch_size: int) -> Drawn:
    """The figure of one batch size; its numbers are ``grid_curves.csv``."""
    settings = _read_grid(results)
    if batch_size not in {setting.batch_size for setting in settings}:
        raise NumbersMissingError(f"grid_curves.csv has no run of batch size {batch_size} yet; go on with the sweep")
    return Drawn(draw_rates(batch_size, settings))


def make_best(results: Path) -> Drawn:
    """The best of each batch size, and a table of all settings."""
    settings = _read_grid(results)
    best = choose_best(settings)
    if not best:
        raise NumbersMissingError("no setting in grid_curves.csv has a finite validation loss; lower the rates")
    return Drawn(draw_best(best), {"best_of_each": tabulate_settings(settings)})


def make_losses(results: Path) -> Drawn:
    """Both losses of one run: that of ``run_curve.csv`` if it is there, else the lowest of the grid's best setting."""
    alone = results / "run_curve.csv"
    curves = read_curves(alone, remedy="give a run's folder with --run") if alone.is_file() else None
    settings = gather(curves) if curves else _read_grid(results)
    setting = min(settings, key=lambda each: each.lowest)
    if setting.best_epoch is None:
        raise NumbersMissingError("no run has a finite validation loss; lower the rates")
    curve = min(setting.curves, key=_lowest_loss)
    best_epoch = int(curve.epochs[np.nanargmin(np.where(np.isfinite(curve.val_loss), curve.val_loss, np.nan))])
    rows = [
        {"epoch": epoch, "train_loss": _finite(train), "val_loss": _finite(val)}
        for epoch, train, val in zip(curve.epochs.tolist(), curve.train_loss, curve.val_loss, strict=True)
    ]
    figure = draw_losses(rows, kept_epoch=best_epoch)
    (axes,) = figure.axes
    which = f"batch size {curve.batch_size}, learning rate {curve.learning_rate:g}, seed {curve.seed}"
    axes.set_title(f"Loss by epoch, {which}\n(thin: as measured, thick: smoothed)", size=11)
    axes.lines[-1].set_label(f"lowest validation loss: epoch {best_epoch}")  # the last line that draw_losses drew
    axes.legend(edgecolor="none")
    return Drawn(figure, {"losses": _tabulate_losses(curve, rows, best_epoch)})


def make_dice_losses(results: Path) -> Drawn:
    """The Dice losses of the rows that are there."""
    found = {}
    for name in DICE_ROWS:
        path = results / "dice_collapse" / f"{name}.csv"
        if path.is_file():
            rows = read_rows(path, remedy="run reproduction.dice_collapse")
            found[name] = [{key: to_number(cell) for key, cell in row.items()} for row in rows]
    if not found:
        raise NumbersMissingError("there is no row in dice_collapse/ yet; run reproduction.dice_collapse")
    table = [
        {
            "row": name,
            "epoch": int(row["epoch"]),
            "train_loss": row["train_loss"],
            "held_out_loss": row["held_out_loss"],
        }
        for name, rows in found.items()
        for row in rows
    ]
    return Drawn(draw_dice_losses(found, read_size(results).network), {"dice_loss": table})


def _condense(epochs: Sequence[Mapping[str, float | None]], batch_size: int, learning_rate: float, seed: int) -> Rows:
    """The epochs of a run, each with its setting."""
    setting = {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    return [
        {**setting, "epoch": int(epoch["epoch"] or 0), **{name: epoch.get(name) for name in MEASURED}}
        for epoch in epochs
    ]


def _read_grid(results: Path) -> list[Setting]:
    return gather(read_curves(results / "grid_curves.csv", remedy="give a sweep's folder with --sweep"))


def _lowest_loss(curve: Curve) -> float:
    return float(np.where(np.isfinite(curve.val_loss), curve.val_loss, np.inf).min())


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _tabulate_losses(curve: Curve, rows: Sequence[dict[str, float | None]], best_epoch: int) -> Rows:
    """A row an epoch, the smoothed losses beside the raw ones."""
    smoothed: dict[str, dict[float, float]] = {}
    for column in ("train_loss", "val_loss"):
        points = [(row["epoch"], row[column]) for row in rows if row[column] is not None]
        epochs, losses = np.array(points, dtype=np.float64).reshape(-1, 2).T
        smoothed[column] = dict(zip(epochs.tolist(), smooth(losses).tolist(), strict=True))
    setting = {"batch_size": curve.batch_size, "learning_rate": curve.learning_rate, "seed": curve.seed}
    table: Rows = []
    for row in rows:
        epoch = row["epoch"] or 0.0
        cells: dict[str, Any] = {**setting, "epoch": int(epoch)}
        for column, by_epoch in smoothed.items():
            cells |= {column: row[column], f"{column}_smoothed": by_epoch.get(epoch)}
        table.append({**cells, "lowest_val_loss": "yes" if epoch == best_epoch else "no"})
    return table


def _begin() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 4.6), facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="epoch", ylabel="validation loss, mean cross-entropy (nat per pixel)", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    clean(axes)
    return figure, axes


def _draw_setting(axes: Axes, setting: Setting, style: tuple[str, str, str], label: str) -> None:
    colour, line, mark = style
    if len(setting.curves) > 1:
        for curve in setting.curves:
            losses = np.where(np.isfinite(curve.val_loss), curve.val_loss, np.nan)
            axes.plot(curve.epochs, losses, color=colour, linestyle=line, linewidth=0.7, alpha=0.6)
    thick: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 2, "marker": mark, "markersize": 4.5}
    axes.plot(setting.epochs, setting.mean_loss, label=label, **thick)


def _remark(setting: Setting) -> str:
    """How many seeds, where there is but one, and where the mean ends, if before the last epoch."""
    remarks = ["one seed"] if len(setting.curves) == 1 else []
    defined = np.flatnonzero(np.isfinite(setting.mean_loss))
    if not len(defined):
        remarks.append("no epoch in which every seed has a loss")
    elif len(defined) < len(setting.mean_loss):
        remarks.append(f"diverged or stopped after epoch {defined[-1] + 1}")
    return f" ({', '.join(remarks)})" if remarks else ""

"""Figures of cases in four panels and of losses by epoch, drawn with matplotlib."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from tumortrace.choices import Colours
from tumortrace.config import load_config
from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.inference.overlay import to_display
from tumortrace.json_csv import read_csv
from tumortrace.reporting.error_map import LEGENDS, compare_on_slice
from tumortrace.run_folder import CONFIG, METRICS

SMOOTHING = 0.6
"""Weight of the past in the smoothed loss curves, an exponential moving average as in TensorBoard."""

SMOOTHED_FROM = 5
"""Fewest measured epochs of a smoothed curve; with fewer, the average ends far from what was measured."""

CROSS_ENTROPY = "cross_entropy"
"""The loss that validation measures (``training.loss`` has more)."""

MetricsRow = dict[str, float | None]

_LOSS_STYLES = {"training": ("#1f5fa8", "-"), "validation": ("#c25a00", "--")}

_LABEL_LENGTH = 28  # characters that fit beside a row of panels


@dataclass(frozen=True, eq=False)
class CasePanels:
    """One case to be drawn.

    Attributes:
        title: Text beside it, for example the file's name and Dice; of a long line only the end is shown.
        pixels: Grey values, shape (H, W).
        truth: Shape (H, W), bool.
        prediction: Shape (H, W), bool.
    """

    title: str
    pixels: NDArray[Any]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]


def draw_cases(cases: Sequence[CasePanels], *, title: str, colours: Colours = "safe") -> Figure:
    """Draw one row per case, each of four panels (image, truth, prediction, comparison), above a legend of the colours.

    Args:
        cases: Cases, at least one.
        title: Title of the figure.
        colours: Colours of the comparison.
    """
    rows = len(cases)
    height_inch = 2.35 * rows + 1.0
    figure = Figure(figsize=(9.2, height_inch), facecolor="white")
    grid = figure.subplots(
        rows, 4, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.16, "left": 0.06, "right": 0.99}
    )
    figure.subplots_adjust(top=1 - 0.68 / height_inch, bottom=0.42 / height_inch)
    figure.suptitle(title, fontsize=12, y=1 - 0.14 / height_inch, va="top")
    for axes, heading in zip(grid[0], ("image", "truth", "prediction", "comparison"), strict=True):
        axes.set_title(heading, fontsize=11)
    for axes_row, case in zip(grid, cases, strict=True):
        _draw_case(axes_row, case, colours)
    handles = [
        Patch(facecolor=(rgb[0] / 255, rgb[1] / 255, rgb[2] / 255), edgecolor="0.4", label=label)
        for label, rgb in LEGENDS[colours]
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=len(handles),
        fontsize=9,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.4,
    )
    return figure


def draw_losses(rows: Sequence[MetricsRow], *, kept_epoch: int, loss: str = CROSS_ENTROPY) -> Figure:
    """Draw training and validation loss by epoch, as measured (thin) and smoothed (thick), with the kept epoch marked.

    Validation measures the cross-entropy whatever the training minimises. A training loss of another kind gets axes of
    its own. Short runs are not smoothed (``SMOOTHED_FROM``). An axis is logarithmic where its loss changes fivefold or
    more.

    Args:
        rows: Rows of ``read_metrics``, at least one.
        kept_epoch: The epoch whose weights the run kept.
        loss: Name of the training loss (``training.loss``).
    """
    curves = {"training": _measured(rows, "train_loss"), "validation": _measured(rows, "val_loss")}
    curves = {label: points for label, points in curves.items() if len(points)}
    figure = Figure(facecolor="white", layout="constrained")
    axes_of = open_loss_axes(figure, loss, curves)
    figure.set_size_inches(7.2, 4.2 if len(figure.axes) == 1 else 6.0)
    smoothed = all(len(points) >= SMOOTHED_FROM for points in curves.values())
    for label, points in curves.items():
        _draw_loss(axes_of[label], points, label, *_LOSS_STYLES[label], smoothed=smoothed)
    how = " (thin: as measured, thick: smoothed)" if smoothed else ""
    figure.axes[0].set_title(f"Loss by epoch{how}", fontsize=11)
    for axes in figure.axes:
        axes.axvline(kept_epoch, color="0.35", linewidth=1, linestyle=":", label=f"epoch kept: {kept_epoch}")
        axes.set(xlim=(0.5, len(rows) + 0.5))
        drawn = [points[:, 1] for label, points in curves.items() if axes_of[label] is axes]
        scale_losses(axes, np.concatenate(drawn) if drawn else np.empty(0))
        axes.legend(edgecolor="none")
    return figure


def draw_run_losses(run: Path, *, kept_epoch: int) -> Figure:
    """Draw the losses of a run folder (``draw_losses``).

    Args:
        run: The run folder.
        kept_epoch: The epoch whose weights the run kept.

    Raises:
        DataError: ``metrics.csv`` cannot be read.
        ConfigError: ``config.toml`` cannot be read.
    """
    loss = load_config(str(run / CONFIG)).training.loss
    return draw_losses(read_metrics(run / METRICS), kept_epoch=kept_epoch, loss=loss)


def open_loss_axes(figure: Figure, loss: str, curves: Iterable[str]) -> dict[str, Axes]:
    """Lay out the axes of losses, so that different losses never share one.

    Args:
        figure: An empty figure.
        loss: Name of the training loss.
        curves: The curves that will be drawn, among ``"training"`` and ``"validation"``.

    Returns:
        The axes of each; training and validation share theirs if both are the cross-entropy.
    """
    wanted = {"training": loss, "validation": CROSS_ENTROPY}
    names = list(dict.fromkeys(wanted[curve] for curve in curves)) or [loss]
    axes_of_loss = dict(zip(names, figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], strict=True))
    for name, axes in axes_of_loss.items():
        axes.set_ylabel(_describe_loss(name))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(visible=True, linewidth=0.3, color="0.8")
    figure.axes[-1].set_xlabel("epoch")
    return {curve: axes_of_loss[name] for curve, name in wanted.items() if name in axes_of_loss}


def _describe_loss(name: str) -> str:
    """Return the label of an axis by the name of a loss."""
    return "mean cross-entropy (nat per pixel)" if name == CROSS_ENTROPY else f"{name.replace('_', ' ')} loss"


def smooth(values: NDArray[np.float64], weight: float = SMOOTHING) -> NDArray[np.float64]:
    """Return the exponential moving average, corrected for its start at zero as Adam corrects its moments.

    Args:
        values: Shape (N,).
        weight: Weight of the past, in [0, 1).

    Returns:
        Shape (N,); the first value is unchanged.
    """
    smoothed = np.empty(len(values))
    average = 0.0
    for index, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        smoothed[index] = average / (1 - weight ** (index + 1))
    return smoothed


def read_metrics(path: Path) -> list[MetricsRow]:
    """Read the rows of a run's ``metrics.csv``, with None for empty cells.

    Raises:
        DataError: The file is missing, holds no epoch, or is no table of epochs.
    """
    try:
        rows = [_read_epoch(row) for row in read_csv(path)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a run folder") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not a table of epochs ({error}); give the file as train wrote it") from None
    if not rows:
        raise DataError(f"{path}: no epoch in it yet; wait for the first or go on with train --resume")
    if missing := {"epoch", "train_loss", "val_loss"} - rows[0].keys():
        raise DataError(f"{path}: lacks the columns {', '.join(sorted(missing))}; give the file as train wrote it")
    return rows


def _read_epoch(row: Mapping[str, str]) -> dict[str, float | None]:
    """Return the numbers of one row; the columns that name a loss hold none."""
    return {key: float(cell) if cell else None for key, cell in row.items() if not str(key).endswith("_name")}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG by the path's suffix, atomically."""
    write_atomically(path, encode_figure(figure, path.suffix.removeprefix(".")))


def encode_figure(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file, ``"png"`` or ``"svg"``; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    # Without a salt, the names inside an SVG are drawn at random.
    with rc_context({"svg.hashsalt": "tumortrace"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a file's name in a script that it lacks
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()


def _measured(rows: Sequence[MetricsRow], key: str) -> NDArray[np.float64]:
    """Return epoch and loss of the epochs that have one, shape (N, 2)."""
    points = [(row["epoch"], row[key]) for row in rows if row[key] is not None]
    return np.array(points, dtype=np.float64)


def _draw_loss(axes: Axes, points: NDArray[np.float64], label: str, colour: str, style: str, *, smoothed: bool) -> None:
    epochs, losses = points.T
    if smoothed:
        axes.plot(epochs, losses, color=colour, linewidth=0.8, alpha=0.55, linestyle=style, marker=".", markersize=4)
        axes.plot(epochs, smooth(losses), color=colour, linewidth=2.2, linestyle=style, label=label)
    else:
        axes.plot(epochs, losses, color=colour, linewidth=2.2, linestyle=style, marker="o", markersize=5, label=label)


def scale_losses(axes: Axes, losses: NDArray[np.float64]) -> None:
    """Make the axis logarithmic if its losses change fivefold or more, with ticks as plain numbers.

    Args:
        axes: Axes on which the losses are drawn.
        losses: All of them, shape (N,).
    """
    positive = losses[losses > 0]
    if len(positive) and positive.max() >= 5 * positive.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())


def _draw_case(axes_row: Sequence[Axes], case: CasePanels, colours: Colours) -> None:
    grey = to_display(case.pixels)
    comparison = compare_on_slice(grey, case.prediction, case.truth, colours=colours)
    for axes, panel in zip(axes_row, (grey, case.truth, case.prediction, comparison), strict=True):
        axes.imshow(panel, cmap="gray", vmin=0, vmax=None if panel.dtype == np.uint8 else 1, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
    lines = case.title.splitlines()
    label = "\n".join(line if len(line) <= _LABEL_LENGTH else f"…{line[1 - _LABEL_LENGTH :]}" for line in lines)
    axes_row[0].set_ylabel(label, fontsize=9, parse_math=False)  # a file's name may hold dollars

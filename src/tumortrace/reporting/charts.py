"""Charts of the report and the audit page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullFormatter

from tumortrace.errors import printable
from tumortrace.json_csv import Document
from tumortrace.reporting.figures import MetricsRow, open_loss_axes, scale_losses
from tumortrace.wording import percent

BLUE, ORANGE, GREY, GREEN = "#0072b2", "#d55e00", "#5b6675", "#009e73"
"""Colours that all eyes distinguish, and grey print by their lightness and marks."""

_ROW = 0.42
_WIDTH = 5.6
"""Width in inches, at which the labels can still be read when a phone shrinks the chart to its screen."""

_FEW_PAIRS = 10  # a logarithmic axis would have no tick that reads as a count
_LABEL_LENGTH = 48  # characters of a line that fits below the axes beside the longest names
_NEAR_AXIS = 0.06  # scores whose label, centred, would cross the axis on the left
_MARKS = {BLUE: "o", ORANGE: "s", GREY: "D", GREEN: "^"}


@dataclass(frozen=True)
class Dot:
    """A mean with its interval.

    Attributes:
        label: Text beside it.
        mean: The mean; a dot with NaN is not drawn.
        ci95: Its interval; None if unknown.
        colour: One of the module's colours.
    """

    label: str
    mean: float
    ci95: Sequence[float] | None
    colour: str = BLUE


def draw_dots(dots: Sequence[Dot], *, xlabel: str, yardstick: Dot | None = None) -> Figure:
    """Draw means with 95 % intervals, one below the other; the yardstick as a band behind them.

    Args:
        dots: Dots, at least one, from top to bottom.
        xlabel: Label of the common axis, which runs from 0 to 1.
        yardstick: The score to compare all others with.
    """
    figure = Figure(figsize=(_WIDTH, _ROW * len(dots) + 1.25), facecolor="white", layout="constrained")
    axes = figure.subplots()
    if yardstick is not None:
        low, high = yardstick.ci95 or (yardstick.mean, yardstick.mean)
        axes.axvspan(low, max(high, low + 0.004), color=GREEN, alpha=0.25, linewidth=0)
        axes.axvline(yardstick.mean, color=GREEN, linewidth=1.4, linestyle="--", label=yardstick.label)
        _name_above(axes)
    _draw_rows(axes, dots)
    axes.set_xlabel(fill(xlabel, _LABEL_LENGTH))
    return figure


def draw_dot_groups(groups: Mapping[str, Sequence[Dot]], *, xlabel: str) -> Figure:
    """Draw groups of means with 95 % intervals below each other, on one axis from 0 to 1.

    Args:
        groups: Dots, at least one, from top to bottom by the title of their group; at least one group.
        xlabel: Label of the common axis.
    """
    rows = [len(dots) for dots in groups.values()]
    size = (_WIDTH, _ROW * sum(rows) + 0.5 * len(rows) + 0.5)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    parts = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=rows)[:, 0]
    for axes, (title, dots) in zip(parts, groups.items(), strict=True):
        _draw_rows(axes, dots)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", parse_math=False)
    parts[-1].set_xlabel(xlabel)
    return figure


def _draw_rows(axes: Axes, dots: Sequence[Dot]) -> None:
    for row, dot in enumerate(dots):
        if dot.ci95 is not None:
            axes.plot(dot.ci95, [row, row], color=dot.colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([dot.mean], [row], marker=_MARKS[dot.colour], color=dot.colour, markersize=7)
        axes.annotate(
            f"{dot.mean:.3f}", (dot.mean, row), xytext=(0, 7), textcoords="offset points", fontsize=8,
            ha="left" if dot.mean < _NEAR_AXIS else "center",
            path_effects=[withStroke(linewidth=3, foreground="white")],  # of the yardstick behind it
        )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(len(dots) - 0.5, -0.75))
    axes.set_yticks(range(len(dots)), [printable(dot.label) for dot in dots], parse_math=False)
    _clean(axes)
    axes.grid(visible=True, axis="x", linewidth=0.4, color="0.85")


def draw_reliability(calibration: Document) -> Figure:
    """Draw the fraction of tumour against probability near the borders of mask and truth, and the numbers of pixels."""
    bins = [each for each in calibration["bins"] if each["pixels"]]
    probabilities = [each["mean_probability"] for each in bins]
    figure = Figure(figsize=(4.6, 4.8), facecolor="white", layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1)})
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect calibration")
    above.plot(probabilities, [each["tumour_share"] for each in bins], color=BLUE, marker="o", label="this model")
    above.set(ylabel="fraction of tumour", xlim=(0, 1), ylim=(0, 1))
    above.legend(frameon=False, fontsize=8.5, loc="upper left")
    width = 0.8 / len(calibration["bins"])
    below.bar([(each["low"] + each["high"]) / 2 for each in bins], [each["pixels"] for each in bins], width, color=GREY)
    below.set(xlabel="predicted probability of tumour", ylabel="pixels", yscale="log")
    below.yaxis.set_minor_formatter(NullFormatter())
    for axes in (above, below):
        _clean(axes)
        axes.grid(visible=True, linewidth=0.3, color="0.85")
    return figure


def draw_risk(calibration: Document) -> Figure:
    """Draw what remains when the least confident masks are set aside."""
    points = calibration["risk_coverage"]
    coverage = [point["coverage"] for point in points]
    figure = Figure(figsize=(4.6, 4.8), facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.plot(
        coverage, [point["mean_dice"] for point in points], color=BLUE, linewidth=2, label="mean Dice of the kept masks"
    )
    low = f"fraction of the kept masks with Dice < {calibration['low_dice']:g}"
    axes.plot(
        coverage, [point["low_dice_share"] for point in points], color=ORANGE, linewidth=2, linestyle="--", label=low
    )
    flagged = calibration["flagged_share"]
    axes.axvline(1 - flagged, color=GREY, linewidth=1, linestyle=":", label=f"{percent(flagged)} set aside")
    axes.set(xlabel="fraction of the masks that is kept, most confident first", xlim=(1, 0), ylim=(0, 1))
    _name_above(axes)
    _clean(axes)
    axes.grid(visible=True, linewidth=0.3, color="0.85")
    return figure


def draw_froc(points: Sequence[Document], *, chosen: float) -> Figure:
    """Draw the fraction of lesions found against the false lesions per head.

    Args:
        points: Points of the curve, by rising peak threshold.
        chosen: The model's own peak threshold.
    """
    names = ("false lesions per head", "lesions found (fraction)")
    return _draw_curve(points, ("false_lesions_per_head", "sensitivity"), names, chosen=chosen)


def draw_trade_off(points: Sequence[Document], *, chosen: float) -> Figure:
    """Draw the mean Dice of slices with tumour against the false alarms on tumour-free slices.

    Args:
        points: Points of the curve, by rising peak threshold.
        chosen: The model's own peak threshold.
    """
    names = ("tumour-free slices with a false alarm (fraction)", "mean Dice of slices with tumour")
    return _draw_curve(points, ("painted", "dice"), names, chosen=chosen)


_INTERVALS = {"false_lesions_per_head": "false_lesions_ci95"}


def _draw_curve(points: Sequence[Document], keys: tuple[str, str], names: tuple[str, str], *, chosen: float) -> Figure:
    """Draw two scores of each peak threshold against each other, and the intervals of the model's own."""
    figure = Figure(figsize=(5.2, 3.8), facecolor="white", layout="constrained")
    axes = figure.subplots()
    values = [[point[key] for point in points] for key in keys]
    axes.plot(*values, color=BLUE, linewidth=1.6, marker="o", markerfacecolor="white", zorder=2)
    for point in points:
        if point["peak_threshold"] == chosen:
            x, y = (point[key] for key in keys)
            across, along = (point[_INTERVALS.get(key, f"{key}_ci95")] for key in keys)
            axes.plot(across or [x], [y] * len(across or [x]), color=BLUE, linewidth=2.4, zorder=3)
            axes.plot([x] * len(along or [y]), along or [y], color=BLUE, linewidth=2.4, zorder=3)
            axes.plot([x], [y], color=BLUE, marker="o", markersize=8, zorder=4)
            axes.annotate(f"peak threshold {chosen:g}", (x, y), xytext=(9, -13), textcoords="offset points", fontsize=9)
    axes.set(xlabel=names[0], ylabel=names[1], ylim=(-0.02, 1.02))
    right = axes.get_xlim()[1] if max(values[0]) > 0 else 1.0
    axes.set_xlim(-0.02 * right, right)  # no tick at a negative number of lesions
    _clean(axes)
    axes.grid(visible=True, linewidth=0.3, color="0.85")
    return figure


def draw_similarities(document: Document) -> Figure:
    """Draw the similarities of likely pairs after registration: two modes, and the threshold between them."""
    edges, counts = np.array(document["similarities"]["edges"]), np.array(document["similarities"]["counts"])
    figure = Figure(figsize=(_WIDTH, 3.0), facecolor="white", layout="constrained")
    axes = figure.subplots()
    copies = edges[:-1] >= document["same_slice"] - 1e-9
    for chosen, colour, hatch, label in ((~copies, GREY, "", "other slices"), (copies, BLUE, "//", "copies")):
        axes.bar(
            edges[:-1][chosen], counts[chosen], np.diff(edges)[chosen], align="edge", color=colour, hatch=hatch,
            edgecolor="white", linewidth=0.5, label=label,
        )  # fmt: skip
    axes.axvline(
        document["same_slice"], color=ORANGE, linewidth=1.6, linestyle="--", label=f"threshold {document['same_slice']}"
    )
    axes.set(xlabel="similarity of two slices after registration", ylabel="pairs", xlim=(0.2, 1.0))
    if counts.max(initial=0) > _FEW_PAIRS:
        axes.set_yscale("symlog", linthresh=10)
        axes.yaxis.set_major_formatter("{x:,.0f}")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _name_above(axes, columns=3)
    _clean(axes)
    return figure


def draw_group_sizes(document: Document) -> Figure:
    """Draw how many slices occur once, twice, and so on."""
    sizes = {int(size): count for size, count in document["group_sizes"].items()}
    figure = Figure(figsize=(_WIDTH, 2.6), facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.bar(list(sizes), list(sizes.values()), color=BLUE)
    axes.set(xlabel="images that show the same slice", ylabel="slices")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _clean(axes)
    return figure


def draw_fold_losses(runs: Mapping[str, Sequence[MetricsRow]], *, loss: str) -> Figure:
    """Draw the training loss of several runs by epoch, a thin line each, and the validation loss where it was measured.

    Args:
        runs: Rows of ``metrics.csv`` by the run's name.
        loss: Name of the training loss, the same for all runs.
    """
    keys = {"training": "train_loss", "validation": "val_loss"}
    has = [curve for curve, key in keys.items() if any(row[key] is not None for rows in runs.values() for row in rows)]
    figure = Figure(figsize=(_WIDTH, 3.6 * max(len(has), 1)), facecolor="white", layout="constrained")
    for curve, axes in open_loss_axes(figure, loss, has).items():
        for index, (name, rows) in enumerate(runs.items()):
            points = [(row["epoch"], row[keys[curve]]) for row in rows if row[keys[curve]] is not None]
            if points:
                epochs, losses = np.array(points, dtype=np.float64).T
                shade, style = str(0.15 + 0.55 * index / max(len(runs) - 1, 1)), "-" if curve == "training" else "--"
                axes.plot(epochs, losses, style, color=shade, linewidth=1.3, marker=".", label=f"{name}, {curve}")
        scale_losses(axes, np.concatenate([line.get_ydata() for line in axes.lines] or [np.empty(0)]))
        axes.legend(frameon=False, fontsize=8.5, ncols=2)
        _clean(axes)
    return figure


def _name_above(axes: Axes, *, columns: int = 1) -> None:
    """Write the legend above the axes, where it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9, ncols=columns)


def _clean(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=9)

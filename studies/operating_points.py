"""FROC curves of several evaluations, and Dice against false positives.

``python -m studies.operating_points "fast, four folds=runs/full-scores" "fast, brats2013=runs/brats" --out FILE.svg``
draws the curves that ``tumortrace evaluate`` and ``studies.calibrate`` wrote. A filled circle, with its intervals over
heads, is the model as it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.named_runs import read_named
from tumortrace.cli import run_script
from tumortrace.evaluation.folder import read_evaluation
from tumortrace.json_csv import Document
from tumortrace.reporting.charts import BLUE, GREEN, GREY, ORANGE
from tumortrace.reporting.figures import save_figure

FROC = ("false_lesions_per_head", "false_lesions_ci95", "sensitivity", "sensitivity_ci95")
TRADE_OFF = ("painted", "painted_ci95", "dice", "dice_ci95")
"""Keys of a point: a score across and its interval, a score upwards and its interval."""

LABELS = {
    "false_lesions_per_head": "false lesions per head",
    "sensitivity": "lesions found (fraction)",
    "painted": "tumour-free slices marked (fraction)",
    "dice": "mean Dice of slices with tumour",
}
COLOURS = (BLUE, ORANGE, GREEN, GREY)


def draw_operating_points(summaries: Mapping[str, Document]) -> Figure:
    """Draw the FROC curves and, of evaluations with tumour-free slices, the Dice against the false-positive rate.

    Args:
        summaries: The ``summary.json`` of each evaluation, at most four.
    """
    figure = Figure(figsize=(9.6, 4.0), facecolor="white", layout="constrained")
    for axes, keys in zip(figure.subplots(1, 2), (FROC, TRADE_OFF), strict=True):
        for (name, summary), colour in zip(summaries.items(), COLOURS, strict=False):
            if all(point[key] is not None for point in summary["froc"] for key in keys[::2]):
                _draw_curve(axes, summary, keys, label=name, color=colour)
        axes.set(xlabel=LABELS[keys[0]], ylabel=LABELS[keys[2]], ylim=(0, 1))
        axes.set_xlim(left=0)
        axes.grid(visible=True, linewidth=0.3, color="0.85")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _draw_curve(axes: Axes, summary: Document, keys: tuple[str, ...], *, label: str, color: str) -> None:
    """Draw one curve, and the intervals of the point that is used."""
    across, across_ci95, up, up_ci95 = keys
    points, chosen = summary["froc"], summary["calibration"]["peak_threshold"]
    axes.plot([point[across] for point in points], [point[up] for point in points], label=label, color=color)
    used = next(point for point in points if point["peak_threshold"] == chosen)
    x, y = used[across], used[up]
    axes.plot(used[across_ci95] or [x], [y] * len(used[across_ci95] or [x]), color=color, linewidth=2.4)
    axes.plot([x] * len(used[up_ci95] or [y]), used[up_ci95] or [y], color=color, linewidth=2.4)
    axes.plot([x], [y], "o", color=color, markersize=7)


def main(
    evaluations: Annotated[list[str], typer.Argument(metavar="NAME=DIR...")],
    out: Annotated[Path, typer.Option(metavar="FILE")],
) -> None:
    """Draw the curves of the evaluations."""
    named = read_named(evaluations)
    figure = draw_operating_points({name: read_evaluation(folder).summary for name, folder in named.items()})
    save_figure(figure, out)
    print(out)


if __name__ == "__main__":
    run_script(main)

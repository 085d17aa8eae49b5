"""Figures of cases and scores, and Table I.

No slice of a patient is drawn here: the cases are phantoms. ``tumortrace evaluate`` draws those of a dataset into the
folder of the evaluation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reproduction.committed_numbers import Drawn, Rows, clean, read_rows, to_number
from tumortrace.data.geometry import rasterize
from tumortrace.evaluation.folder import read_evaluation
from tumortrace.inference.segmenter import Segmenter
from tumortrace.metrics.aggregate import summarise
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import PixelCounts, count_pixels
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.reporting.charts import BLUE, GREEN, GREY, ORANGE
from tumortrace.reporting.figures import CasePanels, draw_cases

Masks = NDArray[np.bool_]

METRICS = ("precision", "recall", "dice", "iou")
TITLES = {"precision": "precision", "recall": "recall", "dice": "Dice", "iou": "IoU"}
PHANTOM_SIZE_HW = (256, 256)
PHANTOMS = 12
SHOWN = 4
KINDS = ("bright", "ring", "oedema", "multiple")
ERODED_PX, SHIFTED_YX = 3, (5, 8)
"""What makes the prediction of the figure ``comparison`` of the truth."""


@dataclass(frozen=True)
class Reported:
    """What Table I of the student paper says of a metric, on its 100 TEST images and by its own way of counting.

    Attributes:
        mean: Mean over the images.
        p05: 5th percentile of the images.
        p95: 95th percentile.
        max: The largest; None if it is not given.
    """

    mean: float
    p05: float
    p95: float
    max: float | None


REPORTED = {
    "precision": Reported(0.913, 0.52, 1.0, None),
    "recall": Reported(0.452, 0.128, 0.711, 0.759),
    "dice": Reported(0.586, 0.226, 0.829, 0.85),
    "iou": Reported(0.439, 0.128, 0.708, 0.739),
}


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """A phantom that was segmented.

    Attributes:
        number: Its seed, from 0.
        kind: Key of ``KINDS``.
        pixels: Shape ``PHANTOM_SIZE_HW``, uint8.
        truth: Likewise, bool.
        prediction: Likewise, bool.
    """

    number: int
    kind: str
    pixels: NDArray[np.uint8]
    truth: Masks
    prediction: Masks

    @property
    def counts(self) -> PixelCounts:
        """Prediction against truth."""
        return count_pixels(self.prediction, self.truth)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of an evaluation.

    Attributes:
        groups: Group of copies of each image.
        values: Shape (images,) by metric, from 0 to 1; NaN where undefined.
    """

    groups: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]


def spoil(truth: Masks) -> Masks:
    """A prediction in which all four classes occur: the truth, eroded and shifted.

    Args:
        truth: Shape (H, W), bool; a lesion further from the border than the shift.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * ERODED_PX + 1, 2 * ERODED_PX + 1))
    return np.roll(cv2.erode(truth.view(np.uint8), kernel), SHIFTED_YX, axis=(0, 1)).astype(np.bool_)


@functools.cache
def segment_phantoms() -> tuple[PhantomCase, ...]:
    """``PHANTOMS`` phantoms as the model that comes with the package segments them; always the same ones."""
    segmenter = Segmenter(threads=1, gate=False)
    cases = []
    for number in range(PHANTOMS):
        kind = KINDS[number % len(KINDS)]
        phantom = draw_phantom(np.random.default_rng(number), size_hw=PHANTOM_SIZE_HW, kind=kind)
        truth = rasterize(phantom.regions, PHANTOM_SIZE_HW)
        cases.append(PhantomCase(number, kind, phantom.pixels, truth, segmenter.predict(phantom.pixels).mask))
    return tuple(cases)


def condense_evaluation(folder: Path) -> Rows:
    """The scores of an evaluation by group, a row an image in the order of the file; no names of files."""
    return [{name: getattr(row, name) for name in ("group", *METRICS)} for row in read_evaluation(folder).rows]


def read_scores(results: Path) -> Scores:
    """What ``condense_evaluation`` made."""
    rows = read_rows(results / "scores.csv", remedy="give an evaluation's folder with --evaluation")
    values = {metric: np.array([to_number(row[metric]) for row in rows]) for metric in METRICS}
    return Scores(tuple(row["group"] for row in rows), values)


def tabulate_scores(scores: Scores) -> Rows:
    """Table I, a row a metric: undefined scores are left out, counted, and named by their groups."""
    rows = []
    for metric in METRICS:
        values, reported = scores.values[metric], REPORTED[metric]
        spread = summarise(values)
        low, high = mean_interval(values, scores.groups)
        undefined = sorted({scores.groups[index] for index in np.flatnonzero(np.isnan(values))})
        ours = {"mean": spread.mean, "ci95_low": low, "ci95_high": high, "min": spread.min, "max": spread.max}
        theirs = {"mean": reported.mean, "p05": reported.p05, "p95": reported.p95, "max": reported.max}
        rows.append(
            {"metric": TITLES[metric], "images": len(values), "groups": len(set(scores.groups)), **ours}
            | {"p05": spread.p05, "p95": spread.p95, "undefined": spread.undefined}
            | {"undefined_groups": " ".join(undefined)}
            | {f"report_{name}": value for name, value in theirs.items()}
        )
    return rows


def write_markdown(rows: Rows) -> str:
    """Table I in Markdown, a line on undefined scores below it."""
    heads = (
        "",
        "mean [95 % interval]",
        "min",
        "max",
        "5 % to 95 % of images",
        "student paper: mean",
        "5 % to 95 %",
        "max",
    )
    lines = [_line(heads), "|---|" + "---:|" * (len(heads) - 1)]
    for row in rows:
        mean = f"{_digits(row['mean'])} [{_digits(row['ci95_low'])}, {_digits(row['ci95_high'])}]"
        cells = [row["metric"], mean, *(_digits(row[name]) for name in ("min", "max"))]
        cells.append(f"{_digits(row['p05'])} to {_digits(row['p95'])}")
        theirs = f"{_digits(row['report_p05'])} to {_digits(row['report_p95'])}"
        lines.append(_line([*cells, _digits(row["report_mean"]), theirs, _digits(row["report_max"])]))
    undefined = [f"{row['metric']} {row['undefined']} ({row['undefined_groups']})" for row in rows if row["undefined"]]
    lines += [
        "",
        (
            f"{rows[0]['images']} images in {rows[0]['groups']} groups of copies; intervals of the mean over groups. "
            "The student paper's numbers: 100 TEST images, by its own metric."
        ),
        f"Undefined and left out: {'; '.join(undefined) or 'none'}.",
    ]
    return "\n".join(lines) + "\n"


def draw_distribution(scores: Scores) -> Figure:
    """A histogram of each metric over images, with its mean and percentiles and the student paper's mean."""
    figure = Figure(figsize=(8.4, 6.2), facecolor="white", layout="constrained")
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, metric in zip(grid.flat, METRICS, strict=True):
        _draw_histogram(axes, metric, scores.values[metric])
    for axes in grid[-1]:
        axes.set_xlabel("score of an image, 0 to 1")
    for axes in grid[:, 0]:
        axes.set_ylabel("images")
    figure.suptitle(f"Scores of {len(scores.groups)} images in {len(set(scores.groups))} groups of copies", size=11)
    handles = {label: line for axes in grid.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    place: dict[str, Any] = {
        "loc": "outside lower center",
        "ncols": 3,
        "frameon": False,
        "fontsize": 9,
        "handlelength": 3,
    }
    figure.legend(list(handles.values()), list(handles), **place)
    return figure


def tabulate_distribution(scores: Scores) -> Rows:
    """A row a bar of the histograms."""
    rows: Rows = []
    for metric in METRICS:
        counts, edges = _count_bins(scores.values[metric])
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
            rows.append({"metric": metric, "from": float(low), "to": float(high), "images": int(count)})
    return rows


def make_comparison(_results: Path) -> Drawn:
    """The colours, on a phantom."""
    phantom = draw_phantom(np.random.default_rng(1), size_hw=PHANTOM_SIZE_HW, kind="bright")
    truth = rasterize(phantom.regions, PHANTOM_SIZE_HW)
    prediction = spoil(truth)
    counts = count_pixels(prediction, truth)
    case = CasePanels(f"a phantom\nDice {counts.dice:.3f}", phantom.pixels, truth, prediction)
    title = "A prediction compared (the truth, eroded and shifted)"
    return Drawn(draw_cases([case], title=title, colours="paper"), {"comparison": [_score_cells(counts)]})


def make_best_cases(_results: Path) -> Drawn:
    """The phantoms with the highest Dice."""
    ranked = sorted(segment_phantoms(), key=lambda case: (-case.counts.dice, case.number))
    return _show("best_cases", f"The best {SHOWN} of {PHANTOMS} phantoms, shipped model", ranked[:SHOWN])


def make_random_cases(_results: Path) -> Drawn:
    """Some phantoms, drawn at random but always the same."""
    drawn = sorted(np.random.default_rng(0).permutation(PHANTOMS)[:SHOWN].tolist())
    cases = [segment_phantoms()[number] for number in drawn]
    return _show("random_cases", f"{SHOWN} of {PHANTOMS} phantoms at random, shipped model", cases)


def make_distribution(results: Path) -> Drawn:
    """The histograms."""
    scores = read_scores(results)
    return Drawn(draw_distribution(scores), {"score_distribution": tabulate_distribution(scores)})


def make_table(results: Path) -> Drawn:
    """Table I, printed as well."""
    rows = tabulate_scores(read_scores(results))
    return Drawn(None, {"table_1": rows}, write_markdown(rows))


def _show(name: str, title: str, cases: Sequence[PhantomCase]) -> Drawn:
    panels = [
        CasePanels(f"phantom {case.number}, {case.kind}\nDice {case.counts.dice:.3f}", case.pixels, case.truth,
                   case.prediction)
        for case in cases
    ]  # fmt: skip
    rows = [{"phantom": case.number, "kind": case.kind, **_score_cells(case.counts)} for case in cases]
    return Drawn(draw_cases(panels, title=title, colours="paper"), {name: rows})


def _score_cells(counts: PixelCounts) -> dict[str, Any]:
    pixels = {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn}
    return pixels | {metric: getattr(counts, metric) for metric in METRICS}


def _count_bins(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Images in each twentieth of the range from 0 to 1, NaN left out, and the twenty-one edges."""
    return np.histogram(values[~np.isnan(values)], bins=np.linspace(0, 1, 21))


def _draw_histogram(axes: Axes, metric: str, values: NDArray[np.float64]) -> None:
    counts, edges = _count_bins(values)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color="0.82", edgecolor="white", linewidth=0.5)
    spread = summarise(values)
    marked: tuple[tuple[float, str, str, Any], ...] = (
        (spread.mean, "mean", "black", "-"),
        (spread.median, "median", BLUE, "--"),
        (spread.p05, "5th percentile", GREEN, ":"),
        (spread.p95, "95th percentile", GREY, (0, (4, 1, 1, 1, 1, 1))),
        (REPORTED[metric].mean, "the student paper's mean (its own metric)", ORANGE, "-."),
    )
    for value, label, colour, line in marked:
        if not math.isnan(value):
            axes.axvline(value, color=colour, linestyle=line, linewidth=1.7, label=label)
    axes.set_title(f"{TITLES[metric]} ({spread.undefined} undefined)", size=10)
    axes.set_xlim(-0.02, 1.02)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    clean(axes, axis="y")


def _digits(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

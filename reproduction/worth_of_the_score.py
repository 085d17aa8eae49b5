"""What the student paper's Dice of 0.586 means by the textbook formula.

``python -m reproduction.worth_of_the_score BR35H --model NAME=RUN`` writes ``results/worth_of_the_score.csv`` and
``figures/worth_of_the_score.png`` and ``.svg``, and prints the tables. TEST is not needed: all is measured on VAL, and
how many tumour pixels vanish on TRAIN as well. ``reproduction.paper_rules`` says what was reconstructed, and how well
it fits.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from reproduction import paper_rules
from tumortrace.cli import run_script
from tumortrace.copies.described import SurveyedCase, describe_cases
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Region, rasterize
from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import PixelCounts, count_pixels
from tumortrace.reporting.charts import BLUE, GREY, ORANGE

Mask = NDArray[np.bool_]
Faults = frozenset[str]

HERE = Path(__file__).parent
NAME = "worth_of_the_score"

REPORTED_DICE = 0.586
"""The student paper's own, on TEST."""

METRICS = {"precision": "precision", "recall": "recall", "dice": "Dice", "iou": "IoU"}
THEIRS, OURS = "student paper's metric", "our metric"
AS_LABEL, AS_TRUTH = "as a label, our metric: Dice", "as a truth, student paper's metric: Dice of a perfect mask"

DISPLACED = 0.9
"""A mask whose Dice with the true one is lower has been displaced by ``theta``."""

FORGIVEN = 1e-6
"""How far below 1 a value still counts as 1 where rounding is not to matter."""

PIXELS = frozenset({"jpeg", "bilinear", "truncate"})
ALL = PIXELS | {"paint", "theta"}
FAULTS: dict[str, Faults] = {
    "none": frozenset(),
    "painted by OpenCV": frozenset({"paint"}),
    "theta": frozenset({"theta"}),
    "JPEG": frozenset({"jpeg"}),
    "bilinear": frozenset({"bilinear"}),
    "truncation": frozenset({"truncate"}),
    "JPEG + bilinear": frozenset({"jpeg", "bilinear"}),
    "JPEG + truncation": frozenset({"jpeg", "truncate"}),
    "bilinear + truncation": frozenset({"bilinear", "truncate"}),
    "JPEG + bilinear + truncation": PIXELS,
    "the three, rounding forgiven": PIXELS | {"forgive"},
    "all of the student paper's": ALL,
}
"""Which of the student paper's faults a row of the second table has; all else is done as it should be."""


class Cell(NamedTuple):
    """A mean over images, its 95 % interval over groups of copies, the largest value, and of how many images."""

    mean: float
    low: float
    high: float
    largest: float
    images: int


class Row(NamedTuple):
    """A row of one of the tables, its cells by the names of their columns."""

    table: str
    name: str
    cells: dict[str, Cell]


def to_grid(mask: Mask, size_hw: tuple[int, int] = paper_rules.SIZE_HW) -> Mask:
    """Bring a mask onto another grid by the nearest pixel; shape ``size_hw``, bool.

    A network's mask is brought from the image's grid onto the student paper's in this way. A mask made on the student
    paper's grid would change its Dice by less than 0.001 (measured on VAL with smooth masks brought there and back).
    """
    height, width = size_hw
    return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0)


def regions_of(record: CaseRecord) -> tuple[Region, ...]:
    """What the annotator drew.

    Raises:
        DataError: The dataset holds masks: there is no ``theta`` to misread.
    """
    if not isinstance(record.truth, tuple):
        raise DataError(f"{record.case_id}: has no regions; give a dataset with VIA annotations")
    return record.truth


def soften(case: SurveyedCase, faults: Faults) -> NDArray[np.float32]:
    """The truth of a case with some of the student paper's faults.

    Args:
        case: Annotated with regions.
        faults: Any of ``theta``, ``paint``, ``jpeg``, ``bilinear``; others make no difference here.

    Returns:
        Shape ``paper_rules.SIZE_HW``, float32 in [0, 1].
    """
    regions = regions_of(case.record)
    if "theta" in faults:
        regions = tuple(paper_rules.misread_theta(region) for region in regions)
    if "paint" in faults:
        grey = paper_rules.paint(regions, case.size_hw)
    else:
        grey = rasterize(regions, case.size_hw).astype(np.uint8) * np.uint8(255)
    if "jpeg" in faults:
        grey = paper_rules.through_jpeg(grey)
    if "bilinear" in faults:
        return paper_rules.resize_bilinear(grey)
    height, width = paper_rules.SIZE_HW
    nearest = cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(nearest.astype(np.float32) / np.float32(255))


def harden(soft: NDArray[np.float32], faults: Faults) -> Mask:
    """A mask of a soft truth: cut at one half as it should be, or truncated as the student paper did."""
    if "truncate" not in faults:
        return np.asarray(soft >= 0.5)
    return paper_rules.truncate(soft, FORGIVEN if "forgive" in faults else 0.0)


def score(name: str, masks: Sequence[tuple[Mask, Mask]], cases: Sequence[SurveyedCase], groups: Sequence[str]) -> Row:
    """Score masks by the student paper's metric against the student paper's truth, and by ours against the true mask.

    Args:
        name: Name of the row.
        masks: Masks of each case on the student paper's grid and on the image's.
        cases: Annotated with regions.
        groups: Group of copies of each case.
    """
    pairs = list(zip(masks, cases, strict=True))
    counts = {
        THEIRS: [paper_rules.count(there, soften(case, ALL)) for (there, _), case in pairs],
        OURS: [count_pixels(here, case.truth()) for (_, here), case in pairs],
    }
    return Row(
        "score",
        name,
        {f"{rule}: {METRICS[m]}": average_metric(some, m, groups) for rule, some in counts.items() for m in METRICS},
    )


def perfect_masks(cases: Sequence[SurveyedCase]) -> list[tuple[Mask, Mask]]:
    """The true masks, on the student paper's grid and on their own."""
    return [(to_grid(case.truth()), case.truth()) for case in cases]


def label_masks(cases: Sequence[SurveyedCase]) -> list[tuple[Mask, Mask]]:
    """Return the student paper's labels as masks, on its own grid and on the image's."""
    labels = [paper_rules.label(regions_of(case.record), case.size_hw) for case in cases]
    return [(label, to_grid(label, case.size_hw)) for label, case in zip(labels, cases, strict=True)]


def network_masks(name_or_path: str, cases: Sequence[SurveyedCase], threads: int) -> list[tuple[Mask, Mask]]:
    """What a network answers, on the student paper's grid and the image's."""
    model = open_model(name_or_path, threads=threads)
    masks = [predict(model, read_case(case.record)[0].slice).mask for case in cases]
    return [(to_grid(mask), mask) for mask in masks]


def score_faults(name: str, cases: Sequence[SurveyedCase], groups: Sequence[str]) -> Row:
    """What the faults of one row cost: in a label, and in a truth that a perfect mask is scored against.

    A label is compared with the true mask on the student paper's grid by our metric, so that only the faults differ.
    """
    softs = [soften(case, FAULTS[name]) for case in cases]
    pairs = [(soft, to_grid(case.truth())) for soft, case in zip(softs, cases, strict=True)]
    labels = [count_pixels(harden(soft, FAULTS[name]), perfect) for soft, perfect in pairs]
    truths = [paper_rules.count(perfect, soft) for soft, perfect in pairs]
    return Row(
        "fault",
        name,
        {AS_LABEL: average_metric(labels, "dice", groups), AS_TRUTH: average_metric(truths, "dice", groups)},
    )


def vanished(cases: Sequence[SurveyedCase], faults: Faults) -> float:
    """Share of the tumour pixels of all cases that faults take out of the labels, on the student paper's grid, 0 to 1.

    It is counted from a mask of the same regions by the same brush: what ``theta`` moves has not vanished.
    """
    lost = total = 0
    for case in cases:
        drawn = harden(soften(case, faults & {"theta", "paint"}), frozenset())
        lost += int((drawn & ~harden(soften(case, faults), faults)).sum())
        total += int(drawn.sum())
    return lost / total


def turned_dice(cases: Sequence[SurveyedCase]) -> list[float]:
    """Dice of the true mask with the one that the misread ``theta`` gives, a case each, on the image's own grid."""
    turned = [[paper_rules.misread_theta(region) for region in regions_of(case.record)] for case in cases]
    drawn = [rasterize(regions, case.size_hw) for regions, case in zip(turned, cases, strict=True)]
    return [count_pixels(mask, case.truth()).dice for mask, case in zip(drawn, cases, strict=True)]


def lost_in_perfect(cases: Sequence[SurveyedCase], groups: Sequence[str]) -> list[Row]:
    """Why the student paper's metric gives a perfect mask less than 1, in shares of the true mask's pixels."""
    dropped, missed = [], []
    for case in cases:
        perfect = to_grid(case.truth())
        counts = paper_rules.count(perfect, soften(case, ALL))
        total = counts.tp + counts.fp + counts.fn + counts.tn
        dropped.append((perfect.size - total) / perfect.sum())
        missed.append(counts.fn / perfect.sum())
    return [
        Row("share", "VAL: hits of a perfect mask that are not counted", {"share": average(dropped, groups)}),
        Row("share", "VAL: halo that counts as missed, to the tumour's area", {"share": average(missed, groups)}),
    ]


def average_metric(counts: Sequence[PixelCounts], metric: str, groups: Sequence[str]) -> Cell:
    """Mean of a metric over images, as ``average`` makes it."""
    return average([getattr(each, metric) for each in counts], groups)


def average(values: Sequence[float], groups: Sequence[str]) -> Cell:
    """Mean over images; NaN is left out.

    Where all images agree, as a perfect mask's do under our metric, that is no finding, and it has no interval.
    """
    array = np.array(values, dtype=np.float64)
    low, high = mean_interval(array, groups, shares=False)
    defined = array[~np.isnan(array)]
    if not len(defined):
        return bare(math.nan, 0)
    return Cell(float(defined.mean()), low, high, float(defined.max()), len(defined))


def measure_shares(part: str, cases: Sequence[SurveyedCase]) -> list[Row]:
    """How many tumour pixels vanish, and how many masks ``theta`` displaces, in one part."""
    names = ("all of the student paper's", "JPEG + bilinear + truncation", "the three, rounding forgiven")
    shares = {f"tumour pixels that vanish, {name}": vanished(cases, FAULTS[name]) for name in names}
    away = np.array(turned_dice(cases)) < DISPLACED
    shares[f"masks that theta displaces ({away.sum()} of {len(away)})"] = float(away.mean())
    return [Row("share", f"{part}: {name}", {"share": bare(share, len(cases))}) for name, share in shares.items()]


def bare(value: float, images: int) -> Cell:
    """A number that is no mean over images."""
    return Cell(value, math.nan, math.nan, math.nan, images)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write all tables as one CSV, a line a cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "row", "column", "mean", "ci95_low", "ci95_high", "largest", "images"])
    for row in rows:
        for column, cell in row.cells.items():
            numbers = ["" if math.isnan(value) else f"{value:.4f}" for value in cell[:4]]
            writer.writerow([row.table, row.name, column, *numbers, cell.images])
    write_atomically(path, text.getvalue().encode())


def tabulate(rows: Sequence[Row], title: str, caption: str = "") -> Table:
    """Rows with the same columns as a table for the terminal."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    for column in rows[0].cells:
        table.add_column(column.replace(": ", ":\n", 1), justify="right")
    for row in rows:
        table.add_row(row.name, *[_cell(cell) for cell in row.cells.values()])
    return table


def _cell(cell: Cell) -> str:
    if math.isnan(cell.low):
        return f"{cell.mean:.3f}"
    return f"{cell.mean:.3f}\n[{cell.low:.3f}, {cell.high:.3f}]"


def draw(rows: Sequence[Row], slices: str) -> Figure:
    """Dice of each mask by both metrics, and what each fault alone costs by both; bars with 95 % intervals.

    Args:
        rows: Rows of the tables ``score`` and ``fault``.
        slices: Number of slices that they were measured on, for the titles.
    """
    scores, faults = ([row for row in rows if row.table == table] for table in ("score", "fault"))
    heights = (len(scores) + 1.2, len(faults) + 1.2)
    size = (7.6, 0.5 * sum(heights) + 0.6)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _draw_bars(above, scores, {THEIRS: f"{THEIRS}: Dice", OURS: f"{OURS}: Dice"})
    above.axvline(
        REPORTED_DICE, color=GREY, linewidth=1.4, linestyle="--", label=f"the student paper: {REPORTED_DICE} (TEST)"
    )
    above.set_title(f"What a mask scores ({slices})", loc="left", fontsize=10)
    _draw_bars(below, faults, {THEIRS: AS_TRUTH, OURS: AS_LABEL})
    below.set_title(
        "What the faults cost: a perfect mask against the student paper's truth (its metric),\n"
        "the label against the true mask (our metric); only labels are truncated", loc="left", fontsize=10,
    )  # fmt: skip
    below.set_xlabel("mean Dice over images, 0 to 1, with 95 % interval over groups of copies")
    handles, labels = above.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw_bars(axes: Axes, rows: Sequence[Row], columns: dict[str, str]) -> None:
    """Two bars a row, from top to bottom; hatching tells them apart in grey print."""
    signatures = {THEIRS: (-0.2, ORANGE, "///"), OURS: (0.2, BLUE, "")}
    for rule, column in columns.items():
        offset, colour, hatch = signatures[rule]
        places = np.arange(len(rows)) + offset
        means = [row.cells[column].mean for row in rows]
        axes.barh(places, means, 0.38, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=rule)
        for place, row in zip(places, rows, strict=True):
            _draw_interval(axes, row.cells[column], float(place))
    axes.set(xlim=(0, 1.1), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [row.name for row in rows], parse_math=False)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(visible=True, axis="x", linewidth=0.4, color="0.85")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_interval(axes: Axes, cell: Cell, place: float) -> None:
    """The interval of a bar, if it has one, and its mean in digits behind both."""
    for colour, width in (("white", 3.4), ("black", 1.6)):  # a white rim, to be seen on dark bars
        axes.plot([cell.low, cell.high], [place, place], color=colour, linewidth=width)
    end = cell.mean if math.isnan(cell.high) else cell.high
    axes.annotate(f"{cell.mean:.3f}", (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)


def save(figure: Figure, folder: Path) -> None:
    """Write a figure as PNG and SVG; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": NAME}):
        figure.savefig(folder / f"{NAME}.png", dpi=160)
        figure.savefig(folder / f"{NAME}.svg", metadata={"Date": None})


def measure(survey: Survey, models: dict[str, str], threads: int) -> list[Row]:
    """The rows of both tables."""
    cases, groups = survey.cases, survey.groups
    masks = {"perfect mask": perfect_masks(cases), "mask like the student paper's labels": label_masks(cases)}
    masks |= {name: network_masks(path, cases, threads) for name, path in models.items()}
    scores = [score(name, some, cases, groups) for name, some in masks.items()]
    return [*scores, *[score_faults(name, cases, groups) for name in FAULTS]]


def main(
    data: Path,
    model: Annotated[list[str] | None, typer.Option(help="NAME=PATH, or what --model takes elsewhere")] = None,
    out: Path = HERE,
    threads: int = 1,
) -> None:
    """Measure on VAL and TRAIN; write the CSV and the figure, print the tables."""
    dataset = open_dataset(data)
    survey = survey_cases(dataset.select("val"))
    models = {each.partition("=")[0]: each.partition("=")[2] or each for each in model or ()}
    rows = measure(survey, models, threads)
    train = describe_cases(dataset.select("train")).cases
    shares = [
        *lost_in_perfect(survey.cases, survey.groups),
        *measure_shares("VAL", survey.cases),
        *measure_shares("TRAIN", train),
    ]
    write_rows(out / "results" / f"{NAME}.csv", [*rows, *shares])
    slices = f"{len(survey.cases)} slices of VAL, {len(set(survey.groups))} groups of copies"
    save(draw(rows, slices), out / "figures")
    console = Console(width=160)
    caption = "A network that learnt TRAIN has seen copies of most slices of VAL." if models else ""
    scores, faults = ([row for row in rows if row.table == table] for table in ("score", "fault"))
    console.print(tabulate(scores, f"What a mask scores ({slices})", caption))
    console.print(tabulate(faults, "What the student paper's faults cost, each alone and together"))
    console.print(tabulate(shares, "Shares of all pixels, and of the masks"))


if __name__ == "__main__":
    run_script(main)

"""Tables and figures of docs/results/prompted.md, from the studies of prompts.

``python -m studies.prompted_tables --boxes DIR --clicks DIR --peer DIR --volumes FILE --worth FILE --split FILE``
writes ``prompted_*.csv`` into ``docs/results/tables``, and ``prompted_curves.svg`` and ``prompted_phantoms.png`` into
``docs/images``. ``--boxes`` and ``--clicks`` may come several times, each with a folder of ``studies.prompted``; of two
rows for the same slice, mask and box the later counts. ``--held-out LABEL=DIR`` adds a row to the table of held-out
sources, from a folder of ``studies.prompted``; with ``LABEL=DIR:SOURCE``, only the slices of that source count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from matplotlib.figure import Figure

from studies.means import describe_mean
from studies.prompted import GOALS, LOOSENESS, SHIFTED
from tumortrace.cli import run_script
from tumortrace.copies.split_files import read_split
from tumortrace.data.geometry import rasterize_region
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice import Slice
from tumortrace.evaluation.simulated_prompts import click_error, loosen_box
from tumortrace.inference.prompts.grid import box_of, cut_to_slice
from tumortrace.inference.prompts.model import open_prompt_model
from tumortrace.inference.prompts.session import PromptSession
from tumortrace.json_csv import read_csv, write_csv
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.reporting.charts import BLUE, GREEN, GREY, ORANGE
from tumortrace.reporting.figures import save_figure
from tumortrace.wording import percent

DOCS = Path(__file__).parents[1] / "docs"
TABLES, IMAGES = DOCS / "results" / "tables", DOCS / "images"
BOXES = [f"{looseness:g}" for looseness in LOOSENESS]
LINES = {
    "box": (BLUE, "o"),
    "automatic": (ORANGE, "s"),
    "automatic on the surroundings": (ORANGE, "D"),
    "ellipse": (GREEN, "^"),
    "GrabCut": (GREY, "v"),
}
"""Colour and marker of each kind of mask."""

HEADINGS = {**{name: f"{percent(float(name))} too wide" for name in BOXES}, SHIFTED: "15 %, shifted"}

Row = dict[str, str]


def main(  # noqa: PLR0913, PLR0917 - the options of a program
    boxes: Annotated[list[Path], typer.Option()],
    clicks: Annotated[list[Path], typer.Option()],
    peer: Annotated[Path, typer.Option()],
    volumes: Annotated[Path, typer.Option()],
    worth: Annotated[Path, typer.Option()],
    split: Annotated[Path, typer.Option()],
    held_out: Annotated[list[str], typer.Option()] = [],  # noqa: B006 - typer makes a new list
    model: Annotated[str, typer.Option()] = "box",
) -> None:
    """Write every table and both figures."""
    group_of = {case.file: case.group for case in read_split(split).cases}
    every = [row for folder in boxes for row in read(folder / "boxes.csv", group_of)]
    rows = list({(row["file"], row["way"], row["box"]): row for row in every}.values())
    write_boxes(rows, "prompted_boxes", names=[*BOXES, SHIFTED])
    write_boxes(read(peer / "boxes.csv", group_of), "prompted_peer", names=["0.15", "0.3"])
    clicked = [row for folder in clicks for row in read(folder / "clicks.csv", group_of)]
    write_clicks(clicked)
    write_volumes(read_csv(volumes))
    write_worth(read(worth, group_of))
    if held_out:
        write_sources(held_out, group_of)
    save_figure(draw_curves(read_csv(TABLES / "prompted_boxes.csv")), IMAGES / "prompted_curves.svg")
    draw_phantoms(model)


def read(path: Path, group_of: Mapping[str, str]) -> list[Row]:
    """Return the rows of a CSV file, each with the group of its slice.

    Args:
        path: CSV file with a row for each slice, and more for its boxes.
        group_of: Group of each slice that the split names; the others keep the one in the file.
    """
    return [row | {"group": group_of.get(row["file"], row["group"])} for row in read_csv(path)]


def write_boxes(rows: Sequence[Row], table: str, *, names: Sequence[str]) -> None:
    """Write a row for each source and way, a column for each box."""
    written = []
    for source, way in dict.fromkeys((row["source"], row["way"]) for row in rows):
        here = [row for row in rows if (row["source"], row["way"]) == (source, way)]
        line: dict[str, object] = {"source": source, "mask": way, "n": len({row["file"] for row in here})}
        for name in names:
            part = [row for row in here if row["box"] == name]
            dices = [float(row["dice"]) for row in part]
            line[HEADINGS[name]] = describe_mean(dices, [row["group"] for row in part]) if dices else ""
        written.append(line)
    order = ["ellipse", "GrabCut", "automatic", "automatic on the surroundings", "LiteMedSAM", "box"]
    written.sort(key=lambda line: (str(line["source"]), order.index(str(line["mask"]))))
    write_csv(TABLES / f"{table}.csv", written, columns=list(written[0]))


def write_clicks(rows: Sequence[Row]) -> None:
    """Write prompts to each goal and the Dice after each click, a row for each source."""
    written = []
    for source in sorted({row["source"] for row in rows}):
        here = [row for row in rows if row["source"] == source]
        groups = [row["group"] for row in here]
        line: dict[str, object] = {"source": source, "n": len(here)}
        for goal in GOALS:
            line[f"prompts to {goal:g}"] = describe_mean(
                [float(row[f"prompts_to_{goal}"]) for row in here], groups, digits=2, shares=False
            )
        for count in (0, 1, 2, 3, 5):
            dice = np.mean([float(row[f"dice_{count}"]) for row in here])
            line[f"{count} click" if count == 1 else f"{count} clicks"] = f"{dice:.3f}"
        written.append(line)
    write_csv(TABLES / "prompted_clicks.csv", written, columns=list(written[0]))


def write_volumes(rows: Sequence[Row]) -> None:
    """Write the mean over scans of each way, and the counts of slices."""
    patients = [row["patient"] for row in rows]
    ways = {"box on one slice, carried": "carried", "box on every slice": "a box a slice", "automatic": "automatic"}
    there, marked, false = (
        sum(int(float(row[name])) for row in rows)
        for name in ("slices with tumour", "of them marked", "tumour-free slices marked")
    )
    written = []
    for name, column in ways.items():
        carried = column == "carried"
        written.append(
            {
                "mask": name,
                "scans": len(rows),
                "Dice of the scan": describe_mean([float(row[column]) for row in rows], patients),
                "slices with tumour marked": f"{marked} of {there}" if carried else "",
                "tumour-free slices marked": str(false) if carried else "",
            }
        )
    write_csv(TABLES / "prompted_volumes.csv", written, columns=list(written[0]))


def write_sources(given: Sequence[str], group_of: Mapping[str, str]) -> None:
    """Write a row for each held-out source, given as ``LABEL=DIR`` or ``LABEL=DIR:SOURCE``."""
    written = []
    for each in given:
        label, _, place = each.rpartition("=")
        folder, _, source = place.partition(":")
        boxes, clicks = (
            [row for row in read(Path(folder) / name, group_of) if source in ("", row["source"])]
            for name in ("boxes.csv", "clicks.csv")
        )
        line: dict[str, object] = {"source": label, "n": len(clicks)}
        for name in ("0.15", "0.3"):
            part = [row for row in boxes if (row["way"], row["box"]) == ("box", name)]
            line[HEADINGS[name]] = describe_mean([float(row["dice"]) for row in part], [row["group"] for row in part])
        for goal in GOALS:
            line[f"prompts to {goal:g}"] = f"{np.mean([float(row[f'prompts_to_{goal}']) for row in clicks]):.2f}"
        written.append(line)
    write_csv(TABLES / "prompted_sources.csv", written, columns=list(written[0]))


def write_worth(rows: Sequence[Row]) -> None:
    """Write strokes and seconds to each goal, a column for each source."""
    named = {
        "brush strokes from the automatic mask": "strokes_automatic",
        "brush strokes from the mask of a box": "strokes_box",
        "seconds: automatic mask, else an outline": "seconds_outline",
        "seconds: box and clicks": "seconds_prompts",
        "seconds: automatic mask, else box and clicks": "seconds_automatic_then_prompts",
    }
    sources = sorted({row["source"] for row in rows})
    written = []
    for title, column in named.items():
        for goal in GOALS:
            line: dict[str, object] = {"to reach the Dice": title, "Dice": f"{goal:g}"}
            for source in sources:
                here = [row for row in rows if row["source"] == source]
                values = [float(row[f"{column}_{goal}"]) for row in here]
                line[f"{source}, n = {len(here)}"] = describe_mean(
                    values, [row["group"] for row in here], digits=1, shares=False
                )
            written.append(line)
    write_csv(TABLES / "prompted_worth.csv", written, columns=list(written[0]))


def draw_curves(table: Sequence[Row]) -> Figure:
    """Draw Dice against looseness for each way, a plot for each source, from the rows of ``prompted_boxes.csv``."""
    sources = list(dict.fromkeys(row["source"] for row in table))
    figure = Figure(figsize=(4.2 * len(sources), 4.4), facecolor="white", layout="constrained")
    for plot, source in zip(figure.subplots(1, len(sources), sharey=True, squeeze=False)[0], sources, strict=True):
        for row in (row for row in table if row["source"] == source):
            known = [name for name in BOXES if row[HEADINGS[name]]]
            means = [float(row[HEADINGS[name]].split()[0]) for name in known]
            colour, marker = LINES[row["mask"]]
            plot.plot([100 * float(name) for name in known], means, marker=marker, color=colour, label=row["mask"])
        plot.set(title=source, xlabel="box too wide on each side, %", ylim=(0, 1))
        plot.grid(visible=True, linewidth=0.3, color="0.85")
        handles, labels = plot.get_legend_handles_labels()
    figure.axes[0].set_ylabel("mean Dice")
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_phantoms(model: str) -> None:
    """Draw generated slices: the box, its mask, and the mask after one and two clicks, beside the truth."""
    opened = open_prompt_model(model)
    lines = []
    for seed, kind in enumerate(("bright", "ring", "oedema", "bright")):
        phantom = draw_phantom(np.random.default_rng(seed + 3), size_hw=(256, 224), kind=kind)
        truth = np.any([rasterize_region(region, phantom.pixels.shape) for region in phantom.regions], axis=0)
        box = cut_to_slice(loosen_box(box_of(truth), 0.15), truth.shape)
        session = PromptSession(opened, Slice(phantom.pixels, "phantom"))
        points: list[tuple[int, int]] = []
        labels: list[bool] = []
        panels = [_draw(phantom.pixels, None, box, points, labels)]
        for _ in range(3):
            mask = session.predict(box, points, labels).mask
            panels.append(_draw(phantom.pixels, mask, box, points, labels))
            click = click_error(mask, truth)
            if click is not None:
                points.append((click.x, click.y))
                labels.append(click.on_tumour)
        panels.append(_draw(phantom.pixels, truth, None, [], []))
        middle_x, middle_y = (round((box[axis] + box[axis + 2]) / 2) for axis in (0, 1))
        left, top = (min(max(middle - 64, 0), side - 128) for middle, side in ((middle_x, 224), (middle_y, 256)))
        lines.append(np.hstack([panel[top : top + 128, left : left + 128] for panel in panels]))
    write_png(IMAGES / "prompted_phantoms.png", np.vstack(lines))


def _draw(
    pixels: np.ndarray,
    mask: np.ndarray | None,
    box: tuple[float, float, float, float] | None,
    points: Sequence[tuple[int, int]],
    labels: Sequence[bool],
) -> np.ndarray:
    """Return a slice in colour, shape (H, W, 3), with outline, box and clicks."""
    drawn = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if mask is not None:
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, (255, 80, 80), 1)
    if box is not None:
        x0, y0, x1, y1 = (round(edge) for edge in box)
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), (90, 200, 255), 1)
    for point, on_tumour in zip(points, labels, strict=True):
        cv2.circle(drawn, point, 3, (80, 255, 80) if on_tumour else (255, 220, 60), cv2.FILLED)
    return drawn


if __name__ == "__main__":
    run_script(main)

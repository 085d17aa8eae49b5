"""Masks by boxes and clicks, against an ellipse, GrabCut and automatic masks.

``python -m studies.prompted DATA... --split FILE --fold 4 --model RUN --out DIR`` draws boxes around the outlines of a
held-out fold, too wide on each side by 0 to 30 %, or shifted. It scores what each way makes of them: the ellipse within
the box, GrabCut (OpenCV), the automatic mask, an automatic model that is shown the box's surroundings alone, and the
prompted model, also with simulated clicks on its largest error. Surroundings and threshold of the fourth were chosen on
the other folds (``--choose``). The folder gets a row a slice and box in ``boxes.csv``, and a row a slice in
``clicks.csv``; ``--masks DIR`` scores further masks, ``FILE_LOOSENESS.png``, beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console

from studies.means import describe_mean
from tumortrace.cli import run_script
from tumortrace.copies.split_files import read_split
from tumortrace.data.cases import Case, CaseRecord, read_cases
from tumortrace.data.dataset import open_dataset, open_datasets
from tumortrace.data.head import Window
from tumortrace.data.masks import read_mask
from tumortrace.data.slice import Slice
from tumortrace.data.upright import turn_upright
from tumortrace.evaluation.simulated_prompts import click_error, loosen_box
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.prompts.grid import Box, box_of, cut_to_slice
from tumortrace.inference.prompts.model import PromptModel, open_prompt_model
from tumortrace.inference.prompts.session import PromptSession, keep_pointed
from tumortrace.inference.recipe import prepare, restore, tumour_probability
from tumortrace.json_csv import write_csv
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track

Mask = NDArray[np.bool_]
Way = Callable[[Slice, Box], Mask]

LOOSENESS = (0.0, 0.1, 0.15, 0.2, 0.3)
"""Distance that each side of a box moves outwards, as a fraction of the box."""

SHIFTED = "0.15, shifted"
"""A box 15 % too wide on each side, shifted by up to 15 % in a drawn direction."""

SLOW, FEW_BOXES = "on the surroundings", ("0.15", "0.3")
"""Ways that are only tried on some of the boxes, because they run a large network for each."""

LEAST_PX = 20
"""Smallest outline in pixels that a box is drawn around."""

MOST_CLICKS = 20
"""Prompts, the box among them, after which a goal counts as missed: the field's convention."""

GOALS = (0.85, 0.90)

SURROUNDINGS, THRESHOLD = 3.0, 0.2
"""Side of the square that an automatic model is shown, in longer sides of the box, and the probability from which a
pixel counts there: the best of ``CHOICES`` for the default model on folds 1 to 3."""

CHOICES = tuple((side, threshold) for side in (1.4, 2.0, 3.0) for threshold in (0.1, 0.2, 0.3, 0.5, 0.7))


class Pointed(NamedTuple):
    """A held-out slice.

    Attributes:
        case: The slice with its truth.
        boxes: Its boxes, by their looseness.
        group: Name of its group, over which intervals are computed.
    """

    case: Case
    boxes: dict[str, Box]
    group: str


def draw_boxes(case: Case, rng: np.random.Generator) -> dict[str, Box]:
    """Draw a box around the outline for each looseness, and a shifted one."""
    tight, size_hw = box_of(case.truth), case.slice.size_hw
    boxes = {f"{looseness:g}": loosen_box(tight, looseness) for looseness in LOOSENESS}
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.15)
    boxes[SHIFTED] = loosen_box(tight, 0.15, (float(length * np.cos(angle)), float(length * np.sin(angle))))
    return {name: cut_to_slice(box, size_hw) for name, box in boxes.items()}


def inscribe_ellipse(image: Slice, box: Box) -> Mask:
    """Fill the ellipse within a box."""
    rows, columns = np.mgrid[: image.size_hw[0], : image.size_hw[1]] + 0.5
    x0, y0, x1, y1 = box
    across, down = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2), (rows - (y0 + y1) / 2) / ((y1 - y0) / 2)
    return np.asarray(across**2 + down**2 <= 1)


def cut_by_colour(image: Slice, box: Box) -> Mask:
    """Run GrabCut (Rother et al. 2004) with a box, in twice its surroundings, five rounds.

    Grey three times over would have singular covariances and often collapse; its colours are the grey values and two
    blurred copies, which scored best on fold 3.
    """
    height, width = image.size_hw
    x0, y0, x1, y1 = box
    margin_x, margin_y = (x1 - x0) / 2 + 4, (y1 - y0) / 2 + 4
    left, top = max(int(x0 - margin_x), 0), max(int(y0 - margin_y), 0)
    right, bottom = min(int(x1 + margin_x) + 1, width), min(int(y1 + margin_y) + 1, height)
    grey = np.clip(turn_upright(image.pixels).grey[top:bottom, left:right], 0, 1)
    sharp = (grey * 255).astype(np.uint8)
    colour = np.dstack([sharp, cv2.GaussianBlur(sharp, (0, 0), 1.5), cv2.GaussianBlur(sharp, (0, 0), 4.0)])
    marks = np.full(grey.shape, cv2.GC_BGD, np.uint8)
    marks[round(y0) - top : round(y1) - top, round(x0) - left : round(x1) - left] = cv2.GC_PR_FGD
    result = np.zeros(image.size_hw, np.bool_)
    if (marks == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)
        cv2.grabCut(colour, marks, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    result[top:bottom, left:right] = (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)
    return result


def look_closely(model: Model, image: Slice, box: Box, *, surroundings: float) -> NDArray[np.float32]:
    """Return the probability of an automatic model that is shown a square around a box, at full resolution."""
    x0, y0, x1, y1 = box
    side = max(round(surroundings * max(x1 - x0, y1 - y0)), 16)
    top, left = round((y0 + y1 - side) / 2), round((x0 + x1 - side) / 2)
    window = Window(top, top + side, left, left + side)
    prepared = prepare(turn_upright(image.pixels), model.recipe, window)
    logits = model.session.run(np.ascontiguousarray(prepared[None, None]))
    return restore(tumour_probability(logits)[0], image.size_hw, window, temperature=model.recipe.temperature)


def choose_closely(model: Model, pointed: Sequence[Pointed]) -> dict[tuple[float, float], float]:
    """Return the mean Dice of each surroundings and threshold, on boxes 15 % too wide."""
    dices: dict[tuple[float, float], list[float]] = {choice: [] for choice in CHOICES}
    for case, boxes, _ in track(pointed, "Choosing", total=len(pointed)):
        for side in sorted({side for side, _ in CHOICES}):
            probability = look_closely(model, case.slice, boxes["0.15"], surroundings=side)
            for threshold in (threshold for each, threshold in CHOICES if each == side):
                mask = keep_pointed(probability >= threshold, boxes["0.15"])
                dices[side, threshold].append(count_pixels(mask, case.truth).dice)
    return {choice: float(np.mean(values)) for choice, values in dices.items()}


def score_boxes(pointed: Sequence[Pointed], ways: dict[str, Way], masks: Path | None) -> list[dict[str, object]]:
    """Return a row for each slice, box and way, and print how many of the further masks are missing."""
    rows, missing = [], []
    for case, boxes, group in track(pointed, "Boxes", total=len(pointed)):
        name = {"source": case.record.source, "file": case.record.case_id, "group": group}
        for looseness, box in boxes.items():
            for way, segment in ways.items():
                if way.endswith(SLOW) and looseness not in FEW_BOXES:
                    continue
                dice = count_pixels(segment(case.slice, box), case.truth).dice
                rows.append({**name, "way": way, "box": looseness, "dice": round(dice, 5)})
            if masks is None:
                continue
            path = masks / f"{Path(case.record.case_id).stem}_{looseness}.png"
            if path.is_file():
                dice = count_pixels(read_mask(path), case.truth).dice
                rows.append({**name, "way": masks.name, "box": looseness, "dice": round(dice, 5)})
            else:
                missing.append(path.name)
    if missing:
        print(f"{masks}: {len(missing)} masks are missing, first {missing[0]}; their boxes are not scored")
    return rows


def refine(model: PromptModel, case: Case, box: Box) -> Iterator[Mask]:
    """Yield the mask of a box, then that after each further click on its largest error, until nothing is wrong."""
    session = PromptSession(model, case.slice, gate=False)
    points: list[tuple[int, int]] = []
    labels: list[bool] = []
    while True:
        mask = session.predict(box, points, labels).mask
        yield mask
        click = click_error(mask, case.truth)
        if click is None:
            return
        points.append((click.x, click.y))
        labels.append(click.on_tumour)


def score_clicks(pointed: Sequence[Pointed], model: PromptModel) -> list[dict[str, object]]:
    """Return a row for each slice: Dice after a box 15 % too wide and 0, 1, 2 ... clicks, and the prompts to a goal.

    Clicks end at the highest goal; the Dice after further ones is the one that was reached. The box counts as the first
    prompt, and a goal that 20 prompts miss as 20. ``false_px_outside`` adds up, over all
    prompts, the false pixels that are more than one pixel outside of the box.
    """
    rows = []
    for case, boxes, group in track(pointed, "Clicks", total=len(pointed)):
        dices: list[float] = []
        outside = 0
        for mask in islice(refine(model, case, boxes["0.15"]), MOST_CLICKS):
            outside += int((mask & ~case.truth & ~fill_box(boxes["0.15"], mask.shape)).sum())
            dices.append(count_pixels(mask, case.truth).dice)
            if dices[-1] >= max(GOALS):
                break
        name = {"source": case.record.source, "file": case.record.case_id, "group": group}
        reached = {f"prompts_to_{goal}": count_prompts(dices, goal) for goal in GOALS}
        after = {f"dice_{count}": round(dices[min(count, len(dices) - 1)], 5) for count in range(6)}
        rows.append({**name, **reached, **after, "false_px_outside": outside})
    return rows


def count_prompts(dices: Sequence[float], goal: float) -> int:
    """Return how many prompts it took to reach a Dice, the box among them; ``MOST_CLICKS`` if it was never reached."""
    return next((count for count, dice in enumerate(dices, 1) if dice >= goal), MOST_CLICKS)


def fill_box(box: Box, shape_hw: tuple[int, ...]) -> Mask:
    """Return the pixels within a box, one pixel more on each side."""
    inside = np.zeros(shape_hw, np.bool_)
    inside[max(int(box[1]) - 1, 0) : int(box[3]) + 2, max(int(box[0]) - 1, 0) : int(box[2]) + 2] = True
    return inside


def time_prompts(pointed: Sequence[Pointed], model: PromptModel) -> tuple[float, float]:
    """Return median milliseconds of the first answer in a box, and of each further click."""
    first: list[float] = []
    further: list[float] = []
    for case, boxes, _ in pointed:
        session = PromptSession(model, case.slice, gate=False)
        middle = [(round((boxes["0"][0] + boxes["0"][2]) / 2), round((boxes["0"][1] + boxes["0"][3]) / 2))]
        for points, times in (([], first), (middle, further), (middle * 2, further)):
            started = time.perf_counter()
            session.predict(boxes["0.15"], points)
            times.append(1000 * (time.perf_counter() - started))
    return float(np.median(first)), float(np.median(further))


def tabulate_boxes(rows: Sequence[dict[str, object]], console: Console) -> list[dict[str, object]]:
    """Print and return the mean Dice of each source, way and looseness, with its interval over groups."""
    summary = []
    for source in sorted({str(row["source"]) for row in rows}):
        here = [row for row in rows if row["source"] == source]
        names = list(dict.fromkeys(str(row["box"]) for row in here))
        table = make_table(f"Dice on {source}", "way", "n", *names)
        for way in dict.fromkeys(str(row["way"]) for row in here):
            cells: list[str] = []
            for name in names:
                part = [row for row in here if row["way"] == way and row["box"] == name]
                dices = [float(str(row["dice"])) for row in part]
                if not dices:
                    cells.append("")
                    continue
                cells.append(describe_mean(dices, [str(row["group"]) for row in part]))
                count = len(dices)
                summary.append({"source": source, "way": way, "box": name, "n": count, "dice": cells[-1]})
            table.add_row(way, str(count), *cells)
        console.print(table)
    return summary


def tabulate_clicks(rows: Sequence[dict[str, object]], console: Console) -> None:
    """Print prompts to each goal, and the mean Dice after each click."""
    table = make_table("Clicks after a box 15 % too wide", "source", "n", *(f"NoC@{goal}" for goal in GOALS),
                       *(f"{count} clicks" for count in range(6)), "px outside")  # fmt: skip
    for source in sorted({str(row["source"]) for row in rows}):
        here = [row for row in rows if row["source"] == source]
        columns = [f"prompts_to_{goal}" for goal in GOALS] + [f"dice_{count}" for count in range(6)]
        means = [np.mean([float(str(row[column])) for row in here]) for column in [*columns, "false_px_outside"]]
        table.add_row(source, str(len(here)), *(f"{mean:.3f}" for mean in means))
    console.print(table)


def read_held_out(
    data: Sequence[Path], split: Path | None, fold: int, *, others: bool = False
) -> tuple[CaseRecord, ...]:
    """Return the cases of a fold, or those of the other folds; without a split, all cases."""
    records = open_datasets(data).select("all") if len(data) > 1 else open_dataset(data[0]).select("all")
    if split is None:
        return records
    side_of = {case.file: case.side for case in read_split(split).cases}
    chosen = {name for name, side in side_of.items() if (side == str(fold)) != others}
    return tuple(record for record in records if record.case_id in chosen)


def read_pointed(records: Sequence[CaseRecord], split: Path | None, *, every: int) -> list[Pointed]:
    """Read every n-th case with a tumour of at least ``LEAST_PX`` pixels, and draw its boxes.

    Args:
        records: The cases.
        split: Split that names the group of each case; without one, the patient is the group, or else the case.
        every: One of so many cases is taken.
    """
    rng = np.random.default_rng(0)
    groups = {} if split is None else {case.file: case.group for case in read_split(split).cases}
    cases = [case for _, case, _ in read_cases(tuple(records)) if case is not None and case.truth.sum() >= LEAST_PX]
    named = [(case, groups.get(case.record.case_id) or case.record.patient or case.record.case_id) for case in cases]
    return [Pointed(case, draw_boxes(case, rng), group) for case, group in named[::every]]


def main(  # noqa: PLR0913, PLR0917 - the options of a study
    data: list[Path],
    out: Annotated[Path, typer.Option()],
    split: Annotated[Path | None, typer.Option(help="Folds; the slices of --fold are scored.")] = None,
    fold: Annotated[int, typer.Option()] = 4,
    model: Annotated[str | None, typer.Option(help="Prompted model.")] = None,
    automatic: Annotated[str | None, typer.Option(help="Automatic model that was not trained on the slices.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Masks that another program made of the same boxes.")] = None,
    every: Annotated[int, typer.Option()] = 1,
    *,
    choose: Annotated[bool, typer.Option(help="Choose surroundings and threshold on the other folds.")] = False,
    closely: Annotated[bool, typer.Option(help="Show the automatic model the surroundings of the boxes too.")] = False,
    simple: Annotated[bool, typer.Option(help="Score the ellipse and GrabCut too.")] = False,
) -> None:
    """Score every way and print the tables."""
    console = Console(width=180)
    records = read_held_out(data, split, fold, others=choose)
    pointed = read_pointed(records, split, every=every)
    shown = None if automatic is None else open_model(automatic)
    if choose and shown:
        for choice, dice in choose_closely(shown, pointed).items():
            print(shown.name, *choice, f"{dice:.4f}")
        return
    ways = _choose_ways(shown, simple=simple, closely=closely)
    if model is not None:
        prompted = open_prompt_model(model)
        ways["box"] = lambda image, box: PromptSession(prompted, image, gate=False).predict(box).mask
        rows = score_clicks(pointed, prompted)
        write_csv(out / "clicks.csv", rows, columns=list(rows[0]))
        tabulate_clicks(rows, console)
        print("ms of the first answer and of a click: {:.1f}, {:.1f}".format(*time_prompts(pointed[:30], prompted)))
    rows = score_boxes(pointed, ways, masks)
    write_csv(out / "boxes.csv", rows, columns=list(rows[0]))
    summary = tabulate_boxes(rows, console)
    write_csv(out / "summary.csv", summary, columns=list(summary[0]))


def _choose_ways(shown: Model | None, *, simple: bool, closely: bool) -> dict[str, Way]:
    """Return the ways without a prompted model."""
    ways: dict[str, Way] = {"ellipse": inscribe_ellipse, "GrabCut": cut_by_colour} if simple else {}
    if shown:
        ways["automatic"] = _automatic(shown)
    if shown and closely:
        ways[f"automatic {SLOW}"] = _closely(shown)
    return ways


def _closely(model: Model) -> Way:
    return lambda image, box: keep_pointed(look_closely(model, image, box, surroundings=SURROUNDINGS) >= THRESHOLD, box)


def _automatic(model: Model) -> Way:
    known: dict[str, Mask] = {}

    def segment(image: Slice, _box: Box) -> Mask:
        if image.case_id not in known:
            known.clear()
            known[image.case_id] = predict(model, image).mask
        return known[image.case_id]

    return segment


if __name__ == "__main__":
    run_script(main)

"""What a box is worth: strokes of a brush and seconds of work to a given Dice.

``python -m studies.prompted_worth DATA... --split FILE --fold 4 --automatic MODEL --model RUN --out DIR`` takes
held-out slices and counts simulated strokes of a round brush that correct the automatic mask, and the mask of a box
15 % too wide. A stroke makes right what lies within its disc, around the deepest point of the largest error. Seconds
are counted for three ways of work: the automatic mask, outlined by hand where it misses the goal; a box and clicks; and
the automatic mask, with a box and clicks where it misses the goal. A box takes 4 s, a click 1.5 s, an outline 25 s:
assumptions, not measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console

from studies.means import describe_mean
from studies.prompted import GOALS, MOST_CLICKS, Pointed, count_prompts, read_held_out, read_pointed, refine
from tumortrace.cli import run_script
from tumortrace.evaluation.simulated_prompts import click_error
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.prompts.model import PromptModel, open_prompt_model
from tumortrace.json_csv import write_csv
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track

BOX_S, CLICK_S, OUTLINE_S = 4.0, 1.5, 25.0

BRUSH = 0.03
"""Radius of the brush, as a fraction of the picture's longer side."""

MOST_STROKES = 30

Mask = NDArray[np.bool_]


def count_strokes(mask: Mask, truth: Mask, goal: float) -> int:
    """Return the strokes until a mask reaches a Dice; ``MOST_STROKES`` if it has not by then."""
    current = mask.copy()
    radius = max(round(BRUSH * max(mask.shape)), 1)
    for strokes in range(MOST_STROKES):
        if count_pixels(current, truth).dice >= goal:
            return strokes
        click = click_error(current, truth)
        if click is None:
            return strokes
        disc = cv2.circle(np.zeros(mask.shape, np.uint8), (click.x, click.y), radius, 1, cv2.FILLED) > 0
        current[disc] = truth[disc]
    return MOST_STROKES


def click_to_goals(model: PromptModel, pointed: Pointed) -> tuple[list[float], Mask]:
    """Return the Dice after the box and each click, up to the highest goal, and the mask of the box alone."""
    dices: list[float] = []
    masks = refine(model, pointed.case, pointed.boxes["0.15"])
    first = next(masks)
    for mask in islice(chain([first], masks), MOST_CLICKS):
        dices.append(count_pixels(mask, pointed.case.truth).dice)
        if dices[-1] >= max(GOALS):
            break
    return dices, first


def seconds_of_prompts(dices: Sequence[float], goal: float) -> float:
    """Return the seconds of a box and clicks to a goal, and of an outline where they do not reach it."""
    prompts = count_prompts(dices, goal)
    missed = prompts == MOST_CLICKS and max(dices) < goal
    return BOX_S + CLICK_S * (prompts - 1) + (OUTLINE_S if missed else 0.0)


def measure(pointed: Pointed, automatic: Model, model: PromptModel) -> dict[str, object]:
    """Return one slice's row: strokes and seconds to each goal."""
    case = pointed.case
    mask = predict(automatic, case.slice).mask
    dice = count_pixels(mask, case.truth).dice
    dices, boxed = click_to_goals(model, pointed)
    row: dict[str, object] = {
        "source": case.record.source,
        "file": case.record.case_id,
        "group": pointed.group,
        "dice_automatic": round(dice, 5),
        "dice_box": round(dices[0], 5),
    }
    for goal in GOALS:
        row[f"strokes_automatic_{goal}"] = count_strokes(mask, case.truth, goal)
        row[f"strokes_box_{goal}"] = count_strokes(boxed, case.truth, goal)
        prompted = seconds_of_prompts(dices, goal)
        row[f"seconds_outline_{goal}"] = 0.0 if dice >= goal else OUTLINE_S
        row[f"seconds_prompts_{goal}"] = prompted
        row[f"seconds_automatic_then_prompts_{goal}"] = 0.0 if dice >= goal else prompted
    return row


def main(  # noqa: PLR0913, PLR0917 - the options of a study
    data: list[Path],
    out: Annotated[Path, typer.Option()],
    automatic: Annotated[str, typer.Option(help="Automatic model that was not trained on the slices.")],
    split: Annotated[Path | None, typer.Option()] = None,
    fold: Annotated[int, typer.Option()] = 4,
    model: Annotated[str, typer.Option()] = "box",
    every: Annotated[int, typer.Option()] = 1,
) -> None:
    """Measure every slice and print the means."""
    pointed = read_pointed(read_held_out(data, split, fold), split, every=every)
    first, prompted = open_model(automatic), open_prompt_model(model)
    rows = [measure(each, first, prompted) for each in track(pointed, "Slices", total=len(pointed))]
    write_csv(out / "worth.csv", rows, columns=list(rows[0]))
    console = Console(width=170)
    measures = [name for name in rows[0] if name.startswith(("strokes", "seconds", "dice"))]
    sources = sorted({str(row["source"]) for row in rows})
    table = make_table("Means", "measure", *(f"{name}, n = {_count(rows, name)}" for name in sources))
    for name in measures:
        table.add_row(name, *(_mean(rows, source, name) for source in sources))
    console.print(table)


def _count(rows: Sequence[dict[str, object]], source: str) -> int:
    return sum(row["source"] == source for row in rows)


def _mean(rows: Sequence[dict[str, object]], source: str, name: str) -> str:
    here = [row for row in rows if row["source"] == source]
    values = [float(str(row[name])) for row in here]
    return describe_mean(values, [str(row["group"]) for row in here], digits=2, shares=False)


if __name__ == "__main__":
    run_script(main)

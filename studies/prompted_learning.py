"""What a training gains from outlines, and from masks by a box.

``python -m studies.prompted_learning DATA --base RUN --model RUN --out OUT`` takes an automatic and a prompted model,
neither of which was trained on DATA. Half of the patients are the pool. A person works through its slices in random
order until the time is up, outlines each tumour by hand, or draws a box 15 % too wide and takes the mask that it gives,
or adds one click on its largest error. The base is improved on these slices as ``tumortrace improve`` does it. Slices
of the other half, with their true outlines, score every model. ``OUT/prompted_learning.csv`` has a row a training; a
training that is finished is not made again.

An outline takes 25 s, a box 4 s, a click 1.5 s, a slice without tumour 1.5 s: assumptions, not measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from reproduction.tables import write_table
from rich.console import Console

from studies.learning import describe, learn, open_hospital, order_randomly, score
from studies.prompted import refine
from studies.prompted_worth import BOX_S, CLICK_S, OUTLINE_S
from tumortrace.cli import run_script
from tumortrace.data.cases import Case, CaseRecord, read_cases
from tumortrace.evaluation.simulated_prompts import loosen_box
from tumortrace.files import write_atomically
from tumortrace.inference.model import open_model
from tumortrace.inference.prompts.grid import box_of, cut_to_slice
from tumortrace.inference.prompts.model import PromptModel, open_prompt_model
from tumortrace.inference.results.signed import encode_signed_mask
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell

BUDGETS_S = (130, 520)
"""Seconds of a person."""

LOOSENESS = 0.15

SECONDS = {"outline": OUTLINE_S, "box": BOX_S, "box and a click": BOX_S + CLICK_S}
"""Seconds that a slice with tumour takes, by the way of work."""

NONE_S = CLICK_S
"""Seconds that a slice without tumour takes."""

FIELDS = (
    *("way", "seconds", "slices", "with_tumour", "mask_dice", "trained", "patients", "n", "dice", "low", "high"),
    *("gain", "gain_low", "gain_high", "tumour_free", "marked"),
)


def point(case: Case, model: PromptModel, *, clicks: int) -> NDArray[np.bool_]:
    """Return the mask of a box and of up to so many clicks, each on the largest error."""
    box = cut_to_slice(loosen_box(box_of(case.truth), LOOSENESS), case.slice.size_hw)
    *_, mask = islice(refine(model, case, box), clicks + 1)
    return mask


def work(
    ordered: Sequence[CaseRecord], way: str, model: PromptModel, *, seconds: float, folder: Path
) -> tuple[list[CaseRecord], list[float]]:
    """Work through slices until the time is up.

    Args:
        ordered: The slices, in the order in which the person takes them.
        way: One of ``SECONDS``.
        model: Prompted model.
        seconds: Time of the person.
        folder: Folder for the masks of boxes.

    Returns:
        The slices that were done, with the masks that the person made; and the Dice of these masks, of the slices with
        tumour.
    """
    done, dices = [], []
    for record, case, _ in read_cases(tuple(ordered)):
        if case is None:
            continue
        seconds -= SECONDS[way] if case.truth.any() else NONE_S
        if seconds < 0:
            break
        if way == "outline" or not case.truth.any():
            done.append(record)
            dices += [1.0] if case.truth.any() else []
            continue
        mask = point(case, model, clicks=int(way != "box"))
        path = folder / f"{len(done):04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_signed_mask(mask))
        done.append(replace(record, truth=path))
        dices.append(count_pixels(mask, case.truth).dice)
    return done, dices


def main(
    data: Annotated[Path, typer.Argument(help="Slices of a hospital that neither model was trained on.")],
    base: Annotated[Path, typer.Option(help="Run of the automatic model to start from.")],
    model: Annotated[str, typer.Option(help="Run of the prompted model.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the rows.")] = Path("runs/prompted_learning"),
) -> None:
    """Train what is missing, score all, then print."""
    hospital, start, prompted = open_hospital(data), open_model(str(base)), open_prompt_model(model)
    ordered = order_randomly(hospital.pool, seed=0)
    before = score(start, hospital)
    rows = [_as_text({"way": "base", "seconds": 0} | describe(before, before, hospital))]
    for seconds in BUDGETS_S:
        for way in SECONDS:
            tell(f"{way}, {seconds} s")
            run = out / f"{way.replace(' ', '-')}-{seconds}"
            done, dices = work(ordered, way, prompted, seconds=seconds, folder=out / f"{run.name}-masks")
            row = learn(hospital, done, start, run)
            row |= {"way": way, "seconds": seconds, "slices": len(done), "with_tumour": len(dices)}
            row |= {"mask_dice": float(np.mean(dices))} | describe(
                score(open_model(str(run)), hospital), before, hospital
            )
            rows.append(_as_text(row))
            write_table(out / "prompted_learning.csv", rows)
    table = make_table("Dice on other patients by the seconds of a person", *FIELDS)
    for each in rows:
        table.add_row(*(each[field] for field in FIELDS))
    Console(width=180).print(table)


def _as_text(row: dict[str, object]) -> dict[str, str]:
    values = {key: row.get(key, "") for key in FIELDS}
    return {key: f"{value:.4f}" if isinstance(value, float) else str(value) for key, value in values.items()}


if __name__ == "__main__":
    run_script(main)

"""False lesions and found ones, with and without the specks beside larger lesions.

``python -m studies.specks DATA --sources DIR --recipe SCORES/calibrated.toml --fold 4=RUN --run lgg=RUN`` takes runs
that were trained without a fold of ``studies.sources``, and runs that were trained without a source. The recipe that
``studies.calibrate`` fitted gives threshold and temperature. Slices with tumour alone count; those of a fold that are
copies of training slices are left out and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from benchmarks.common import make_table
from rich.console import Console

from studies.hospitals import open_hospitals
from studies.thresholds import open_folds
from tumortrace.cli import run_script
from tumortrace.config import Recipe, load_config
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.inference.mask import drop_specks
from tumortrace.inference.model import Model
from tumortrace.inference.predict import predict
from tumortrace.metrics.lesions import LesionCounts, count_lesions
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track


class Tally(NamedTuple):
    """What the masks of some slices with tumour hold.

    Attributes:
        slices: Number of slices.
        true_lesions: Lesions of their truth.
        found: True lesions that are touched.
        false: Predicted lesions that touch no tumour.
        dice: Sum of the slices' Dice.
    """

    slices: int = 0
    true_lesions: int = 0
    found: int = 0
    false: int = 0
    dice: float = 0.0

    def plus(self, counts: LesionCounts, dice: float) -> Tally:
        """Return the tally with one slice more."""
        return Tally(
            self.slices + 1,
            self.true_lesions + counts.true_lesions,
            self.found + counts.found_lesions,
            self.false + counts.false_lesions,
            self.dice + dice,
        )


def measure(parts: Iterable[tuple[Model, Sequence[CaseRecord]]], recipe: Recipe, name: str) -> tuple[Tally, Tally]:
    """Count lesions with all specks, and without."""
    tallies = [Tally(), Tally()]
    for model, records in parts:
        fitted = replace(model, recipe=replace(recipe, size_hw=model.recipe.size_hw))
        for _, case, _ in track(read_cases(records), name, total=len(records)):
            if case is None or not case.truth.any():
                continue
            probability = predict(fitted, case.slice).probability
            whole = probability >= recipe.threshold
            for number, mask in enumerate((whole, drop_specks(whole, probability))):
                counts, dice = count_lesions(mask, case.truth), count_pixels(mask, case.truth).dice
                tallies[number] = tallies[number].plus(counts, dice)
    return tallies[0], tallies[1]


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    recipe: Annotated[Path, typer.Option(help="calibrated.toml of studies.calibrate.")],
    fold: Annotated[list[str] | None, typer.Option(help="FOLD=RUN, a run trained without the fold.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="SOURCE=RUN, a run trained without the source.")] = None,
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
) -> None:
    """Measure the folds together and every source by itself, and print a table."""
    fitted = load_config(str(recipe)).recipe
    parts = {"held-out folds": open_folds(data, sources, fold, every)} if fold else {}
    parts |= {each.name: [(each.model, each.records[::every])] for each in open_hospitals(data, sources, run or [])}
    table = make_table(
        "Lesions on slices with tumour", "slices", "n", "specks", "true lesions", "found", "false", "mean Dice"
    )
    for name, part in parts.items():
        for specks, tally in zip(("kept", "dropped"), measure(part, fitted, name), strict=True):
            counts = (tally.slices, tally.true_lesions, tally.found, tally.false)
            n, *others = map(str, counts)
            table.add_row(name, n, specks, *others, f"{tally.dice / tally.slices:.4f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    run_script(main)

"""What the confidence gains from the trace that a missed tumour leaves.

``python -m studies.traces DATA --sources DIR --fold 3=RUN --run lgg=RUN --temperature 2`` takes a run that was trained
without a fold of ``studies.sources``, and runs that were trained without a source. The confidence is fitted on the
fold, each half of its groups scored with the weights of the other, and the sources with those of the whole fold: once
with the features of ``inference.confidence``, once with the highest probability, of any mask, in place of the last.
Slices of the fold that are copies of training slices are left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from benchmarks.common import make_table
from numpy.typing import NDArray
from rich.console import Console

from studies.hospitals import open_hospitals
from studies.screening import half_of
from studies.thresholds import open_folds
from tumortrace.cli import run_script
from tumortrace.copies.split_files import read_split
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.evaluation.summary import FLAGGED
from tumortrace.inference.confidence import estimate_confidence, mask_features
from tumortrace.inference.model import Model
from tumortrace.inference.predict import predict
from tumortrace.metrics.overlap import count_pixels
from tumortrace.metrics.selective import LOW_DICE, caught_share, fit_confidence
from tumortrace.progress import track

Floats = NDArray[np.float64]


class Slices(NamedTuple):
    """Masks of slices.

    Attributes:
        features: Values of ``mask_features``, shape (N, 6).
        highest: Highest probability, shape (N,).
        dices: Dice; of a tumour-free slice 1 if its mask is empty, else 0; shape (N,).
        empty: Whether the mask is empty, shape (N,), bool.
        free: Whether the slice is tumour-free, shape (N,), bool.
        halves: Half of the groups that the slice belongs to, 0 or 1, shape (N,).
    """

    features: Floats
    highest: Floats
    dices: Floats
    empty: NDArray[np.bool_]
    free: NDArray[np.bool_]
    halves: NDArray[np.int64]


def segment(model: Model, records: Sequence[CaseRecord], group_of: dict[str, str]) -> Slices:
    """Segment slices and describe their masks."""
    rows = []
    for record, case, _ in track(read_cases(records), model.name, total=len(records)):
        if case is None:
            continue
        prediction = predict(model, case.slice)
        mask, truth = prediction.mask, case.truth
        rows.append(
            (
                mask_features(prediction.probability, mask),
                prediction.probability.max(),
                count_pixels(mask, truth).dice if mask.any() or truth.any() else 1.0,
                not mask.any(),
                not truth.any(),
                half_of(group_of[record.case_id]),
            )
        )
    return Slices(*(np.array(column) for column in zip(*rows, strict=True)))


def with_highest(slices: Slices) -> Floats:
    """Return the features with the highest probability in place of the trace."""
    return np.column_stack([slices.features[:, :-1], slices.highest])


def rate(features: Floats, weights: Sequence[float]) -> Floats:
    """Return the confidence in each mask."""
    return np.array([estimate_confidence(row, weights) for row in features])


def rate_by_halves(features: Floats, slices: Slices) -> Floats:
    """Return the confidence in each mask, by weights that were fitted on the other half of the groups."""
    confidences = np.zeros(len(features))
    for half in (0, 1):
        own = slices.halves == half
        confidences[own] = rate(features[own], fit_confidence(features[~own], slices.dices[~own]))
    return confidences


def describe(slices: Slices, confidences: Floats) -> list[str]:
    """Return the fractions of slices in the least confident fifth: of all bad masks, and of kinds of slices."""
    low = confidences < np.quantile(confidences, FLAGGED)
    bad, ill = slices.dices < LOW_DICE, ~slices.free
    parts = (ill & slices.empty, ill & bad & ~slices.empty, slices.free & ~slices.empty, slices.free & slices.empty)
    caught = caught_share(confidences.tolist(), slices.dices.tolist(), flagged=FLAGGED)
    shares = (f"{low[part].mean():.0%} of {part.sum()}" if part.any() else "" for part in parts)
    return [f"{caught:.0%} of {bad.sum()}" if bad.any() else "", *shares]


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    fold: Annotated[str, typer.Option(help="FOLD=RUN, a run that was trained without the fold.")],
    run: Annotated[
        list[str] | None, typer.Option(help="SOURCE=RUN, a run that was trained without the source.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Temperature of all runs.")] = 2.0,
) -> None:
    """Print a table with two rows for the fold and for each source."""

    def temper(model: Model) -> Model:
        return replace(model, recipe=replace(model.recipe, temperature=temperature))

    name = fold.partition("=")[0]
    ((model, records),) = open_folds(data, sources, [fold], every=1)
    group_of = {case.file: case.group for case in read_split(sources / "folds.json").cases}
    held = segment(temper(model), records, group_of)
    others = {
        each.name: segment(temper(each.model), each.records, each.group_of)
        for each in open_hospitals(data, sources, run or [])
    }
    headings = ("missed", "bad, but marked", "false positive", "tumour-free, left empty")
    table = make_table("In the least confident 20 %", "slices", "features", "bad masks", *headings)
    ways: dict[str, Callable[[Slices], Floats]] = {"highest probability": with_highest, "trace": lambda s: s.features}
    for way, features in ways.items():
        table.add_row(f"fold {name}", way, *describe(held, rate_by_halves(features(held), held)))
    for source, slices in others.items():
        for way, features in ways.items():
            weights = fit_confidence(features(held), held.dices)
            table.add_row(f"{source}, left out", way, *describe(slices, rate(features(slices), weights)))
    Console(width=140).print(table)


if __name__ == "__main__":
    run_script(main)

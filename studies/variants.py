"""Gain and cost of the mirror image and of int8, on held-out slices.

``python -m studies.variants DATA... --negatives DIR --crossval DIR`` takes the folds that ``tumortrace crossval``
trained. The model of each fold segments its held-out slices (every ``--every``-th) in one forward pass, and with the
mirror image as well. So does, in one pass, the model quantised to 8 bits with slices that it was trained on. All masks
are cut at 0.5. Copies of training slices are left out and named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from studies.held_out import Scored, list_trained, tabulate_gains, take_held_out
from tumortrace.cli import run_script
from tumortrace.copies.split_files import apply_split, read_split
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.recipe import prepare_pixels
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track
from tumortrace.training.arrays import evenly_spaced
from tumortrace.training.export_run import CALIBRATION
from tumortrace.training.quantize import quantize


def score(crossval: Path, whole: Dataset, *, every: int) -> list[Scored]:
    """Segment the held-out slices in the three ways."""
    split = read_split(crossval / "split.json")
    group_of = {case.file: case.group for case in split.cases}
    scored = []
    for side in list_trained(crossval, split):
        parts = apply_split(whole, split, fold=int(side))
        run = crossval / f"fold-{side}"
        model = one_pass(open_model(str(run)))
        small = in_8_bits(model, parts.select("train"))
        records = take_held_out(parts, run, every=every)
        for record, case, _ in track(read_cases(records), f"Fold {side}", total=len(records)):
            if case is None:
                continue
            predictions = [predict(model, case.slice), predict(model, case.slice, tta=True), predict(small, case.slice)]
            counts = [count_pixels(one.mask, case.truth) for one in predictions]
            healthy = not case.truth.any()
            alarm_px = FALSE_ALARM_AREA * case.truth.size
            first, second, third = (float(each.fp > alarm_px) if healthy else each.dice for each in counts)
            scored.append(Scored(record.source, group_of[record.case_id], healthy, (first, second, third)))
    return scored


def in_8_bits(model: Model, learnt: Sequence[CaseRecord]) -> Model:
    """Return the model as ``export --int8`` makes it, with ranges from slices that it was trained on."""
    cases = [case for _, case, _ in read_cases(tuple(evenly_spaced(learnt, CALIBRATION))) if case is not None]
    data = quantize(model.path.read_bytes(), [prepare_pixels(case.slice.pixels, model.recipe) for case in cases])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        path.write_bytes(data)
        return one_pass(open_model(str(path)))


def one_pass(model: Model) -> Model:
    """Return the model without its recipe's mirror image."""
    return replace(model, recipe=replace(model.recipe, average_mirror=False))


def main(
    data: list[Path],
    crossval: Annotated[Path, typer.Option()],
    negatives: Annotated[Path | None, typer.Option()] = None,
    every: Annotated[int, typer.Option(help="Take every so many of the held-out slices.")] = 1,
) -> None:
    """Segment in all ways; print the table."""
    scored = score(crossval, open_datasets(data, negatives=negatives), every=every)
    others = ("gain of the mirror image", "gain of 8 bits")
    Console(width=130).print(tabulate_gains("The network's variants", "one pass", others, scored))


if __name__ == "__main__":
    run_script(main)

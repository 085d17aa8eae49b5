"""What averaging over flips (``segment --tta``) gains, on slices that no fold had seen.

``python -m benchmarks.flips DATA... --negatives DIR --crossval DIR`` takes the folds that ``tumortrace crossval``
trained, and segments each fold's held-out slices (every ``--every``-th) with and without flips, at a threshold of 0.5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.data.dataset import Dataset, open_datasets, read_cases
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.progress import track
from tumortrace.trust.calibration import PAINTED
from tumortrace.trust.metrics import count_pixels
from tumortrace.trust.splits import apply_split, read_split
from tumortrace.trust.statistics import mean_interval


class Pair(NamedTuple):
    """A held-out slice without and with flips: its Dice, or without tumour, whether it was painted."""

    source: str
    group: str
    healthy: bool
    plain: float
    flipped: float


def score(crossval: Path, whole: Dataset, *, every: int) -> list[Pair]:
    """Segment the held-out slices both ways."""
    split = read_split(crossval / "split.json")
    group_of = {case.file: case.group for case in split.cases}
    pairs = []
    for side in split.sides:
        model = open_model(str(crossval / f"fold-{side}"))
        records = apply_split(whole, split, fold=int(side)).select("test")[::every]
        for record, case, _ in track(read_cases(records), f"Fold {side}", total=len(records)):
            if case is None:
                continue
            counts = [count_pixels(predict(model, case.slice, tta=tta).mask, case.truth) for tta in (False, True)]
            healthy = not case.truth.any()
            values = [float(one.fp > PAINTED * case.truth.size) if healthy else one.dice for one in counts]
            pairs.append(Pair(record.source, group_of[record.case_id], healthy, values[0], values[1]))
    return pairs


def tabulate(pairs: list[Pair]) -> Table:
    """A row a source, and one for the tumour-free slices of all."""
    table = make_table("Averaging over four flips", "slices", "n", "without", "with", "gain", "95 %")
    rows = {source: [one for one in pairs if one.source == source and not one.healthy] for source, *_ in sorted(pairs)}
    rows["tumour-free, painted"] = [one for one in pairs if one.healthy]
    for name, part in rows.items():
        if part:
            gains = [one.flipped - one.plain for one in part]
            low, high = mean_interval(gains, [one.group for one in part], shares=False)
            means = [
                sum(values) / len(part) for values in zip(*[(one.plain, one.flipped) for one in part], strict=True)
            ]
            written = [f"{mean:.3f}" for mean in means]
            table.add_row(name, str(len(part)), *written, f"{means[1] - means[0]:+.3f}", f"[{low:+.3f}, {high:+.3f}]")
    return table


def main(
    data: list[Path],
    crossval: Annotated[Path, typer.Option()],
    negatives: Annotated[Path | None, typer.Option()] = None,
    every: Annotated[int, typer.Option(help="Take every so many of the held-out slices.")] = 3,
) -> None:
    """Segment both ways; print the table."""
    Console(width=130).print(tabulate(score(crossval, open_datasets(data, negatives=negatives), every=every)))


if __name__ == "__main__":
    typer.run(main)

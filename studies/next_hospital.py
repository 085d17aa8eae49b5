"""Number of own slices that a new hospital needs for fine-tuning.

``python -m studies.next_hospital DATA... --negatives DIR --sources CROSSVAL --out DIR`` takes the folds that
``tumortrace crossval --by source`` trained. Of the source that a model never saw, half of the groups (patients) give
the training slices, so many at a time, and all slices with tumour of the other half are scored. What is trained is
what a user trains: the default configuration, once begun from that model and once from ImageNet. A row is kept in
``DIR/next_hospital.csv`` as soon as it is measured, and not measured again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from benchmarks.common import make_table
from reproduction.tables import read_table, write_table
from rich.console import Console
from rich.table import Table

from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import apply_split, read_split
from tumortrace.copies.splits import find_heads
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import DataError
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.intervals import mean_interval
from tumortrace.progress import tell
from tumortrace.training.run import train

COUNTS = (10, 40, 160)
"""Training slices."""

BEGINNINGS = ("the model that travelled", "ImageNet")
FIELDS = (
    "source",
    "begins_from",
    "slices",
    "patients",
    "minutes",
    "n",
    "dice",
    "low",
    "high",
    "gain",
    "gain_low",
    "gain_high",
)


@dataclass(frozen=True, eq=False)
class Hospital:
    """A source that a model never saw.

    Attributes:
        name: Name of the source.
        model: Trained on all others.
        dataset: All of them.
        learnable: Its training slices, group by group in random order.
        scored: Its other slices with tumour.
        group_of: Group of each case, copies and slices of its patient, by case_id.
    """

    name: str
    model: Model
    dataset: Dataset
    learnable: tuple[CaseRecord, ...]
    scored: tuple[CaseRecord, ...]
    group_of: dict[str, str]


def open_hospitals(crossval: Path, whole: Dataset) -> list[Hospital]:
    """A hospital for each fold of a cross-validation by source."""
    split = read_split(crossval / "split.json")
    group_of = find_heads(split, whole.records)
    hospitals = []
    for side in split.sides:
        records = apply_split(whole, split, fold=int(side)).select("test")
        learnable, scored = halve(records, group_of)
        model = open_model(str(crossval / f"fold-{side}"))
        hospitals.append(Hospital(records[0].source, model, whole, learnable, scored, group_of))
    return hospitals


def halve(
    records: tuple[CaseRecord, ...], group_of: dict[str, str]
) -> tuple[tuple[CaseRecord, ...], tuple[CaseRecord, ...]]:
    """The slices of half of the groups in a random order of the groups, and those of the other half."""
    names = sorted({group_of[record.case_id] for record in records})
    order = [names[index] for index in np.random.default_rng(0).permutation(len(names))]
    rank = {name: index for index, name in enumerate(order)}
    half = len(order) // 2
    ordered = sorted(records, key=lambda record: rank[group_of[record.case_id]])
    first = tuple(record for record in ordered if rank[group_of[record.case_id]] < half)
    return first, tuple(record for record in ordered if rank[group_of[record.case_id]] >= half)


def score(model: Model, hospital: Hospital) -> dict[str, float]:
    """Dice of each scored slice with tumour, by case_id; of a mask at 0.5."""
    dices = {}
    for record, case, _ in read_cases(hospital.scored):
        if case is not None and case.truth.any():
            mask = predict(model, case.slice).probability >= 0.5
            dices[record.case_id] = 2 * float((mask & case.truth).sum()) / float(mask.sum() + case.truth.sum())
    return dices


def measure(
    hospital: Hospital, *, count: int, begins_from: str, before: dict[str, float], run: Path
) -> dict[str, object]:
    """Train on the first so many slices, and score; compared in pairs with what the model gave before."""
    learnt = tuple(replace(record, part="") for record in hospital.learnable[:count])
    if len(learnt) < count:
        raise DataError(f"{hospital.name}: half of its groups has {len(learnt)} slices, not {count}")
    config = load_config("fast", ("training.threads=1",))
    dataset = replace(hospital.dataset, records=learnt, findings=())
    model = hospital.model if begins_from == BEGINNINGS[0] else None
    result = train(dataset, config, out=run, start_from=model)
    minutes = sum(row.seconds for row in result.rows) / 60
    groups = {hospital.group_of[record.case_id] for record in learnt}
    return describe(hospital, score(open_model(str(run)), hospital), before) | {
        "begins_from": begins_from,
        "slices": count,
        "patients": len(groups),
        "minutes": round(minutes, 2),
    }


def describe(hospital: Hospital, dices: dict[str, float], before: dict[str, float]) -> dict[str, object]:
    """Mean Dice and gain over ``before``, with intervals over the groups."""
    groups = [hospital.group_of[case_id] for case_id in dices]
    now, then = (np.array([each[case_id] for case_id in dices]) for each in (dices, before))
    low, high = mean_interval(now, groups)
    gain_low, gain_high = mean_interval(now - then, groups, shares=False)
    numbers: dict[str, object] = {
        "source": hospital.name,
        "n": len(dices),
        "dice": now.mean(),
        "low": low,
        "high": high,
    }
    return numbers | {"gain": (now - then).mean(), "gain_low": gain_low, "gain_high": gain_high}


def tabulate(rows: list[dict[str, str]]) -> Table:
    """A row a training."""
    table = make_table(
        "Slices of its own that a new hospital needs: mean Dice of its other patients' slices with tumour, at 0.5",
        *("source", "begins from", "slices", "patients", "minutes", "n", "Dice", "gain over the model as it came"),
    )
    for row in rows:
        dice, low, high = (float(row[key]) for key in ("dice", "low", "high"))
        gain, gain_low, gain_high = (float(row[key]) for key in ("gain", "gain_low", "gain_high"))
        table.add_row(
            *(row[key] for key in ("source", "begins_from", "slices", "patients", "minutes", "n")),
            f"{dice:.3f} [{low:.3f}, {high:.3f}]",
            "" if np.isnan(gain_low) else f"{gain:+.3f} [{gain_low:+.3f}, {gain_high:+.3f}]",
        )
    return table


def main(
    data: Annotated[list[Path], typer.Argument(help="The folders that the cross-validation had.")],
    sources: Annotated[Path, typer.Option(help="Folder of tumortrace crossval --by source.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the rows.")],
    negatives: Annotated[Path | None, typer.Option(help="Folder of slices without tumour.")] = None,
) -> None:
    """Measure every row that is not there yet, and print them all."""
    table = out / "next_hospital.csv"
    rows = read_table(table)
    done = {(row["source"], row["begins_from"], row["slices"]) for row in rows}
    for hospital in open_hospitals(sources, open_datasets(data, negatives=negatives)):
        before = score(hospital.model, hospital)
        plan = [("as it came", 0)] + [(begins_from, count) for count in COUNTS for begins_from in BEGINNINGS]
        for begins_from, count in plan:
            if (hospital.name, begins_from, str(count)) in done:
                continue
            tell(f"{hospital.name}: {count} slices, from {begins_from}")
            if count:
                run = out / f"{hospital.name}-{count}-{'from' if begins_from == BEGINNINGS[0] else 'imagenet'}"
                row = measure(hospital, count=count, begins_from=begins_from, before=before, run=run)
            else:
                row = describe(hospital, before, before) | {"begins_from": begins_from, "slices": 0}
            rows.append({field: str(row.get(field, "")) for field in FIELDS})
            write_table(table, rows)
    Console().print(tabulate(rows))


if __name__ == "__main__":
    run_script(main)

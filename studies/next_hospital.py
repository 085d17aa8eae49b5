"""Number of own slices that a new hospital needs for fine-tuning.

``python -m studies.next_hospital DATA --sources DIR --run lgg=RUN --out OUT`` takes runs that were trained without a
source. Half of that source's groups (patients) give the training slices, so many at a time, one of each group in turn;
all slices with tumour of the other half are scored. What is trained is what a user trains: the configuration ``fast``,
once begun from that run and once from ImageNet. A row is kept in ``OUT/next_hospital.csv`` as soon as it is measured,
and not measured again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from benchmarks.common import make_table
from reproduction.runs import finish_run
from reproduction.tables import read_table, write_table
from rich.console import Console
from rich.table import Table

from studies.hospitals import Hospital, open_hospitals
from studies.means import compare_dices
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.errors import DataError
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell
from tumortrace.trials.jobs import read_seconds

COUNTS = (10, 40, 160)
"""Training slices."""

AS_IT_CAME = "as it came"
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


def halve(
    records: Sequence[CaseRecord], group_of: Mapping[str, str]
) -> tuple[tuple[CaseRecord, ...], tuple[CaseRecord, ...]]:
    """Return the slices of half of the groups, drawn at random, one of each group in turn, and all other slices."""
    rng = np.random.default_rng(0)
    names = sorted({group_of[record.case_id] for record in records})
    order = {name: place for place, name in enumerate(rng.permutation(names))}
    turns: dict[str, int] = defaultdict(int)
    drawn = []
    for index in rng.permutation(len(records)):
        group = group_of[records[index].case_id]
        drawn.append((turns[group], order[group], records[index]))
        turns[group] += 1
    half = len(names) // 2
    learnable = sorted((each for each in drawn if each[1] < half), key=lambda each: each[:2])
    others = {record.case_id for _, place, record in drawn if place >= half}
    return tuple(record for *_, record in learnable), tuple(r for r in records if r.case_id in others)


def score(model: Model, records: Sequence[CaseRecord]) -> dict[str, float]:
    """Return the Dice of each slice with tumour at a threshold of 0.5, by case_id."""
    dices = {}
    for record, case, _ in read_cases(records):
        if case is not None and case.truth.any():
            dices[record.case_id] = count_pixels(predict(model, case.slice).probability >= 0.5, case.truth).dice
    return dices


def learn(hospital: Hospital, learnt: tuple[CaseRecord, ...], *, begins_from: str, run: Path) -> float:
    """Train on these slices; return the minutes that it took."""
    model = hospital.model if begins_from == BEGINNINGS[0] else None
    dataset = replace(hospital.dataset, records=learnt)
    finish_run(dataset, load_config("fast", ("training.threads=1",)), run, start_from=model)
    return read_seconds(run) / 60


def measure(hospital: Hospital, out: Path, done: set[tuple[str, str, str]]) -> Iterator[dict[str, object]]:
    """Train and score each row of a hospital that is not done, and compare it in pairs with the model as it came."""
    learnable, others = halve(hospital.records, hospital.group_of)
    before = score(hospital.model, others)
    if (hospital.name, AS_IT_CAME, "0") not in done:
        as_it_came = compare_dices(before, before, hospital.group_of)
        yield {"source": hospital.name, "begins_from": AS_IT_CAME, "slices": 0, **as_it_came}
    for count, begins_from in product(COUNTS, BEGINNINGS):
        if (hospital.name, begins_from, str(count)) in done:
            continue
        if len(learnable) < count:
            raise DataError(f"{hospital.name}: half of its groups has {len(learnable)} slices, not {count}")
        tell(f"{hospital.name}: {count} slices, from {begins_from}")
        run = out / f"{hospital.name}-{count}-{'from' if begins_from == BEGINNINGS[0] else 'imagenet'}"
        minutes = learn(hospital, learnable[:count], begins_from=begins_from, run=run)
        groups = {hospital.group_of[record.case_id] for record in learnable[:count]}
        compared = compare_dices(score(open_model(str(run)), others), before, hospital.group_of)
        row = {"begins_from": begins_from, "slices": count, "patients": len(groups), "minutes": round(minutes, 2)}
        yield {"source": hospital.name, **row, **compared}


def tabulate(rows: list[dict[str, str]]) -> Table:
    """Return a table with a row for each training."""
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
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    run: Annotated[list[str], typer.Option(help="SOURCE=RUN, a run that was trained without the source.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the rows.")],
) -> None:
    """Measure every row that is not there yet, and print them all."""
    table = out / "next_hospital.csv"
    rows = read_table(table)
    done = {(row["source"], row["begins_from"], row["slices"]) for row in rows}
    for hospital in open_hospitals(data, sources, run):
        for row in measure(hospital, out, done):
            rows.append({field: str(row.get(field, "")) for field in FIELDS})
            write_table(table, rows)
    Console().print(tabulate(rows))


if __name__ == "__main__":
    run_script(main)

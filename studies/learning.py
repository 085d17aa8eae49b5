"""What corrected slices of an unseen hospital bring, in two orders of correction.

``python -m studies.learning DATA --base RUN --out OUT`` takes a model that was never trained on DATA. Half of the
patients are the pool, in which slices are corrected by their truth; the model is improved on the first 10, 20, 40 and
80 of them as ``tumortrace improve`` does it, each time from the base. Slices of the other half score every model. The
slices come in random order, or least confident first with every fourth at random. ``OUT/learning.csv`` keeps a row a
training, which is not made again, and ``OUT/learning.svg`` the curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from benchmarks.common import make_table
from matplotlib.figure import Figure
from reproduction.tables import read_table, write_table
from rich.console import Console

from studies.next_hospital import halve
from tumortrace.cli import run_script
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import DataError
from tumortrace.improvement.improve import improve
from tumortrace.improvement.material import gather
from tumortrace.improvement.models import Models
from tumortrace.improvement.settings import settings_of
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.calibration import PAINTED
from tumortrace.metrics.intervals import mean_interval
from tumortrace.progress import tell, track
from tumortrace.reporting.figures import save_figure
from tumortrace.training.arrays import evenly_spaced

COUNTS = (40, 80, 10, 20)
"""Corrected slices, in the order in which they are measured."""

ORDERS = ("random", "least confident")
RANDOM_SHARE = 4
"""In the second order one slice of so many is drawn at random."""

POOL, SCORED = 320, 120
"""Slices of the patients in the pool and of the others, evenly spaced."""

SHORTER = ("training.threads=1", "training.epochs=4", "training.coarse_epochs=2", "training.epoch_slices=256")
"""Two fifths of the training that ``improve`` does, on one core."""

FIELDS = ("order", "slices", "trained", "patients", "n", "dice", "low", "high", "tumour_free", "marked", "verdict")


@dataclass(frozen=True, eq=False)
class Hospital:
    """An unseen hospital.

    Attributes:
        dataset: All of its slices.
        pool: Slices of half of the patients, which are corrected.
        scored: Slices of the others.
        patients: Patient of each case, by case_id.
    """

    dataset: Dataset
    pool: tuple[CaseRecord, ...]
    scored: tuple[CaseRecord, ...]
    patients: dict[str, str]


def open_hospital(data: Path) -> Hospital:
    """Open the hospital, whose slices all name their patients, and halve the patients.

    Raises:
        DataError: A slice names no patient.
    """
    dataset = open_datasets([data])
    patients = {record.case_id: record.patient or "" for record in dataset.records}
    if not all(patients.values()):
        raise DataError(f"{data}: a slice names no patient; give a dataset whose pairs.csv names all of them")
    pool, others = halve(dataset.records, patients)
    return Hospital(dataset, tuple(evenly_spaced(pool, POOL)), tuple(evenly_spaced(others, SCORED)), patients)


def order_randomly(records: Sequence[CaseRecord], *, seed: int) -> list[CaseRecord]:
    """Return the records in random order."""
    ordered = sorted(records, key=lambda record: record.case_id)
    return [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]


def order_by_confidence(records: Sequence[CaseRecord], confidences: dict[str, float], *, seed: int) -> list[CaseRecord]:
    """Return the records least confident first, with every fourth drawn at random from the rest.

    Args:
        records: The records.
        confidences: Confidence of the model in each, by case_id.
        seed: Seed of the random ones.
    """
    doubtful = sorted(records, key=lambda record: (confidences[record.case_id], record.case_id))
    at_random = order_randomly(records, seed=seed)
    chosen: dict[str, CaseRecord] = {}
    while len(chosen) < len(records):
        source = at_random if len(chosen) % RANDOM_SHARE == RANDOM_SHARE - 1 else doubtful
        record = next(record for record in source if record.case_id not in chosen)
        chosen[record.case_id] = record
    return list(chosen.values())


def measure_confidences(model: Model, records: Sequence[CaseRecord]) -> dict[str, float]:
    """Return the model's confidence in each slice, by case_id."""
    confidences = {}
    for record, case, _ in track(read_cases(records), "Asking the model", total=len(records)):
        confidences[record.case_id] = predict(model, case.slice).confidence if case is not None else 1.0
    return confidences


def score(model: Model, hospital: Hospital) -> dict[str, object]:
    """Return mean Dice of the scored slices with tumour, with its interval over patients, and the false positives."""
    dices, groups, marked = [], [], []
    for record, case, _ in track(read_cases(hospital.scored), "Scoring", total=len(hospital.scored)):
        if case is None:
            continue
        mask = predict(model, case.slice).mask
        if case.truth.any():
            dices.append(2 * float((mask & case.truth).sum()) / float(mask.sum() + case.truth.sum()))
            groups.append(hospital.patients[record.case_id])
        else:
            marked.append(float(mask.mean() > PAINTED))
    low, high = mean_interval(dices, groups)
    values = {"n": len(dices), "dice": float(np.mean(dices)), "low": low, "high": high}
    return values | {"tumour_free": len(marked), "marked": float(np.mean(marked))}


def learn(hospital: Hospital, corrected: Sequence[CaseRecord], base: Model, run: Path) -> dict[str, object]:
    """Improve the base on corrected slices, and score what comes of it on the other patients."""
    dataset = replace(hospital.dataset, records=tuple(corrected), findings=())
    settings = settings_of(base, SHORTER)
    done = improve(gather(dataset, None, None), Models(base, None), settings, out=run, resume=False, minutes=math.inf)
    row = {"trained": done.train_count, "verdict": done.judgements[0].verdict}
    row["patients"] = len({hospital.patients[record.case_id] for record in corrected})
    return row | score(open_model(str(run)), hospital)


def draw(rows: Sequence[dict[str, str]]) -> Figure:
    """Draw Dice against corrected slices, a curve an order, with the interval of each point."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    base = next(float(row["dice"]) for row in rows if row["slices"] == "0")
    axes.axhline(base, color="grey", linestyle=":", label="base, nothing corrected")
    for order, colour, marker, shift in zip(ORDERS, ("#0072b2", "#d55e00"), "os", (0.97, 1.03), strict=True):
        points = sorted((row for row in rows if row["order"] == order), key=lambda row: int(row["slices"]))
        slices = np.array([int(row["slices"]) for row in points]) * shift
        dice, low, high = (np.array([float(row[key]) for row in points]) for key in ("dice", "low", "high"))
        errors = np.stack([dice - low, high - dice])
        axes.errorbar(slices, dice, errors, color=colour, marker=marker, capsize=3, label=f"{order} first")
    counts = sorted(COUNTS)
    axes.set(xscale="log", xticks=counts, xticklabels=counts)
    axes.set(xlabel="slices corrected", ylabel="mean Dice, other patients")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def main(
    data: Annotated[Path, typer.Argument(help="Slices of a hospital that the base was not trained on.")],
    base: Annotated[Path, typer.Option(help="Run of the model to start from.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs, the rows and the chart.")] = Path("runs/learning"),
) -> None:
    """Measure every row that is missing, then print and draw all."""
    path = out / "learning.csv"
    rows = read_table(path)
    hospital, model = open_hospital(data), open_model(str(base))
    if not rows:
        rows = [
            _as_text({"order": "", "slices": 0, "trained": 0, "patients": 0, "verdict": ""} | score(model, hospital))
        ]
        write_table(path, rows)
    confidences = measure_confidences(model, hospital.pool)
    orders = {
        "random": order_randomly(hospital.pool, seed=0),
        "least confident": order_by_confidence(hospital.pool, confidences, seed=0),
    }
    for count in COUNTS:
        for name, ordered in orders.items():
            if any((row["order"], row["slices"]) == (name, str(count)) for row in rows):
                continue
            tell(f"{count} slices, {name} first")
            run = out / f"{name.replace(' ', '-')}-{count}"
            row = learn(hospital, ordered[:count], model, run) | {"order": name, "slices": count}
            rows.append(_as_text(row))
            write_table(path, rows)
    table = make_table("Dice on other patients by slices corrected", *FIELDS)
    for each in rows:
        table.add_row(*(each[field] for field in FIELDS))
    Console(width=140).print(table)
    save_figure(draw(rows), out / "learning.svg")


def _as_text(row: dict[str, object]) -> dict[str, str]:
    return {key: f"{row[key]:.4f}" if isinstance(row[key], float) else str(row[key]) for key in FIELDS}


if __name__ == "__main__":
    run_script(main)

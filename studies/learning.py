"""What corrected slices of an unseen hospital bring, in two orders of correction.

``python -m studies.learning DATA --base RUN --out OUT`` takes a model that was never trained on DATA. Half of the
patients are the pool, in which slices are corrected by their truth; the model is improved on the first 10, 20, 40 and
80 of them as ``tumortrace improve`` does it, each time from the base. Slices of the other half score every model. The
slices come in random order, or least confident first with every fourth at random. ``OUT/learning.csv`` has a row a
training, and ``OUT/learning.svg`` the curves; a training that is finished is not made again.
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
from reproduction.tables import write_table
from rich.console import Console

from studies.means import compare_dices
from studies.next_hospital import halve
from tumortrace.cli import run_script
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import DataError
from tumortrace.improvement.improve import improve
from tumortrace.improvement.lineage import DOCUMENT, read_json_or_empty
from tumortrace.improvement.material import gather
from tumortrace.improvement.models import Models
from tumortrace.improvement.settings import settings_of
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell, track
from tumortrace.reporting.figures import save_figure
from tumortrace.run_folder import CONFIG
from tumortrace.training.arrays import evenly_spaced

COUNTS = (40, 80, 10, 20)
"""Corrected slices, in the order in which they are measured."""

LABELS = {"random": "random order", "least confident": "least confident first"}
RANDOM_SHARE = 4
"""In the second order one slice of so many is drawn at random."""

POOL, SCORED = 320, 120
"""Slices of the patients in the pool and of the others, evenly spaced."""

SHORTER = ("training.threads=1", "training.epochs=4", "training.coarse_epochs=2", "training.epoch_slices=256")
"""Two fifths of the training that ``improve`` does, on one core."""

FIELDS = (
    *("order", "slices", "trained", "patients", "n", "dice", "low", "high", "gain", "gain_low", "gain_high"),
    *("tumour_free", "marked", "verdict"),
)


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


@dataclass(frozen=True)
class Scores:
    """The scores of a model on the other patients.

    Attributes:
        dices: Dice of each slice with tumour, by case_id.
        marked: 1 for each tumour-free slice that the model marks, 0 for each other.
    """

    dices: dict[str, float]
    marked: list[float]


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


def score(model: Model, hospital: Hospital) -> Scores:
    """Score a model on the other patients."""
    dices, marked = {}, []
    for record, case, _ in track(read_cases(hospital.scored), "Scoring", total=len(hospital.scored)):
        if case is None:
            continue
        mask = predict(model, case.slice).mask
        if case.truth.any():
            dices[record.case_id] = count_pixels(mask, case.truth).dice
        else:
            marked.append(float(mask.mean() > FALSE_ALARM_AREA))
    return Scores(dices, marked)


def describe(scores: Scores, base: Scores, hospital: Hospital) -> dict[str, object]:
    """Return mean Dice and its gain over the base on the same slices, with intervals over patients."""
    compared = compare_dices(scores.dices, base.dices, hospital.patients)
    return {**compared, "tumour_free": len(scores.marked), "marked": float(np.mean(scores.marked))}


def learn(hospital: Hospital, corrected: Sequence[CaseRecord], base: Model, run: Path) -> dict[str, object]:
    """Improve the base on corrected slices, unless that was done before, and return what the improvement says."""
    if read_json_or_empty(run / DOCUMENT).get("unfinished", True):
        material = gather(replace(hospital.dataset, records=tuple(corrected), findings=()), None, None)
        settings, resume = settings_of(base, SHORTER), (run / CONFIG).is_file()
        improve(material, Models(base, None), settings, out=run, resume=resume, minutes=math.inf)
    document = read_json_or_empty(run / DOCUMENT)
    patients = len({hospital.patients[record.case_id] for record in corrected})
    return {"trained": document["trained_on"]["corrected"], "verdict": document["verdict"], "patients": patients}


def draw(rows: Sequence[dict[str, str]]) -> Figure:
    """Draw Dice against corrected slices, a curve an order, with the interval of each point."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    base = next(float(row["dice"]) for row in rows if row["slices"] == "0")
    axes.axhline(base, color="grey", linestyle=":", label="base, nothing corrected")
    for order, colour, marker, shift in zip(LABELS, ("#0072b2", "#d55e00"), "os", (0.97, 1.03), strict=True):
        points = sorted((row for row in rows if row["order"] == order), key=lambda row: int(row["slices"]))
        slices = np.array([int(row["slices"]) for row in points]) * shift
        dice, low, high = (np.array([float(row[key]) for row in points]) for key in ("dice", "low", "high"))
        errors = np.stack([dice - low, high - dice])
        axes.errorbar(slices, dice, errors, color=colour, marker=marker, capsize=3, label=LABELS[order])
    counts = sorted(COUNTS)
    axes.set(xscale="log", xlim=(counts[0] / 1.15, counts[-1] * 1.15), xticks=counts, xticklabels=counts)
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
    """Train what is missing, score all, then print and draw."""
    hospital, model = open_hospital(data), open_model(str(base))
    before = score(model, hospital)
    first = {"order": "", "slices": 0, "trained": 0, "patients": 0, "verdict": ""}
    rows = [_as_text(first | describe(before, before, hospital))]
    confidences = measure_confidences(model, hospital.pool)
    orders = {
        "random": order_randomly(hospital.pool, seed=0),
        "least confident": order_by_confidence(hospital.pool, confidences, seed=0),
    }
    for count in COUNTS:
        for name, ordered in orders.items():
            tell(f"{count} slices, {name}")
            run = out / f"{name.replace(' ', '-')}-{count}"
            row = learn(hospital, ordered[:count], model, run) | {"order": name, "slices": count}
            rows.append(_as_text(row | describe(score(open_model(str(run)), hospital), before, hospital)))
            write_table(out / "learning.csv", rows)
    table = make_table("Dice on other patients by slices corrected", *FIELDS)
    for each in rows:
        table.add_row(*(each[field] for field in FIELDS))
    Console(width=140).print(table)
    save_figure(draw(rows), out / "learning.svg")


def _as_text(row: dict[str, object]) -> dict[str, str]:
    return {key: f"{row[key]:.4f}" if isinstance(row[key], float) else str(row[key]) for key in FIELDS}


if __name__ == "__main__":
    run_script(main)

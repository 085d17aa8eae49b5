"""The student paper's own TEST: its network and others, all of it and clean.

``python -m reproduction.own_test BR35H --model NAME=RUN --model default`` writes ``results/own_test.csv``. Each mask is
scored on all of TEST by the student paper's metric and by the textbook, and by the textbook on the clean part: the
images that share no slice with what made the mask. The lookup table and the labels are compared with TRAIN, a model
with its own training slices. A shipped model was trained on other datasets too; ``--other`` and ``--negatives``
name their folders, so that every training slice can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from reproduction import worth_of_the_score as worth
from reproduction.committed_numbers import NumbersMissingError
from reproduction.tables import write_table
from tumortrace.cli import run_script
from tumortrace.copies.described import DescribedCases, SurveyedCase, describe_cases
from tumortrace.copies.leakage import find_leaks
from tumortrace.copies.lookup import HeadFrame, copy_mask
from tumortrace.copies.similarity import References, signature
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.copies.training_index import TrainingIndex, build_training_index
from tumortrace.data.cases import read_image
from tumortrace.data.dataset import open_dataset, open_negatives
from tumortrace.evaluation.baselines import find_brightest_blob
from tumortrace.evaluation.provenance import trace_training
from tumortrace.inference.model import open_model
from tumortrace.metrics.overlap import count_pixels

HERE = Path(__file__).parent
NAME = "own_test"
REPORTED = {"precision": "0.913", "recall": "0.452", "Dice": "0.586", "IoU": "0.439"}
"""Table I of the student paper; it gives no interval of the mean."""

Masks = Sequence[tuple[worth.Mask, worth.Mask]]


def measure(
    survey: Survey, everything: DescribedCases, models: Mapping[str, str], threads: int
) -> list[dict[str, str]]:
    """Return the rows of the table.

    Args:
        survey: All parts of Br35H, with annotations of VIA.
        everything: The same cases and those of all other datasets that a model may have been trained on.
        models: Model names or paths as ``--model`` takes them, by the name of the row.
        threads: Number of threads.
    """
    tested = [number for number, case in enumerate(survey.cases) if case.record.part == "test"]
    cases, groups = [survey.cases[number] for number in tested], [survey.groups[number] for number in tested]
    train = build_training_index(
        survey, only=[number for number, case in enumerate(survey.cases) if case.record.part == "train"]
    )
    of_train = find_leaks(survey, train)

    def row(name: str, masks: Masks, clean: list[bool] | None) -> dict[str, str]:
        return write_row(worth.score(name, masks, cases, groups), clean_part(masks, clean, cases, groups))

    unseen = [case.record.case_id not in of_train for case in cases]
    rows = [{"mask": "the student paper's Table I", **{f"its metric: {key}": text for key, text in REPORTED.items()}}]
    rows += [row("perfect mask", worth.perfect_masks(cases), unseen)]
    rows += [row("the student paper's own labels", worth.label_masks(cases), unseen)]
    for name, path in models.items():
        provenance = trace_training(open_model(path, threads=threads), everything)
        leaks = provenance.find_leaks(survey)
        clean = [case.record.case_id not in leaks for case in cases] if provenance.complete else None
        rows += [row(name, worth.network_masks(path, cases, threads), clean)]
    rows += [row("lookup table: mask of the most similar TRAIN slice", look_up(cases, train), unseen)]
    rows += [row("brightest blob in the head", find_blobs(cases), unseen)]
    return [{column: each.get(column, "") for column in rows[1]} for each in rows]


def clean_part(
    masks: Masks, clean: list[bool] | None, cases: Sequence[SurveyedCase], groups: Sequence[str]
) -> dict[str, str]:
    """Return the cells of the clean part; its numbers are empty where it is not known.

    Args:
        masks: Masks of each case on the student paper's grid and on the image's.
        clean: Whether each case is clean; None if unknown.
        cases: The cases.
        groups: Group of copies of each case.
    """
    if clean is None:
        return {"clean images": "unknown", "textbook Dice, clean": ""}
    kept = [number for number, each in enumerate(clean) if each]
    counts = [count_pixels(masks[number][1], cases[number].truth()) for number in kept]
    cell = worth.average_metric(counts, "dice", [groups[number] for number in kept])
    return {"clean images": str(len(kept)), "textbook Dice, clean": write_cell(cell)}


def write_row(row: worth.Row, clean: Mapping[str, str]) -> dict[str, str]:
    """Return a row as text, in the order of its columns."""
    theirs = {f"its metric: {name}": write_cell(row.cells[f"{worth.THEIRS}: {name}"]) for name in REPORTED}
    return {"mask": row.name, **theirs, "textbook Dice": write_cell(row.cells[f"{worth.OURS}: Dice"]), **clean}


def write_cell(cell: worth.Cell) -> str:
    """Return a mean with its interval, if it has one."""
    if not cell.images:
        return ""
    interval = "" if math.isnan(cell.low) else f" ({cell.low:.3f} to {cell.high:.3f})"
    return f"{cell.mean:.3f}{interval}"


def look_up(cases: Sequence[SurveyedCase], index: TrainingIndex) -> Masks:
    """Copy the mask of the most similar training slice onto each case."""
    references, masks = References(index.head_signatures()), []
    for case in cases:
        pixels = read_image(case.record).pixels
        (match,) = references.find_nearest(signature(pixels)[None])
        masks.append(copy_mask(match, index.head_masks[match.index], HeadFrame.of_head(pixels)))
    return [(worth.to_grid(mask), mask) for mask in masks]


def find_blobs(cases: Sequence[SurveyedCase]) -> Masks:
    """Mark the largest bright component of each case."""
    masks = [find_brightest_blob(read_image(case.record).pixels) for case in cases]
    return [(worth.to_grid(mask), mask) for mask in masks]


def main(
    data: Annotated[Path, typer.Argument(metavar="BR35H")],
    model: Annotated[list[str] | None, typer.Option(help="NAME=PATH, or what --model takes elsewhere")] = None,
    other: Annotated[list[Path] | None, typer.Option(help="Another dataset that a model was trained on.")] = None,
    negatives: Annotated[Path | None, typer.Option(help="Tumour-free images that a model was trained on.")] = None,
    out: Path = HERE,
    threads: int = 1,
) -> None:
    """Measure on TEST; write the CSV and print it."""
    dataset = open_dataset(data)
    if "test" not in dataset.parts():
        raise NumbersMissingError(f"{data}: has no TEST part; give the whole of Br35H")
    survey = survey_cases(dataset.records)
    opened = [open_dataset(folder) for folder in other or ()] + ([open_negatives(negatives)] if negatives else [])
    others = [record for each in opened for record in each.records]
    everything = describe_cases([*dataset.records, *others]) if others else survey
    models = {each.partition("=")[0]: each.partition("=")[2] or each for each in model or ()}
    rows = measure(survey, everything, models, threads)
    write_table(out / "results" / f"{NAME}.csv", rows)
    for row in rows:
        print(" | ".join(row.values()))


if __name__ == "__main__":
    run_script(main)

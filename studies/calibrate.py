"""Scores and recipe of runs from the folds that they were not trained on.

``python -m studies.calibrate DATA --sources DIR --run 4=RUN --out OUT`` scores runs on the folds of
``studies.sources``. ``4=RUN`` is a run that was trained without fold 4; the option comes once for each fold. Thresholds
and confidence of a fold are fitted on the other folds. For a network too slow to be trained on every fold, one run is
enough: its fold's groups are divided into halves, and each is scored with what was fitted on the other. A slice that is
a copy of a training slice after all is left out and named: some web pictures without a subject lie in two folds.

OUT then holds what a cross-validation's folder holds: ``per_image.csv``, ``summary.json``, ``split.json``, the runs as
``fold-4`` and so on, and ``calibrated.toml`` with the recipe fitted on all slices, which ``tools/publish_weights.py``
takes. It prints what each reason for review is worth. With ``--keep MODEL`` temperature and thresholds are those of a
model, and the confidence alone is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from studies.named_runs import read_named
from studies.review import Reasons
from studies.screening import half_of, leave_out_copies, open_sources
from tumortrace.cli import run_script
from tumortrace.config import load_config, to_toml
from tumortrace.copies.splits import Split
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.evaluation.crossfit import HeldOut, cross_fit
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.files import write_atomically
from tumortrace.inference.model import open_model
from tumortrace.run_folder import CONFIG, SPLIT, TRAINING_INDEX


def hold_out(runs: dict[str, Path], records: Sequence[CaseRecord], split: Split) -> list[HeldOut]:
    """Return each run with the slices of its fold; of a single run, twice with half of the groups.

    Args:
        runs: Run by the fold that it was not trained on.
        records: Slices of these folds.
        split: The folds.
    """
    group_of = {case.file: case.group for case in split.cases}
    fold_of = {case.file: case.side for case in split.cases}
    held = []
    for fold, run in runs.items():
        model, memory = open_model(str(run)), load_training_index(run / TRAINING_INDEX)
        its = [record for record in records if fold_of[record.case_id] == fold]
        held.append(HeldOut(fold, model, memory, tuple(leave_out_copies(its, memory))))
    if len(held) > 1:
        return held
    (one,) = held
    halves = [tuple(r for r in one.records if half_of(group_of[r.case_id]) == half) for half in (0, 1)]
    return [replace(one, fold=str(number), records=half) for number, half in enumerate(halves, start=1)]


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    run: Annotated[list[str], typer.Option(help="FOLD=RUN, a run that was trained without the fold.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and recipe.")],
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
    keep: Annotated[str, typer.Option(help="Model whose temperature and thresholds are kept.")] = "",
) -> None:
    """Score the folds and write the fitted recipe."""
    runs = read_named(run)
    dataset, split = open_sources(data, sources)
    wanted = {case.file for case in split.cases if case.side in runs}
    records = [record for record in dataset.records if record.case_id in wanted][::every]
    reasons = Reasons()
    kept = open_model(keep).recipe if keep else None
    held = hold_out(runs, records, split)
    survey = survey_cases([record for each in held for record in each.records])
    fitted = cross_fit(held, survey, keep=kept, on_case=reasons.note)
    write_evaluation(fitted.evaluation, out)
    write_atomically(out / SPLIT, (sources / "folds.json").read_bytes())
    for fold, folder in runs.items():
        (out / f"fold-{fold}").unlink(missing_ok=True)
        (out / f"fold-{fold}").symlink_to(folder.resolve())
    config = load_config(str(next(iter(runs.values())) / CONFIG))
    write_atomically(out / "calibrated.toml", to_toml(replace(config, recipe=fitted.recipe)).encode())
    print(fitted.recipe)
    reasons.print_worth(fitted)


if __name__ == "__main__":
    run_script(main)

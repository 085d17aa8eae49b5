"""Scores and recipe of a run from the one fold that it was not trained on.

``python -m studies.calibrate DATA --sources DIR --fold 4 --run RUN --out OUT`` divides the fold's groups into halves
and scores each with thresholds and confidence fitted on the other. For a network too slow to be trained on every fold,
OUT then holds what a cross-validation's folder holds: ``per_image.csv``, ``summary.json``, ``split.json``, the run as
``fold-4``, and ``calibrated.toml`` with the recipe fitted on the whole fold, which ``tools/publish_weights.py`` takes.
It prints what each reason for review is worth.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from studies.review import Doubts
from studies.screening import half_of, open_fold
from tumortrace.cli import run_script
from tumortrace.config import load_config, to_toml
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.evaluation.crossfit import HeldOut, cross_fit
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.files import write_atomically
from tumortrace.inference.model import open_model
from tumortrace.run_folder import CONFIG, SPLIT, TRAINING_INDEX


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    run: Annotated[Path, typer.Option(help="Folder of the finished run.")],
    out: Annotated[Path, typer.Option(help="Folder for scores and recipe.")],
    fold: Annotated[str, typer.Option(help="The fold that was held out.")] = "4",
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
) -> None:
    """Score the fold and write the fitted recipe."""
    records, split = open_fold(data, sources, fold)
    records = records[::every]
    group_of = {case.file: case.group for case in split.cases}
    model, memory = open_model(str(run)), load_training_index(run / TRAINING_INDEX)
    halves = [tuple(r for r in records if half_of(group_of[r.case_id]) == half) for half in (0, 1)]
    held = [HeldOut(str(number), model, memory, half) for number, half in enumerate(halves, start=1)]
    doubts = Doubts()
    fitted = cross_fit(held, survey_cases(records), on_case=doubts.note)
    write_evaluation(fitted.evaluation, out)
    write_atomically(out / SPLIT, (sources / "folds.json").read_bytes())
    (out / f"fold-{fold}").unlink(missing_ok=True)
    (out / f"fold-{fold}").symlink_to(run.resolve())
    write_atomically(
        out / "calibrated.toml", to_toml(replace(load_config(str(run / CONFIG)), recipe=fitted.recipe)).encode()
    )
    print(fitted.recipe)
    doubts.print_worth(fitted)


if __name__ == "__main__":
    run_script(main)

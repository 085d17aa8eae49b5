"""Cross-validation: a run folder a fold, resumable, then one table of scores that no case had a part in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tumortrace.config import Config, load_config, to_toml
from tumortrace.copies.split_files import apply_split, describe_check, read_split, split_document, write_split
from tumortrace.copies.splits import Split, leave_sources_out, make_folds
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.dataset import Dataset
from tumortrace.errors import ConfigError, DataError
from tumortrace.evaluation.crossfit import CrossFit, HeldOut, cross_fit
from tumortrace.evaluation.evaluate import OnCase
from tumortrace.files import write_atomically
from tumortrace.inference.model import open_model
from tumortrace.progress import tell
from tumortrace.run_folder import CONFIG, MANIFEST, SPLIT, TRAINING_INDEX
from tumortrace.training.run import train

By = Literal["groups", "source"]


def cross_validate(
    dataset: Dataset,
    config: Config,
    *,
    folds: int,
    by: By,
    out: Path,
    on_case: OnCase = lambda _case, _prediction, _score: None,
) -> tuple[CrossFit, list[dict[str, Any]]]:
    """Train and score every fold; a second call with the same settings goes on where the first one stopped.

    The TEST part of a divided dataset is never opened.

    Args:
        dataset: From ``open_datasets``.
        config: The whole of the settings, the same for every fold.
        folds: How many, unless whole sources are left out.
        by: ``"groups"``: folds in which no copy and no patient is on both sides; ``"source"``: one fold a dataset.
        out: Holds ``split.json``, ``config.toml``, a run folder ``fold-1``, ... for each fold.
        on_case: Called with each case, the prediction that is scored, and the scores.

    Returns:
        The scores, and a row for each fold: ``fold``, ``n``, ``dice_mean``, ``seconds``.

    Raises:
        ConfigError: ``out`` holds a cross-validation under other settings.
        DataError: Too few different slices, or the data changed since the folds were made.
    """
    records = tuple(record for record in dataset.records if record.part != "test")
    _keep_settings(config, out)
    survey = survey_cases(records)
    split = keep_split(survey, folds=folds, by=by, out=out)
    tell(f"{len(split.sides)} folds; {describe_check(split_document(split, survey))}")
    held = [_run_fold(dataset, config, split, side=side, out=out) for side in split.sides]
    fitted = cross_fit(held, survey, on_case=on_case)
    findings = (*dataset.findings, *fitted.evaluation.findings)
    fitted = replace(fitted, evaluation=replace(fitted.evaluation, findings=findings))
    write_atomically(out / "calibrated.toml", to_toml(replace(config, recipe=fitted.recipe)).encode())
    return fitted, [_describe_fold(fold, fitted, out) for fold in held]


def keep_split(survey: Survey, *, folds: int, by: By, out: Path) -> Split:
    """The folds that ``split.json`` holds, written there first if it is not there yet.

    Args:
        survey: Of all cases.
        folds: As in ``cross_validate``.
        by: As in ``cross_validate``.
        out: The folder of ``split.json``.

    Raises:
        DataError: Too few different slices, or other folds are there: the data or the number of folds changed.
    """
    fresh = leave_sources_out(survey) if by == "source" else make_folds(survey, folds=folds)
    if not (out / SPLIT).is_file():
        write_split(fresh, survey, out / SPLIT)
        return fresh
    kept = read_split(out / SPLIT)
    if kept != fresh:
        raise DataError(f"{out / SPLIT}: was made from other data or for other folds; choose another --out")
    return kept


def _keep_settings(config: Config, out: Path) -> None:
    if (out / CONFIG).is_file():
        if load_config(str(out / CONFIG)) != config:
            raise ConfigError(f"{out}: holds a cross-validation under other settings; choose another --out")
    elif out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty and holds no cross-validation; choose another --out")
    else:
        write_atomically(out / CONFIG, to_toml(config).encode())


def _run_fold(dataset: Dataset, config: Config, split: Split, *, side: str, out: Path) -> HeldOut:
    run = out / f"fold-{side}"
    parts = apply_split(dataset, split, fold=int(side), selecting=config.training.keep != "last")
    if (run / MANIFEST).is_file():
        tell(f"Fold {side} of {len(split.sides)}: finished before")
    else:
        tell(f"Fold {side} of {len(split.sides)}: training on {len(parts.select('train'))} cases")
        train(parts, config, out=run, resume=(run / CONFIG).is_file())
    return HeldOut(side, open_model(str(run)), load_training_index(run / TRAINING_INDEX), parts.select("test"))


def _describe_fold(held: HeldOut, fitted: CrossFit, out: Path) -> dict[str, Any]:
    dices = [score.counts.dice for score in fitted.evaluation.scores if score.fold == held.fold]
    defined = [dice for dice in dices if dice == dice]  # noqa: PLR0124 - NaN differs from itself
    manifest = json.loads((out / f"fold-{held.fold}" / MANIFEST).read_text(encoding="utf-8"))
    recipe = fitted.fold_recipes[held.fold]
    return {
        "fold": held.fold,
        "n": len(dices),
        "dice_mean": sum(defined) / len(defined) if defined else None,
        "seconds": round(manifest["epoch_seconds"], 1),
        "threshold": recipe.threshold,
        "peak_threshold": recipe.peak_threshold,
        "temperature": recipe.temperature,
    }

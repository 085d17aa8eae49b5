"""Cross-validation: one resumable run a fold, then one table of scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumortrace.choices import By
from tumortrace.config import Config, load_config, to_toml
from tumortrace.copies.split_files import apply_split, describe_check, split_document
from tumortrace.copies.splits import Split, list_sources
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.errors import ConfigError, RunFailedError
from tumortrace.evaluation.crossfit import CrossFit, HeldOut, cross_fit
from tumortrace.evaluation.evaluate import OnCase
from tumortrace.files import holds_results, write_atomically
from tumortrace.inference.model import open_model
from tumortrace.json_csv import nan_to_none
from tumortrace.locks import lock_folder
from tumortrace.metrics.aggregate import summarise
from tumortrace.progress import tell
from tumortrace.run_folder import CALIBRATED, CONFIG, MANIFEST, TRAINING_INDEX, has_begun
from tumortrace.training.compute import start_compute
from tumortrace.trials.folds import keep_split
from tumortrace.trials.jobs import Here, Job, Pool, describe_left, read_seconds, run_jobs
from tumortrace.wording import counted


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold: its number, the run that is trained without it, and the cases that are held out."""

    side: str
    job: Job
    held_out: tuple[CaseRecord, ...]


def cross_validate(  # noqa: PLR0913 - the settings of a cross-validation
    dataset: Dataset,
    config: Config,
    *,
    folds: int,
    by: By,
    out: Path,
    on_case: OnCase = lambda _case, _prediction, _score: None,
    pool: Pool | None = None,
) -> tuple[CrossFit, list[dict[str, Any]]]:
    """Train and score every fold; a second call with the same settings continues where the first one stopped.

    Device and threads may differ in it, as where a run is resumed. The TEST part of a divided dataset is never opened.

    Args:
        dataset: Data to train on and to score.
        config: All settings, the same for every fold.
        folds: Number of folds, if ``by`` is ``"groups"``.
        by: ``"groups"``: folds that share no copy and no patient; ``"source"``: one fold for each dataset.
        out: Folder for ``split.json``, ``config.toml``, and a run folder ``fold-1``, ``fold-2``, ... for each fold.
        on_case: Function that is given each case, the prediction that is scored, and the scores.
        pool: Place where the folds are trained; None trains them here.

    Returns:
        The scores, and a row for each fold: number, cases, mean Dice, seconds and recipe.

    Raises:
        ConfigError: ``out`` holds a cross-validation under other settings, or something else; or the network is a
            prompted one.
        DataError: Too few different slices, the data changed since the folds were made, or another run writes to
            ``out``.
        TumortraceError: As ``train``.
    """
    if config.network.decoder == "prompted":
        raise ConfigError("network.decoder = 'prompted' cannot be cross-validated; train it with train --config box")
    records = tuple(record for record in dataset.records if record.part != "test")
    if by == "source":
        list_sources(records)
    _keep_settings(config, out)
    with lock_folder(out):
        epochs, place = counted(config.training.epochs, "epoch"), start_compute(config.training).describe()
        tell(f"Cross-validation on {counted(len(records), 'slice')}, {epochs} a fold; {place}")
        survey = survey_cases(records)
        split = keep_split(survey, folds=folds, by=by, out=out)
        tell(f"{counted(len(split.sides), 'fold')}; {describe_check(split_document(split, survey))}")
        made = [_make_fold(dataset, config, split, side=side, out=out) for side in split.sides]
        _train_folds(made, pool or Here())
        fitted = cross_fit([_hold_out(fold) for fold in made], survey, on_case=on_case)
        findings = (*dataset.findings, *fitted.evaluation.findings)
        fitted = replace(fitted, evaluation=replace(fitted.evaluation, findings=findings))
        write_atomically(out / CALIBRATED, to_toml(replace(config, recipe=fitted.recipe)).encode())
        return fitted, [_describe_fold(fold, fitted) for fold in made]


def _keep_settings(config: Config, out: Path) -> None:
    if has_begun(out):
        raise ConfigError(f"{out}: holds the run of one training; choose another --out")
    if (out / CONFIG).is_file():
        kept, training = load_config(str(out / CONFIG)), config.training
        if replace(kept, training=replace(kept.training, device=training.device, threads=training.threads)) != config:
            raise ConfigError(f"{out}: holds a cross-validation under other settings; choose another --out")
    elif holds_results(out):
        raise ConfigError(f"{out}: is not empty and holds no cross-validation; choose another --out")
    else:
        write_atomically(out / CONFIG, to_toml(config).encode())


def _make_fold(dataset: Dataset, config: Config, split: Split, *, side: str, out: Path) -> _Fold:
    parts = apply_split(dataset, split, fold=int(side), selecting=config.training.keep != "last")
    job = Job(f"Fold {side} of {len(split.sides)}", out / f"fold-{side}", config, parts)
    return _Fold(side, job, parts.select("test"))


def _train_folds(folds: list[_Fold], pool: Pool) -> None:
    waiting = [fold.job for fold in folds]

    def finish(job: Job, failure: str) -> None:
        if failure:
            raise RunFailedError(f"{job.label}: {failure}")
        waiting.remove(job)
        if waiting and any(not (each.folder / MANIFEST).is_file() for each in waiting):
            done = [read_seconds(fold.job.folder) for fold in folds if fold.job not in waiting]
            tell(describe_left(len(waiting), done, at_once=pool.at_once))

    run_jobs(lambda running: [job for job in waiting if job not in running], finish, pool=pool)


def _hold_out(fold: _Fold) -> HeldOut:
    run = fold.job.folder
    return HeldOut(fold.side, open_model(str(run)), load_training_index(run / TRAINING_INDEX), fold.held_out)


def _describe_fold(fold: _Fold, fitted: CrossFit) -> dict[str, Any]:
    dices = [score.counts.dice for score in fitted.evaluation.scores if score.fold == fold.side]
    recipe = fitted.fold_recipes[fold.side]
    return {
        "fold": fold.side,
        "n": len(dices),
        "dice_mean": nan_to_none(summarise(dices).mean),
        "seconds": round(read_seconds(fold.job.folder), 1),
        "threshold": recipe.threshold,
        "peak_threshold": recipe.peak_threshold,
        "temperature": recipe.temperature,
    }

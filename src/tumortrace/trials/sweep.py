"""A sweep: each setting of a search space trained and scored on held-out folds of TRAIN and VAL, resumable.

Runs go seed by seed and fold by fold, all settings under the first before any under the next, so that a sweep that is
cut short has tried all of them. A finished run is a row of ``results.csv``; one that was not finished goes on from its
checkpoint.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median

from tumortrace.config import Config, load_config
from tumortrace.copies.split_files import apply_split
from tumortrace.copies.splits import Split
from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.errors import ConfigError, DataError, RunFailedError
from tumortrace.evaluation.leaderboard import Leaderboard, Run, rank_settings
from tumortrace.files import write_atomically, write_csv, write_json
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import silence
from tumortrace.run_folder import CHECKPOINT, CONFIG, MANIFEST
from tumortrace.training.checkpoint import EpochRow, read_state
from tumortrace.training.loop import kept_epoch
from tumortrace.training.run import train
from tumortrace.trials.crossval import keep_split
from tumortrace.trials.sweep_space import Plan, Setting, describe_setting, plan_sweep

SWEEP = Path("sweep.toml")
"""What was searched, as it was given."""

RESULTS = Path("results.csv")
"""A row a finished run."""

LEADERBOARD = Path("leaderboard.csv")
"""A row a setting, best first; there once the sweep has finished."""

RUNS = Path("runs")
"""The run folders."""

SCORES = Path("scores.csv")
"""In a run folder: Dice of each held-out slice with a tumour."""

FINDINGS = Path("findings.json")
"""Faults of the data."""

JUDGED_AGAINST = 4
"""So many settings must have come to a third of their epochs before one is called hopeless."""

Watch = Callable[[Sequence[Run], int, str], None]
"""Told how a sweep stands: its finished runs, how many there will be with those to come, and what is under way."""


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A finished sweep.

    Attributes:
        runs: In the order in which they finished.
        leaderboard: Of the settings.
        findings: Faults of the data; the cases left out are among them.
    """

    runs: tuple[Run, ...]
    leaderboard: Leaderboard
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Job:
    """A run that is to be: one setting under one seed, with one fold held out; ``first`` of the setting's runs."""

    setting: Setting
    seed: int
    fold: str
    first: bool

    @property
    def name(self) -> str:
        return f"{self.setting.name}-seed{self.seed}-fold{self.fold}"

    @property
    def config(self) -> Config:
        config = self.setting.config
        return replace(config, training=replace(config.training, seed=self.seed))


def run_sweep(
    dataset: Dataset, plan: Plan, *, text: str, out: Path, watch: Watch = lambda _runs, _total, _doing: None
) -> SweepResult:
    """Train and score every run of a sweep; a second call with the same settings goes on where the first one stopped.

    The pictures of the TEST part of a divided dataset are never opened. A run is scored on the slices with a tumour of
    the fold that was held out from it, each at its own resolution. Each epoch is measured on that fold as well, but
    where ``training.keep`` chooses the epoch: that is done on the next fold, held out besides. A setting of which a run
    fails or is hopeless is not tried further.

    Args:
        dataset: From ``open_datasets``.
        plan: What to try.
        text: Of the file that the plan was made from, to be kept.
        out: Holds ``sweep.toml``, ``split.json``, ``results.csv``, ``leaderboard.csv``, ``findings.json`` and a folder
            of ``runs``.
        watch: Told at the start, after each epoch and after each run.

    Raises:
        ConfigError: ``out`` holds a sweep under other settings, or something else.
        DataError: Too few different slices, a fold without a tumour, or the data changed since the folds were made.
        TumortraceError: As ``train``; a run that diverges or finds no memory ends that setting alone.
    """
    _keep_plan(plan, text, out)
    survey = survey_cases(tuple(record for record in dataset.records if record.part != "test"))
    split = keep_split(survey, folds=plan.options.folds, by="groups", out=out)
    findings = (*dataset.findings, *survey.findings)
    write_json(out / FINDINGS, [asdict(each) for each in findings])
    jobs = _list_jobs(plan, split)
    runs = _read_results(out)
    with silence():
        while left := _left(jobs, runs):
            job = left[0]
            note = partial(_note, watch, tuple(runs), len(runs) + len(left), _describe(job, plan))
            note([])
            runs.append(_run(job, plan, runs, dataset=dataset, split=split, out=out, note=note))
            _write_results(runs, plan, out)
    watch(runs, len(runs), "")
    groups = {case.file: case.group for case in split.cases}
    scores = {run.run: _read_scores(out / RUNS / run.run / SCORES) for run in runs if run.dice_mean is not None}
    board = rank_settings(runs, scores, groups)
    _write_leaderboard(board, plan, out)
    return SweepResult(tuple(runs), board, findings)


def _keep_plan(plan: Plan, text: str, out: Path) -> None:
    if (out / SWEEP).is_file():
        if plan_sweep((out / SWEEP).read_text(encoding="utf-8"), str(out / SWEEP)) != plan:
            raise ConfigError(f"{out}: holds a sweep under other settings; choose another --out")
    elif out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty and holds no sweep; choose another --out")
    else:
        write_atomically(out / SWEEP, text.encode())


def _list_jobs(plan: Plan, split: Split) -> list[_Job]:
    folds = split.sides[: plan.options.use or None]
    blocks = [(seed, fold) for seed in plan.options.seeds for fold in folds]
    return [
        _Job(setting, seed, fold, first=(seed, fold) == blocks[0]) for seed, fold in blocks for setting in plan.settings
    ]


def _left(jobs: Sequence[_Job], runs: Sequence[Run]) -> list[_Job]:
    """The runs that are still to be made, but those of settings that were given up."""
    done = {run.run for run in runs}
    given_up = {run.setting for run in runs if run.outcome != "finished"}
    return [job for job in jobs if job.name not in done and job.setting.name not in given_up]


def _describe(job: _Job, plan: Plan) -> str:
    return f"{describe_setting(job.setting, plan.varied)}, seed {job.seed}, fold {job.fold}"


def _note(watch: Watch, runs: Sequence[Run], total: int, doing: str, rows: Sequence[EpochRow]) -> None:
    if rows:
        dice = rows[-1].val_dice
        doing += f": epoch {rows[-1].epoch}" + ("" if dice is None else f", Dice {dice:.3f}")
    watch(runs, total, doing)


def _run(  # noqa: PLR0913 - a run, and all that it is made of
    job: _Job,
    plan: Plan,
    runs: Sequence[Run],
    *,
    dataset: Dataset,
    split: Split,
    out: Path,
    note: Callable[[Sequence[EpochRow]], None],
) -> Run:
    folder = out / RUNS / job.name
    parts, held_out = _hold_out(dataset, split, job)
    lowest = _find_lowest(job, runs) if plan.options.stop_hopeless else None

    def should_stop(rows: Sequence[EpochRow]) -> bool:
        note(rows)
        return is_hopeless(rows, epochs=job.config.training.epochs, lowest=lowest)

    try:
        if not (folder / MANIFEST).is_file():
            train(parts, job.config, out=folder, resume=(folder / CONFIG).is_file(), should_stop=should_stop)
    except RunFailedError as error:
        return _describe_run(job, folder, {}, failure=str(error))
    if load_config(str(folder / CONFIG)) != job.config:
        raise ConfigError(f"{folder}: was trained under other settings; restore the base, or choose another --out")
    dices = _score(folder, held_out)
    _write_scores(dices, folder / SCORES)
    return _describe_run(job, folder, dices)


def is_hopeless(rows: Sequence[EpochRow], *, epochs: int, lowest: float | None) -> bool:
    """Whether a run was below what it had to reach after a third of its epochs (rounded up).

    Args:
        rows: Of the epochs so far.
        epochs: That it is to have.
        lowest: Dice that it had to reach; None for a run that is not judged.

    Returns:
        False before that epoch, and where the Dice is undefined.
    """
    third = _third(epochs)
    if lowest is None or len(rows) < third:
        return False
    dice = rows[third - 1].val_dice
    return dice is not None and dice < lowest


def _third(epochs: int) -> int:
    return -(-epochs // 3)


def _find_lowest(job: _Job, runs: Sequence[Run]) -> float | None:
    """The median after a third of the epochs of the first runs of the settings before; None if there are too few."""
    before = [
        run.dice_third for run in runs if (run.seed, run.fold) == (job.seed, job.fold) and run.dice_third is not None
    ]
    return median(before) if job.first and len(before) >= JUDGED_AGAINST else None


def _hold_out(dataset: Dataset, split: Split, job: _Job) -> tuple[Dataset, tuple[CaseRecord, ...]]:
    """The dataset to train on, whose VAL measures each epoch, and the cases to score on."""
    selecting = job.config.training.keep != "last"
    parts = apply_split(dataset, split, fold=int(job.fold), selecting=selecting)
    held_out = parts.select("test")
    if not selecting:  # nothing is chosen by it: the fold that is scored may be watched
        measured = tuple(replace(each, part="val" if each.part == "test" else each.part) for each in parts.records)
        parts = replace(parts, records=measured)
    return parts, held_out


def _score(folder: Path, records: tuple[CaseRecord, ...]) -> dict[str, float]:
    model = open_model(str(folder))
    dices = {
        record.case_id: count_pixels(predict(model, case.slice).mask, case.truth).dice
        for record, case, _ in read_cases(records)
        if case is not None and case.truth.any()
    }
    if not dices:
        raise DataError(f"{folder}: no slice with a tumour in the held-out fold to score on; ask for fewer folds")
    return dices


def _describe_run(job: _Job, folder: Path, dices: Mapping[str, float], *, failure: str = "") -> Run:
    rows = read_state(folder / CHECKPOINT).rows if (folder / CHECKPOINT).is_file() else []
    training = job.config.training
    third = rows[_third(training.epochs) - 1 :][:1]
    return Run(
        run=job.name,
        setting=job.setting.name,
        seed=job.seed,
        fold=job.fold,
        cases=len(dices),
        dice_mean=None if failure else fmean(dices.values()),
        val_loss=None if failure else rows[kept_epoch(rows, keep=training.keep) - 1].val_loss,
        dice_third=third[0].val_dice if third else None,
        epochs=len(rows),
        seconds=round(sum(row.seconds for row in rows), 1),
        outcome=failure or ("finished" if len(rows) >= training.epochs else "stopped"),
    )


def _write_results(runs: Sequence[Run], plan: Plan, out: Path) -> None:
    values = {setting.name: setting.values for setting in plan.settings}
    rows = [{**asdict(run), **values[run.setting]} for run in runs]
    names = [field.name for field in fields(Run)]
    write_csv(out / RESULTS, rows, columns=[*names[:2], *plan.settings[0].values, *names[2:]])


def _read_results(out: Path) -> list[Run]:
    """The finished runs; one whose scores were taken away is made again."""
    if not (out / RESULTS).is_file():
        return []
    try:
        runs = [_read_run(row) for row in _read_csv(out / RESULTS)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{out / RESULTS}: not the results of a sweep ({error}); take it away to score again") from None
    return [run for run in runs if run.dice_mean is None or (out / RUNS / run.run / SCORES).is_file()]


def _read_run(row: Mapping[str, str]) -> Run:
    numbers = {key: float(row[key]) if row[key] else None for key in ("dice_mean", "val_loss", "dice_third")}
    return Run(
        run=row["run"],
        setting=row["setting"],
        seed=int(row["seed"]),
        fold=row["fold"],
        cases=int(row["cases"]),
        epochs=int(row["epochs"]),
        seconds=float(row["seconds"]),
        outcome=row["outcome"],
        **numbers,
    )


def _write_scores(dices: Mapping[str, float], path: Path) -> None:
    write_csv(path, ({"file": file, "dice": dice} for file, dice in dices.items()), columns=["file", "dice"])


def _read_scores(path: Path) -> dict[str, float]:
    try:
        return {row["file"]: float(row["dice"]) for row in _read_csv(path)}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the scores of a run ({error}); take it away to score again") from None


def _write_leaderboard(board: Leaderboard, plan: Plan, out: Path) -> None:
    values = {setting.name: setting.values for setting in plan.settings}
    rows = [
        {
            "place": number,
            "setting": place.setting,
            **values[place.setting],
            "runs": place.runs,
            "dice_mean": place.mean,
            "seed_deviation": place.seed_deviation,
            "ci95_low": place.ci95[0],
            "ci95_high": place.ci95[1],
            "behind": place.behind,
            "p_corrected": place.p,
            "note": place.note,
        }
        for number, place in enumerate(board.places, start=1)
    ]
    write_csv(out / LEADERBOARD, rows, columns=list(rows[0]))


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

"""A sweep: settings trained and scored on held-out folds, resumably.

Runs go seed by seed and fold by fold, all settings under the first before any under the next, so that a sweep that is
cut short has tried all of them. A finished run is a row of ``results.csv``; an unfinished one continues from its
checkpoint. Where several runs go at once, each setting has one under way: whether it is tried further, and what it is
judged by, is the same as where they go in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from tumortrace.config import Config
from tumortrace.copies.split_files import apply_split
from tumortrace.copies.splits import Split, find_heads
from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.errors import WORKER_DIED, ConfigError, DataError
from tumortrace.evaluation.leaderboard import RESULTS, Leaderboard, Run, rank_settings
from tumortrace.files import holds_results, write_atomically
from tumortrace.frames import make_frame
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.json_csv import write_json
from tumortrace.locks import lock_folder
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell
from tumortrace.training.compute import start_compute
from tumortrace.training.epochs import EpochRow, kept_epoch
from tumortrace.training.loop import never
from tumortrace.trials.folds import keep_split
from tumortrace.trials.hopeless import FirstRun, HopelessRule, third_row
from tumortrace.trials.jobs import Here, Job, Pool, describe_left, ignore, read_rows, run_jobs
from tumortrace.trials.sweep_files import (
    RUNS,
    read_results,
    read_scores,
    write_leaderboard,
    write_results,
    write_scores,
)
from tumortrace.trials.sweep_space import Plan, Setting, describe_setting, plan_sweep
from tumortrace.wording import counted

if TYPE_CHECKING:
    import pandas as pd

SWEEP = Path("sweep.toml")
"""The search space, as it was given."""

FINDINGS = Path("findings.json")
"""Faults of the data."""

Watch = Callable[[Sequence[Run], int, str], None]
"""Function that is given the finished runs, the number of all runs that are known of, and what is being done."""


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult:
    """A finished sweep.

    Attributes:
        runs: All runs, in the order of the plan.
        leaderboard: All settings, best first.
        findings: Faults of the data; the cases that were left out are among them.
    """

    runs: tuple[Run, ...]
    leaderboard: Leaderboard
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        settings = counted(len(self.leaderboard.places), "setting")
        return (
            f"<SweepResult: {counted(len(self.runs), 'run')} of {settings}, {counted(len(self.findings), 'finding')}>"
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a run (``results.csv`` without the settings' values)."""
        return make_frame(asdict(run) for run in self.runs)


@dataclass(frozen=True)
class _Trial:
    """One setting under one seed, with one fold held out; ``first`` is set for the setting's first run."""

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
    dataset: Dataset,
    plan: Plan,
    *,
    text: str,
    out: Path,
    watch: Watch = lambda _runs, _total, _doing: None,
    pool: Pool | None = None,
) -> SweepResult:
    """Train and score every run of a sweep; a second call with the same settings continues after a stop.

    The pictures of the TEST part of a divided dataset are never opened. A run is scored on the slices with tumour of
    its held-out fold, each at its own resolution. Each epoch is validated on that fold as well, unless
    ``training.keep`` chooses the epoch: then it is validated on the next fold, which is held out too. A setting of
    which a run fails or is hopeless is not tried further.

    Args:
        dataset: Data to train on and to score.
        plan: The settings to try.
        text: Content of the file that the plan was made from, to be kept.
        out: Folder for ``sweep.toml``, ``split.json``, ``results.csv``, ``leaderboard.csv``, ``findings.json`` and the
            run folders in ``runs``.
        watch: Function that is called at the start, after each run and, if runs go here, after each epoch.
        pool: Place where the runs go; None takes them here in turn.

    Raises:
        ConfigError: ``out`` holds a sweep under other settings, or something else.
        DataError: Too few different slices, a fold without a tumour, the data changed since the folds were made, or
            another run writes to ``out``.
        TumortraceError: As ``train``; a run that diverges or runs out of memory ends its setting alone.
    """
    _keep_plan(plan, text, out)
    with lock_folder(out):
        records = tuple(record for record in dataset.records if record.part != "test")
        tell(_describe_plan(plan, len(records)))
        survey = survey_cases(records)
        split = keep_split(survey, folds=plan.options.folds, by="groups", out=out)
        findings = (*dataset.findings, *survey.findings)
        write_json(out / FINDINGS, [asdict(each) for each in findings])
        runs = _Sweep(plan, dataset, split, out, watch).run(pool)
        scores = {run.run: read_scores(out / RUNS / run.run) for run in runs if run.dice_mean is not None}
        board = rank_settings(runs, scores, find_heads(split, records))
        write_leaderboard(board, plan, out)
        return SweepResult(tuple(runs), board, findings)


class _Sweep:
    """The runs of a sweep under way."""

    def __init__(self, plan: Plan, dataset: Dataset, split: Split, out: Path, watch: Watch) -> None:
        self.plan = plan
        self.dataset = dataset
        self.split = split
        self.out = out
        self.watch = watch
        self.trials = {trial.name: trial for trial in _list_trials(plan, split)}
        self.runs = read_results(out)
        self._forget_deaths()
        self.finished_before = len(self.runs)

    def _forget_deaths(self) -> None:
        """Try runs again whose workers died in an earlier call: that says nothing about their settings."""
        kept = [run for run in self.runs if not run.outcome.startswith(WORKER_DIED)]
        if kept != self.runs:
            self.runs = kept
            write_results(kept, self.plan, self.out)

    def run(self, pool: Pool | None) -> list[Run]:
        here = pool is None
        place = pool or Here(shown=False)
        run_jobs(lambda running: self._waiting(running, here=here), partial(self._finish, place), pool=place)
        self.watch(tuple(self.runs), len(self.runs), "")
        return self.runs

    def _waiting(self, running: Sequence[Job], *, here: bool) -> Iterator[Job]:
        """Yield the jobs that may begin: one of each setting that was not given up and has none under way."""
        busy = {self.trials[job.label].setting.name for job in running}
        for trial in self._list_left():
            if trial.setting.name not in busy:
                busy.add(trial.setting.name)
                self._note(trial, [], others=len(running))
                yield self._make_job(trial, here=here)

    def _list_left(self) -> list[_Trial]:
        """Return the trials that are left, without those of settings that were given up."""
        done = {run.run for run in self.runs}
        given_up = {run.setting for run in self.runs if run.outcome != "finished"}
        trials = self.trials.values()
        return [trial for trial in trials if trial.name not in done and trial.setting.name not in given_up]

    def _make_job(self, trial: _Trial, *, here: bool) -> Job:
        parts, _ = _hold_out(self.dataset, self.split, trial)
        return Job(
            trial.name,
            self.out / RUNS / trial.name,
            trial.config,
            parts,
            should_stop=self._make_rule(trial) or never,
            on_epoch=partial(self._note, trial) if here else ignore,
        )

    def _make_rule(self, trial: _Trial) -> HopelessRule | None:
        """The rule for a setting's first run, if hopeless ones are to end."""
        if not (trial.first and self.plan.options.stop_hopeless):
            return None
        block = [each for each in self.trials.values() if each.first]
        before = block[: block.index(trial)]
        runs = tuple(FirstRun(self.out / RUNS / each.name, each.config.training.epochs) for each in before)
        return HopelessRule(trial.config.training.epochs, runs, self.out / RESULTS)

    def _finish(self, pool: Pool, job: Job, failure: str) -> None:
        trial = self.trials[job.label]
        dices: dict[str, float] = {}
        if not failure:
            dices = _score(job.folder, _hold_out(self.dataset, self.split, trial)[1])
            write_scores(dices, job.folder)
        order = list(self.trials)
        self.runs = sorted(
            [*self.runs, _describe_run(trial, job.folder, dices, failure=failure)], key=lambda run: order.index(run.run)
        )
        write_results(self.runs, self.plan, self.out)
        left = len(self._list_left())
        self.watch(tuple(self.runs), len(self.runs) + left, "")
        if left and len(self.runs) == self.finished_before + 1:
            at_once = min(pool.at_once, len(self.plan.settings))  # one run of each setting at a time
            tell(describe_left(left, [run.seconds for run in self.runs], at_once=at_once))

    def _note(self, trial: _Trial, rows: Sequence[EpochRow], others: int = 0) -> None:
        doing = f"{describe_setting(trial.setting, self.plan.varied)}, seed {trial.seed}, fold {trial.fold}"
        left = len(self._list_left())
        if rows:
            dice = rows[-1].val_dice
            doing += f": epoch {rows[-1].epoch}" + ("" if dice is None else f", Dice {dice:.3f}")
        doing += f", and {counted(others, 'other')}" if others else ""
        self.watch(tuple(self.runs), len(self.runs) + left, doing)


def _describe_plan(plan: Plan, slices: int) -> str:
    options, training = plan.options, plan.settings[0].config.training
    folds = options.use or options.folds
    runs = len(plan.settings) * len(options.seeds) * folds
    epochs = max(setting.config.training.epochs for setting in plan.settings)
    return (
        f"Sweep of {counted(len(plan.settings), 'setting')} on {counted(slices, 'slice')}: at most "
        f"{counted(runs, 'training')} of up to {counted(epochs, 'epoch')} ({counted(len(options.seeds), 'seed')}, "
        f"{folds} of {options.folds} folds); {start_compute(training).describe()}"
    )


def _keep_plan(plan: Plan, text: str, out: Path) -> None:
    if (out / SWEEP).is_file():
        kept = (out / SWEEP).read_text(encoding="utf-8")
        if plan_sweep(kept, str(out / SWEEP), label=plan.label) != plan:
            raise ConfigError(f"{out}: holds a sweep under other settings; choose another --out")
    elif holds_results(out):
        raise ConfigError(f"{out}: is not empty and holds no sweep; choose another --out")
    else:
        write_atomically(out / SWEEP, text.encode())


def _list_trials(plan: Plan, split: Split) -> list[_Trial]:
    folds = split.sides[: plan.options.use or None]
    blocks = [(seed, fold) for seed in plan.options.seeds for fold in folds]
    return [
        _Trial(setting, seed, fold, first=(seed, fold) == blocks[0])
        for seed, fold in blocks
        for setting in plan.settings
    ]


def _hold_out(dataset: Dataset, split: Split, trial: _Trial) -> tuple[Dataset, tuple[CaseRecord, ...]]:
    """Return the dataset to train on, with a VAL part for each epoch, and the cases to score on."""
    selecting = trial.config.training.keep != "last"
    parts = apply_split(dataset, split, fold=int(trial.fold), selecting=selecting)
    held_out = parts.select("test")
    if not selecting:  # VAL chooses nothing, so it may be the fold that is scored
        records = tuple(replace(each, part="val" if each.part == "test" else each.part) for each in parts.records)
        parts = replace(parts, records=records)
    return parts, held_out


def _score(folder: Path, records: tuple[CaseRecord, ...]) -> dict[str, float]:
    """Return the Dice of each held-out slice with tumour; all runs must be scored on the same ones."""
    model = open_model(str(folder))
    cases = (read_case(record)[0] for record in records)
    dices = {
        case.record.case_id: count_pixels(predict(model, case.slice).mask, case.truth).dice
        for case in cases
        if case.truth.any()
    }
    if not dices:
        raise DataError(f"{folder}: no slice with a tumour in the held-out fold to score on; ask for fewer folds")
    return dices


def _describe_run(trial: _Trial, folder: Path, dices: Mapping[str, float], *, failure: str) -> Run:
    rows = read_rows(folder)
    training = trial.config.training
    third = third_row(rows, training.epochs)
    return Run(
        run=trial.name,
        setting=trial.setting.name,
        seed=trial.seed,
        fold=trial.fold,
        cases=len(dices),
        dice_mean=None if failure else fmean(dices.values()),
        val_loss=None if failure else rows[kept_epoch(rows, keep=training.keep) - 1].val_loss,
        dice_third=third.val_dice if third else None,
        epochs=len(rows),
        seconds=round(sum(row.seconds for row in rows), 1),
        outcome=failure or ("finished" if len(rows) >= training.epochs else "stopped"),
    )

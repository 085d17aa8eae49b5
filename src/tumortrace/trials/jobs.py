"""Jobs: the trainings of a trial, here in turn or elsewhere at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from tumortrace.config import Config, load_config
from tumortrace.data.dataset import Dataset
from tumortrace.errors import DataError, RunFailedError
from tumortrace.inference.model import Model
from tumortrace.json_csv import read_json
from tumortrace.locks import lock_folder
from tumortrace.progress import silence, tell
from tumortrace.run_folder import CHECKPOINT, CONFIG, MANIFEST, has_begun
from tumortrace.training.checkpoint import read_state, refuse_other_settings
from tumortrace.training.epochs import EpochRow
from tumortrace.training.loop import ShouldStop, never
from tumortrace.training.run import train
from tumortrace.wording import counted, describe_seconds

LOCK_SECONDS = 120.0
"""Time for which a job waits for its run folder: a worker that was given up may still be ending."""

POLL_SECONDS = 0.5

OnEpoch = Callable[[Sequence[EpochRow]], None]


class NotYetError(Exception):
    """A training cannot go on before others have come further; it is to be continued later."""


def ignore(_rows: Sequence[EpochRow]) -> None:
    """Do nothing after an epoch."""


@dataclass(frozen=True, eq=False)
class Job:
    """One training of a trial. It may be pickled if ``on_epoch`` may.

    Attributes:
        label: Name of the training in messages, for example ``"Fold 2 of 5"``.
        folder: The run folder; a run in it is continued, a finished one is taken as it is.
        config: All settings.
        dataset: Data to train and validate on.
        should_stop: Function that may end the training after an epoch, as a complete one.
        start_from: Model whose weights the training starts from; None starts anew.
        on_epoch: Function that is given the epochs so far after each of them.
    """

    label: str
    folder: Path
    config: Config
    dataset: Dataset
    should_stop: ShouldStop = never
    start_from: Model | None = None
    on_epoch: OnEpoch = ignore

    def progress(self) -> int:
        """Return the number of epochs in its run folder."""
        return len(read_rows(self.folder))


class Pool(Protocol):
    """A place where jobs run."""

    @property
    def at_once(self) -> int:
        """Number of jobs that run at a time."""

    @property
    def size(self) -> int:
        """Number of jobs that may be under way at a time, those that wait for room included."""

    def start(self, job: Job, /) -> None:
        """Begin a job."""

    def take(self) -> tuple[Job, str | None]:
        """Wait for a job that was begun; return it and what ``run_job`` said of it."""


class Here:
    """This process: one job at a time."""

    at_once = size = 1

    def __init__(self, *, shown: bool = True) -> None:
        """Make a pool.

        Args:
            shown: Whether trainings show their progress; a caller that has a display of its own does not want it.
        """
        self._shown = shown
        self._jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Put a job down for ``take``."""
        self._jobs.append(job)

    def take(self) -> tuple[Job, str | None]:
        """Run the job that was put down."""
        job = self._jobs.pop()
        with nullcontext() if self._shown else silence():
            return job, run_job(job)


def run_jobs(
    waiting: Callable[[Sequence[Job]], Iterable[Job]], finish: Callable[[Job, str], None], *, pool: Pool
) -> None:
    """Run jobs until none is waiting; this is the one loop that runs trainings.

    Args:
        waiting: Function that is given the jobs under way and returns others that may begin, the next one first. What
            earlier jobs led to may change them.
        finish: Function that is given each job once its training has finished, and why it failed (empty if it did not).
        pool: Place where they run.

    Raises:
        ConfigError: A run folder was filled under other settings.
        TumortraceError: As ``train``, but for a training that diverged or ran out of memory: that is a failed job.
    """
    running: list[Job] = []
    while True:
        for job in list(islice(waiting(tuple(running)), max(pool.size - len(running), 0))):
            pool.start(job)
            running.append(job)
        if not running:
            return
        job, failure = pool.take()
        running.remove(job)
        if failure is not None:
            finish(job, failure)


def run_job(job: Job) -> str | None:
    """Train, or continue, unless the run has finished before.

    Returns:
        Why the training failed (it diverged, or memory ran out); empty if it did not, None if it waits for others.
    """
    if (job.folder / MANIFEST).is_file():
        refuse_other_settings(job.folder / CONFIG, load_config(str(job.folder / CONFIG)), job.config)
        tell(f"{job.label}: finished before")
        return ""
    tell(f"{job.label}: {job.folder}")

    def should_stop(rows: Sequence[EpochRow]) -> bool:
        job.on_epoch(rows)
        return job.should_stop(rows)

    resume = has_begun(job.folder)
    try:
        start = None if resume else job.start_from
        train(job.dataset, job.config, out=job.folder, start_from=start, resume=resume, should_stop=should_stop)
    except RunFailedError as error:
        return str(error)
    except NotYetError:
        return None
    return ""


def run_job_on_worker(job: Job) -> str | None:
    """Run a job as ``run_job`` does, once its run folder is free.

    Raises:
        DataError: It is not free within ``LOCK_SECONDS``.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with lock_folder(job.folder):
                break
        except DataError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
    return run_job(job)


def read_rows(run: Path) -> list[EpochRow]:
    """Return the epochs in a run folder; none without a checkpoint.

    Raises:
        ModelError: The checkpoint is damaged.
    """
    return read_state(run / CHECKPOINT).rows if (run / CHECKPOINT).is_file() else []


def read_seconds(run: Path) -> float:
    """Return the seconds that the epochs of a finished run took.

    Raises:
        DataError: The run's manifest is missing or damaged.
    """
    try:
        return float(read_json(run / MANIFEST)["epoch_seconds"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run / MANIFEST}: not the manifest of a run ({error}); remove {run} to train it again"
        ) from None


def describe_left(left: int, seconds: Sequence[float], *, at_once: int) -> str:
    """Return how long the trainings that are left will take, as a line.

    Args:
        left: Number of trainings.
        seconds: Seconds that each finished training took, at least one.
        at_once: Number of trainings that run at a time.
    """
    rounds = -(-left // at_once)
    expected = describe_seconds(rounds * sum(seconds) / len(seconds))
    return f"{counted(left, 'training')} left, about {expected} at the speed so far"

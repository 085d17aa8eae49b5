"""Jobs: the trainings of a trial, run in turn and continued after a stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tumortrace.config import Config, load_config
from tumortrace.data.dataset import Dataset
from tumortrace.errors import DataError, RunFailedError
from tumortrace.files import read_json
from tumortrace.inference.model import Model
from tumortrace.progress import silence, tell
from tumortrace.run_folder import CONFIG, MANIFEST
from tumortrace.training.checkpoint import refuse_other_settings
from tumortrace.training.loop import ShouldStop, never
from tumortrace.training.pace import describe_seconds
from tumortrace.training.run import train
from tumortrace.wording import counted


@dataclass(frozen=True, eq=False)
class Job:
    """One training of a trial.

    Attributes:
        label: Name of the training in messages, for example ``"Fold 2 of 5"``.
        folder: The run folder; a run in it is continued, a finished one is taken as it is.
        config: All settings.
        dataset: Data to train and validate on.
        should_stop: Function that may end the training after an epoch, as a complete one.
        start_from: Model whose weights the training starts from; None starts anew.
    """

    label: str
    folder: Path
    config: Config
    dataset: Dataset
    should_stop: ShouldStop = never
    start_from: Model | None = None


def run_jobs(waiting: Callable[[], Sequence[Job]], finish: Callable[[Job, str], None], *, shown: bool = True) -> None:
    """Run jobs until none is waiting; this is the one loop that runs trainings.

    Args:
        waiting: Function that returns the jobs that are left, the next one first. What earlier jobs led to may shorten
            the list.
        finish: Function that is given each job once its training has finished, and why it failed (empty if it did not).
        shown: Whether trainings show their progress; a caller that has a display of its own does not want it.

    Raises:
        ConfigError: A run folder was filled under other settings.
        TumortraceError: As ``train``, but for a training that diverged or ran out of memory: that is a failed job.
    """
    while jobs := waiting():
        with nullcontext() if shown else silence():
            failure = run_job(jobs[0])
        finish(jobs[0], failure)


def run_job(job: Job) -> str:
    """Train, or continue, unless the run has finished before.

    Returns:
        Why the training failed (it diverged, or memory ran out); empty if it did not.
    """
    if (job.folder / MANIFEST).is_file():
        refuse_other_settings(job.folder / CONFIG, load_config(str(job.folder / CONFIG)), job.config)
        tell(f"{job.label}: finished before")
        return ""
    tell(f"{job.label}: {job.folder}")
    resume = (job.folder / CONFIG).is_file()
    try:
        start = None if resume else job.start_from
        train(job.dataset, job.config, out=job.folder, start_from=start, resume=resume, should_stop=job.should_stop)
    except RunFailedError as error:
        return str(error)
    return ""


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


def describe_left(left: int, seconds: Sequence[float]) -> str:
    """Return how long the trainings that are left will take, as a line.

    Args:
        left: Number of trainings.
        seconds: Seconds that each finished training took, at least one.
    """
    expected = describe_seconds(left * sum(seconds) / len(seconds))
    return f"{counted(left, 'training')} left, about {expected} at the speed so far"

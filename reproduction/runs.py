"""Trainings that go on after a stop."""

from __future__ import annotations

from pathlib import Path

from tumortrace.config import Config
from tumortrace.data.dataset import Dataset
from tumortrace.errors import RunFailedError
from tumortrace.inference.model import Model
from tumortrace.trials.jobs import Job, run_job


def finish_run(dataset: Dataset, config: Config, run: Path, *, start_from: Model | None = None) -> None:
    """Train a run; continue it after a stop, and do nothing if it has finished.

    Args:
        dataset: Data to train and validate on.
        config: All settings.
        run: Run folder.
        start_from: Model whose weights the training starts from; None starts anew.

    Raises:
        RunFailedError: The training diverged, or memory ran out.
        TumortraceError: As ``tumortrace.training.run.train``.
    """
    failure = run_job(Job(run.name, run, config, dataset, start_from=start_from))
    if failure:
        raise RunFailedError(failure)

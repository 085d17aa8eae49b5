"""Trainings that go on after a stop, with their own settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from reproduction.runs import finish_run

from tumortrace.config import Config, load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import ConfigError, RunFailedError
from tumortrace.training.run import train
from tumortrace.trials import jobs


@pytest.fixture
def config(tiny_run: Path) -> Config:
    return load_config(str(tiny_run / "config.toml"))


class StoppedError(Exception):
    """A person who ends the program."""


def test_a_training_that_was_stopped_goes_on_and_a_finished_one_is_left(
    config: Config, phantom_data: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(_rows: object) -> bool:
        raise StoppedError

    dataset, run = open_dataset(phantom_data), tmp_path / "run"
    with pytest.raises(StoppedError):
        train(dataset, config, out=run, should_stop=stop)
    assert jobs.read_rows(run)
    assert not (run / "manifest.json").exists()
    finish_run(dataset, config, run)
    weights = (run / "best.safetensors").read_bytes()
    assert weights == (tiny_run / "best.safetensors").read_bytes()
    monkeypatch.setattr(jobs, "train", None)  # calling it would fail
    finish_run(dataset, config, run)
    other = replace(config, training=replace(config.training, seed=1))
    with pytest.raises(ConfigError, match=r"training\.seed"):
        finish_run(dataset, other, run)


def test_a_training_that_fails_is_an_error(
    config: Config, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise RunFailedError("training diverged")

    monkeypatch.setattr(jobs, "train", fail)
    with pytest.raises(RunFailedError, match="training diverged"):
        finish_run(open_dataset(phantom_data), config, tmp_path / "run")

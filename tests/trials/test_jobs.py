"""Jobs of a trial: run in turn, continued where they stopped, taken as they are once finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tumortrace.config import Config, load_config
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.errors import ConfigError, DataError, RunFailedError
from tumortrace.trials import jobs
from tumortrace.trials.jobs import Job, describe_left, read_seconds, run_job, run_jobs


@pytest.fixture
def job(tiny_run: Path, phantom_data: Path, tmp_path: Path) -> Job:
    """A job under the settings of the tiny run, in a new folder."""
    return Job("Job 1", tmp_path / "run", load_config(str(tiny_run / "config.toml")), open_dataset(phantom_data))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Folder and resumption of each training, none of which is made."""
    calls: list[tuple[str, bool]] = []

    def train(_dataset: Dataset, _config: Config, *, out: Path, resume: bool, **_: Any) -> None:  # noqa: ANN401 - any
        calls.append((out.name, resume))
        if out.name == "fails":
            raise RunFailedError("out of memory")

    monkeypatch.setattr(jobs, "train", train)
    return calls


def test_a_new_job_is_started_and_a_stopped_one_continued(job: Job, trained: list[tuple[str, bool]]):
    assert run_job(job) == ""
    job.folder.mkdir()
    (job.folder / "config.toml").touch()
    assert run_job(job) == ""
    assert trained == [("run", False), ("run", True)]


def test_a_finished_job_is_taken_as_it_is_unless_its_settings_differ(
    job: Job, tiny_run: Path, trained: list[tuple[str, bool]]
):
    finished = replace(job, folder=tiny_run)
    assert run_job(finished) == ""
    assert trained == []
    other = replace(job.config, training=replace(job.config.training, learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"began under training\.learning_rate = 0\.003, not 0\.5"):
        run_job(replace(finished, config=other))


def test_jobs_run_until_none_waits_and_what_one_led_to_changes_the_rest(job: Job, trained: list[tuple[str, bool]]):
    waiting = [replace(job, folder=job.folder / name) for name in ("a", "fails", "given up", "b")]
    finished: list[tuple[str, str]] = []

    def finish(done: Job, failure: str) -> None:
        finished.append((done.folder.name, failure))
        waiting.remove(done)
        if failure:
            waiting.pop(0)

    run_jobs(lambda: waiting, finish)
    assert finished == [("a", ""), ("fails", "out of memory"), ("b", "")]
    assert [name for name, _ in trained] == ["a", "fails", "b"]


def test_seconds_of_a_run_come_from_its_manifest(tiny_run: Path, tmp_path: Path):
    assert read_seconds(tiny_run) == json.loads((tiny_run / "manifest.json").read_text())["epoch_seconds"]
    (tmp_path / "manifest.json").write_text('{"epoch_seconds": null}')
    with pytest.raises(DataError, match=r"manifest\.json: not the manifest of a run"):
        read_seconds(tmp_path)


@pytest.mark.parametrize(
    ("left", "seconds", "expected"),
    [(1, [40.0], "1 training left, about 40 s"), (3, [1200.0, 2400.0], "3 trainings left, about 1.5 h")],
)
def test_the_rest_is_told_by_the_mean_of_what_is_done(left: int, seconds: list[float], expected: str):
    assert describe_left(left, seconds) == f"{expected} at the speed so far"

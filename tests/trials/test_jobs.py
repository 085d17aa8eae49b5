"""Jobs of a trial: run in turn, continued where they stopped, taken as they are once finished."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tumortrace.config import Config, load_config
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.errors import ConfigError, DataError, RunFailedError
from tumortrace.inference.model import open_model
from tumortrace.locks import lock_folder
from tumortrace.training.epochs import EpochRow
from tumortrace.training.loop import ShouldStop
from tumortrace.trials import jobs
from tumortrace.trials.jobs import (
    Here,
    Job,
    NotYetError,
    describe_left,
    read_seconds,
    run_job,
    run_job_on_worker,
    run_jobs,
)


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
    (job.folder / "training.npz").touch()
    assert run_job(job) == ""
    assert trained == [("run", False), ("run", False), ("run", True)]


def test_a_job_starts_from_its_model_once_and_is_asked_after_each_epoch(
    job: Job, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
):
    model = open_model(str(tiny_run))
    starts: list[object] = []
    asked: list[str] = []

    def train(*_: object, start_from: object, should_stop: ShouldStop, **__: object) -> None:
        starts.append(start_from)
        assert should_stop([])

    def stop(_rows: Sequence[EpochRow]) -> bool:
        asked.append("whether it stops")
        return True

    monkeypatch.setattr(jobs, "train", train)
    noted = replace(job, start_from=model, should_stop=stop, on_epoch=lambda _rows: asked.append("noted"))
    assert run_job(noted) == ""
    job.folder.mkdir()
    for name in ("config.toml", "training.npz"):
        (job.folder / name).touch()
    assert run_job(noted) == ""
    assert starts == [model, None]  # what it began with is in its folder
    assert asked == ["noted", "whether it stops"] * 2


@pytest.mark.usefixtures("trained", "shown")
def test_trainings_are_silent_where_the_caller_shows_their_progress(job: Job, capsys: pytest.CaptureFixture[str]):
    for shown, expected in ((True, f"Job 1: {job.folder}\n"), (False, "")):
        here = Here(shown=shown)
        here.start(job)
        assert here.take() == (job, "")
        assert capsys.readouterr().err == expected


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

    run_jobs(lambda _running: waiting, finish, pool=Here())
    assert finished == [("a", ""), ("fails", "out of memory"), ("b", "")]
    assert [name for name, _ in trained] == ["a", "fails", "b"]


class Three:
    """A pool that holds three jobs and finishes the last one first, the first one at its second try."""

    at_once, size = 1, 3

    def __init__(self) -> None:
        self.running: list[Job] = []
        self.started: list[str] = []

    def start(self, job: Job) -> None:
        self.running.append(job)
        self.started.append(job.label)

    def take(self) -> tuple[Job, str | None]:
        job = self.running.pop()
        return job, None if job.label == "0" and self.started.count("0") == 1 else ""


def test_several_jobs_run_at_a_time_and_one_that_has_to_wait_is_started_again(job: Job):
    waiting = [replace(job, label=str(number)) for number in range(5)]
    finished: list[str] = []

    def finish(done: Job, _failure: str) -> None:
        finished.append(done.label)
        waiting.remove(done)

    pool = Three()
    run_jobs(lambda running: [each for each in waiting if each not in running], finish, pool=pool)
    assert pool.started == ["0", "1", "2", "3", "4", "0"]
    assert finished == ["2", "3", "4", "1", "0"]


def test_a_training_that_has_to_wait_for_others_is_not_over(job: Job, monkeypatch: pytest.MonkeyPatch):
    def train(*_: object, **__: object) -> None:
        raise NotYetError

    monkeypatch.setattr(jobs, "train", train)
    assert run_job(job) is None


def test_a_job_goes_to_a_worker_and_waits_there_for_its_folder(
    job: Job, trained: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
):
    sent = pickle.loads(pickle.dumps(replace(job, folder=job.folder / "fails")))  # noqa: S301 - as Ray does
    assert sent.progress() == 0
    assert run_job_on_worker(sent) == "out of memory"
    monkeypatch.setattr(jobs, "LOCK_SECONDS", 0.0)
    with lock_folder(job.folder), pytest.raises(DataError, match="another run of tumortrace is writing there"):
        run_job_on_worker(job)
    assert trained == [("fails", False)]


def test_a_worker_trains_once_the_one_before_has_left_the_folder(
    job: Job, trained: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
):
    with ExitStack() as other:
        other.enter_context(lock_folder(job.folder))
        monkeypatch.setattr(jobs.time, "sleep", lambda _seconds: other.close())
        assert run_job_on_worker(job) == ""
    assert trained == [("run", False)]


def test_seconds_of_a_run_come_from_its_manifest(tiny_run: Path, tmp_path: Path):
    assert read_seconds(tiny_run) == json.loads((tiny_run / "manifest.json").read_text())["epoch_seconds"]
    for text in (None, '{"epoch_seconds": null}', "{}", "{"):
        if text is not None:
            (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match=r"manifest\.json: not the manifest of a run"):
            read_seconds(tmp_path)


@pytest.mark.parametrize(
    ("left", "seconds", "at_once", "expected"),
    [
        (1, [40.0], 1, "1 training left, about 40 s"),
        (3, [1200.0, 2400.0], 1, "3 trainings left, about 1.5 h"),
        (7, [1200.0, 2400.0], 3, "7 trainings left, about 1.5 h"),
        (2, [40.0], 16, "2 trainings left, about 40 s"),
    ],
)
def test_the_rest_is_told_by_the_mean_of_what_is_done(left: int, seconds: list[float], at_once: int, expected: str):
    assert describe_left(left, seconds, at_once=at_once) == f"{expected} at the speed so far"

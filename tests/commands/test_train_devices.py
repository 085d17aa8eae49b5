"""``train --devices``: what it refuses, in one line and before any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tumortrace.cli import app
from tumortrace.errors import TumortraceError

PLACE = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def refuse(*words: str) -> str:
    """The message of a command that is refused."""
    result = CliRunner().invoke(app, ["train", *words])
    assert isinstance(result.exception, TumortraceError), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("option", "asked", "there"), [("--devices", "3", "2"), ("--nodes", "2", "1"), ("--devices", "1", "2")]
)
def test_another_number_than_torchrun_started_is_refused(
    option: str, asked: str, there: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    message = refuse("nowhere", option, asked)
    assert message == f"{option} {asked}, but torchrun started {there}; omit {option}"


def test_the_prompted_network_is_refused(phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    message = refuse(str(phantom_data), "--config", "box", "--out", str(tmp_path / "run"))
    assert message == "network.decoder = 'prompted' is trained by one process; omit --devices, --nodes or torchrun"
    assert not (tmp_path / "run").exists()


def test_several_machines_without_a_place_to_meet_are_refused():
    assert refuse("nowhere", "--nodes", "2").startswith("--nodes 2 with MASTER_ADDR= MASTER_PORT=29500 NODE_RANK=: set")


def test_an_error_that_both_processes_meet_is_one_line(tmp_path: Path):
    (tmp_path / "typer.py").write_text("raise SystemExit('a file of the user')")  # not to be imported
    command = [sys.executable, "-P", "-m", "tumortrace", "train", "nowhere", "--devices", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: nowhere: ")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["typer.py"]

"""The default model of a folder: written by an improvement, found by the commands that are started there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tumortrace.cli import app
from tumortrace.errors import ModelError
from tumortrace.inference import folder_default
from tumortrace.inference.folder_default import (
    POINTER,
    find_folder_default,
    read_folder_default,
    write_folder_default,
)
from tumortrace.inference.model import find_model, open_model
from tumortrace.inference.segmenter import Segmenter


@pytest.fixture
def runs(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``runs`` whose default is ``runs/mine``, below the folder that the program is started in."""
    shutil.copytree(tiny_run, tmp_path / "runs" / "mine")
    write_folder_default(tmp_path / "runs" / "mine", reason="it is better")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_what_is_written_is_read_again(runs: Path, tiny_run: Path):
    found = read_folder_default(runs)
    assert found is not None
    assert (found.model, found.reason) == (runs / "mine", "it is better")
    assert found.sha256 == open_model(str(tiny_run)).sha256


def test_a_model_that_changed_is_no_default_any_more(runs: Path):
    with (runs / "mine" / "model.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match="mine changed since it became the default; remove tumortrace-default"):
        find_model(str(runs))


def test_it_is_found_beside_the_runs_and_from_the_folder_above(runs: Path, monkeypatch: pytest.MonkeyPatch):
    above = find_folder_default()
    assert above is not None
    assert above.model == Path("runs/mine")
    monkeypatch.chdir(runs)
    beside = find_folder_default()
    assert beside is not None
    assert beside.model == Path("mine")
    monkeypatch.chdir("/")
    assert find_folder_default() is None


def test_the_default_of_the_folder_itself_goes_before_that_of_its_runs(runs: Path):
    write_folder_default(Path(shutil.copytree(runs / "mine", "near")), reason="it is nearer")
    found = find_folder_default()
    assert found is not None
    assert found.model == Path("near")


def test_a_folder_of_runs_is_a_model(runs: Path):
    assert find_model(str(runs)) == runs / "mine" / "model.onnx"


@pytest.mark.usefixtures("runs")
def test_segment_and_info_take_it_and_say_so(phantom_data: Path, tiny_run: Path):
    scan = str(next((phantom_data / "TEST").glob("*.jpg")))
    done = CliRunner().invoke(app, ["segment", scan, "--no-gate", "--out", "masks"])
    assert done.exit_code == 0, done.output
    line = "the default of this folder (runs/tumortrace-default.json); --model default takes the shipped one"
    assert f"model: runs/mine, {line}" in done.stderr
    assert json.loads(Path("masks/results.json").read_text())["model"]["sha256"] == open_model(str(tiny_run)).sha256
    shown = CliRunner().invoke(app, ["info"])
    assert f"model: runs/mine, {line}\n  it is better\n" in shown.stdout
    named = CliRunner().invoke(app, ["segment", scan, "--no-gate", "--out", "named", "--model", "runs/mine"])
    assert "the default of this folder" not in named.stderr


@pytest.mark.usefixtures("runs")
def test_programs_name_their_model_themselves():
    assert Segmenter().model.name == "default"
    assert find_model("default").name == "default.onnx"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"it names no model"),
        ("[]", r"it names no model"),
        ('{"format": "tumortrace-default-1"}', r"it names no model"),
        ('{"format": "tumortrace-default-9"}', "of format 'tumortrace-default-9', not 'tumortrace-default-1'"),
        ('{"format": "tumortrace-default-1", "model": "gone", "sha256": "", "reason": ""}', r"no model\.onnx there"),
        ('{"format": "tumortrace-default-1", "model": ".", "sha256": "", "reason": ""}', r"no model\.onnx there"),
    ],
)
def test_a_damaged_file_is_one_line_with_a_remedy(runs: Path, content: str, message: str):
    (runs / POINTER).write_text(content)
    with pytest.raises(ModelError, match=rf"tumortrace-default\.json: .*{message}.*remove tumortrace-default\.json"):
        find_folder_default()


def test_a_file_that_cannot_be_read_is_one_line_with_a_remedy(runs: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_default, "read_json", refuse)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\); remove tumortrace-default\.json"):
        read_folder_default(runs)

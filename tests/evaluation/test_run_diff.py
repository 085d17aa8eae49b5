"""Two runs compared: each version, setting and data hash that differs is named, and equal runs are equal."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tumortrace.cli import app
from tumortrace.config import load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import DataError
from tumortrace.evaluation.run_diff import compare_runs
from tumortrace.training.run import train


@pytest.fixture
def other(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, to be changed."""
    shutil.copytree(tiny_run, tmp_path / "other")
    return tmp_path / "other"


def change(run: Path, *keys: str, value: object) -> object:
    """Change a value of a manifest; return what it was."""
    path = run / "manifest.json"
    document = table = json.loads(path.read_text())
    for key in keys[:-1]:
        table = table[key]
    before, table[keys[-1]] = table[keys[-1]], value
    path.write_text(json.dumps(document))
    return before


def test_a_run_and_itself_differ_in_nothing(tiny_run, other):
    change(other, "wall_seconds", value=1e9)  # takes another time each time
    (line,) = compare_runs(tiny_run, other)
    assert line.startswith("weights: the same (")


def test_two_trainings_give_the_same_sha256_of_weights(phantom_data, tiny_run, tmp_path):
    torch.manual_seed(123)  # whatever was drawn before
    again = tmp_path / tiny_run.name
    train(open_dataset(phantom_data), load_config(str(tiny_run / "config.toml")), out=again)
    digests = [hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest() for run in (tiny_run, again)]
    assert digests[0] == digests[1]
    assert compare_runs(tiny_run, again) == [f"weights: the same ({digests[0][:16]})"]


def test_a_changed_version_setting_and_case_are_named(tiny_run, other):
    numpy = change(other, "libraries", "numpy", value="0.9")
    change(other, "libraries", "monai", value=None)
    digest = change(other, "data", "train", "sha256", value="abc")
    cases = json.loads((other / "manifest.json").read_text())["data"]["train"]["cases"]
    for name in cases:
        change(other, "data", "train", "cases", name, value="0")
    text = (other / "config.toml").read_text()
    (other / "config.toml").write_text(text.replace("epochs = 2\n", "epochs = 3\n"))
    (other / "best.safetensors").write_bytes(b"other")
    lines = compare_runs(tiny_run, other)
    assert f"libraries.numpy: {numpy} -> 0.9" in lines
    assert any(line.startswith("libraries.monai: ") and line.endswith(" -> none") for line in lines)
    assert f"data.train.sha256: {digest} -> abc" in lines
    assert "config.training.epochs: 2 -> 3" in lines
    assert f"changed cases: {', '.join(list(cases)[:5])} and {len(cases) - 5} more" in lines
    assert lines[-1].startswith("weights: ")
    assert " -> " in lines[-1]
    assert len(lines) == 6


def test_the_command_prints_the_lines(tiny_run, other):
    done = CliRunner().invoke(app, ["info", str(tiny_run), "--diff", str(other)])
    assert (done.exit_code, done.output) == (0, compare_runs(tiny_run, other)[0] + "\n")
    alone = CliRunner().invoke(app, ["info", "--diff", str(other)])
    assert "give the first one too" in str(alone.exception)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("manifest.json", None, "no finished run"),
        ("manifest.json", "[]", "is damaged"),
        ("manifest.json", "{", "is damaged"),
        ("config.toml", None, "cannot be read"),
        ("best.safetensors", None, "cannot be read"),
    ],
)
def test_what_is_no_run_is_named(tiny_run, other, name, text, message):
    (other / name).unlink()
    if text is not None:
        (other / name).write_text(text)
    with pytest.raises(DataError, match=message):
        compare_runs(tiny_run, other)

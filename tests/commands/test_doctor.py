"""The check of an installation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from tumortrace import errors
from tumortrace.cli import app
from tumortrace.commands import doctor
from tumortrace.errors import EXTRAS, ModelError
from tumortrace.inference import checkup
from tumortrace.inference.checkup import PUBLISHED_MS, PUBLISHED_ON, Checkup, check_model

ROOT = Path(__file__).parents[2]


def run_doctor() -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor"])
    return done.exit_code, done.output


def test_the_shipped_models_pass_and_their_speed_is_shown(monkeypatch):
    monkeypatch.setattr(checkup, "_SECONDS", 0.0)
    status, text = run_doctor()
    assert status == 0
    for name in PUBLISHED_MS:
        assert re.search(rf"self-test of {name}: Dice 0\.[89]\d on a generated slice, passed", text)
        assert re.search(rf"speed of {name}: \d+ ms a slice here, {PUBLISHED_MS[name]:.0f} ms published", text)
    assert "segment pictures, split, convert: ready" in text


def test_the_published_speed_is_that_of_the_documentation():
    page = " ".join((ROOT / "docs" / "results" / "speed.md").read_text(encoding="utf-8").split())
    default, fast = PUBLISHED_MS["default"], PUBLISHED_MS["fast"]
    assert f"`default` segments a slice in {default:.0f} ms and `fast` in {fast:.0f} ms" in page
    assert PUBLISHED_ON.casefold() in page.casefold()


def test_what_a_task_lacks_comes_with_the_command(monkeypatch):
    monkeypatch.setitem(EXTRAS, "train", ("torch_nosuch", "numpy"))
    monkeypatch.setitem(EXTRAS, "report", ("jinja_nosuch", "torch_nosuch"))
    assert doctor.describe_lack(("train", "report")) == (
        "lacks torch_nosuch and jinja_nosuch; pip install 'tumortrace[train,report]'"
    )
    monkeypatch.setitem(EXTRAS, "report", ("numpy",))
    assert doctor.describe_lack(("train", "report")) == "lacks torch_nosuch; pip install 'tumortrace[train]'"
    assert doctor.describe_lack(()) == ""


def test_a_model_that_does_not_work_is_one_line_and_status_1(monkeypatch):
    def fail(name: str) -> Checkup:
        if name == "fast":
            raise ModelError("fast.onnx: is damaged; install tumortrace again")
        return Checkup(name, 0.1, 5.0, 58.0)

    monkeypatch.setattr(checkup, "check_model", fail)
    status, text = run_doctor()
    assert status == 1
    assert "self-test of default: Dice 0.10 on a generated slice, failed, expected 0.7 or more" in text
    assert "self-test of fast: failed (fast.onnx: is damaged; install tumortrace again)" in text


def test_the_time_is_the_median_of_at_least_three(monkeypatch):
    ticks = iter([0.0, 0.010, 1.0, 1.050, 2.0, 2.020])
    monkeypatch.setattr(checkup.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(checkup, "_SECONDS", 0.0)
    assert check_model("fast").milliseconds == pytest.approx(20.0)


@pytest.mark.parametrize(("seconds", "slices"), [(5.0, 3), (0.5, 4), (0.001, 50)])
def test_a_model_is_timed_for_two_seconds_on_three_to_fifty_slices(monkeypatch, seconds: float, slices: int):
    opened: list[str] = []
    predicted: list[np.ndarray] = []

    class Segmenter:
        def __init__(self, name: str) -> None:
            opened.append(name)

        def predict(self, pixels: np.ndarray) -> SimpleNamespace:
            predicted.append(pixels)
            return SimpleNamespace(mask=np.zeros(pixels.shape, np.bool_))

    ticks = count(0.0, seconds)  # twice a slice
    monkeypatch.setattr(checkup.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(checkup, "Segmenter", Segmenter)
    found = check_model("fast")
    assert opened == ["fast"]
    assert len(predicted) == 1 + slices  # the first one warms up
    assert (found.dice, found.passed) == (0.0, False)
    assert found.milliseconds == pytest.approx(1000 * seconds)


def test_every_extra_belongs_to_a_task():
    assert {extra for extras in doctor.TASKS.values() for extra in extras} == set(EXTRAS)
    assert errors.missing_modules("report") == []


def test_commands_complete_in_the_shell():
    words = {"_TUMORTRACE_COMPLETE": "complete_bash", "COMP_WORDS": "tumortrace do", "COMP_CWORD": "1"}
    program = "import sys; sys.argv = ['tumortrace']; from tumortrace.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["doctor"]

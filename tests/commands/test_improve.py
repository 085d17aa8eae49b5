"""The command that improves a model, as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tumortrace.api.answers import ImproveResult
from tumortrace.cli import app
from tumortrace.commands import improve as command
from tumortrace.improvement.improve import Improvement
from tumortrace.improvement.judge import Judgement, Verdict
from tumortrace.inference.folder_default import write_folder_default
from tumortrace.phantoms.slices import write_phantom_dataset

SHORT = ["--set", "training.epochs=1", "--set", "training.epoch_slices=6", "--set", "training.threads=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """Corrected cases, a standard set, and a folder of runs with its default; one improvement is made there."""
    folder = tmp_path_factory.mktemp("command")
    write_phantom_dataset(folder / "corrected", counts={"TRAIN": 8}, no_tumour=0, seed=5)
    write_phantom_dataset(folder / "standard", counts={"TEST": 2}, no_tumour=0, seed=9)
    shutil.copytree(tiny_run, folder / "runs" / "base")
    write_folder_default(folder / "runs" / "base", reason="")
    return folder


@pytest.mark.usefixtures("shown")
def test_the_answer_is_printed_and_shown_by_info(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    words = ["improve", "corrected", "--standard", "standard", "--out", "runs/mine", *SHORT]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "Trained on 4 corrected cases; 4 held out."
    assert lines[1].startswith("Held-out part: no difference shown from tiny; mean Dice 0.")
    assert lines[1].endswith("too small to tell: no difference can be shown with fewer than 6 groups")
    assert lines[2].startswith("Standard set: no difference shown from tiny")
    more = "tumortrace improve corrected MORE --from runs/mine --out ANOTHER"
    assert lines[3:] == [
        "Verdict on the held-out part: no difference shown.",
        "The default of the folder stays (held-out part: no difference shown from tiny).",
        f"Next: correct slices of more patients, and give all of them: {more}",
        "To use the new model all the same: --model runs/mine",
        "Case by case: tumortrace compare runs/mine/scores/old-held-out-part runs/mine/scores/new-held-out-part",
    ]
    begin = "Held out: 4 of 8 corrected cases, in 4 groups of copies and patients; training on 4; too small to tell: "
    assert f"{begin}no difference can be shown with fewer than 6 groups, so correct more first\n" in done.stderr
    shown = CliRunner().invoke(app, ["info", "runs/mine"])
    assert f"improvement: {lines[1]}" in shown.stdout
    again = CliRunner().invoke(app, [*words[:6], "--resume", "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == json.loads((folder / "runs" / "mine" / "improvement.json").read_text())


def test_every_comparison_that_speaks_against_the_model_is_named(capsys: pytest.CaptureFixture[str]):
    def judged(part: str, verdict: Verdict) -> Judgement:
        return Judgement(part, "old", 9, 9, 0.8, 0.7, -0.1, (-0.2, 0.0), 0.04, 1, 8, verdict, 9.0, 0, generated=False)

    judgements = (judged("held-out part", "no difference shown"), judged("standard set", "worse"))
    done = Improvement(Path("runs/x"), judgements, None, "", 9, 0, (), ())
    command._print_result(
        ImproveResult(done, {"verdict": "no difference shown", "is_default": False}, ()), [Path("a b")]
    )
    shown = capsys.readouterr().out
    reasons = "held-out part: no difference shown from old; standard set: worse than old"
    assert f"The default of the folder stays ({reasons}).\n" in shown
    assert "tumortrace improve 'a b' MORE --from runs/x" in shown


def test_a_mistake_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    for words, message in (
        (["nowhere"], "nowhere: no such folder"),
        (["corrected", "--set", "training.epoch=3"], "did you mean 'training.epochs'?"),
        (["corrected", "--from", "nosuch"], "nosuch: no such model"),
        (["corrected", "--resume"], "no run to resume"),
    ):
        done = CliRunner().invoke(app, ["improve", *words, "--out", "runs/x"])
        assert message in str(done.exception)
        assert not (folder / "runs" / "x").exists()

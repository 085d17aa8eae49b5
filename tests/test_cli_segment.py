"""Segmenting, scoring and asking on the command line: how a run ends early, what it says, what it will not mix."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tumortrace.commands.scoring import evaluate

from tumortrace import cli
from tumortrace.commands.using import info, segment
from tumortrace.data.slice import write_png
from tumortrace.errors import DataError, ModelError
from tumortrace.inference.results import PARTIAL, RESULTS
from tumortrace.phantoms.slices import draw_phantom

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def write_scans(folder: Path, count: int) -> None:
    """Write one generated slice under many names."""
    write_png(folder / "0.png", draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)
    for number in range(1, count):
        shutil.copy(folder / "0.png", folder / f"{number}.png")


def start_segmenting(cwd: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start to segment more than can be done at once; go on when the first records are there."""
    write_scans(cwd / "scans", 600)
    command = [sys.executable, "-m", "tumortrace", "segment", "scans", "--out", "masks"]
    before = {ending: signal.signal(ending, signal.SIG_DFL) for ending in cli.ENDINGS}  # the suite may run under nohup
    running = subprocess.Popen(command, cwd=cwd, **options)  # type: ignore[call-overload] # those of Popen
    for ending, handler in before.items():
        signal.signal(ending, handler)
    partial = cwd / "masks" / PARTIAL
    deadline = time.monotonic() + 120
    while not (partial.is_file() and partial.read_text().count("\n") > 10) and time.monotonic() < deadline:
        time.sleep(0.02)
    return running


def assert_results_name_every_mask(out: Path) -> None:
    images = json.loads((out / RESULTS).read_text())["images"]
    assert 0 < len(images) < 600
    assert {image["mask"] for image in images} == {path.name for path in out.glob("*_mask.png")}
    assert not (out / PARTIAL).exists()


# --- how a run ends early ---


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_kill_ends_like_an_interruption(name: str, tmp_path: Path):
    running = start_segmenting(tmp_path, stderr=subprocess.PIPE)
    running.send_signal(getattr(signal, name))
    running.send_signal(getattr(signal, name))  # `timeout` and shells send it twice
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.decode().strip().splitlines() == ["interrupted; the files that were finished are kept"]
    assert_results_name_every_mask(tmp_path / "masks")


@POSIX
def test_a_closed_terminal_ends_like_an_interruption(tmp_path: Path):
    master, slave = os.openpty()
    running = start_segmenting(
        tmp_path, stdin=slave, stdout=slave, stderr=slave, preexec_fn=lambda: os.login_tty(slave), pass_fds=[slave]
    )
    os.close(slave)
    os.close(master)
    assert running.wait(timeout=60) == 130
    assert_results_name_every_mask(tmp_path / "masks")


@POSIX
def test_a_run_that_is_killed_outright_leaves_no_results_that_look_complete(tmp_path: Path):
    running = start_segmenting(tmp_path)
    running.kill()
    running.wait(timeout=60)
    assert not (tmp_path / "masks" / RESULTS).exists()


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signals' handlers, put back in the end."""
    before = {ending: signal.getsignal(ending) for ending in cli.ENDINGS}
    yield
    for ending, handler in before.items():
        signal.signal(ending, handler)


@POSIX
@pytest.mark.usefixtures("handlers")
def test_nohup_stays_deaf_and_other_threads_change_nothing():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    thread = threading.Thread(target=cli._hear_endings)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    cli._hear_endings()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


# --- what segment says ---


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """One slice, twelve pages, and a broken file."""
    write_scans(tmp_path / "scans", 1)
    for number in range(12):
        write_png(tmp_path / f"scans/page{number}.png", np.full((90, 120), 255, np.uint8))
    (tmp_path / "scans/broken.png").touch()
    return tmp_path / "scans"


def test_counts_agree_with_the_results_and_rejected_pictures_are_named(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(cli.typer.Exit):  # 1, because of the broken file
        segment([str(scans)], out=tmp_path / "masks")
    shown = capsys.readouterr().out.splitlines()
    images = json.loads((tmp_path / "masks" / RESULTS).read_text())["images"]
    review = sum(image["review"] for image in images)
    doubtful = sum(image["review"] for image in images if image["status"] == "ok")
    segmented = f"{doubtful} segmented, " if doubtful else ""
    assert shown[0] == (
        f"1 of 14 pictures segmented, 1 with a tumour; {review} to review: {segmented}12 rejected, 1 failed"
    )
    assert shown[1] == "12 rejected: no brain MR slices (--no-gate segments them all the same)"
    assert shown[2] == f"  {scans}/page0.png: not a brain MR slice: the picture is blank"
    assert len([line for line in shown if line.startswith(f"  {scans}")]) == 10
    assert shown[12] == "  and 2 more, all in results.json"


def test_rejected_pictures_get_a_mask_without_the_gate(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (scans / "broken.png").unlink()
    segment([str(scans)], out=tmp_path / "masks")  # ends with 0, rejected pictures or not
    assert not (tmp_path / "masks/page0_mask.png").exists()
    capsys.readouterr()
    cli.typer.main.get_command(cli.app)(
        ["segment", str(scans), "--out", str(tmp_path / "masks"), "--no-gate"], standalone_mode=False
    )
    shown = capsys.readouterr().out
    assert "13 of 13 pictures segmented" in shown
    assert "--no-gate" not in shown
    assert (tmp_path / "masks/page0_mask.png").is_file()


# --- what evaluate will not mix ---

Evaluate = Callable[..., None]


@pytest.fixture
def scored(phantom_data: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A folder that holds an evaluation of the tiny run on the part for validation."""
    evaluate(phantom_data, str(tiny_run), "val", out=tmp_path / "scores")
    return tmp_path / "scores"


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_evaluation_again_replaces_it_with_all_its_pictures(scored: Path, phantom_data: Path, tiny_run: Path):
    before = files_below(scored)
    for name in ("comparisons", "gallery", "figures"):
        (scored / name / "of-a-case-no-longer-there.png").touch()
    evaluate(phantom_data, str(tiny_run), "val", out=scored)
    assert files_below(scored).keys() == before.keys()


def test_an_evaluation_of_something_else_is_left_alone(scored: Path, phantom_data: Path, tiny_run: Path):
    before = files_below(scored)
    with pytest.raises(DataError, match="scores: holds the evaluation of another dataset or part; choose another"):
        evaluate(phantom_data, str(tiny_run), "test", out=scored)
    with pytest.raises(DataError, match="scores: holds the evaluation of another model; choose another --out"):
        evaluate(phantom_data, "default", "val", out=scored)
    assert files_below(scored) == before
    (scored / "summary.json").unlink()
    with pytest.raises(DataError, match="scores: holds scores of unknown origin; choose another --out"):
        evaluate(phantom_data, str(tiny_run), "val", out=scored)


@pytest.mark.parametrize("name", ["config.toml", "model.onnx"])
def test_an_evaluation_never_goes_into_a_run(name: str, phantom_data: Path, tiny_run: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).touch()
    with pytest.raises(DataError, match=f"run: a training run, it has {name}; choose another --out"):
        evaluate(phantom_data, str(tiny_run), "val", out=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


# --- what info says ---


def test_info_says_a_line_a_field(tiny_run: Path, capsys: pytest.CaptureFixture[str]):
    info(str(tiny_run))
    shown = capsys.readouterr().out
    assert "\nrecipe.size_hw: 48, 32\nrecipe.pad_to_square: " in shown
    assert "\ncard.classes: background, tumour\n" in shown
    for sign in ("Recipe(", "{", "(48"):
        assert sign not in shown.split("Conv2d")[0].split("recipe.")[1]


def test_info_on_no_model_prints_nothing_but_the_error(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ModelError, match="nowhere: no such model"):
        info("nowhere")
    assert capsys.readouterr().out == ""

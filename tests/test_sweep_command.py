"""The sweep as a user meets it: a table at its end, a line a run, one line for a mistake."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tumortrace.commands import sweep as sweep_command
from tumortrace.config import config_from_tables, to_toml
from tumortrace.evaluation.leaderboard import Leaderboard, Run, Standing
from tumortrace.reporting.sweep_table import conclude, describe_run, leaderboard_table, progress_table

BASE = {
    "recipe": {"size_hw": [48, 32], "threshold": 0.1},
    "network": {"widths": [4, 8]},
    "training": {"epochs": 2, "batch_size": 3, "keep": "last", "device": "cpu", "threads": 1},
}
LABELS = {"s1": "batch_size=2", "s2": "batch_size=4", "s3": "batch_size=8"}


def tumortrace(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tumortrace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def write_sweep(folder: Path, key: str = "training.learning_rate") -> Path:
    (folder / "tiny.toml").write_text(to_toml(config_from_tables(BASE)))
    path = folder / "mine.toml"
    path.write_text(f'base = "tiny.toml"\nseeds = [0]\nfolds = 3\nuse = 1\n[grid]\n"{key}" = [0.003, 0.01]\n')
    return path


def test_a_sweep_from_its_start_to_its_table(phantom_data: Path, tmp_path: Path):
    write_sweep(tmp_path)
    done = tumortrace("sweep", phantom_data, "--config", "mine.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    start, *lines = done.stderr.strip().splitlines()
    assert start.startswith(
        "Sweep of 2 settings on 14 slices: at most 2 trainings of up to 2 epochs (1 seed, 1 of 3 fold"
    )
    assert lines[1].startswith("1 training left, about ")
    lines = [line for line in lines if line.startswith("run ")]
    assert [line.partition(", seed")[0] for line in lines] == [
        "run 1 of 2: learning_rate=0.003", "run 2 of 2: learning_rate=0.01",
    ]  # fmt: skip
    assert all("fold 1: Dice 0." in line and "2 epochs in" in line for line in lines)
    out = tmp_path / "runs" / "mine-sweep"
    assert {path.name for path in out.iterdir()} == {
        "sweep.toml", "split.json", "results.csv", "leaderboard.csv", "findings.json", "runs",
    }  # fmt: skip
    with (out / "leaderboard.csv").open(newline="") as file:
        best = next(csv.DictReader(file))
    assert (
        f"Best: learning_rate={best['training.learning_rate']}, mean Dice {float(best['dice_mean']):.3f}" in done.stdout
    )
    assert "optimistic" in done.stdout
    assert "\\n" not in done.stdout
    page = tumortrace("report", out, cwd=tmp_path)
    assert "a sweep, whose tables are leaderboard.csv and results.csv, and which has no page; " in page.stderr
    assert "each setting was trained once" in done.stdout
    again = tumortrace("sweep", phantom_data, "--config", "mine.toml", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert again.stderr.splitlines()[1] == "2 of 2 runs finished before"


def test_a_mistake_is_one_line_and_leaves_nothing(phantom_data: Path, tmp_path: Path):
    write_sweep(tmp_path, key="training.learning_rat")
    done = tumortrace("sweep", phantom_data, "--config", "mine.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: mine.toml: unknown key 'training.learning_rat'; did you mean 'training.learning_rate'?\n"
    )
    assert not (tmp_path / "runs").exists()
    inside = tumortrace("sweep", phantom_data, "--out", phantom_data / "sweep", cwd=tmp_path)
    assert inside.returncode == 2
    assert "lies inside the data folder" in inside.stderr


def run_of(setting: str, dice: float | None, *, outcome: str = "finished") -> Run:
    loss = None if dice is None else 0.0123
    return Run(f"{setting}-seed0-fold1", setting, 0, "1", 5, dice, loss, 0.4, 18, 312.4, outcome)


def drawn(table: object) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined] # the file is the one above


def test_a_run_as_a_line():
    line = describe_run(run_of("s2", 0.8125), LABELS, number=3, total=9)
    assert line == "run 3 of 9: batch_size=4, seed 0, fold 1: Dice 0.812, VAL loss 0.0123, 18 epochs in 312 s"
    assert describe_run(run_of("s2", 0.5, outcome="stopped"), LABELS, number=1, total=1).endswith("stopped as hopeless")
    failed = describe_run(run_of("s1", None, outcome="training diverged"), LABELS, number=1, total=1)
    assert failed.endswith("seed 0, fold 1: failed, training diverged")


def test_the_live_table_shows_the_best_and_what_is_under_way():
    text = drawn(
        progress_table([run_of("s1", 0.5), run_of("s2", 0.75), run_of("s3", None)], LABELS, total=6, doing="x y")
    )
    assert "3 of 6 runs" in text
    assert text.index("0.750") < text.index("0.500")
    assert "x y" in text


def test_a_terminal_gets_the_live_table(monkeypatch: pytest.MonkeyPatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(sweep_command, "log", console)
    with sweep_command._show(LABELS) as watch:
        watch([run_of("s1", 0.5)], 2, "batch_size=4, seed 0, fold 1: epoch 3")
    text = console.file.getvalue()  # type: ignore[attr-defined] # the file is the one above
    assert "1 of 2 runs" in text
    assert "epoch 3" in text


def place(setting: str, mean: float, *, behind: float = math.nan, p: float = math.nan, note: str = "") -> Standing:
    return Standing(setting, 3, mean, 0.004, (mean - 0.03, mean + 0.03), behind, p, note)


def board_of(*places: Standing) -> Leaderboard:
    return Leaderboard(places, slices=141, groups=21, runs=3, pairs=3)


def test_the_leaderboard_by_hand():
    board = board_of(
        place("s2", 0.8, behind=0.0), place("s1", 0.79, behind=0.01, p=0.4),
        place("s3", 0.5, note="seed 0, fold 1: stopped"),
    )  # fmt: skip
    text = drawn(leaderboard_table(board, LABELS))
    assert "141 held-out slices with a tumour, 21" in text
    assert "corrected for 3 pairs" in " ".join(text.split())
    lines = [line.split() for line in text.splitlines() if line.strip()[:2] in {"1 ", "2 ", "3 "}]
    assert lines[0] == ["1", "batch_size=4", "0.800", "±", "0.004", "0.770", "to", "0.830", "0.000", "-"]
    assert lines[1] == ["2", "batch_size=2", "0.790", "±", "0.004", "0.760", "to", "0.820", "0.010", "0.400"]
    assert lines[2][-2:] == ["-", "-"]
    assert "seed 0, fold 1: stopped" in text


def test_what_is_concluded():
    best, close, far = place("s2", 0.8, behind=0.0), place("s1", 0.79, p=0.4), place("s3", 0.5, p=0.001)
    lines = conclude(board_of(best, close, far), LABELS)
    assert lines[0] == "Best: batch_size=4, mean Dice 0.800."
    assert lines[1].startswith("That score is optimistic, because it is the highest of 3.")
    assert lines[2] == "It beats 1 of 2 others (p at most 0.05, corrected for all 3 pairs), but not batch_size=2."
    assert conclude(board_of(best, far), LABELS)[2].startswith("It beats the other (p at most 0.05")
    assert conclude(board_of(best, close), LABELS)[2].startswith("It beats none of them (p at most 0.05")
    assert "another seed may make as large a difference" in conclude(board_of(best, place("s1", 0.7)), LABELS)[2]
    assert len(conclude(board_of(best), LABELS)) == 1
    assert conclude(board_of(place("s1", 0.5, note="stopped")), LABELS) == ["No setting was tried to the end."]
    (nothing,) = conclude(board_of(place("s1", 0.0), place("s2", 0.0)), LABELS)
    assert nothing.startswith("No setting found any tumour")

"""All experiments in one command: what is finished, skipped, failed and unknown; and its own steps on phantoms."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from reproduction.committed_numbers import NumbersMissingError
from reproduction.size import SMALL
from reproduction.steps import STEPS, Folders, Step
from reproduction.tables import read_table, write_table

from reproduction import __main__ as command
from reproduction import steps
from tumortrace.cli import run_script
from tumortrace.config import Config, config_from_tables, load_config, to_toml
from tumortrace.data.dataset import Dataset
from tumortrace.errors import DataError
from tumortrace.trials import jobs
from tumortrace.trials.sweep_space import Plan, plan_sweep


@pytest.fixture
def run(monkeypatch, phantom_data, tmp_path):
    """The command with some options, on phantoms; returns its exit code."""

    def call(*options: str, data: Path | None = phantom_data) -> int:
        places = ["--out", str(tmp_path / "runs"), "--into", str(tmp_path / "into")]
        monkeypatch.setattr(sys, "argv", ["reproduction", *([str(data)] if data else []), *places, *options])
        with pytest.raises(SystemExit) as end:
            run_script(command.main)
        return int(end.value.code or 0)

    return call


@pytest.fixture
def done(monkeypatch) -> list[str]:
    """The names of the steps that were done, of made-up ones in the place of the real."""
    names: list[str] = []

    def work(name: str, error: Exception | None = None) -> Callable[[Folders], None]:
        def do(place: Folders) -> None:
            names.append(name)
            if error is not None:
                raise error
            write_table(place.results / f"{name}.csv", [{"name": name}])

        return do

    made_up = (
        Step("first", "Is it first?", work("first"), ("first.csv",)),
        Step("wrong", "Is it wrong?", work("wrong", DataError("no such\nfolder; give one")), ("wrong.csv",)),
        Step("broken", "Is it broken?", work("broken", KeyError("dice")), ("broken.csv",)),
        Step("others", "Has it others?", work("others"), ("others.csv",), needs_others=True),
        Step("early", "Is it early?", work("early", NumbersMissingError("there are no numbers yet; wait"))),
        Step("always", "Is it always?", work("always")),
    )
    monkeypatch.setattr(command, "STEPS", made_up)
    return names


def test_a_failing_step_is_named_and_the_rest_is_done(run, done, tmp_path, capsys):
    assert run() == 1
    assert done == ["first", "wrong", "broken", "early", "always"]
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert "[1 of 6] first: Is it first?" in lines
    assert r"wrong: failed: no such\nfolder; give one" in lines
    trace = tmp_path / "runs" / "small" / "broken-failed.txt"
    assert f"broken: failed: KeyError: 'dice' (whole in {trace})" in lines
    assert "Traceback" in trace.read_text()
    assert "others: skipped: give --lgg, --figshare and --negatives" in lines
    assert "early: skipped: there are no numbers yet; wait" in lines
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in printed.out.splitlines() if "│" in line]
    assert cells == [
        ["first", "done", "0.0"],
        ["wrong", "failed", "0.0"],
        ["broken", "failed", "0.0"],
        ["others", "skipped", ""],
        ["early", "skipped", ""],
        ["always", "done", "0.0"],
    ]


def test_what_has_left_its_tables_is_not_repeated(run, done, tmp_path, capsys):
    assert run("--only", "first", "--only", "always") == 0
    assert run("--only", "always", "--only", "first") == 0
    assert done == ["first", "always", "always"]
    assert "first: was there" in capsys.readouterr().err
    (tmp_path / "into" / "results" / "first.csv").unlink()
    run("--only", "first")
    assert done == ["first", "always", "always", "first"]


def test_a_step_that_needs_other_sources_takes_them(run, done, phantom_data):
    folders = [word for name in ("lgg", "figshare", "negatives") for word in (f"--{name}", str(phantom_data))]
    assert run("--only", "others", *folders[:4]) == 0
    assert done == []
    assert run("--only", "others", *folders) == 0
    assert done == ["others"]


def test_what_cannot_be_meant_is_one_line(run, done, phantom_data, tmp_path, capsys):
    def says() -> str:
        return capsys.readouterr().err

    assert run("--only", "firts") == 2
    assert says() == (
        "error: --only firts: no such step; there are first, wrong, broken, others, early, always\n"
    )  # fmt: skip
    assert run(data=None) == 2
    assert says() == "error: no data; give the folder of Br35H: python -m reproduction BR35H\n"
    assert run(data=tmp_path / "nowhere") == 2
    assert says().count("\n") == 1
    assert run("--into", str(phantom_data / "into")) == 2
    assert "inside the data folder" in says()
    assert run("--only", "first") == 0
    says()
    assert run("--only", "first", "--size", "full") == 2
    into = tmp_path / "into"
    assert says() == (
        f"error: {into}: holds results of the size small, not full; give another --into, such as {into / 'full'}\n"
    )
    assert done == ["first"]


def test_the_steps_are_listed_without_data(run, capsys):
    assert run("--list", data=None) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [step.name for step in STEPS]
    assert all(step.question in line for step, line in zip(STEPS, lines, strict=True))


def test_every_sweep_file_is_a_step():
    files = {f"sweep_{path.stem}" for path in steps.SWEEPS.glob("*.toml")}
    assert files == {step.name for step in STEPS if step.name.startswith("sweep_")}


def only(*names: str) -> list[str]:
    return [word for name in names for word in ("--only", name)]


def test_a_sweep_leaves_its_tables_and_is_not_repeated(run, tmp_path, monkeypatch):
    training = {"epochs": 1, "keep": "last", "device": "cpu", "threads": 1}
    tables = {"recipe": {"size_hw": [48, 32]}, "network": {"widths": [4, 8]}, "training": training}
    (tmp_path / "tiny.toml").write_text(to_toml(config_from_tables(tables)))
    monkeypatch.setattr(steps, "SWEEPS", tmp_path / "sweeps")
    steps.SWEEPS.mkdir()
    text = f'base = "{tmp_path / "tiny.toml"}"\nfolds = 2\nuse = 1\n\n[grid]\n"training.batch_size" = [4]\n'
    (steps.SWEEPS / "grid.toml").write_text(text)
    assert run(*only("sweep_grid")) == 0
    results, folder = tmp_path / "into" / "results", tmp_path / "runs" / "small" / "sweeps" / "grid"
    assert (folder / "sweep.toml").read_text() == text
    assert len(read_table(folder / "leaderboard.csv")) == 1
    for table in ("results", "leaderboard"):
        assert (results / f"grid_{table}.csv").read_bytes() == (folder / f"{table}.csv").read_bytes()
    monkeypatch.setattr(steps, "sweep", None)  # calling it would fail
    assert run(*only("sweep_grid")) == 0


def test_a_sweep_at_full_size_is_asked_for_on_the_student_papers_network(run, tmp_path, monkeypatch):
    def write(_data: list[Path], *, config: str, out: Path) -> None:
        plans[out.name] = plan_sweep(Path(config).read_text(), config)
        for table in ("results", "leaderboard"):
            write_table(out / f"{table}.csv", [{"size": "full"}])

    plans: dict[str, Plan] = {}
    monkeypatch.setattr(steps, "sweep", write)
    assert run(*only("sweep_padding", "sweep_oscillation"), "--size", "full") == 0
    assert {plan.options.base for plan in plans.values()} == {"paper"}
    assert {each.config.training.learning_rate for each in plans["padding"].settings} == {1e-4}
    assert {each.config.training.learning_rate for each in plans["oscillation"].settings} == {1e-3}
    assert (tmp_path / "into" / "results" / "oscillation_leaderboard.csv").read_text() == "size\nfull\n"


def test_only_what_was_swept_here_is_condensed(run, tmp_path, monkeypatch):
    given: list[object] = []
    monkeypatch.setattr(steps.oscillation, "main", lambda sweeps, _into: given.append(sweeps))
    monkeypatch.setattr(steps.paper_figures, "main", lambda *, sweep, **_: given.append(sweep))
    both = only("oscillation", "figures")
    sweeps = tmp_path / "runs" / "small" / "sweeps"
    assert run(*both) == 0
    write_table(sweeps / "grid" / "leaderboard.csv", [{"place": 1}])
    assert run(*both) == 0
    write_table(sweeps / "oscillation" / "leaderboard.csv", [{"place": 1}])
    assert run(*both) == 0
    grid, other = sweeps / "grid", sweeps / "oscillation"
    assert given == [None, None, None, grid, [grid, other], grid]


def test_runs_are_trained_once_and_scored(run, tiny_run, tmp_path, monkeypatch):
    def learn(dataset: Dataset, config: Config, *, out: Path, **_: object) -> None:
        trained[out.name] = (len(dataset.records), config)
        shutil.copytree(tiny_run, out)
        (out / "config.toml").write_text(to_toml(config))

    trained: dict[str, tuple[int, Config]] = {}
    scored: list[list[str]] = []
    monkeypatch.setattr(jobs, "train", learn)
    monkeypatch.setattr(steps.worth_of_the_score, "main", lambda _data, *, model, **_: scored.append(model))
    assert run(*only("worth_of_the_score", "table_1", "labels")) == 0
    narrow = load_config("narrow", ["training.threads=1"])
    assert trained == {"run": (19, narrow), "paper-labels-run": (10, narrow)}
    results, runs = tmp_path / "into" / "results", tmp_path / "runs" / "small"
    assert len(read_table(results / "scores.csv")) == 4  # VAL
    assert read_table(results / "labels.csv")[0]["slices"] == "10"  # TRAIN
    monkeypatch.setattr(jobs, "train", None)  # calling it would fail
    assert run(*only("worth_of_the_score")) == 0
    places = [f"{SMALL.network}={runs / 'run'}", f"the same, from its own labels={runs / 'paper-labels-run'}"]
    assert scored == [["default", *places]] * 2
    (runs / "paper-labels-run" / "manifest.json").unlink()
    assert run(*only("worth_of_the_score")) == 1


def test_the_run_that_stood_still_is_that_of_the_sweep(run, tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(steps.dead_softmax, "main", lambda *places, **_: given.append(places[1:]))
    assert run(*only("dead_softmax")) == 0
    assert "dead_softmax: skipped: " in capsys.readouterr().err
    losses = tmp_path / "runs" / "small" / "sweeps" / "losses"
    rows = [("s4", "focal", 0, 1), ("s5", "tversky", 1, 1), ("s5-0", "tversky", 0, 1)]
    columns = ("run", "training.loss", "seed", "fold")
    write_table(losses / "results.csv", [dict(zip(columns, row, strict=True)) for row in rows])
    assert run(*only("dead_softmax")) == 0
    assert given == [(losses / "runs" / "s5-0", losses / "split.json", 1)]


def test_the_longer_experiments_are_told_size_and_places(run, monkeypatch, phantom_data, tmp_path):
    told = {}
    for name in ("dice_collapse", "learning_curve", "several_tumours"):
        module = getattr(steps, name)
        monkeypatch.setattr(module, "main", lambda *given, name=name, **options: told.update({name: (given, options)}))
    monkeypatch.setattr(steps, "crossval", lambda data, **options: told.update(crossval=(data, options)))
    folders = [word for name in ("lgg", "figshare", "negatives") for word in (f"--{name}", str(phantom_data))]
    assert run(*only("dice_collapse", "learning_curve", "several_tumours"), *folders, "--size", "full") == 0
    assert {options["size"] for name, (_, options) in told.items() if name != "crossval"} == {"full"}
    assert {options["into"] for name, (_, options) in told.items() if name != "crossval"} == {tmp_path / "into"}
    assert told["crossval"][0] == [phantom_data] * 3
    assert told["several_tumours"][1]["crossval"] == tmp_path / "runs" / "full" / "crossval"
    assert read_table(tmp_path / "into" / "results" / "size.csv")[0]["size"] == "full"

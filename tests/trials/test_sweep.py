"""Sweeps on a few slices: what is searched, that TEST stays closed, that nothing is done twice or told twice."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tumortrace.config import Config, config_from_tables, load_config, to_toml
from tumortrace.copies.split_files import read_split
from tumortrace.copies.splits import make_folds
from tumortrace.copies.survey import survey_cases
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.data.findings import Finding
from tumortrace.errors import ConfigError, DataError, RunFailedError
from tumortrace.locks import LOCK
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute
from tumortrace.training.epochs import EpochRow
from tumortrace.training.loop import ShouldStop, fit
from tumortrace.training.networks import build_network
from tumortrace.trials import hopeless, jobs, sweep
from tumortrace.trials.sweep import SWEEP, SweepResult, _keep_plan, run_sweep
from tumortrace.trials.sweep_files import read_results, read_scores, write_results
from tumortrace.trials.sweep_space import Plan, describe_setting, plan_sweep, read_sweep

BASE = config_from_tables(
    {
        "recipe": {"size_hw": [32, 32]},
        "network": {"widths": [4, 8]},
        "training": {"epochs": 3, "batch_size": 4, "keep": "last", "device": "cpu", "threads": 1},
    }
)
GRID = '[grid]\n"training.learning_rate" = [0.003, 0.01]\n'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.toml"
    path.write_text(to_toml(BASE))
    return path


def text_of(base: Path, *lines: str, space: str = GRID) -> str:
    return "\n".join([f"base = '{base}'", "folds = 3", "use = 1", *lines, space])


# ---- what is searched


def test_a_grid_is_walked_in_order(base: Path):
    space = '[grid]\n"training.batch_size" = [2, 4]\n"training.epochs" = [5]\n"network.widths" = [[4, 8], [2, 4]]\n'
    plan = plan_sweep(text_of(base, "seeds = [3, 4]", space=space), "x.toml")
    assert [setting.name for setting in plan.settings] == ["s1", "s2", "s3", "s4"]
    assert [setting.values["training.batch_size"] for setting in plan.settings] == [2, 2, 4, 4]
    assert [setting.config.network.widths for setting in plan.settings] == [(4, 8), (2, 4), (4, 8), (2, 4)]
    assert all(setting.config.training.epochs == 5 for setting in plan.settings)
    assert all(setting.config.recipe == BASE.recipe for setting in plan.settings)
    assert plan.options.seeds == (3, 4)
    assert plan.varied == ["training.batch_size", "network.widths"]
    assert describe_setting(plan.settings[1], plan.varied) == "batch_size=2 widths=[2, 4]"


def random_space(*, trials: int, seed: int = 0) -> str:
    return (
        f"[random]\ntrials = {trials}\nseed = {seed}\n"
        '"training.learning_rate" = { low = 1e-4, high = 1e-2, log = true }\n'
        '"training.weight_decay" = { low = 0.0, high = 0.1 }\n'
        '"training.epochs" = { low = 2, high = 4 }\n"training.batch_size" = [2, 8]\n'
    )


def test_random_settings_lie_in_their_ranges_and_depend_on_the_seed_alone(base: Path):
    plan = plan_sweep(text_of(base, space=random_space(trials=60)), "x.toml")
    trained = [setting.config.training for setting in plan.settings]
    assert len(trained) == 60
    assert all(1e-4 <= each.learning_rate <= 1e-2 and 0 <= each.weight_decay <= 0.1 for each in trained)
    # Half of the rates lie below the geometric mean of the range; evenly spread, 9 % would.
    assert 20 <= sum(each.learning_rate < 1e-3 for each in trained) <= 40
    assert {each.epochs for each in trained} == {2, 3, 4}
    assert {each.batch_size for each in trained} == {2, 8}
    fewer = plan_sweep(text_of(base, space=random_space(trials=7)), "x.toml")
    assert [each.values for each in fewer.settings] == [each.values for each in plan.settings[:7]]
    other = plan_sweep(text_of(base, space=random_space(trials=7, seed=1)), "x.toml")
    assert [each.values for each in other.settings] != [each.values for each in fewer.settings]


def test_listed_settings_take_from_the_base_what_they_leave_away(base: Path):
    space = '[[settings]]\n"training.clip" = 0.5\n\n[[settings]]\n"training.epochs" = 7\n"network.widths" = [2, 4]\n'
    plan = plan_sweep(text_of(base, space=space), "x.toml")
    assert [each.values for each in plan.settings] == [
        {"training.clip": 0.5, "training.epochs": 3, "network.widths": [4, 8]},
        {"training.clip": 0.0, "training.epochs": 7, "network.widths": [2, 4]},
    ]
    assert [each.config.training.clip for each in plan.settings] == [0.5, 0.0]
    assert plan.settings[1].config.network.widths == (2, 4)


def test_the_shipped_sweep_is_the_reports_grid():
    plan = plan_sweep(read_sweep("sweep"), "sweep")
    points = {(each.config.training.batch_size, each.config.training.learning_rate) for each in plan.settings}
    assert points == {(batch, rate) for batch in (2, 4, 8) for rate in (2e-3, 1e-3, 5e-4, 1e-4)}
    assert len({each.config.training.weight_decay for each in plan.settings}) == 2
    assert len(plan.settings) == 24
    narrow = load_config("narrow")
    assert all(each.config.network == narrow.network for each in plan.settings)


@pytest.mark.parametrize(
    ("head", "space", "message"),
    [
        ("seed = [0]", GRID, r"^x\.toml: unknown key 'seed'; did you mean 'seeds'\?$"),
        (
            "",
            '[grid]\n"training.batchsize" = [2]',
            r"^x\.toml: unknown key 'training\.batchsize'; did you mean 'training\.batch_size'\?$",
        ),
        ("", '[grid]\n"trainings.batch_size" = [2]', r"unknown key 'trainings'; did you mean 'training'\?"),
        ("", '[grid]\n"training.batch_size" = [2, 0]', r"training\.batch_size = 0 must be at least 1"),
        (
            "",
            '[grid]\n"training.batch_size" = 2',
            r"grid: training\.batch_size = 2 must be a list of the values",
        ),
        ("", '[grid]\n"training.batch_size" = []', r"must be a list of the values to try"),
        ("", '[grid]\n"training.batch_size" = [2, 2]', r"is there twice; name each setting once"),
        ("", "[grid]\ntraining.batch_size = [2]", r"grid: 'training' is not of the form \"section\.key\" in quotes"),
        ("", '[grid]\n"training.batch_size" = [2]\nseeds = [0, 1]', r"'seeds' is not of the form .* before \[grid\]"),
        ("", '[grid]\n"training.seed" = [0, 1]', r"grid: training\.seed is set by seeds = \[\.\.\.\]"),
        ("", '[grid]\n"training.label" = ["a", "b"]', r"grid: training\.label is the same .* give it as --label$"),
        ("", '[[settings]]\n"training.clipp" = 1.0', r"unknown key 'training\.clipp'; did you mean 'training\.clip'\?"),
        ("", '[settings]\n"training.clip" = 1.0', r"must be a list of tables, each under its own \[\[settings\]\]"),
        ("", "[[settings]]", r"settings must be a table of keys to search"),
        ("", "[grid]", r"grid must be a table of keys to search"),
        ("", "", r"give what is searched in one way, as \[grid\], \[random\] or \[\[settings\]\]"),
        ("", GRID + '[random]\ntrials = 2\n"training.epochs" = [1]', r"in one way, as \[grid\], \[random\] or"),
        ("seeds = []", GRID, r"seeds = \[\] must be different whole numbers from 0"),
        ("seeds = [1, 1]", GRID, r"seeds = \[1, 1\] must be different"),
        ("seeds = 1", GRID, r"seeds = 1 must be a list of whole numbers"),
        ("stop_hopeless = 1", GRID, r"stop_hopeless = 1 must be true or false"),
        ("", '[random]\n"training.epochs" = [1]', r"random: trials = 0 must be a whole number from 1"),
        ("", '[random]\ntrials = 3\n"training.epochs" = [1, 2]', r"only 2 different settings came up; ask for fewer"),
        ("", '[random]\ntrials = 3\n"training.epochs" = 2', r"training\.epochs = 2 must be a list of choices"),
        ("", '[random]\ntrials = 1\n"training.clip" = {low = 1.0, top = 2.0}', r"unknown key 'training\.clip\.top'"),
        ("", '[random]\ntrials = 1\n"training.clip" = {low = 1.0}', r"must have two numbers, low and high"),
        ("", '[random]\ntrials = 1\n"training.clip" = {low = 2.0, high = 1.0}', r"must have low below high"),
        ("", '[random]\ntrials = 1\n"training.clip" = {low = 0.0, high = 1.0, log = true}', r"above 0 where log"),
        ("", '[grid\n"training.clip" = [1.0]', r"^x\.toml: not TOML"),
    ],
)
def test_each_mistake_has_its_own_line(base: Path, head: str, space: str, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        plan_sweep(text_of(base, head, space=space), "x.toml")
    assert str(caught.value).startswith("x.toml: ")
    assert "\n" not in str(caught.value)


def test_all_settings_have_the_label_that_is_given_or_else_that_of_the_base(base: Path, tmp_path: Path):
    assert plan_sweep(text_of(base), "x.toml").label == ""
    labelled = tmp_path / "labelled.toml"
    labelled.write_text(base.read_text().replace('label = ""', 'label = "core"'))
    text = text_of(labelled)
    for given, kept in ((None, "core"), ("oedema", "oedema")):
        plan = plan_sweep(text, "x.toml", label=given)
        assert [setting.config.training.label for setting in plan.settings] == [kept, kept]
        assert plan.label == kept
        (tmp_path / kept).mkdir()
        _keep_plan(plan, text, tmp_path / kept)
        _keep_plan(plan, text, tmp_path / kept)  # a second call continues


def test_folds_that_cannot_be(base: Path):
    with pytest.raises(ConfigError, match="folds = 1 must be at least 2"):
        plan_sweep(f"base = '{base}'\nfolds = 1\n{GRID}", "x.toml")
    with pytest.raises(ConfigError, match="use = 4 must be from 1 to folds = 3"):
        plan_sweep(f"base = '{base}'\nfolds = 3\nuse = 4\n{GRID}", "x.toml")
    space = '[grid]\n"training.keep" = ["last", "best_loss"]'
    with pytest.raises(ConfigError, match=r"chooses the epoch on a fold of its own, and folds = 2 leaves none"):
        plan_sweep(f"base = '{base}'\nfolds = 2\n{space}", "x.toml")


def test_a_network_for_boxes_is_refused_before_anything_is_trained():
    with pytest.raises(ConfigError, match=r"'prompted' cannot be searched; train it with train --config box$"):
        plan_sweep(f"base = 'box'\n{GRID}", "x.toml")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"no configuration 'mine\.toml': give a TOML file or one of sweep"):
        read_sweep("mine.toml")


# ---- what is hopeless


def row(epoch: int, dice: float | None) -> EpochRow:
    return EpochRow(epoch, 0.5, 0.4, dice, 10.0, 0.1, 1.0)


def test_a_settings_first_run_is_judged_by_those_of_the_settings_before(base: Path, data: Path, tmp_path: Path):
    space = '[grid]\n"training.epochs" = [3, 5, 7]\n'
    text = text_of(base, "seeds = [0, 1]", "stop_hopeless = true", space=space).replace("use = 1", "use = 2")
    plan = plan_sweep(text, "x.toml")
    split = make_folds(survey_cases([each for each in open_dataset(data).records if each.part != "test"]), folds=3)
    runs = sweep._Sweep(plan, open_dataset(data), split, tmp_path, watch=lambda _runs, _total, _doing: None)
    rules = {name: runs._make_rule(trial) for name, trial in runs.trials.items()}
    rule = rules["s3-seed0-fold1"]
    assert rule is not None
    assert [(run.folder.name, run.epochs) for run in rule.before] == [("s1-seed0-fold1", 3), ("s2-seed0-fold1", 5)]
    assert (rule.epochs, rule.results) == (7, tmp_path / "results.csv")
    assert len(rules) == 12
    assert not any(rule for name, rule in rules.items() if "seed1" in name or "fold2" in name)
    waiting = list(runs._waiting([], here=True))
    assert [job.label for job in waiting] == ["s1-seed0-fold1", "s2-seed0-fold1", "s3-seed0-fold1"]  # one of each
    assert [job.label for job in runs._waiting(waiting[:2], here=True)] == ["s3-seed0-fold1"]


def test_a_run_ends_where_it_is_told_to_and_stays_ended(
    squares: PreparedPart, settings: Callable[..., Config], compute: Compute, tmp_path: Path
):
    config = settings(epochs=4)
    asked: list[int] = []

    def after_two(rows: Sequence[EpochRow]) -> bool:
        asked.append(len(rows))
        return len(rows) >= 2

    def go(**asking: ShouldStop) -> list[EpochRow]:
        network = build_network(config.network, size_hw=config.recipe.size_hw, seed=0)
        return fit(network, config, compute=compute, train=squares, val=squares, run=tmp_path, **asking).rows

    for _ in range(2):
        assert len(go(should_stop=after_two)) == 2
    assert asked == [1, 2, 2]
    assert len(go()) == 4  # nobody asks


# ---- running


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TRAIN 8 and VAL 4 slices, and a TEST whose pictures are none."""
    folder = tmp_path_factory.mktemp("sweep") / "data"
    write_phantom_dataset(folder, counts={"TRAIN": 8, "VAL": 4, "TEST": 3}, no_tumour=0, seed=3)
    for path in (folder / "TEST").iterdir():
        if path.suffix != ".json":
            path.write_bytes(b"no picture")
    return folder


class Ear:
    """Hears which files Python opens, while it listens."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.listening = False
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.listening and event == "open":
            self.opened.append(str(arguments[0]))

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        self.listening = True  # a hook cannot be taken away again, only be told to do nothing
        try:
            yield self.opened
        finally:
            self.listening = False


Done = tuple[Path, Plan, str, SweepResult, list[str], list[str]]


@pytest.fixture(scope="module")
def done(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two settings under two seeds, one fold of three held out. Read only."""
    out = tmp_path_factory.mktemp("done") / "out"
    text = text_of(base, "seeds = [0, 1]")
    plan = plan_sweep(text, "x.toml")
    notes: list[str] = []
    with Ear().listen() as opened:
        result = run_sweep(
            open_dataset(data),
            plan,
            text=text,
            out=out,
            watch=lambda runs, total, doing: notes.append(f"{len(runs)} of {total} {doing}"),
        )
    return out, plan, text, result, opened, notes


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_of_test_are_never_opened(done: Done, data: Path):
    opened = {Path(name).resolve() for name in done[4]}
    pictures = {
        part: [path for path in (data / part).iterdir() if path.suffix != ".json"] for part in ("TRAIN", "TEST")
    }
    assert opened.issuperset(path.resolve() for path in pictures["TRAIN"])  # the ear hears
    assert opened.isdisjoint(path.resolve() for path in pictures["TEST"])
    assert done[3].findings == ()
    for run in done[3].runs:
        seen = json.loads((done[0] / "runs" / run.run / "manifest.json").read_text())["data"]
        assert not any(name.startswith("TEST") for part in ("train", "val") for name in seen[part]["cases"])


def test_every_run_is_scored_on_the_fold_that_was_held_out_from_it(done: Done):
    out, _, _, result, _, _ = done
    assert [run.run for run in result.runs] == [f"s{n}-seed{seed}-fold1" for seed in (0, 1) for n in (1, 2)]
    sides = {case.file: case.side for case in read_split(out / "split.json").cases}
    held_out = sorted(name for name, side in sides.items() if side == "1")
    for run in result.runs:
        seen = json.loads((out / "runs" / run.run / "manifest.json").read_text())["data"]
        assert sorted(seen["val"]["cases"]) == held_out
        assert {sides[name] for name in seen["train"]["cases"]} == {"2", "3"}
        scores = table(out / "runs" / run.run / "scores.csv")
        assert sorted(each["file"] for each in scores) == held_out
        assert run.dice_mean == pytest.approx(sum(float(each["dice"]) for each in scores) / len(scores))
        assert (run.cases, run.epochs, run.outcome) == (len(held_out), 3, "finished")
        epochs = table(out / "runs" / run.run / "metrics.csv")
        assert run.val_loss == float(epochs[-1]["val_loss"])
        assert run.dice_third == float(epochs[0]["val_dice"])
        assert load_config(str(out / "runs" / run.run / "config.toml")).training.seed == run.seed


def test_a_held_out_slice_that_is_gone_meanwhile_is_not_passed_over(done: Done, data: Path, tmp_path: Path):
    first, second = open_dataset(data).select("train")[:2]
    gone = replace(second, image_path=tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg"):
        sweep._score(done[0] / "runs" / "s1-seed0-fold1", (first, gone))


def test_a_run_is_scored_on_slices_with_tumour_alone(done: Done, data: Path):
    run = done[0] / "runs" / "s1-seed0-fold1"
    first, second = open_dataset(data).select("train")[:2]
    free = replace(second, truth=())
    assert list(sweep._score(run, (first, free))) == [first.case_id]
    with pytest.raises(DataError, match=r"no slice with a tumour in the held-out fold to score on; ask for fewer"):
        sweep._score(run, (free,))


def test_faults_of_the_dataset_are_among_the_findings(done: Done, data: Path):
    out, plan, text, _, _, _ = done
    fault = Finding("image-missing", "left out", "lost.jpg", "is not there", "copy it there")
    result = run_sweep(replace(open_dataset(data), findings=(fault,)), plan, text=text, out=out)
    assert result.findings == (fault,)
    assert [each["file"] for each in json.loads((out / "findings.json").read_text())] == ["lost.jpg"]
    run_sweep(open_dataset(data), plan, text=text, out=out)  # as it was


def test_a_table_that_is_damaged_is_named(tmp_path: Path):
    long = "a" * (csv.field_size_limit() + 1)
    (tmp_path / "results.csv").write_text(f"run,setting\n{long},s1\n")
    (tmp_path / "scores.csv").write_text(f"file,dice\n{long},0.5\n")
    with pytest.raises(DataError, match=r"results\.csv: not the results of a sweep \(field larger than"):
        read_results(tmp_path)
    with pytest.raises(DataError, match=r"scores\.csv: not the scores of a run \(field larger than"):
        read_scores(tmp_path)


def test_the_files_say_what_was_found(done: Done):
    out, plan, text, result, _, notes = done
    assert (out / "sweep.toml").read_text() == text
    rows = table(out / "results.csv")
    assert [row["training.learning_rate"] for row in rows] == ["0.003", "0.01"] * 2
    assert [float(row["dice_mean"]) for row in rows] == [run.dice_mean for run in result.runs]
    board = table(out / "leaderboard.csv")
    assert [row["place"] for row in board] == ["1", "2"]
    assert float(board[0]["dice_mean"]) >= float(board[1]["dice_mean"])
    assert [row["setting"] for row in board] == [place.setting for place in result.leaderboard.places]
    assert (result.leaderboard.runs, result.leaderboard.pairs) == (2, 1)
    assert 0 < result.leaderboard.places[1].p <= 1
    assert board[0]["p_corrected"] == ""
    first = describe_setting(plan.settings[0], plan.varied)
    assert notes[0] == f"0 of 4 {first}, seed 0, fold 1"
    assert notes[1].startswith(f"0 of 4 {first}, seed 0, fold 1: epoch 1, Dice 0.")
    assert notes[-1] == "4 of 4 "


def watch_training(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that are trained from here on."""
    names: list[str] = []
    whole = jobs.train

    def train(dataset: Dataset, config: Config, *, out: Path, **more: Any) -> Any:  # noqa: ANN401 - passes on
        names.append(out.name)
        return whole(dataset, config, out=out, **more)

    monkeypatch.setattr(jobs, "train", train)
    return names


def test_a_second_call_trains_nothing_and_gives_the_same(done: Done, data: Path, monkeypatch: pytest.MonkeyPatch):
    out, plan, text, result, _, _ = done
    trained = watch_training(monkeypatch)
    before = {path: path.read_bytes() for path in out.glob("*.*")}
    again = run_sweep(open_dataset(data), plan, text=text, out=out)
    assert trained == []
    assert again.runs == result.runs
    assert {path: path.read_bytes() for path in out.glob("*.*")} == before


def test_a_killed_sweep_goes_on_where_it_stopped(
    done: Done, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed in the third run, in its second epoch."""
    out, plan, text, result, _, _ = done
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    for name in ("s1-seed1-fold1", "s2-seed1-fold1"):
        shutil.rmtree(copy / "runs" / name)
    (copy / "leaderboard.csv").unlink()
    lines = (copy / "results.csv").read_text().splitlines(keepends=True)
    (copy / "results.csv").write_text("".join(lines[:3]))

    def kill(_runs: object, _total: int, doing: str) -> None:
        if "epoch 1" in doing:
            raise KeyboardInterrupt

    trained = watch_training(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(open_dataset(data), plan, text=text, out=copy, watch=kill)
    assert not (copy / "leaderboard.csv").exists()
    notes: list[str] = []
    again = run_sweep(
        open_dataset(data), plan, text=text, out=copy, watch=lambda _runs, _total, doing: notes.append(doing)
    )
    assert trained == ["s1-seed1-fold1", "s1-seed1-fold1", "s2-seed1-fold1"]
    assert [replace(run, seconds=0) for run in again.runs] == [replace(run, seconds=0) for run in result.runs]
    for run in again.runs:
        weights = [(folder / "runs" / run.run / "best.safetensors").read_bytes() for folder in (out, copy)]
        assert weights[0] == weights[1]
    assert (copy / "leaderboard.csv").read_text() == (out / "leaderboard.csv").read_text()


def test_a_run_whose_worker_died_is_tried_again_and_one_that_diverged_is_not(
    done: Done, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, plan, text, result, _, _ = done
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    first, second, third, fourth = result.runs
    died = replace(
        third, dice_mean=None, val_loss=None, outcome="its worker died 4 times, the last time: NodeDiedError"
    )
    diverged = replace(fourth, dice_mean=None, val_loss=None, outcome="training diverged")
    write_results([first, second, died, diverged], plan, copy)
    shutil.rmtree(copy / "runs" / third.run)
    trained = watch_training(monkeypatch)
    again = run_sweep(open_dataset(data), plan, text=text, out=copy)
    assert trained == [third.run]
    assert [run.outcome for run in again.runs] == ["finished"] * 3 + ["training diverged"]
    assert again.runs[2].dice_mean == third.dice_mean


def test_a_run_that_was_trained_but_not_scored_is_only_scored(
    done: Done, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, plan, text, result, _, _ = done
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    (copy / "runs" / "s2-seed1-fold1" / "scores.csv").unlink()
    trained = watch_training(monkeypatch)
    assert run_sweep(open_dataset(data), plan, text=text, out=copy).runs == result.runs
    assert trained == []


def test_other_settings_data_or_a_foreign_folder_are_refused(done: Done, data: Path, base: Path, tmp_path: Path):
    out, plan, text, _, _, _ = done
    dataset = open_dataset(data)
    other = text_of(base, "seeds = [0, 2]")
    with pytest.raises(ConfigError, match=r"holds a sweep under other settings; choose another --out$"):
        run_sweep(dataset, plan_sweep(other, "x.toml"), text=other, out=out)
    commented = "# the same\n" + text
    assert run_sweep(dataset, plan_sweep(commented, "x.toml"), text=commented, out=out).runs
    fewer = replace(dataset, records=dataset.records[1:])
    with pytest.raises(DataError, match="other data or for other folds"):
        run_sweep(fewer, plan, text=text, out=out)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="is not empty and holds no sweep"):
        run_sweep(dataset, plan, text=text, out=tmp_path)


def test_what_a_killed_sweep_left_is_its_own(base: Path, tmp_path: Path):
    text = text_of(base)
    (tmp_path / f".{SWEEP}.partial").write_text("[gr")
    (tmp_path / LOCK).touch()
    _keep_plan(plan_sweep(text, "x.toml"), text, tmp_path)
    assert (tmp_path / SWEEP).read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, SWEEP.name]


def test_a_setting_that_fails_is_given_up_and_the_others_go_on(
    done: Done, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, plan, text, result, _, _ = done
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    (copy / "results.csv").unlink()
    for name in ("s1-seed0-fold1", "s1-seed1-fold1"):
        shutil.rmtree(copy / "runs" / name)
    tried: list[str] = []

    def train(_dataset: Dataset, _config: Config, *, out: Path, **_more: object) -> None:
        tried.append(out.name)
        raise RunFailedError("training diverged in epoch 1 (loss nan)")

    monkeypatch.setattr(jobs, "train", train)
    for _ in range(2):
        again = run_sweep(open_dataset(data), plan, text=text, out=copy)
        assert tried == ["s1-seed0-fold1"]
        assert [run.run for run in again.runs] == ["s1-seed0-fold1", "s2-seed0-fold1", "s2-seed1-fold1"]
    failed = again.runs[0]
    assert (failed.dice_mean, failed.val_loss, failed.epochs) == (None, None, 0)
    assert failed.outcome == "training diverged in epoch 1 (loss nan)"
    assert again.runs[1] == result.runs[1]
    last = again.leaderboard.places[-1]
    assert (last.setting, last.runs, last.note) == ("s1", 0, "seed 0, fold 1: training diverged in epoch 1 (loss nan)")


def test_a_hopeless_run_stops_early_and_its_setting_is_not_tried_again(
    done: Done, data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = done[0]
    text = text_of(base, "seeds = [0, 1]", "stop_hopeless = true")
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    (copy / "sweep.toml").write_text(text)
    (copy / "results.csv").unlink()
    shutil.rmtree(copy / "runs" / "s2-seed0-fold1")
    monkeypatch.setattr(hopeless, "JUDGED_AGAINST", 1)
    monkeypatch.setattr(hopeless, "median", lambda _values: 1.1)  # nobody reaches it
    trained = watch_training(monkeypatch)
    result = run_sweep(open_dataset(data), plan_sweep(text, "x.toml"), text=text, out=copy)
    assert trained == ["s2-seed0-fold1"]
    assert [(run.run, run.epochs, run.outcome) for run in result.runs] == [
        ("s1-seed0-fold1", 3, "finished"),
        ("s2-seed0-fold1", 1, "stopped"),
        ("s1-seed1-fold1", 3, "finished"),
    ]
    assert [place.note for place in result.leaderboard.places] == ["", "seed 0, fold 1: stopped"]


def test_where_the_epoch_is_chosen_another_fold_chooses_it(done: Done, data: Path):
    """The fold that is scored has no part in it."""
    out, plan, _, _, _, _ = done
    split = read_split(out / "split.json")
    sides = {case.file: case.side for case in split.cases}
    setting = plan.settings[0]
    choosing = replace(setting.config, training=replace(setting.config.training, keep="best_loss"))
    trial = sweep._Trial(replace(setting, config=choosing), seed=0, fold="1", first=True)
    parts, held_out = sweep._hold_out(open_dataset(data), split, trial)
    assert {sides[record.case_id] for record in held_out} == {"1"}
    assert {sides[record.case_id] for record in parts.select("val")} == {"2"}
    assert {sides[record.case_id] for record in parts.select("train")} == {"3"}

"""Cross-validation on a few slices: nothing leaks, nothing is done twice, nothing is fitted on what it scores."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

import tumortrace
from tumortrace.config import Config, config_from_tables, load_config
from tumortrace.copies.split_files import read_split
from tumortrace.copies.training_index import load_training_index
from tumortrace.data import slice_file
from tumortrace.data.dataset import Dataset, open_dataset, open_datasets
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, DataError, RunFailedError
from tumortrace.evaluation import crossfit
from tumortrace.evaluation.crossfit import CrossFit
from tumortrace.evaluation.summary import summary_document
from tumortrace.inference.model import open_model
from tumortrace.locks import LOCK
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.run_folder import CONFIG as RUN_CONFIG
from tumortrace.run_folder import TRAINING_INDEX
from tumortrace.training import run as run_module
from tumortrace.training.export import ExportDifference
from tumortrace.trials import jobs
from tumortrace.trials.crossval import _keep_settings, cross_validate

TABLES: dict[str, Any] = {
    "recipe": {"size_hw": [32, 32]},
    "network": {"widths": [4, 8]},
    "training": {
        "epochs": 1, "batch_size": 4, "learning_rate": 0.003, "keep": "last", "device": "cpu", "threads": 1,
    },
}  # fmt: skip
CONFIG = config_from_tables(TABLES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval") / "data"
    write_phantom_dataset(folder, counts={"TRAIN": 7, "VAL": 5, "TEST": 3}, no_tumour=0, seed=3)
    return folder


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CrossFit, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("crossval") / "out"
    fitted, rows = cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=out)
    return out, fitted, rows


Done = tuple[Path, CrossFit, list[dict[str, Any]]]


def test_every_case_but_test_is_scored_once_by_a_model_that_did_not_learn_it(data: Path, done: Done):
    out, fitted, _ = done
    scores = fitted.evaluation.scores
    assert sorted(score.file for score in scores) == sorted(
        record.case_id for record in open_dataset(data).records if record.part != "test"
    )
    sides = {case.file: case.side for case in read_split(out / "split.json").cases}
    for score in scores:
        assert score.fold == sides[score.file]
        assert score.sha256 not in load_training_index(out / f"fold-{score.fold}" / "training.npz").hashes
        assert score.clean


def test_a_row_a_fold_and_settings_for_the_next_model(done: Done):
    out, fitted, rows = done
    assert [row["fold"] for row in rows] == ["1", "2", "3"]
    assert sum(row["n"] for row in rows) == 12
    assert all(row["seconds"] >= 0 for row in rows)
    calibrated = load_config(str(out / "calibrated.toml"))
    assert calibrated.recipe == fitted.recipe
    assert calibrated == replace(CONFIG, recipe=fitted.recipe)
    assert len(fitted.recipe.confidence) == 7


def test_the_card_names_the_training_slices_of_all_folds(done: Done):
    out, fitted, _ = done
    trained_on = {fold: open_model(str(out / f"fold-{fold}")).card["trained_on"] for fold in "123"}
    assert len(set(trained_on.values())) == 3
    assert fitted.evaluation.card["trained_on"] == hash_part(trained_on)


def test_what_a_fold_is_scored_with_is_fitted_on_the_others(done: Done, data: Path, monkeypatch: pytest.MonkeyPatch):
    out, _, _ = done
    fitted_on: list[int] = []
    whole = crossfit.fit_recipe

    def fit(recipe: Any, histograms: Any) -> Any:  # noqa: ANN401 - passes on
        fitted_on.append(len(histograms))
        return whole(recipe, histograms)

    monkeypatch.setattr(crossfit, "fit_recipe", fit)
    _, rows = cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=out)
    assert fitted_on == [12 - row["n"] for row in rows] + [12]


def test_a_second_call_trains_nothing_and_gives_the_same(done: Done, data: Path, monkeypatch: pytest.MonkeyPatch):
    out, before, _ = done

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(jobs, "train", refuse)
    after, _ = cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=out)
    pairs = list(zip(before.evaluation.scores, after.evaluation.scores, strict=True))
    assert all((one.file, one.counts, one.confidence) == (two.file, two.counts, two.confidence) for one, two in pairs)


def test_a_fold_that_was_not_finished_is_trained(done: Done, data: Path, monkeypatch: pytest.MonkeyPatch):
    out, _, _ = done
    (out / "fold-2" / "manifest.json").unlink()
    runs: list[str] = []
    whole = jobs.train

    def train(dataset: Dataset, config: Config, *, out: Path, **more: Any) -> Any:  # noqa: ANN401 - passes on
        runs.append(out.name)
        return whole(dataset, config, out=out, **more)

    monkeypatch.setattr(jobs, "train", train)
    cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=out)
    assert runs == ["fold-2"]


def test_other_settings_or_folds_or_a_foreign_folder_are_refused(done: Done, data: Path, tmp_path: Path):
    out, _, _ = done
    other = replace(CONFIG, training=replace(CONFIG.training, epochs=2))
    with pytest.raises(ConfigError, match="under other settings; choose another --out"):
        cross_validate(open_dataset(data), other, folds=3, by="groups", out=out)
    with pytest.raises(DataError, match="other data or for other folds"):
        cross_validate(open_dataset(data), CONFIG, folds=4, by="groups", out=out)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="is not empty and holds no cross-validation"):
        cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=tmp_path)


def test_a_network_for_boxes_is_refused_before_anything_is_written(data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'prompted' cannot be cross-validated; train it with train --config box$"):
        cross_validate(open_dataset(data), load_config("box"), folds=3, by="groups", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_killed_cross_validation_left_is_its_own(tmp_path: Path):
    (tmp_path / f".{RUN_CONFIG}.partial").write_text("[tra")
    (tmp_path / LOCK).touch()
    _keep_settings(CONFIG, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([str(LOCK), str(RUN_CONFIG)])
    _keep_settings(CONFIG, tmp_path)


def test_it_continues_with_fewer_threads_as_a_slow_training_advises(tmp_path: Path):
    _keep_settings(replace(CONFIG, training=replace(CONFIG.training, threads=0)), tmp_path)
    _keep_settings(CONFIG, tmp_path)  # one thread
    with pytest.raises(ConfigError, match="under other settings"):
        _keep_settings(replace(CONFIG, training=replace(CONFIG.training, seed=1)), tmp_path)


def test_the_run_of_one_training_is_left_alone_though_its_settings_are_the_same(tmp_path: Path):
    _keep_settings(CONFIG, tmp_path)
    (tmp_path / TRAINING_INDEX).touch()  # a run folder has the same config.toml
    with pytest.raises(ConfigError, match=r"holds the run of one training; choose another --out$"):
        _keep_settings(CONFIG, tmp_path)


def test_whole_sources_are_left_out(data: Path, tmp_path: Path):
    write_phantom_dataset(tmp_path / "other", counts={"TRAIN": 4}, no_tumour=0, seed=8)
    both = open_datasets([data, tmp_path / "other"])
    with pytest.raises(DataError, match="only one source"):  # before anything is read or written
        cross_validate(open_datasets([data]), CONFIG, folds=5, by="source", out=tmp_path / "single")
    assert not (tmp_path / "single").exists()
    fitted, rows = cross_validate(both, CONFIG, folds=5, by="source", out=tmp_path / "out")
    assert [row["n"] for row in rows] == [12, 4]
    by_fold = {(score.fold, score.source) for score in fitted.evaluation.scores}
    assert by_fold == {("1", data.name), ("2", "other")}


def test_the_epoch_is_chosen_on_training_groups_never_on_the_fold_that_is_scored(data: Path, tmp_path: Path):
    choosing = config_from_tables({**TABLES, "training": {**TABLES["training"], "keep": "best_loss"}})
    fitted, rows = cross_validate(open_dataset(data), choosing, folds=3, by="groups", out=tmp_path / "out")
    split = read_split(tmp_path / "out" / "split.json")
    assert summary_document(fitted.evaluation, folds=rows)["number_card"]["chosen_on"] == "other images"
    for fold, chooser in (("1", "2"), ("2", "3"), ("3", "1")):
        manifest = json.loads((tmp_path / "out" / f"fold-{fold}" / "manifest.json").read_text())
        sides = {case.file: case.side for case in split.cases}
        assert {sides[name] for name in manifest["data"]["val"]["cases"]} == {chooser}
        assert fold not in {sides[name] for name in manifest["data"]["train"]["cases"]}
    run, file = str(tmp_path / "out" / "fold-1"), tmp_path / "out" / "split.json"
    every = tumortrace.evaluate(data, model=run, split=file, fold=1, part="all").summary
    counts = Counter(case.side for case in split.cases)
    assert every["clean"]["n"] == counts["1"] + counts["2"]  # what chose the epoch was not trained on
    assert every["training"]["chose_epoch"] == counts["2"]
    assert every["number_card"]["chosen_on"] == "some of these images"
    assert not every["number_card"]["believable"]
    held_out = tumortrace.evaluate(data, model=run, split=file, fold=1).summary
    assert held_out["number_card"]["chosen_on"] == "other images"


def test_no_slice_is_decoded_more_than_seven_times_in_five_folds(
    done: Done, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Once for the survey, once in each of the four trainings that it belongs to, once to fit and once to score."""
    decoded: Counter[str] = Counter()
    lock, read = Lock(), slice_file.read_slice
    model = (done[0] / "fold-1" / "model.onnx").read_bytes()

    def count(path: Path, *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - passes on
        with lock:
            decoded[path.name] += 1
        return read(path, *arguments, **more)

    def export(_network: object, path: Path, **_: object) -> ExportDifference:
        path.write_bytes(model)
        return ExportDifference(0.0, 1.0, 1)

    for module in [module for name, module in sys.modules.items() if name.startswith("tumortrace.")]:
        if getattr(module, "read_slice", None) is read:
            monkeypatch.setattr(module, "read_slice", count)
    monkeypatch.setattr(run_module, "export_onnx", export)
    cross_validate(open_dataset(data), CONFIG, folds=5, by="groups", out=tmp_path / "out")
    assert len(decoded) == 12
    assert set(decoded.values()) == {7}


@pytest.mark.usefixtures("shown")
def test_the_start_and_the_rest_are_told(done: Done, data: Path, capsys: pytest.CaptureFixture[str]):
    out, _, _ = done
    for name in ("model.onnx", "manifest.json"):
        (out / "fold-3" / name).unlink()
    cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=out)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Cross-validation on 12 slices, 1 epoch a fold; CPU, 1 thread, float32"
    assert "Fold 1 of 3: finished before" in lines
    assert f"Fold 3 of 3: {out / 'fold-3'}" in lines
    assert any(line.startswith("1 training left, about ") for line in lines)


def test_a_fold_that_fails_ends_the_cross_validation(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RunFailedError("training diverged in epoch 1 (loss nan)")

    monkeypatch.setattr(jobs, "train", fail)
    with pytest.raises(RunFailedError, match=r"^Fold 1 of 3: training diverged in epoch 1"):
        cross_validate(open_dataset(data), CONFIG, folds=3, by="groups", out=tmp_path / "out")

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tumortrace
from tumortrace.config import Config, Recipe, config_from_tables, load_config
from tumortrace.data.cases import read_case
from tumortrace.data.dataset import open_dataset, open_datasets, open_negatives
from tumortrace.data.fingerprint import hash_case, hash_part
from tumortrace.data.png_writing import write_png
from tumortrace.data.upright import turn_upright
from tumortrace.errors import ConfigError, DataError, TumortraceError
from tumortrace.inference.model import open_model
from tumortrace.inference.recipe import find_window, prepare_mask
from tumortrace.locks import lock_folder
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.reporting.figures import read_metrics
from tumortrace.run_folder import CHECKPOINT, check_run_folder
from tumortrace.training import compute as compute_module
from tumortrace.training import run as run_module
from tumortrace.training.arrays import PreparedPart, prepare_part
from tumortrace.training.epochs import EpochRow
from tumortrace.training.export import ExportDifference
from tumortrace.training.run import RunResult, train

Train = Callable[..., RunResult]

EPOCHS = 4


def settings(**training: object) -> Config:
    usual = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.1, "keep": "last", "device": "cpu", "threads": 1}
    return config_from_tables(
        {"recipe": {"size_hw": [32, 48]}, "network": {"widths": [3, 5]}, "training": usual | training}
    )


@pytest.fixture
def train_only(monkeypatch: pytest.MonkeyPatch) -> Train:
    """A run without its export, which takes longer than all the rest."""
    monkeypatch.setattr(run_module, "export_onnx", lambda *_, **__: ExportDifference(0.0, 1.0, 1))
    return lambda data, config, out, **more: train(open_dataset(data), config, out=out, **more)


@pytest.fixture
def manifest(tiny_run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((tiny_run / "manifest.json").read_text())
    return document


def copy_part(data: Path, destination: Path) -> Path:
    """The TRAIN part of a dataset as a dataset of its own that is not divided."""
    shutil.copytree(data / "TRAIN", destination)
    return destination


def test_a_finished_run_folder_holds_what_is_promised(tiny_run: Path):
    names = {path.relative_to(tiny_run).as_posix() for path in tiny_run.rglob("*") if path.is_file()}
    (events,) = {name for name in names if name.startswith("tensorboard/events.out.tfevents.")}
    assert names - {events} == {
        "best.safetensors",
        "config.toml",
        "last/checkpoint.safetensors",
        "manifest.json",
        "metrics.csv",
        "model.onnx",
        "network.txt",
        "training.npz",
    }


def test_its_configuration_loads_as_the_one_it_ran_with(tiny_run: Path):
    config = load_config(str(tiny_run / "config.toml"))
    assert config.recipe.size_hw == (48, 32)
    assert config.network.widths == (4, 8, 8)
    assert (config.training.epochs, config.training.batch_size, config.training.learning_rate) == (2, 3, 0.003)
    assert config.training.weight_decay == 0.0  # a default that was not named is written all the same
    assert "weight_decay" in (tiny_run / "config.toml").read_text()


def test_manifest_describes_run_and_machine(tiny_run: Path, manifest: dict[str, Any]):
    assert manifest["tumortrace"] == tumortrace.__version__
    assert manifest["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert manifest["libraries"]["torch"] == torch.__version__
    assert {"git_commit", "platform", "cpu_count", "torch_threads", "gpu", "epoch_seconds"} <= manifest.keys()
    assert (manifest["device"], manifest["precision"], manifest["seed"]) == ("cpu", "32-true", 0)
    assert manifest["kept_epoch"] == 2
    assert manifest["wall_seconds"] > 0
    assert manifest["peak_memory_bytes"]["cpu"] > 50e6
    assert manifest["onnx_largest_difference"] <= 1e-3
    assert [finding["file"] for finding in manifest["findings"]] == ["no_tumour/"]
    weights = load_file(tiny_run / "best.safetensors")
    learnt = [tensor for name, tensor in weights.items() if not name.endswith(("mean", "var", "tracked"))]
    assert manifest["parameters"] == sum(tensor.numel() for tensor in learnt)


def test_manifest_has_the_hashes_of_the_data(phantom_data: Path, manifest: dict[str, Any]):
    data = manifest["data"]
    assert data["root"] == str(phantom_data)
    assert (data["train"]["count"], data["val"]["count"]) == (10, 4)
    for part in ("train", "val"):
        records = open_dataset(phantom_data).select(part)
        assert data[part]["cases"] == {record.case_id: hash_case(read_case(record)[0]) for record in records}
        assert data[part]["sha256"] == hash_part(data[part]["cases"])
    assert data["train"]["sha256"] != data["val"]["sha256"]


def test_metrics_and_layers_are_written(tiny_run: Path):
    assert [row["epoch"] for row in read_metrics(tiny_run / "metrics.csv")] == [1, 2]
    assert "Parameters: 4,850" in (tiny_run / "network.txt").read_text()


def test_the_run_s_model_can_be_opened(tiny_run: Path, manifest: dict[str, Any]):
    model = open_model(str(tiny_run))
    assert model.recipe == load_config(str(tiny_run / "config.toml")).recipe
    assert model.card == {
        "name": "tiny",
        "trained_on": manifest["data"]["train"]["sha256"],
        "selected_on": "",
        "config_sha256": hashlib.sha256((tiny_run / "config.toml").read_bytes()).hexdigest(),
        "seed": 0,
        "version": tumortrace.__version__,
        "weights_sha256": hashlib.sha256((tiny_run / "best.safetensors").read_bytes()).hexdigest(),
        "began_from": "",
        "remembered": True,
        "shipped_ancestors": [],
        "acquisitions": model.card["acquisitions"],
        "classes": ["background", "tumour"],
    }
    assert 0 < sum(model.card["acquisitions"].values()) <= 10  # at most one name for each training slice
    assert model.sha256 == hashlib.sha256((tiny_run / "model.onnx").read_bytes()).hexdigest()


def test_the_export_says_that_it_has_begun(phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []

    def export(*_: object, **__: object) -> ExportDifference:
        assert told[-1] == "Exporting to ONNX ..."
        return ExportDifference(0.0, 1.0, 1)

    monkeypatch.setattr(run_module, "export_onnx", export)
    monkeypatch.setattr(run_module, "tell", told.append)
    train(open_dataset(phantom_data), settings(epochs=1), out=tmp_path)


def test_a_model_that_marks_nothing_is_known_by_slices_with_tumour(
    phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: list[torch.Tensor] = []
    told: list[str] = []

    def export(*_: object, samples: torch.Tensor, **__: object) -> ExportDifference:
        given.append(samples)
        return ExportDifference(0.0, 1.0, 0)

    monkeypatch.setattr(run_module, "export_onnx", export)
    monkeypatch.setattr(run_module, "tell", told.append)
    dataset = open_dataset(phantom_data)
    first, *others = dataset.select("train")
    rare = replace(dataset, records=(*(replace(each, truth=()) for each in others), first))
    train(rare, settings(epochs=1), out=tmp_path)
    assert torch.equal(given[0], prepare_part([first], settings().recipe, name="TRAIN").images)
    assert any(line.startswith("the model marks no tumour on any of 1 training slice with tumour;") for line in told)


def test_memory_that_runs_out_while_reading_says_what_to_try(
    phantom_data: Path, tmp_path: Path, train_only: Train, monkeypatch: pytest.MonkeyPatch
):
    def prepare(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(run_module, "prepare_training_part", prepare)
    with pytest.raises(TumortraceError) as caught:
        train_only(phantom_data, settings(), tmp_path / "run")
    assert str(caught.value) == (
        "out of memory at recipe.size_hw=[32, 48]; try --set 'recipe.size_hw=[16, 24]', or fewer slices"
    )
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_the_folder_of_a_finished_one_is_refused(phantom_data: Path, tmp_path: Path, train_only: Train):
    train_only(phantom_data, settings(epochs=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for config in (settings(epochs=1), settings(epochs=2)):
        with pytest.raises(ConfigError, match="holds a run already; continue it with --resume, or"):
            train_only(phantom_data, config, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_second_run_in_the_folder_of_one_that_goes_on_is_refused(
    phantom_data: Path, tmp_path: Path, train_only: Train
):
    with lock_folder(tmp_path / "run"), pytest.raises(DataError, match="another run of tumortrace is writing there"):
        train_only(phantom_data, settings(epochs=1), tmp_path / "run")


@pytest.mark.parametrize("place", ["TRAIN", "run", "."])
def test_a_run_folder_inside_the_data_is_refused(place: str, phantom_data: Path):
    with pytest.raises(DataError, match="lies inside the data folder"):
        train(open_dataset(phantom_data), settings(), out=phantom_data / place)


def test_a_run_folder_inside_one_of_several_datasets_is_refused(phantom_data: Path, tmp_path: Path):
    other = copy_part(phantom_data, tmp_path / "other")
    both = open_datasets([phantom_data, other])
    with pytest.raises(DataError, match="lies inside the data folder"):
        train(both, settings(), out=other / "run")
    parts_alone = replace(both, records=tuple(record for record in both.records if record.source == "data"))
    with pytest.raises(DataError, match="lies inside the data folder"):
        train(parts_alone, settings(), out=other / "run")  # also where none of its cases is left


def test_a_finished_run_that_goes_on_is_not_finished(phantom_data: Path, tmp_path: Path, train_only: Train):
    def stop(rows: Sequence[EpochRow]) -> bool:
        if len(rows) == 2:
            raise KeyboardInterrupt
        return False

    train_only(phantom_data, settings(epochs=1), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_only(phantom_data, settings(epochs=3), tmp_path, resume=True, should_stop=stop)
    assert not (tmp_path / "manifest.json").exists()
    train_only(phantom_data, settings(epochs=3), tmp_path, resume=True)
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["kept_epoch"] == 3


def test_slices_without_any_tumour_are_nothing_to_learn(phantom_data: Path, tmp_path: Path):
    dataset = open_negatives(phantom_data / "no_tumour")
    with pytest.raises(DataError, match=r"none of 3 training slices has a tumour, so there is nothing to learn"):
        train(dataset, settings(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("shown")
def test_a_damaged_val_part_is_named_with_its_cause(
    phantom_data: Path, tmp_path: Path, train_only: Train, capsys: pytest.CaptureFixture[str]
):
    data = shutil.copytree(phantom_data, tmp_path / "data")
    (annotations,) = (data / "VAL").glob("*.json")
    annotations.write_bytes(annotations.read_bytes()[:50])
    message = rf"training\.keep = 'best_dice' chooses .* the VAL part, which is unusable: .*{annotations.name}"
    with pytest.raises(DataError, match=message):
        train_only(data, settings(keep="best_dice"), tmp_path / "run")
    train_only(data, settings(epochs=1), tmp_path / "run")
    assert re.search(rf"^no validation: .*{annotations.name}", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.usefixtures("shown")
def test_a_dataset_without_parts_leaves_nothing_to_score(
    phantom_data: Path, tmp_path: Path, train_only: Train, capsys: pytest.CaptureFixture[str]
):
    train_only(phantom_data / "TRAIN", settings(epochs=1), tmp_path / "run")
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{phantom_data / 'TRAIN'}: is not divided into parts, so no slice is held out")
    assert second.startswith("Training on 10 slices, 10 with tumour; no validation;")


@pytest.mark.usefixtures("shown")
def test_a_run_says_at_its_start_what_it_trains_on_and_with(
    phantom_data: Path, tmp_path: Path, train_only: Train, capsys: pytest.CaptureFixture[str]
):
    result = train_only(phantom_data, settings(epochs=1), tmp_path)
    line = "Training on 10 slices, 10 with tumour; validating on 4; CPU, 1 thread, float32\n"
    assert capsys.readouterr().err.startswith(line)
    assert result.folder == tmp_path


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("coarse", [0, 1])
def test_a_run_says_if_no_epoch_trains_at_full_size(
    coarse: int, phantom_data: Path, tmp_path: Path, train_only: Train, capsys: pytest.CaptureFixture[str]
):
    train_only(phantom_data, settings(epochs=1, coarse_epochs=coarse), tmp_path)
    line = "(training.coarse_epochs = 1, training.epochs = 1); add --set training.coarse_epochs=0\n"
    assert (line in capsys.readouterr().err) is (coarse == 1)


def test_a_resumed_run_keeps_its_threads(
    phantom_data: Path, tmp_path: Path, train_only: Train, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_module, "settle_threads", lambda *_: torch.set_num_threads(2))
    monkeypatch.setattr(compute_module, "usable_cores", lambda: 4)
    train_only(phantom_data, settings(epochs=1, threads=0), tmp_path)
    torch.set_num_threads(1)
    monkeypatch.setattr(run_module, "settle_threads", lambda *_: torch.set_num_threads(1))
    train_only(phantom_data, settings(epochs=2, threads=0), tmp_path, resume=True)
    try:
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("keep", ["best_loss", "best_dice"])
def test_choosing_on_a_missing_val_part_is_refused_before_anything_is_written(
    keep: str, phantom_data: Path, tmp_path: Path
):
    dataset = open_dataset(copy_part(phantom_data, tmp_path / "data"))
    with pytest.raises(ConfigError, match=rf"training\.keep = '{keep}' .* has none; set training\.keep=last"):
        train(dataset, settings(keep=keep), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_undivided_dataset_is_learnt_as_a_whole(phantom_data: Path, tmp_path: Path, train_only: Train):
    data = copy_part(phantom_data, tmp_path / "data")
    result = train_only(data, settings(epochs=1), tmp_path / "run")
    assert (result.train_count, result.val_count, result.kept_epoch) == (10, 0, 1)
    assert result.rows[0].val_loss is None


def test_a_case_that_cannot_be_read_is_left_out_and_named(phantom_data: Path, tmp_path: Path, train_only: Train):
    data = copy_part(phantom_data, tmp_path / "data")
    broken = min(data.glob("*.jpg"))
    broken.write_bytes(b"no picture")
    (data / "stray.png").write_bytes(b"not annotated")
    result = train_only(data, settings(epochs=1), tmp_path / "run")
    assert result.train_count == 9
    assert {(finding.kind, finding.file) for finding in result.findings} == {
        ("unreadable", broken.name),
        ("annotation-missing", "stray.png"),
    }
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert {finding["file"] for finding in manifest["findings"]} == {broken.name, "stray.png"}
    assert broken.name not in manifest["data"]["train"]["cases"]


def test_a_fault_of_a_whole_source_is_named_once(tmp_path: Path, train_only: Train):
    rng = np.random.default_rng(0)
    for part, number in itertools.product(("TRAIN", "VAL"), range(5)):
        mask = np.full((48, 32), 255, np.uint8)
        mask[8 + number : 24, 8:16] = 0
        write_png(
            tmp_path / "data" / part / "images" / f"{number}.png", rng.integers(1, 255, (48, 32)).astype(np.uint8)
        )
        write_png(tmp_path / "data" / part / "masks" / f"{number}.png", mask)
    (finding,) = train_only(tmp_path / "data", settings(epochs=1), tmp_path / "run").findings
    assert (finding.kind, finding.file) == ("masks-inverted", "masks")


def test_a_missing_device_or_unreadable_data_leaves_no_run_behind(
    phantom_data: Path, tmp_path: Path, train_only: Train, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TumortraceError, match="torch sees no GPU"):
        train_only(phantom_data, settings(device="cuda"), tmp_path / "run")
    data = copy_part(phantom_data, tmp_path / "data")
    for path in (*data.glob("*.jpg"), *data.glob("*.png")):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="not one of 10 cases can be read"):
        train_only(data, settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 0.2}, {"batch_size": 3}, {"keep": "best_loss"}, {"seed": 1}, {"weight_decay": 0.1}]
)
def test_resuming_under_other_settings_is_refused(
    changed: dict[str, object], phantom_data: Path, tmp_path: Path, train_only: Train
):
    train_only(phantom_data, settings(epochs=1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (key,) = changed
    with pytest.raises(ConfigError, match=rf"checkpoint\.safetensors: began under training\.{key} = .*; keep to that"):
        train_only(phantom_data, settings(**changed), tmp_path, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_resuming_after_config_toml_was_edited_is_refused(phantom_data: Path, tmp_path: Path, train_only: Train):
    train_only(phantom_data, settings(epochs=1), tmp_path)
    toml = tmp_path / "config.toml"
    toml.write_text(toml.read_text().replace("learning_rate = 0.1", "learning_rate = 0.2"))
    with pytest.raises(ConfigError, match=r"began under training\.learning_rate = 0\.1, not 0\.2; keep to that, or"):
        train_only(phantom_data, load_config(str(toml)), tmp_path, resume=True)


def test_resuming_for_more_epochs_or_elsewhere_is_not(phantom_data: Path, tmp_path: Path, train_only: Train):
    train_only(phantom_data, settings(epochs=1), tmp_path)
    result = train_only(phantom_data, settings(epochs=2, device="auto"), tmp_path, resume=True)
    assert [row.epoch for row in result.rows] == [1, 2]
    assert load_config(str(tmp_path / "config.toml")).training.epochs == 2


def test_resuming_with_other_data_is_refused(phantom_data: Path, tmp_path: Path, train_only: Train):
    data = tmp_path / "data"
    shutil.copytree(phantom_data, data)
    train_only(data, settings(epochs=1), tmp_path / "run")
    one, other, *_ = sorted((data / "VAL").glob("*.jpg"))
    shutil.copy(one, other)
    with pytest.raises(TumortraceError, match=r"checkpoint\.safetensors: was trained on other data"):
        train_only(data, settings(), tmp_path / "run", resume=True)


def test_a_refused_resumption_leaves_the_training_slices_of_the_run(
    phantom_data: Path, tmp_path: Path, train_only: Train
):
    data, index = tmp_path / "data", tmp_path / "run/training.npz"
    shutil.copytree(phantom_data, data)
    train_only(data, settings(epochs=1), tmp_path / "run")
    known = index.read_bytes()
    one, other, *_ = sorted((data / "TRAIN").glob("*.jpg"))
    shutil.copy(one, other)
    with pytest.raises(TumortraceError, match="was trained on other data"):
        train_only(data, settings(), tmp_path / "run", resume=True)
    assert index.read_bytes() == known  # an evaluation asks it which images are clean


# Trains into OUT/KEEP-MOMENT in children that die by SIGKILL, each at its moment: one import of torch for all of them.
KILLS = """
import os, signal, sys, time
from pathlib import Path
from tumortrace.config import load_config
from tumortrace.data.dataset import open_dataset, open_datasets, open_negatives
from tumortrace.training import batches, checkpoint, loop
from tumortrace.training.run import train

data, out = Path(sys.argv[1]), Path(sys.argv[2])

def die_at(call, owner, name, half_done=False):
    original, calls = getattr(owner, name), []
    def count(*arguments, **keywords):
        calls.append(name)
        if len(calls) == call:
            if half_done:
                path, content = arguments
                path.with_name(f".{path.name}.partial").write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)
    setattr(owner, name, count)

def kill_when_there(path, child):
    while not path.exists():
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)

moments = {
    "first-epoch": lambda: die_at(2, batches, "fetch"),
    "first-row": lambda: None,
    "third-epoch": lambda: die_at(11, batches, "fetch"),
    "half-a-checkpoint": lambda: die_at(3, checkpoint, "write_atomically", half_done=True),
    "before-its-weights": lambda: die_at(2, loop, "save_weights"),
}
for keep in ("last", "best_loss"):
    for moment, prepare in moments.items():
        run = out / f"{keep}-{moment}"
        child = os.fork()
        if not child:
            prepare()
            train(open_dataset(data), load_config(str(out / f"{keep}.toml")), out=run)
            os._exit(0)
        if moment == "first-row":
            kill_when_there(run / "metrics.csv", child)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, (run, status)
"""


@pytest.fixture(scope="module")
def killed_runs(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("killed")
    for keep in ("last", "best_loss"):
        (out / f"{keep}.toml").write_text(run_module.to_toml(settings(keep=keep)))
    source = str(Path(tumortrace.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", KILLS, str(phantom_data), str(out)],
        check=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": source},
    )
    return out


@pytest.mark.parametrize("keep", ["last", "best_loss"])
def test_runs_killed_at_any_moment_end_as_if_nothing_had_happened(
    keep: str, killed_runs: Path, phantom_data: Path, tmp_path: Path, train_only: Train
):
    whole = train_only(phantom_data, settings(keep=keep), tmp_path)
    weights, tensors = (tmp_path / "best.safetensors").read_bytes(), load_file(tmp_path / CHECKPOINT)
    assert (whole.kept_epoch < EPOCHS) == (keep == "best_loss")  # else the test would not tell the rules apart
    folders = sorted(killed_runs.glob(f"{keep}-*"))
    assert len(folders) == 5
    for folder in folders:
        check_run_folder(folder, resume=True)
        rows = read_metrics(folder / "metrics.csv") if (folder / "metrics.csv").exists() else []
        assert len(rows) < EPOCHS, folder
        result = train_only(phantom_data, settings(keep=keep), folder, resume=True)
        assert (folder / "best.safetensors").read_bytes() == weights, folder
        resumed = load_file(folder / CHECKPOINT)
        assert resumed.keys() == tensors.keys()
        assert all(torch.equal(resumed[name], tensor) for name, tensor in tensors.items()), folder
        assert result.kept_epoch == whole.kept_epoch
        assert [(row.epoch, row.train_loss, row.val_loss, row.val_dice) for row in result.rows] == [
            (row.epoch, row.train_loss, row.val_loss, row.val_dice) for row in whole.rows
        ]
        assert not list(folder.rglob("*.partial"))


def test_the_consensus_of_copies_is_learnt_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_phantom_dataset(tmp_path / "data", counts={"TRAIN": 2}, no_tumour=0, seed=5)
    folder = tmp_path / "data" / "TRAIN"
    first = open_dataset(tmp_path / "data").records[0]
    case, _ = read_case(first)
    shifted = [np.roll(case.truth, shift, axis=1) for shift in (-3, 0, 3)]
    shutil.rmtree(folder)
    for index, truth in enumerate(shifted):
        write_png(folder / "images" / f"{index}.png", case.slice.pixels.astype(np.uint8))
        write_png(folder / "masks" / f"{index}.png", truth.astype(np.uint8) * np.uint8(255))
    learnt: list[Any] = []

    def see(*_: object, train: PreparedPart, **__: object) -> None:
        learnt.append(train.truths)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "fit", see)
    for outlines in ("own", "consensus"):
        training = {"keep": "last", "device": "cpu", "outlines": outlines}
        tables = {"recipe": {"size_hw": [48, 32]}, "network": {"widths": [4, 8]}, "training": training}
        config = config_from_tables(tables)
        with pytest.raises(KeyboardInterrupt):
            run_module.train(open_dataset(tmp_path / "data"), config, out=tmp_path / outlines)
    own, consensus = learnt
    recipe = Recipe((48, 32))
    assert not (own[0] == own[1]).all()
    assert (consensus[0] == consensus[1]).float().mean() > 0.99
    middle = prepare_mask(shifted[1], recipe, find_window(turn_upright(shifted[1]), recipe))
    assert (consensus[0].numpy() == middle).mean() > 0.99

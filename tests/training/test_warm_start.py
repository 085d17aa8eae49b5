"""Trainings that start from a model: its weights taken, its training slices remembered, its name told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tumortrace.config import Config, load_config
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import ConfigError, ModelError, TumortraceError
from tumortrace.evaluation.evaluate import evaluate
from tumortrace.evaluation.provenance import shipped_ancestors, trace_training
from tumortrace.inference.model import open_model
from tumortrace.inference.recipe import prepare_pixels, tumour_probability
from tumortrace.phantoms.slices import draw_phantom, write_phantom_dataset
from tumortrace.run_folder import has_begun
from tumortrace.training import run as run_module
from tumortrace.training.checkpoint import save_weights
from tumortrace.training.networks import build_network
from tumortrace.training.run import train
from tumortrace.training.warm_start import WarmStart, start_from_model


@pytest.mark.parametrize("name", ["default", "fast"])
def test_the_shipped_weights_give_what_the_shipped_model_gives(name: str):
    model, config = open_model(name), load_config(name, ["network.pretrained=false"])
    network = build_network(config.network, size_hw=model.recipe.size_hw, seed=7)
    start = start_from_model(network, model)
    assert start == WarmStart(name, model.sha256, remembered=False, shipped_ancestors=[name])
    slices = [draw_phantom(np.random.default_rng(seed), size_hw=(256, 224), kind="bright").pixels for seed in (3, 6)]
    images = np.stack([prepare_pixels(pixels, model.recipe) for pixels in slices])[:, None]
    with torch.no_grad():
        actual = tumour_probability(network.eval()(torch.from_numpy(images)).numpy())
    expected = tumour_probability(model.session.run(images))
    np.testing.assert_allclose(actual, expected, atol=0.005)  # the weights lie there in half precision
    assert np.ptp(expected, axis=(1, 2)).min() > 0.5  # a tumour in each: nothing that anything agrees with


def test_the_wheel_s_weights_stay_below_40_mb():
    folder = Path(str(resources.files("tumortrace") / "weights"))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 40e6


def test_an_onnx_file_alone_holds_no_weights_to_start_from(tiny_run: Path, tmp_path: Path):
    shutil.copy(tiny_run / "model.onnx", tmp_path / "alone.onnx")
    network = build_network(load_config(str(tiny_run / "config.toml")).network, size_hw=(48, 32), seed=0)
    with pytest.raises(ModelError, match=r"alone\.onnx: cannot start .* without alone\.safetensors beside it; give"):
        start_from_model(network, open_model(str(tmp_path / "alone.onnx")))


def test_weights_that_were_trained_further_since_the_export_are_refused(tiny_run: Path, tmp_path: Path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    network = build_network(load_config(str(run / "config.toml")).network, size_hw=(48, 32), seed=1)
    save_weights(run / "best.safetensors", network)
    with pytest.raises(ModelError, match=r"best\.safetensors: not the weights of model\.onnx beside it; finish"):
        start_from_model(network, open_model(str(run)))


def test_a_model_that_does_not_fit_the_settings_is_refused_before_data_is_read(
    tiny_run: Path, other_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def read(*_: object, **__: object) -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr(run_module, "prepare_training_part", read)
    other = load_config(str(tiny_run / "config.toml"), ["network.widths=[4, 8, 9]"])
    with pytest.raises(ModelError, match=r"best\.safetensors: not the weights of this network .* give the --config"):
        train(open_dataset(other_data), other, out=tmp_path / "mine", start_from=open_model(str(tiny_run)))
    assert not (tmp_path / "mine").exists()


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("hospital") / "data"
    write_phantom_dataset(data, counts={"TRAIN": 4, "VAL": 2}, no_tumour=0, seed=11)
    return data


def tiny(run: Path, **training: object) -> Config:
    return load_config(str(run / "config.toml"), [f"training.{key}={value}" for key, value in training.items()])


def test_a_run_begins_from_another_runs_weights(tiny_run: Path, other_data: Path, tmp_path: Path):
    model = open_model(str(tiny_run))
    train(open_dataset(other_data), tiny(tiny_run, epochs=1), out=tmp_path / "mine", start_from=model)
    first, source = load_file(tmp_path / "mine" / "first.safetensors"), load_file(tiny_run / "best.safetensors")
    assert all(torch.equal(first[name], source[name]) for name in source)
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    assert (manifest["began_from"]["name"], manifest["began_from"]["sha256"]) == ("tiny", model.sha256)
    card = open_model(str(tmp_path / "mine")).card
    assert (card["began_from"], card["remembered"]) == ("tiny", True)
    assert card["config_sha256"] != model.card["config_sha256"]
    both = {*load_training_index(tiny_run / "training.npz").hashes, *manifest["data"]["train"]["cases"].values()}
    assert set(load_training_index(tmp_path / "mine" / "training.npz").hashes) == both
    assert len(both) == 14


def test_the_training_slices_of_a_model_that_travelled_are_unknown(tiny_run: Path, other_data: Path, tmp_path: Path):
    shutil.copy(tiny_run / "model.onnx", tmp_path / "travelled.onnx")
    shutil.copy(tiny_run / "best.safetensors", tmp_path / "travelled.safetensors")
    model = open_model(str(tmp_path / "travelled.onnx"))
    train(open_dataset(other_data), tiny(tiny_run, epochs=1), out=tmp_path / "mine", start_from=model)
    train(
        open_dataset(other_data),
        tiny(tiny_run, epochs=1),
        out=tmp_path / "next",
        start_from=open_model(str(tmp_path / "mine")),
    )
    for name, began_from in (("mine", "tiny"), ("next", "mine")):
        assert len(load_training_index(tmp_path / name / "training.npz").hashes) == 4
        mine = open_model(str(tmp_path / name))
        assert (mine.card["began_from"], mine.card["remembered"]) == (began_from, False)


def test_a_run_of_unknown_first_weights_hands_on_its_slices_and_ancestors(
    tiny_run: Path, other_data: Path, phantom_data: Path, tmp_path: Path
):
    config = tiny(tiny_run, epochs=1)
    shutil.copytree(tiny_run, tmp_path / "first")
    first = open_model(str(tmp_path / "first"))
    first.card.update(remembered=False, shipped_ancestors=["fast"])  # as a run of improve --from fast
    train(open_dataset(other_data), config, out=tmp_path / "next", start_from=first)
    model = open_model(str(tmp_path / "next"))
    assert (model.card["remembered"], shipped_ancestors(model)) == (False, ["fast"])
    known = trace_training(model, survey_cases(open_dataset(phantom_data).select("train")))
    assert (known.at_hand, known.total) == (14, None)


def test_a_score_of_such_a_model_is_qualified(tiny_run: Path, other_data: Path):
    dataset = open_dataset(other_data)
    model = open_model(str(tiny_run))
    survey = survey_cases(dataset.select("val"))
    assert trace_training(model, survey).complete
    model.card.update(began_from="default", remembered=False)
    provenance = trace_training(model, survey)
    assert (provenance.complete, provenance.total) == (False, None)
    assert {score.clean for score in evaluate(model, dataset.select("val"), survey, provenance).scores} == {None}


def test_a_run_stopped_in_its_first_epoch_continues_without_the_model(
    tiny_run: Path, other_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset, config = open_dataset(other_data), tiny(tiny_run, epochs=2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(dataset, config, out=whole, start_from=open_model(str(tiny_run)))

    def stop(*_: object, **__: object) -> None:
        raise TumortraceError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "fit", stop)
        with pytest.raises(TumortraceError, match="stopped"):
            train(dataset, config, out=stopped, start_from=open_model(str(tiny_run)))
    train(dataset, config, out=stopped, resume=True)
    assert (stopped / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert set(load_training_index(stopped / "training.npz").hashes) == set(
        load_training_index(whole / "training.npz").hashes
    )
    assert open_model(str(stopped)).card["began_from"] == "tiny"
    train(dataset, config, out=tmp_path / "plain")
    assert (tmp_path / "plain" / "best.safetensors").read_bytes() != (whole / "best.safetensors").read_bytes()


def test_a_resumed_run_never_forgets_that_it_started_from_a_model(tiny_run: Path, other_data: Path, tmp_path: Path):
    dataset, config, run = open_dataset(other_data), tiny(tiny_run, epochs=1), tmp_path / "run"
    train(dataset, config, out=run, start_from=open_model(str(tiny_run)))
    (run / "training.npz").unlink()  # the slices of the model are in it
    train(dataset, config, out=run, resume=True)
    card = open_model(str(run)).card
    assert (card["began_from"], card["remembered"]) == ("tiny", False)
    (run / "first.safetensors").unlink()
    with pytest.raises(ModelError, match=r"first\.safetensors: is missing, .* restore it, or train into another --out"):
        train(dataset, config, out=run, resume=True)


def test_a_new_run_does_not_start_from_the_first_weights_that_a_stopped_one_left(
    tiny_run: Path, other_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset, config = open_dataset(other_data), tiny(tiny_run, epochs=1)

    def stop(*_: object, **__: object) -> None:
        raise TumortraceError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "fit", stop)
        with pytest.raises(TumortraceError, match="stopped"):
            train(dataset, config, out=tmp_path / "run", start_from=open_model(str(tiny_run)))
    assert (tmp_path / "run" / "first.safetensors").is_file()
    train(dataset, config, out=tmp_path / "run")
    assert not (tmp_path / "run" / "first.safetensors").exists()
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["began_from"] is None
    assert len(load_training_index(tmp_path / "run" / "training.npz").hashes) == 4


@pytest.mark.parametrize("written", [1, 2, 3])
def test_a_run_stopped_before_it_had_begun_starts_again_with_the_same_result(
    tiny_run: Path, other_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
):
    dataset, config, model = open_dataset(other_data), tiny(tiny_run, epochs=1), open_model(str(tiny_run))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(dataset, config, out=whole, start_from=model)
    steps = iter(range(1, written))

    def stop_at_the_last(write: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: object, **settings: object) -> None:
            if next(steps, None) is None:
                raise TumortraceError("stopped")
            write(*arguments, **settings)

        return step

    with monkeypatch.context() as patch:
        for name in ("write_atomically", "keep_start", "save_training_index"):
            patch.setattr(run_module, name, stop_at_the_last(getattr(run_module, name)))
        with pytest.raises(TumortraceError, match="stopped"):
            train(dataset, config, out=stopped, start_from=model)
    with pytest.raises(ConfigError, match=r"no run to resume|stopped before it began to train; start it without"):
        train(dataset, config, out=stopped, resume=True)
    assert not has_begun(stopped)
    train(dataset, config, out=stopped, start_from=model)
    for name in ("best.safetensors", "training.npz"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


def test_first_weights_that_do_not_say_where_they_are_from(tiny_run: Path, other_data: Path, tmp_path: Path):
    shutil.copy(tiny_run / "best.safetensors", tmp_path / "first.safetensors")
    for name in ("config.toml", "training.npz"):
        shutil.copy(tiny_run / name, tmp_path / name)
    with pytest.raises(ModelError, match=r"first\.safetensors: does not say where it is from .* another --out"):
        train(open_dataset(other_data), tiny(tiny_run), out=tmp_path, resume=True)

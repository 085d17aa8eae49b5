"""Training that begins from a finished model: its weights unfolded, its memory kept, its name told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tumortrace.config import Config, NetworkConfig, Recipe, load_config
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import ModelError, TumortraceError
from tumortrace.evaluation.evaluate import evaluate
from tumortrace.evaluation.provenance import trace_training
from tumortrace.inference.model import Model, open_model
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.training import run as run_module
from tumortrace.training.export import export_onnx
from tumortrace.training.networks import build_network
from tumortrace.training.origin import _set_norm, _unfold, load_model_weights
from tumortrace.training.run import train

LIGHT = NetworkConfig("efficientnet-lite0", widths=(4, 4, 4, 4))
TWO_MAPS = NetworkConfig("efficientnet-lite0", widths=(4, 4, 4, 4), maps=2)


def random_images(*, count: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 1, 32, 64)).astype(np.float32))


def trained_network(config: NetworkConfig) -> nn.Module:
    """With statistics of its own in every normalisation, as after some steps."""
    network = build_network(config, size_hw=(32, 64), seed=1).train()
    with torch.no_grad():
        for step in range(20):
            network(random_images(count=4, seed=step))
    return network.eval()


def write_model(network: nn.Module, path: Path) -> Model:
    recipe = Recipe(size_hw=(32, 64))
    export_onnx(network, path, recipe=recipe, card={}, feature_ranges={}, samples=random_images(count=2, seed=0))
    return open_model(str(path))


def test_an_unfolded_normalisation_by_hand():
    """The convolution doubles: 1, 3 become 2, 6, of mean 4 and variance 4; its folded bias is 5."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0))
    network[0].weight.data.fill_(2.0)
    images = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2)
    _unfold(network, {"1": torch.tensor([5.0])}, images)
    state = {name: tensor.item() for name, tensor in network.state_dict().items() if not name.endswith("tracked")}
    expected = {"0.weight": 2.0, "1.weight": 2.0, "1.bias": 9.0, "1.running_mean": 4.0, "1.running_var": 4.0}
    assert state == pytest.approx(expected)
    assert network(images).flatten().tolist() == pytest.approx([7.0, 11.0])


def test_a_normalisation_of_what_never_changes():
    norm = nn.BatchNorm2d(1).eval()
    _set_norm(norm, mean=torch.tensor([3.0]), variance=torch.tensor([0.0]), bias=torch.tensor([1.0]))
    assert norm(torch.full((1, 1, 1, 1), 4.0)).item() == pytest.approx(5.0)


@pytest.mark.parametrize("config", [LIGHT, TWO_MAPS])
def test_a_folded_model_gives_in_torch_what_its_file_gives(config: NetworkConfig, tmp_path: Path):
    model = write_model(trained_network(config), tmp_path / "model-a.onnx")
    network = build_network(config, size_hw=(32, 64), seed=7)
    load_model_weights(model, network, images=random_images(count=40, seed=3))
    images = random_images(count=3, seed=4)
    expected = model.session.run(images.numpy())
    with torch.no_grad():
        assert network.eval()(images).numpy() == pytest.approx(expected, abs=1e-4)
    first_norm = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    assert not torch.equal(first_norm.running_mean, torch.zeros(32))  # it was measured


def test_a_model_without_folded_layers_is_taken_as_it_is(tmp_path: Path):
    plain = NetworkConfig(widths=(3, 5))
    source = trained_network(plain)
    model = write_model(source, tmp_path / "model-a.onnx")
    network = build_network(plain, size_hw=(32, 64), seed=7)
    load_model_weights(model, network, images=random_images(count=1, seed=3))
    for name, tensor in source.state_dict().items():
        assert name.endswith("tracked") or torch.equal(network.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    "other", [NetworkConfig("efficientnet-lite0", widths=(4, 4, 4, 8)), NetworkConfig(widths=(3, 5)), TWO_MAPS]
)
def test_weights_of_another_network_are_refused(other: NetworkConfig, tmp_path: Path):
    model = write_model(trained_network(LIGHT), tmp_path / "model-a.onnx")
    network = build_network(other, size_hw=(32, 64), seed=7)
    with pytest.raises(ModelError, match=r"model-a\.onnx: not the weights of this network .* give the --config"):
        load_model_weights(model, network, images=random_images(count=1, seed=3))


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("hospital") / "data"
    write_phantom_dataset(data, counts={"TRAIN": 4, "VAL": 2}, no_tumour=0, seed=11)
    return data


def tiny(run: Path, **training: object) -> Config:
    return load_config(str(run / "config.toml"), [f"training.{key}={value}" for key, value in training.items()])


def test_a_run_begins_from_another_runs_weights(tiny_run: Path, other_data: Path, tmp_path: Path):
    model = open_model(str(tiny_run))
    train(open_dataset(other_data), tiny(tiny_run, epochs=1), out=tmp_path / "mine", began_from=model)
    first, source = load_file(tmp_path / "mine" / "first.safetensors"), load_file(tiny_run / "best.safetensors")
    assert all(torch.equal(first[name], source[name]) for name in source)
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text())
    assert manifest["began_from"] == {"name": "tiny", "sha256": model.sha256, "remembered": True}
    card = open_model(str(tmp_path / "mine")).card
    assert (card["began_from"], card["remembered"]) == ("tiny", True)
    assert card["config_sha256"] != model.card["config_sha256"]
    both = {*load_training_index(tiny_run / "training.npz").hashes, *manifest["data"]["train"]["cases"].values()}
    assert set(load_training_index(tmp_path / "mine" / "training.npz").hashes) == both
    assert len(both) == 14


def test_what_a_travelled_model_learnt_is_unknown_and_said(tiny_run: Path, other_data: Path, tmp_path: Path):
    shutil.copy(tiny_run / "model.onnx", tmp_path / "travelled.onnx")
    model = open_model(str(tmp_path / "travelled.onnx"))
    train(open_dataset(other_data), tiny(tiny_run, epochs=1), out=tmp_path / "mine", began_from=model)
    train(
        open_dataset(other_data),
        tiny(tiny_run, epochs=1),
        out=tmp_path / "next",
        began_from=open_model(str(tmp_path / "mine")),
    )
    for name, began_from in (("mine", "tiny"), ("next", "mine")):
        assert len(load_training_index(tmp_path / name / "training.npz").hashes) == 4
        mine = open_model(str(tmp_path / name))
        assert (mine.card["began_from"], mine.card["remembered"]) == (began_from, False)


def test_a_score_of_such_a_model_is_qualified(tiny_run: Path, other_data: Path):
    dataset = open_dataset(other_data)
    model = open_model(str(tiny_run))
    survey = survey_cases(dataset.select("val"))
    assert trace_training(model, survey).complete
    model.card.update(began_from="default", remembered=False)
    provenance = trace_training(model, survey)
    assert (provenance.complete, provenance.total) == (False, None)
    assert {score.clean for score in evaluate(model, dataset.select("val"), survey, provenance).scores} == {None}


def test_a_run_stopped_in_its_first_epoch_goes_on_without_the_model(
    tiny_run: Path, other_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset, config = open_dataset(other_data), tiny(tiny_run, epochs=2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(dataset, config, out=whole, began_from=open_model(str(tiny_run)))

    def stop(*_: object, **__: object) -> None:
        raise TumortraceError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "fit", stop)
        with pytest.raises(TumortraceError, match="stopped"):
            train(dataset, config, out=stopped, began_from=open_model(str(tiny_run)))
    train(dataset, config, out=stopped)
    assert (stopped / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert set(load_training_index(stopped / "training.npz").hashes) == set(
        load_training_index(whole / "training.npz").hashes
    )
    assert open_model(str(stopped)).card["began_from"] == "tiny"
    train(dataset, config, out=tmp_path / "plain")
    assert (tmp_path / "plain" / "best.safetensors").read_bytes() != (whole / "best.safetensors").read_bytes()


def test_first_weights_that_do_not_say_where_they_are_from(tiny_run: Path, other_data: Path, tmp_path: Path):
    shutil.copy(tiny_run / "best.safetensors", tmp_path / "first.safetensors")
    with pytest.raises(ModelError, match=r"first\.safetensors: does not say where it is from .* another --out"):
        train(open_dataset(other_data), tiny(tiny_run), out=tmp_path)

"""What says whether a slice holds a tumour: fitted on still features, by hand on two, and by a whole training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tumortrace.config import NetworkConfig, load_config
from tumortrace.data.dataset import open_datasets
from tumortrace.data.phantoms import write_phantom_dataset
from tumortrace.inference.model import open_model
from tumortrace.runfolder import BEST
from tumortrace.train.arrays import PreparedPart
from tumortrace.train.checkpoint import load_weights
from tumortrace.train.networks import LightUNet, SliceClassifier, build_network, pool
from tumortrace.train.run import train
from tumortrace.train.slice_classifier import _fit, fit_slice_classifier

LIGHT = NetworkConfig("efficientnet-lite0", widths=(4, 4, 4, 4), slice_classifier=True)


def part_of(images: Tensor, with_tumour: list[bool]) -> PreparedPart:
    truths = torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8)
    truths[torch.tensor(with_tumour), 3, 5] = 1
    return PreparedPart(images, truths, ("a",) * len(images), {}, (None,) * len(images), ())


def random_images(count: int, *, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 1, 32, 64)).astype(np.float32))


def light_network() -> LightUNet:
    """With statistics of its own in every normalisation, as after some steps."""
    network = build_network(LIGHT, size_hw=(32, 64), seed=0)
    assert isinstance(network, LightUNet)
    with torch.no_grad():
        for step in range(20):
            network(random_images(4, seed=step))
    return network


def test_features_are_pooled_to_means_then_maxima():
    features = torch.tensor([[[[1.0, 2.0, 6.0]], [[-1.0, -4.0, -1.0]]]])
    assert pool(features).tolist() == [[3.0, -2.0, 6.0, -1.0]]


def test_the_slope_and_offset_of_one_feature_by_hand():
    """Two slices at +-1, standardised to +-0.7071: the slope w solves 0.7071 sigmoid(-0.7071 w) = 0.02 w, w = 3.24."""
    classifier = SliceClassifier(channels=1)
    features = torch.tensor([[9.0, 4.0], [7.0, 4.0]], dtype=torch.float64)  # the second never changes
    _fit(classifier, features, torch.tensor([True, False]))
    slope = classifier.linear.weight[0, 0].item()
    standardised = slope * np.sqrt(2)
    assert np.sqrt(0.5) / (1 + np.exp(np.sqrt(0.5) * standardised)) == pytest.approx(0.02 * standardised, rel=1e-3)
    assert classifier.linear.weight[0, 1].item() == 0.0
    assert classifier.linear.bias.item() == pytest.approx(-8 * slope, rel=1e-4)  # in doubt half-way


def test_a_doubtful_slice_is_as_probable_as_such_slices_were():
    classifier = SliceClassifier(channels=1)
    features = torch.tensor([[1.0, 0.0]] * 10 + [[0.0, 0.0]], dtype=torch.float64)
    _fit(classifier, features, torch.tensor([True] * 9 + [False, False]))
    probability = classifier.linear(torch.tensor([[1.0, 0.0], [0.0, 0.0]])).sigmoid().flatten().tolist()
    assert probability[0] == pytest.approx(0.9, abs=0.02)  # 9 of 10
    assert probability[1] < 0.5


def test_only_the_classifier_is_fitted_and_it_tells_slices_apart():
    images = random_images(12, seed=1)
    images[::2] += 3 * torch.linspace(-1, 1, 64)  # half of the slices have a slope across them
    network = light_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert fit_slice_classifier(network, part_of(images, [True, False] * 6))
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"slice_classifier.linear.weight", "slice_classifier.linear.bias"}
    with torch.no_grad():
        logits = network.slice_classifier(network.encoder(images)[-1])[:, 0]
    assert (logits[::2] > 0).all()
    assert (logits[1::2] < 0).all()


@pytest.mark.parametrize("with_tumour", [[True] * 3, [False] * 3])
def test_slices_of_one_kind_leave_it_as_it_was(with_tumour: list[bool]):
    network = light_network()
    assert not fit_slice_classifier(network, part_of(random_images(3, seed=0), with_tumour))
    assert network.slice_classifier.linear.bias.item() == 30.0


def test_a_network_without_one_is_left_alone():
    assert not fit_slice_classifier(nn.Conv2d(1, 2, 1), part_of(random_images(2, seed=0), [True, False]))


def test_a_run_keeps_and_exports_what_was_fitted(tmp_path: Path):
    write_phantom_dataset(tmp_path / "ill", counts={"TRAIN": 4}, no_tumour=0, seed=3)
    write_phantom_dataset(tmp_path / "well", counts={}, no_tumour=4, seed=4)
    dataset = open_datasets([tmp_path / "ill"], negatives=tmp_path / "well" / "no_tumour")
    small = ["recipe.size_hw=[32, 32]", "network.widths=[4, 4, 4, 4]", "training.epochs=2", "training.coarse_epochs=1"]
    config = load_config("quick", [*small, "training.batch_size=4", "training.device=cpu", "training.threads=1"])
    train(dataset, config, out=tmp_path / "run")
    network = build_network(config.network, size_hw=(32, 32), seed=1)
    load_weights(tmp_path / "run" / BEST, network)
    assert network.slice_classifier.linear.weight.any()
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32))
    with torch.no_grad():
        expected = network.eval()(images).numpy()
    given = open_model(str(tmp_path / "run")).session.run(None, {"images": images.numpy()})[0]
    assert given == pytest.approx(expected, abs=1e-3)

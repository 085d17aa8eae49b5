from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper, save
from torch import nn

from tumortrace.errors import ModelError
from tumortrace.training.checkpoint import load_weights, save_weights
from tumortrace.training.folded import list_folded, unfold
from tumortrace.training.half import read_weights_as_half


def make_network() -> nn.Sequential:
    """Two normalised convolutions, of which one has a bias, and one convolution that nothing follows."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False),
        nn.BatchNorm2d(2, eps=1.0),
        nn.Conv2d(2, 1, 1),
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 1, 1, bias=False),
        nn.ReLU(),
    )


def write_onnx(path: Path, **weights: np.ndarray) -> Path:
    tensors = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    save(helper.make_model(helper.make_graph([], "weights", [], [], tensors)), path)
    return path


def norm(scale: list[float], variance: list[float]) -> dict[str, torch.Tensor]:
    return {"1.weight": torch.tensor(scale), "1.running_var": torch.tensor(variance)}


def test_only_a_convolution_without_bias_right_before_a_normalisation_is_folded():
    assert list_folded(make_network()) == {"0.weight": ("1", 1.0)}
    assert list_folded(nn.ModuleDict({"body": make_network()})) == {"body.0.weight": ("body.1", 1.0)}
    assert list_folded(nn.Conv2d(1, 1, 1)) == {}


def test_a_weight_is_divided_by_its_channel_s_scale(tmp_path: Path):
    path = write_onnx(tmp_path / "m.onnx", **{"0.weight": np.float32([6, -1]).reshape(2, 1, 1, 1)})
    # sqrt(8 + 1) = 3 and sqrt(3 + 1) = 2; so the scales are 2 / 3 and -4 / 2.
    found = unfold(path, norm([2.0, -4.0], [8.0, 3.0]), make_network())
    assert found.keys() == {"0.weight"}
    assert found["0.weight"].flatten().tolist() == pytest.approx([9.0, 0.5])


def test_a_channel_of_scale_0_has_weights_0(tmp_path: Path):
    path = write_onnx(tmp_path / "m.onnx", **{"0.weight": np.float32([0, 5]).reshape(2, 1, 1, 1)})
    assert unfold(path, norm([0.0, 1.0], [0.0, 0.0]), make_network())["0.weight"].flatten().tolist() == [0.0, 5.0]


@pytest.mark.parametrize(
    ("tensors", "shape"),
    [
        (norm([1.0, 1.0], [1.0, 1.0]), (3, 1, 1, 1)),  # another network's ONNX file
        ({"1.weight": torch.ones(2)}, (2, 1, 1, 1)),
        (norm([1.0, 1.0], [1.0, 1.0]) | {"0.weight": torch.ones(2, 1, 1, 1)}, (2, 1, 1, 1)),  # nothing is missing
    ],
)
def test_nothing_is_unfolded_without_fitting_numbers(tmp_path: Path, tensors: dict, shape: tuple[int, ...]):
    path = write_onnx(tmp_path / "m.onnx", **{"0.weight": np.ones(shape, np.float32)})
    assert unfold(path, tensors, make_network()) == {}


def test_a_file_without_the_folded_weights_fills_a_network(tmp_path: Path):
    first, second = make_network(), make_network()
    first[1].running_var.copy_(torch.tensor([8.0, 3.0]))
    scale = first[1].weight / torch.sqrt(first[1].running_var + 1.0)
    folded = (first[0].weight * scale[:, None, None, None]).detach().numpy()
    onnx = write_onnx(tmp_path / "m.onnx", **{"0.weight": folded})
    save_weights(tmp_path / "whole.safetensors", first)
    path = tmp_path / "m.safetensors"
    path.write_bytes(read_weights_as_half(tmp_path / "whole.safetensors", without=["0.weight"]))

    load_weights(path, second, folded=onnx)
    torch.testing.assert_close(second.state_dict(), first.state_dict())
    with pytest.raises(ModelError, match=r"m\.safetensors: not the weights of this network \(0\.weight is missing\)"):
        load_weights(path, second)
    write_onnx(onnx, other=folded)
    with pytest.raises(ModelError, match=r"0\.weight is missing"):
        load_weights(path, second, folded=onnx)

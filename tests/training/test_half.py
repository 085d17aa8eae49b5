import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, load_model_from_string, numpy_helper
from safetensors.torch import load_file, save_file

from tumortrace.training.checkpoint import load_weights, save_weights
from tumortrace.training.half import FEWEST, read_weights_as_half, store_onnx_in_half


def make_product(weights):
    """A model that multiplies (1, N) by ``weights``, (N, 2)."""
    count = len(weights)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_a_model_in_half_precision_is_half_as_large_and_computes_with_rounded_weights():
    weights = np.random.default_rng(0).normal(size=(FEWEST, 2)).astype(np.float32)
    model = make_product(weights)
    whole = len(model.SerializeToString())
    store_onnx_in_half(model)
    x = np.random.default_rng(1).normal(size=(1, FEWEST)).astype(np.float32)

    onnx.checker.check_model(model)  # also that each cast stands before the node that uses it
    assert len(model.SerializeToString()) < 0.6 * whole
    assert run(model, x) == pytest.approx(x @ weights.astype(np.float16).astype(np.float32), abs=1e-4)
    assert np.abs(run(model, x) - x @ weights).max() > 1e-5  # rounded indeed


@pytest.mark.parametrize(
    "weights", [np.full((3, 2), 0.1, dtype=np.float32), np.full((FEWEST, 2), 100_000, dtype=np.int64)]
)
def test_small_weights_and_whole_numbers_keep_their_precision(weights):
    model = make_product(weights)
    before = model.SerializeToString()
    store_onnx_in_half(model)
    assert load_model_from_string(before) == model


def test_weights_in_half_precision_are_loaded_as_float32(tmp_path):
    first, second = torch.nn.Linear(FEWEST, 1), torch.nn.Linear(FEWEST, 1)
    save_weights(tmp_path / "whole.safetensors", first)
    (tmp_path / "half.safetensors").write_bytes(read_weights_as_half(tmp_path / "whole.safetensors"))

    assert load_file(tmp_path / "half.safetensors")["weight"].dtype == torch.float16
    assert load_file(tmp_path / "half.safetensors")["bias"].dtype == torch.float32  # one number
    load_weights(tmp_path / "half.safetensors", second)
    assert second.weight.dtype == torch.float32
    torch.testing.assert_close(second.weight, first.weight, rtol=1e-3, atol=1e-6)
    assert torch.equal(second.bias, first.bias)


def test_what_is_to_be_left_out_and_whole_numbers_are_not_stored_in_half_precision(tmp_path):
    counts = torch.arange(100_000, 100_000 + FEWEST)
    save_file({"weight": torch.ones(FEWEST), "shipped": torch.ones(FEWEST), "counts": counts}, tmp_path / "whole")
    (tmp_path / "half").write_bytes(read_weights_as_half(tmp_path / "whole", without={"shipped"}))
    stored = load_file(tmp_path / "half")
    assert {name: tensor.dtype for name, tensor in stored.items()} == {"weight": torch.float16, "counts": torch.int64}
    assert torch.equal(stored["counts"], counts)

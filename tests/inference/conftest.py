"""A model built by hand: what it says of a picture can be worked out with a pencil."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tumortrace.config import Recipe
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.recipe import recipe_to_json

WriteModel = Callable[..., Path]
OpenHandModel = Callable[..., Model]


def _write_model(path: Path, metadata: dict[str, str], *, gain: float = 50.0) -> Path:
    """ONNX of logits (-gain x, gain x): tumour probability 1 / (1 + exp(-2 gain x)) of the standardised picture x."""
    shapes = {"images": ["N", 1, "H", "W"], "logits": ["N", 2, "H", "W"]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Mul", ["images", "gain"], ["tumour"]),
        helper.make_node("Neg", ["tumour"], ["background"]),
        helper.make_node("Concat", ["background", "tumour"], ["logits"], axis=1),
    ]
    constant = helper.make_tensor("gain", TensorProto.FLOAT, [], [gain])
    graph = helper.make_graph(nodes, "bright", [values["images"]], [values["logits"]], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def write_model() -> WriteModel:
    """Write the model with the metadata that is given, whole or faulty."""
    return _write_model


@pytest.fixture
def open_hand_model(tmp_path: Path) -> OpenHandModel:
    """Open the model with a recipe: bright pixels are tumour."""

    def open_it(recipe: Recipe, *, gain: float = 50.0) -> Model:
        metadata = {"tumortrace.recipe": recipe_to_json(recipe), "tumortrace.card": json.dumps({"name": "bright"})}
        return open_model(str(_write_model(tmp_path / "hand" / "model.onnx", metadata, gain=gain)), threads=1)

    return open_it

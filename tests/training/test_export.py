from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tumortrace.config import NetworkConfig, Recipe
from tumortrace.errors import ModelError, RunFailedError
from tumortrace.inference.model import open_model
from tumortrace.inference.recipe import recipe_from_json
from tumortrace.training import export
from tumortrace.training.checkpoint import load_weights
from tumortrace.training.export import ExportDifference, ModelCard, compare, export_onnx, refuse_disagreement
from tumortrace.training.networks import UNet, build_network

RECIPE = Recipe(size_hw=(48, 32), pad_to_square=True, threshold=0.25)
CARD = ModelCard(
    name="a name, with “quotes”", trained_on="ab" * 32, selected_on="", config_sha256="", seed=0, version="1.2.3"
)
METADATA = {"recipe": RECIPE, "card": asdict(CARD), "feature_ranges": {"grain": (0.25, 0.5)}}


@pytest.fixture
def network(tiny_run: Path) -> UNet:
    """The network of the tiny run, as it was kept."""
    network = build_network(NetworkConfig(widths=(4, 8, 8)), size_hw=(48, 32), seed=5)
    load_weights(tiny_run / "best.safetensors", network)
    return network


@pytest.fixture
def samples() -> Tensor:
    return torch.randn(3, 1, 48, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def converted(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion gives the tiny run's own ONNX model: converting takes seconds, and was done once for that run."""
    monkeypatch.setattr(export, "_convert", lambda *_: onnx.load(tiny_run / "model.onnx"))


@pytest.mark.parametrize("count", [1, 3])
def test_torch_and_onnx_agree_at_any_batch_size(count: int, tiny_run: Path, network: UNet, samples: Tensor):
    session = open_model(str(tiny_run)).session
    logits = session.run(samples[:count].numpy())
    with torch.no_grad():
        expected = network.eval()(samples[:count]).numpy()
    assert logits.shape == (count, 2, 48, 32)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert expected.std() > 0.01  # not a constant that anything agrees with


def test_inputs_and_outputs_have_their_names_types_and_shapes(tiny_run: Path):
    session = open_model(str(tiny_run)).session
    (images,), (logits,) = session.runtime.get_inputs(), session.runtime.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["batch", 1, 48, 32])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 2, 48, 32])


def test_nothing_of_the_machine_that_exported_travels(tiny_run: Path):
    """torch notes where each node came from: files and lines of its own and of ours."""
    model = onnx.load(tiny_run / "model.onnx")
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    parts = [model.graph, *model.graph.node, *values]
    assert len(model.graph.node) > 10
    assert not any(len(part.metadata_props) or part.doc_string for part in parts)
    data = (tiny_run / "model.onnx").read_bytes()
    assert not [
        folder for folder in (Path(torch.__file__), Path(export.__file__)) if str(folder.parent).encode() in data
    ]


@pytest.mark.usefixtures("converted")
def test_recipe_card_and_usual_looks_travel_in_the_metadata(network: UNet, samples: Tensor, tmp_path: Path):
    agreement = export_onnx(network.train(), tmp_path / "m.onnx", samples=samples, **METADATA)
    assert 0 <= agreement.difference < 1e-5
    assert agreement.mask_iou == 1.0
    metadata = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert recipe_from_json(metadata["tumortrace.recipe"]) == RECIPE
    assert json.loads(metadata["tumortrace.card"]) == {
        "name": "a name, with “quotes”",
        "trained_on": "ab" * 32,
        "selected_on": "",
        "config_sha256": "",
        "seed": 0,
        "version": "1.2.3",
        "weights_sha256": "",
        "began_from": "",
        "remembered": True,
        "shipped_ancestors": [],
        "acquisitions": {},
        "classes": ["background", "tumour"],
    }
    model = open_model(str(tmp_path / "m.onnx"))
    assert (model.recipe, model.name, model.feature_ranges) == (RECIPE, CARD.name, {"grain": (0.25, 0.5)})
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))


@pytest.mark.usefixtures("converted")
def test_a_model_that_disagrees_with_torch_is_not_written(network: UNet, samples: Tensor, tmp_path: Path):
    with torch.no_grad():
        network.head.bias[1] += 0.02  # about 0.005 in probability
    with pytest.raises(ModelError, match=r"m\.onnx: not written, torch and ONNX differ by 0\.00\d+ in probability"):
        export_onnx(network, tmp_path / "m.onnx", samples=samples, **METADATA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("converted")
def test_one_sample_that_disagrees_is_enough(network: UNet, samples: Tensor, tmp_path: Path):
    class Fails(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = network(images)
            return logits.flip(1) if torch.equal(images, samples[1:2]) else logits

    with pytest.raises(ModelError, match="torch and ONNX differ"):
        export_onnx(Fails(), tmp_path / "m.onnx", samples=samples, **METADATA)


@pytest.mark.usefixtures("converted")
def test_an_old_file_stays_when_the_new_model_is_refused(network: UNet, samples: Tensor, tmp_path: Path):
    (tmp_path / "m.onnx").write_bytes(b"old")
    nn.init.zeros_(network.head.weight)
    with pytest.raises(ModelError, match="not written"):
        export_onnx(network, tmp_path / "m.onnx", samples=samples, **METADATA)
    assert (tmp_path / "m.onnx").read_bytes() == b"old"


def test_an_onnx_model_that_gives_no_numbers_is_refused(
    network: UNet, samples: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """NaN is not larger than any tolerance, and must not pass for that."""
    shape = ["batch", 1, 48, 32]
    nodes = [
        onnx.helper.make_node("Sub", ["images", "images"], ["zero"]),
        onnx.helper.make_node("Div", ["zero", "zero"], ["nan"]),
        onnx.helper.make_node("Concat", ["images", "nan"], ["logits"], axis=1),
    ]
    images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 2, 48, 32])
    graph = onnx.helper.make_graph(nodes, "nan", [images], [logits])
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    monkeypatch.setattr(export, "_convert", lambda *_: model)
    with pytest.raises(ModelError, match="differ by nan"):
        export_onnx(network, tmp_path / "m.onnx", samples=samples, **METADATA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("converted")
def test_a_network_that_diverged_is_refused_for_what_it_is(network: UNet, samples: Tensor, tmp_path: Path):
    nn.init.constant_(network.head.bias, float("nan"))
    with pytest.raises(RunFailedError, match=r"returns NaN: training diverged; lower training"):  # ends no whole sweep
        export_onnx(network, tmp_path / "m.onnx", samples=samples, **METADATA)
    assert list(tmp_path.iterdir()) == []


class Logit(nn.Module):
    """Gives the pixel itself as the logit of tumour and 0 as that of background."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(images), images], dim=1)


def logit_onnx(*, less: float) -> bytes:
    """The same as ONNX, with so much less for tumour."""
    less_by = onnx.helper.make_tensor("less", onnx.TensorProto.FLOAT, [1], [less])
    nodes = [
        onnx.helper.make_node("Sub", ["images", "images"], ["background"]),
        onnx.helper.make_node("Sub", ["images", "less"], ["tumour"]),
        onnx.helper.make_node("Concat", ["background", "tumour"], ["logits"], axis=1),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, "h", "w"])
        for name, channels in (("images", 1), ("logits", 2))
    ]
    graph = onnx.helper.make_graph(nodes, "logit", ends[:1], ends[1:], [less_by])
    opset = onnx.helper.make_opsetid("", 18)
    data: bytes = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    return data


def slices(*rows: list[float]) -> Tensor:
    """Slices of one row."""
    return torch.tensor(rows)[:, None, None, :]


def test_agreement_by_hand():
    """A logit of 0 is a probability of 0.5, where the logistic function climbs by a quarter."""
    samples = slices([0.0, 2.0, -2.0, 3.0], [0.0, -1.0, -3.0, 0.0], [-1.0, -2.0, -3.0, -4.0])
    agreement = compare(Logit(), logit_onnx(less=0.002), recipe=Recipe(threshold=0.5), samples=samples)
    assert agreement.difference == pytest.approx(0.0005, rel=1e-3)
    assert agreement.marked == 2
    assert agreement.mask_iou == 2 / 5  # torch marks five pixels of all slices, ONNX the two that are above 0
    more = compare(Logit(), logit_onnx(less=-0.002), recipe=Recipe(threshold=0.5), samples=samples)
    assert more.difference == pytest.approx(0.0005, rel=1e-3)


def test_nan_on_one_slice_is_not_covered_by_the_agreement_on_the_others():
    samples = slices([1.0], [math.inf], [1.0])  # of the second, ONNX's logit of background is infinity less infinity
    assert math.isnan(compare(Logit(), logit_onnx(less=0.0), recipe=Recipe(), samples=samples).difference)


def test_masks_are_those_of_the_calibrated_probability():
    """At temperature 2, 0.6 is reached at a logit of 2 ln 1.5 = 0.811."""
    samples, data = slices([0.812, 2.0]), logit_onnx(less=0.002)
    for temperature, iou in ((2.0, 0.5), (1.0, 1.0)):
        recipe = Recipe(threshold=0.6, temperature=temperature)
        assert compare(Logit(), data, recipe=recipe, samples=samples).mask_iou == iou


def test_two_empty_masks_are_the_same():
    samples = slices([-1.0, -2.0])
    assert compare(Logit(), logit_onnx(less=0.0), recipe=Recipe(), samples=samples) == ExportDifference(0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("difference", "iou", "message"),
    [
        (1e-3, 0.999, ""),
        (1.01e-3, 1.0, r"differ by 0\.001 in probability \(allowed 0\.001\)"),
        (float("nan"), 1.0, r"differ by nan in probability \(allowed 0\.001\)"),
        (0.0, 0.9989, r"masks of torch and ONNX have IoU 0\.9989 \(at least 0\.999\)"),
    ],
)
def test_what_is_refused_by_hand(difference: float, iou: float, message: str):
    agreement = ExportDifference(difference, iou, 1)
    if not message:
        refuse_disagreement(agreement, Path("m.onnx"))
        return
    with pytest.raises(ModelError, match=rf"^m\.onnx: not written, .*{message}; report this"):
        refuse_disagreement(agreement, Path("m.onnx"))


@pytest.mark.usefixtures("converted")
def test_other_masks_are_refused_where_probabilities_agree(network: UNet, samples: Tensor, tmp_path: Path):
    """A threshold amid the probabilities, and a shift that no probability shows."""
    with torch.no_grad():
        logits = network.eval()(samples)
        middle = (logits[:, 1] - logits[:, 0]).median()
        network.head.bias[1] += 0.002  # at most 0.0005 in probability
    metadata = METADATA | {"recipe": replace(RECIPE, threshold=float(torch.sigmoid(middle + 0.001)))}
    with pytest.raises(ModelError, match=r"m\.onnx: not written, the masks of torch and ONNX have IoU 0\.\d+ "):
        export_onnx(network, tmp_path / "m.onnx", samples=samples, **metadata)
    assert list(tmp_path.iterdir()) == []

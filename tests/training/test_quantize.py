from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tumortrace.data.cases import Case, CaseRecord, read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.inference.model import open_model
from tumortrace.inference.onnx_file import SEAL, seal
from tumortrace.inference.predict import predict
from tumortrace.inference.recipe import prepare_pixels
from tumortrace.metrics.overlap import count_pixels
from tumortrace.training import quantize as quantize_module
from tumortrace.training.quantize import Trial, find_drawback, quantize, try_int8

GOOD = Trial(float_ms=10.0, int8_ms=5.0, float_dice=0.9, int8_dice=0.899, slices=7, part="VAL")


@pytest.fixture(scope="session")
def records(phantom_data: Path) -> tuple[CaseRecord, ...]:
    return open_dataset(phantom_data).select("train")


@pytest.fixture(scope="session")
def images(records: tuple[CaseRecord, ...], tiny_run: Path) -> list[NDArray[np.float32]]:
    recipe = open_model(str(tiny_run)).recipe
    return [prepare_pixels(read_case(record)[0].slice.pixels, recipe) for record in records[:5]]


@pytest.fixture(scope="session")
def int8(tiny_run: Path, images: list[NDArray[np.float32]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    path.write_bytes(quantize((tiny_run / "model.onnx").read_bytes(), images))
    return path


@pytest.mark.parametrize(
    ("changes", "drawback"),
    [
        ({}, ""),
        ({"int8_ms": 9.5}, ""),
        ({"int8_ms": 9.51}, "not faster here: 9.51 ms a slice, float32 10.00 ms"),
        ({"int8_ms": math.nan}, "not faster here: nan ms a slice, float32 10.00 ms"),
        ({"int8_dice": 0.898}, ""),  # 0.002 less, in decimal; a little more in binary
        (
            {"int8_dice": 0.8979},
            "costs too much: mean Dice 0.8979, float32 0.9000 on 7 VAL slices (allowed loss 0.002)",
        ),
        ({"int8_dice": 0.95}, ""),
        (
            {"slices": 0, "float_dice": math.nan, "int8_dice": math.nan},
            "no slice with a tumour is left to measure its Dice on",
        ),
        (
            {"int8_dice": math.nan},
            "costs too much: mean Dice nan, float32 0.9000 on 7 VAL slices (allowed loss 0.002)",
        ),
    ],
)
def test_what_speaks_against_8_bits_by_hand(changes: dict[str, float], drawback: str):
    assert find_drawback(replace(GOOD, **changes)) == drawback


def test_weights_are_8_bits_but_for_the_first_and_last_layers(tiny_run: Path, int8: Path):
    model = onnx.load(int8)
    onnx.checker.check_model(model)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    layers = [node for node in model.graph.node if node.op_type in {"Conv", "ConvTranspose"}]
    eight = []
    for layer in layers:
        maker = makers.get(layer.input[1])
        weights = maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else layer.input[1]
        eight.append(types[weights] == onnx.TensorProto.INT8)
        # Per channel: as many scales as channels that come out.
        if maker is not None:
            (scale,) = (t for t in model.graph.initializer if t.name == maker.input[1])
            assert len(scale.dims) == 1
    convolutions = [flag for layer, flag in zip(layers, eight, strict=True) if layer.op_type == "Conv"]
    # Two blocks down, the bottleneck and two up, of two convolutions each; and the head.
    assert convolutions == [False] * 3 + [True] * 7 + [False]
    assert int8.stat().st_size < (tiny_run / "model.onnx").stat().st_size * 2


def test_metadata_travels(tiny_run: Path, int8: Path):
    before, after = open_model(str(tiny_run)), open_model(str(int8))
    metadata, copied = (each.session.runtime.get_modelmeta().custom_metadata_map for each in (before, after))
    assert copied.pop(SEAL) != metadata.pop(SEAL)
    assert copied == metadata
    assert (after.recipe, after.card, after.name) == (before.recipe, before.card, "tiny")


def test_it_gives_nearly_the_same_logits_for_any_batch(tiny_run: Path, int8: Path, images: list[NDArray[np.float32]]):
    batch = np.stack(images[:3])[:, None]
    before, after = (open_model(str(path)).session.run(batch) for path in (tiny_run, int8))
    assert after.shape == before.shape == (3, 2, 48, 32)
    error = np.abs(after - before).max() / np.ptp(before)
    assert 0 < error < 0.05  # another computation, to within steps of 8 bits


def test_only_the_quantiser_is_silent(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger()
    with quantize_module._silence():
        logger.warning("of the quantiser")
    logger.warning("of the program")
    assert caplog.messages == ["of the program"]


def with_threshold(path: Path, case: Case, *, share: float) -> bytes:
    """The model under a threshold that so much of a slice reaches."""
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props if entry.key != SEAL}
    recipe = json.loads(properties["tumortrace.recipe"])
    recipe["threshold"] = float(np.quantile(predict(open_model(str(path)), case.slice).probability, 1 - share))
    onnx.helper.set_model_props(model, {**properties, "tumortrace.recipe": json.dumps(recipe)})
    return seal(model.SerializeToString())


def test_a_trial_measures_both_on_the_slices_with_a_tumour(
    tiny_run: Path, int8: Path, records: tuple[CaseRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(quantize_module, "_time_in_turns", lambda _: [3.0, 2.0])
    cases = [read_case(record)[0] for record in records[5:8]]
    empty = replace(cases[0], truth=np.zeros_like(cases[0].truth))
    contents = [
        with_threshold(tiny_run / "model.onnx", cases[0], share=0.1),
        with_threshold(int8, cases[0], share=0.3),
    ]
    trial = try_int8(*contents, [*cases, empty], part="TRAIN")
    means = []
    for content in contents:
        (tmp_path / "m.onnx").write_bytes(content)
        model = open_model(str(tmp_path / "m.onnx"))
        means.append(sum(count_pixels(predict(model, case.slice).mask, case.truth).dice for case in cases) / 3)
    assert abs(means[0] - means[1]) > 0.01  # so that one cannot be taken for the other
    assert (trial.float_dice, trial.int8_dice) == pytest.approx(means)
    assert (trial.float_ms, trial.int8_ms) == (3.0, 2.0)
    assert (trial.slices, trial.part) == (3, "TRAIN")


def test_a_trial_without_a_tumour_has_no_dice(
    tiny_run: Path, int8: Path, records: tuple[CaseRecord, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(quantize_module, "ROUNDS", 1)
    case = read_case(records[0])[0]
    empty = replace(case, truth=np.zeros_like(case.truth))
    trial = try_int8((tiny_run / "model.onnx").read_bytes(), int8.read_bytes(), [empty], part="VAL")
    assert trial.slices == 0
    assert math.isnan(trial.float_dice)
    assert math.isnan(trial.int8_dice)
    assert min(trial.float_ms, trial.int8_ms) > 0


def test_times_are_medians_taken_in_turns(tiny_run: Path, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    order = []
    # Warm-up, then three rounds: the first of each is a stumble that a mean would show.
    costs = {"slow": iter([90, 50, 4, 5]), "quick": iter([70, 30, 2, 1])}

    class Session:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, images: NDArray[np.float32]) -> None:
            assert images.shape == (1, 1, 48, 32)
            order.append(self.name)
            now[0] += next(costs[self.name]) / 1000

    monkeypatch.setattr(quantize_module, "WARM_UP", 1)
    monkeypatch.setattr(quantize_module, "ROUNDS", 3)
    monkeypatch.setattr(quantize_module.time, "perf_counter", lambda: now[0])
    model = open_model(str(tiny_run))
    models = [replace(model, session=Session(name)) for name in ("slow", "quick")]
    assert quantize_module._time_in_turns(models) == pytest.approx([5.0, 2.0])
    assert order == ["slow", "quick"] * 4

"""The time from an array to its mask: each step's share, and the floor.

The shares stand beside bare inference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import onnx
from rich.table import Table

from benchmarks.common import make_table
from benchmarks.inference import matrix_rate
from tumortrace.inference import predict as path
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import usable_cores
from tumortrace.phantoms.slices import draw_phantom

ROUNDS, WARM_UP = 60, 10
SIZE_HW = (344, 283)
"""The median size of Br35H's pictures."""

STEPS = {
    "turn_upright": "one scale, upright, head found",
    "measure_features": "features for the gate",
    "find_fault": "gate",
    "find_window": "window of the head",
    "prepare": "network's input",
    "tumour_probability": "probabilities from logits",
    "restore": "back onto the slice's grid, tempered",
    "cut_mask": "the mask, without specks",
    "find_lesions": "lesions measured",
    "_rate_mask": "confidence",
    "recognise": "plane and contrast",
    "find_mask_reasons": "reasons for review in the mask",
    "find_slice_reasons": "reasons for review in the slice",
    "find_unusual_feature": "unlike the training data",
}
"""Functions of ``inference.predict`` in words; none of them runs another."""

NETWORK = "network"


def measure() -> Table:
    """Time each step; bare inference and the whole take turns."""
    model = open_model("default")
    pixels = draw_phantom(np.random.default_rng(0), size_hw=SIZE_HW, kind="bright").pixels
    batch = np.zeros((2 if model.recipe.average_mirror else 1, 1, *model.recipe.size_hw), dtype=np.float32)
    bare, wholes, steps = [], [], []
    for _ in range(WARM_UP + ROUNDS):
        bare.append(_milliseconds(lambda: model.session.run(batch)))
        with _watch(model) as spent:
            wholes.append(_milliseconds(lambda: Segmenter(model).predict(pixels)))
        steps.append(spent)
    whole = float(np.median(wholes[WARM_UP:]))
    title = f"From an array to its mask, {usable_cores()} cores, medians of {ROUNDS}"
    table = make_table(title, "step", "ms", "share", "times bare inference")
    medians = {name: float(np.median([each[name] for each in steps[WARM_UP:]])) for name in steps[0]}
    medians["everything else"] = whole - sum(medians.values())
    basis = float(np.median(bare[WARM_UP:]))
    for name, spent_ms in medians.items():
        table.add_row(name, f"{spent_ms:.2f}", f"{spent_ms / whole:.1%}", f"{spent_ms / basis:.2f}")
    table.add_row("whole", f"{whole:.2f}", "100.0%", f"{whole / basis:.2f}")
    table.add_row("bare inference", f"{basis:.2f}", f"{basis / whole:.1%}", "1.00")
    gflop, rate = len(batch) * count_gflop(onnx.load(model.path)), matrix_rate()
    floor = 1000 * gflop / rate
    words = f"floor: {gflop:.2f} GFLOP at {rate:.0f} GFLOP/s"
    table.add_row(words, f"{floor:.2f}", f"{floor / whole:.1%}", f"{floor / basis:.2f}")
    return table


def count_gflop(model: onnx.ModelProto) -> float:
    """Count the operations of all convolutions and matrix products for one slice: multiplications and additions.

    Weights may be initializers, or come from one by a cast.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes: dict[str, list[int]] = {array.name: list(array.dims) for array in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shapes[value.name] = [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim]
    operations = 0
    for node in graph.node:
        if node.op_type == "Conv":
            operations += 2 * int(np.prod(shapes[node.output[0]])) * int(np.prod(shapes[node.input[1]][1:]))
        elif node.op_type == "ConvTranspose":
            operations += 2 * int(np.prod(shapes[node.input[0]])) * int(np.prod(shapes[node.input[1]][1:]))
        elif node.op_type in {"MatMul", "Gemm"}:
            operations += 2 * int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][-1]
    return operations / 1e9


@contextmanager
def _watch(model: Model) -> Iterator[dict[str, float]]:
    """Add up the milliseconds of each step while the block runs."""
    spent = dict.fromkeys([*STEPS.values(), NETWORK], 0.0)

    def watched(function: Callable[..., object], name: str) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            started = time.perf_counter()
            result = function(*arguments, **named)
            spent[name] += 1000 * (time.perf_counter() - started)
            return result

        return call

    with ExitStack() as patches:
        for name, words in STEPS.items():
            patches.enter_context(mock.patch.object(path, name, watched(getattr(path, name), words)))
        patches.enter_context(mock.patch.object(model.session, "run", watched(model.session.run, NETWORK)))
        yield spent


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)

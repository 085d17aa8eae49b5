"""Quantisation to int8, kept only where it is faster and as accurate.

Static quantisation as ONNX Runtime recommends it for convolutions on CPUs with VNNI: activations unsigned, weights
signed and scaled channel by channel. On a CPU without VNNI its 16-bit sums can overflow, so speed and Dice hold only
for machines like the one that measured them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from tumortrace.data.cases import Case
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.onnx_file import SEAL, seal
from tumortrace.inference.predict import predict
from tumortrace.inference.recipe import prepare_pixels
from tumortrace.metrics.overlap import count_pixels
from tumortrace.wording import counted

FASTER = 0.95
"""Largest fraction of float32's time that counts as faster; medians vary by less than the rest."""

DICE_COST = 0.002
"""Largest loss of mean Dice that is accepted."""

FIRST = 3
"""Convolutions at the start that stay in float32."""

ROUNDS = 60
WARM_UP = 10


@dataclass(frozen=True)
class Trial:
    """Speed and Dice of a model in float32 and in 8 bits, on this machine.

    Attributes:
        float_ms: Median milliseconds of one slice through the network in float32, all cores.
        int8_ms: Median milliseconds in 8 bits; the two are timed in turns.
        float_dice: Mean Dice in float32 over slices with a tumour, in [0, 1]; NaN if there was none.
        int8_dice: Mean Dice in 8 bits over the same slices.
        slices: Number of these slices.
        part: Part of the run that they are from: ``"VAL"``, or ``"TRAIN"``, whose Dice says less.
    """

    float_ms: float
    int8_ms: float
    float_dice: float
    int8_dice: float
    slices: int
    part: str


def find_drawback(trial: Trial) -> str:
    """Return why 8 bits are not worth it.

    Returns:
        One clause with the numbers; empty if 8 bits are faster and cost at most ``DICE_COST``.
    """
    if not trial.int8_ms <= FASTER * trial.float_ms:
        return f"not faster here: {trial.int8_ms:.2f} ms a slice, float32 {trial.float_ms:.2f} ms"
    if not trial.slices:
        return "no slice with a tumour is left to measure its Dice on"
    loss = round(trial.float_dice - trial.int8_dice, 9)  # 0.9 - 0.898 is a little more than 0.002 in binary
    if not loss <= DICE_COST:
        dices = f"{trial.int8_dice:.4f}, float32 {trial.float_dice:.4f}"
        slices = counted(trial.slices, f"{trial.part} slice")
        return f"costs too much: mean Dice {dices} on {slices} (allowed loss {DICE_COST})"
    return ""


def quantize(data: bytes, images: Sequence[NDArray[np.float32]]) -> bytes:
    """Return an ONNX model in 8 bits, with the same metadata; its first and last layers stay in float32 (``_edges``).

    Args:
        data: The model, with input ``images`` (N, 1, H, W).
        images: Prepared slices (H, W) whose activations set the ranges; at least one.
    """
    with TemporaryDirectory() as name, _silence():
        prepared, quantised = Path(name) / "prepared.onnx", Path(name) / "int8.onnx"
        (Path(name) / "float32.onnx").write_bytes(data)
        # Shapes here are plain: symbolic inference, which needs sympy, would find nothing more.
        quant_pre_process(Path(name) / "float32.onnx", prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            _Slices(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_edges(onnx.load(prepared)),
        )
        model = onnx.load(quantised)
    properties = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    properties.pop(SEAL, None)
    onnx.helper.set_model_props(model, properties)
    return seal(model.SerializeToString())


def try_int8(data: bytes, quantised: bytes, cases: Iterable[Case], *, part: str) -> Trial:
    """Measure speed and Dice of 8 bits on this machine.

    Args:
        data: The model in float32.
        quantised: The model in 8 bits.
        cases: Slices that were not used to quantise it; those without a tumour have no Dice and are skipped.
        part: Part of the run that they are from.
    """
    with TemporaryDirectory() as name:
        paths = [Path(name) / "float32.onnx", Path(name) / "int8.onnx"]
        for path, content in zip(paths, (data, quantised), strict=True):
            path.write_bytes(content)
        models = [open_model(str(path)) for path in paths]
    dices = [[_dice(model, case) for model in models] for case in cases if case.truth.any()]
    means = np.mean(dices, axis=0) if dices else np.full(2, np.nan)
    float_ms, int8_ms = _time_in_turns(models)
    return Trial(float_ms, int8_ms, float(means[0]), float(means[1]), len(dices), part)


class _Slices(CalibrationDataReader):  # type: ignore[misc] # onnxruntime publishes no types
    def __init__(self, images: Sequence[NDArray[np.float32]]) -> None:
        self._rest = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self._rest, None)
        return None if image is None else {"images": image[None, None]}


@contextmanager
def _silence() -> Iterator[None]:
    """ONNX Runtime's quantiser talks on the root logger about its own work; none of it is the user's concern."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)


def _edges(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that stay in float32: the first convolutions, and all from the last one on.

    Few channels meet the picture's whole range in the first ones; in 8 bits they made half of the error in the logits.
    256 steps are too coarse for the logits themselves. None of these takes noticeable time.
    """
    nodes = list(model.graph.node)
    convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
    first = [nodes[index].name for index in convolutions[:FIRST]]
    return [*first, *(node.name for node in nodes[convolutions[-1] :])]


def _dice(model: Model, case: Case) -> float:
    return count_pixels(predict(model, case.slice).mask, case.truth).dice


def _time_in_turns(models: Sequence[Model]) -> list[float]:
    """Return the median milliseconds of a slice for each network; they take turns, so load slows all equally."""
    noise = np.random.default_rng(0).normal(size=models[0].recipe.size_hw)
    images = prepare_pixels(noise, models[0].recipe)[None, None]
    times: list[list[float]] = [[] for _ in models]
    for _ in range(WARM_UP + ROUNDS):
        for model, taken in zip(models, times, strict=True):
            started = time.perf_counter()
            model.session.run(images)
            taken.append(1000 * (time.perf_counter() - started))
    return [float(np.median(taken[WARM_UP:])) for taken in times]

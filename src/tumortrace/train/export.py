"""From torch to ONNX: the network with its recipe in the file's metadata, refused when the two disagree."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from tumortrace.config import Recipe
from tumortrace.data.slice import write_atomically
from tumortrace.errors import ModelError
from tumortrace.inference.gate import Range
from tumortrace.inference.recipe import recipe_to_json, tumour_probability
from tumortrace.machine import usable_cores

TOLERANCE = 1e-3
"""Largest allowed difference in tumour probability between torch and ONNX Runtime."""


@dataclass(frozen=True)
class ModelCard:
    """What travels with the weights besides the recipe.

    Attributes:
        name: Shown in results.
        trained_on: SHA-256 of the training part.
        selected_on: SHA-256 of the part that chose the epoch; empty if nothing was chosen.
        config_sha256: Of the settings without the seed, so that runs of several seeds are known as such.
        seed: Of the training.
        version: Of tumortrace, when the model was exported.
    """

    name: str
    trained_on: str
    selected_on: str
    config_sha256: str
    seed: int
    version: str


def export_onnx(
    network: nn.Module, path: Path, *, recipe: Recipe, card: ModelCard, familiar: Mapping[str, Range], samples: Tensor
) -> float:
    """Write a network as ONNX with its recipe and card as metadata, after comparing it with torch.

    Args:
        network: Takes float32 (N, 1, H, W), gives logits (N, 2, H, W). Moved to the CPU and set to evaluation.
        path: The file to write, atomically.
        recipe: Stored as ``tumortrace.recipe``.
        card: Stored as ``tumortrace.card``.
        familiar: What the training slices look like (``measure_familiar``); stored as ``tumortrace.familiar``.
        samples: Prepared slices (N, 1, H, W) on which both are compared; at least one.

    Returns:
        The largest difference in tumour probability on the samples.

    Raises:
        ModelError: The difference exceeds ``TOLERANCE``, or the network gives no numbers; nothing is written.
    """
    network.cpu().eval()
    model = _convert(network, samples[:1])
    properties = {"recipe": recipe_to_json(recipe), "card": _to_json(card), "familiar": json.dumps(familiar)}
    onnx.helper.set_model_props(model, {f"tumortrace.{name}": text for name, text in properties.items()})
    data = model.SerializeToString()
    difference = _largest_difference(network, data, samples)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{path}: not written, torch and ONNX differ by {difference:.2g} in probability (allowed {TOLERANCE}); "
            "report this with the versions that `tumortrace info` prints"
        )
    write_atomically(path, data)
    return difference


def _convert(network: nn.Module, sample: Tensor) -> onnx.ModelProto:
    # torch's exporter talks on stdout, stderr, warnings and logging about itself; none of it is the user's concern.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    two = torch.cat([sample, sample])
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (two,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),  # by place: other networks name their input otherwise
            verbose=False,
        )
    if program is None:
        raise ModelError("torch exported no ONNX program; check that onnxscript is installed")
    model: onnx.ModelProto = program.model_proto
    _strip_traces(model)
    return model


def _strip_traces(model: onnx.ModelProto) -> None:
    """Take out what torch notes about its own work: stack traces with the paths of the machine that exported."""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    for part in (model, model.graph, *model.graph.node, *values, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")


def _largest_difference(network: nn.Module, data: bytes, samples: Tensor) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    differences = []
    for sample in torch.split(samples, 1):
        with torch.no_grad():
            expected = tumour_probability(network(sample).numpy())
        if not np.isfinite(expected).all():
            raise ModelError("the network gives no numbers (NaN): training diverged; lower training.learning_rate")
        actual = tumour_probability(session.run(None, {"images": sample.numpy()})[0])
        differences.append(np.abs(expected - actual).max())
    return float(np.max(differences))  # unlike Python's max, NaN if any is


def _to_json(card: ModelCard) -> str:
    return json.dumps(card.__dict__, sort_keys=True)

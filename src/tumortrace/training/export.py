"""Export from torch to ONNX, refused when the two disagree."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from tumortrace.config import Recipe
from tumortrace.errors import ModelError, RunFailedError
from tumortrace.files import write_atomically
from tumortrace.inference.gate import FeatureRange
from tumortrace.inference.model import CLASSES
from tumortrace.inference.onnx_file import CARD, FEATURE_RANGES, RECIPE, seal
from tumortrace.inference.recipe import apply_temperature, recipe_to_json, tumour_probability
from tumortrace.inference.session import open_runtime

TOLERANCE = 1e-3
"""Largest allowed difference in tumour probability between torch and ONNX Runtime."""

SAME_MASK = 0.999
"""Lowest allowed IoU of their masks."""

EXPORT_SAMPLES = 16
"""Slices on which an exported model is compared with torch."""


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model that travel with its weights, besides the recipe.

    Attributes:
        name: Name in results.
        trained_on: SHA-256 of the training part.
        selected_on: SHA-256 of the part that chose the epoch; empty if nothing was chosen.
        config_sha256: SHA-256 of the settings without the seed and of the initial model, by which runs of several seeds
            are recognised.
        seed: Seed of the training.
        version: Version of tumortrace, when the model was exported.
        weights_sha256: SHA-256 of the file that the weights were taken from; empty if there is none.
        began_from: Name of the model that training began from; empty if there was none.
        remembered: Whether the run's training index holds all slices that the weights were trained on, those of the
            initial model included.
        shipped_ancestors: Names of the shipped models that the initial weights descend from, where it does not.
        classes: Meaning of the channels of the network's output, in order.
        acquisitions: Number of training slices by plane and contrast (``inference.acquisition``).
    """

    name: str
    trained_on: str
    selected_on: str
    config_sha256: str
    seed: int
    version: str
    weights_sha256: str = ""
    began_from: str = ""
    remembered: bool = True
    shipped_ancestors: Sequence[str] = ()
    classes: tuple[str, ...] = CLASSES
    acquisitions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportDifference:
    """The difference between a network in torch and as ONNX.

    Attributes:
        difference: Largest difference in tumour probability, anywhere, before calibration; NaN if ONNX Runtime returns
            NaN.
        mask_iou: IoU of their masks at the recipe's threshold, on the network's grid, the pixels of all slices pooled,
            in [0, 1]; 1 if both mark nothing.
        marked: Number of slices on which the network marks a pixel.
    """

    difference: float
    mask_iou: float
    marked: int


def export_onnx(
    network: nn.Module,
    path: Path,
    *,
    recipe: Recipe,
    card: Mapping[str, object],
    feature_ranges: Mapping[str, FeatureRange],
    samples: Tensor,
) -> ExportDifference:
    """Write a network as ONNX with its recipe and card as metadata, after comparing it with torch.

    Args:
        network: Takes float32 (N, 1, H, W), gives logits (N, 2, H, W). Moved to the CPU and set to evaluation.
        path: The file to write, atomically.
        recipe: Stored as ``tumortrace.recipe``.
        card: A ``ModelCard`` as a mapping; stored as ``tumortrace.card``.
        feature_ranges: Usual values among the training slices (``measure_feature_ranges``); stored as
            ``tumortrace.familiar``.
        samples: Prepared slices (N, 1, H, W) on which both are compared; at least one.

    Returns:
        The difference between both on the samples.

    Raises:
        ModelError: They differ by more than ``TOLERANCE`` in probability, or their masks have an IoU below
            ``SAME_MASK``; nothing is written.
        RunFailedError: The network returns NaN: training diverged in its last step; nothing is written.
    """
    data = make_onnx(network, recipe=recipe, card=card, feature_ranges=feature_ranges, sample=samples[:1])
    agreement = compare(network, data, recipe=recipe, samples=samples)
    refuse_disagreement(agreement, path)
    write_atomically(path, data)
    return agreement


def make_onnx(
    network: nn.Module,
    *,
    recipe: Recipe,
    card: Mapping[str, object],
    feature_ranges: Mapping[str, FeatureRange],
    sample: Tensor,
) -> bytes:
    """Return a network as an ONNX file with its recipe and card as metadata, without comparing it.

    Args:
        network: Network as in ``export_onnx``.
        recipe: Recipe as in ``export_onnx``.
        card: Card as in ``export_onnx``.
        feature_ranges: Feature ranges as in ``export_onnx``.
        sample: One prepared slice, (1, 1, H, W), which the network is traced on.

    Raises:
        ModelError: torch exported nothing.
    """
    network.cpu().eval()
    return encode_onnx(_convert(network, sample), recipe=recipe, card=card, feature_ranges=feature_ranges)


def encode_onnx(
    model: onnx.ModelProto,
    *,
    recipe: Recipe,
    card: Mapping[str, object],
    feature_ranges: Mapping[str, FeatureRange] | None = None,
) -> bytes:
    """Return a model as a sealed ONNX file.

    Args:
        model: The model, whose metadata is replaced.
        recipe: Stored as ``tumortrace.recipe``.
        card: Stored as ``tumortrace.card``.
        feature_ranges: Stored as ``tumortrace.familiar``; None stores none.
    """
    texts = {RECIPE: recipe_to_json(recipe), CARD: json.dumps(card, sort_keys=True)}
    if feature_ranges is not None:
        texts[FEATURE_RANGES] = json.dumps(feature_ranges)
    onnx.helper.set_model_props(model, texts)
    return seal(model.SerializeToString())


def compare(network: nn.Module, data: bytes, *, recipe: Recipe, samples: Tensor) -> ExportDifference:
    """Run a network in torch and as ONNX, slice by slice.

    Args:
        network: Network on the CPU, in evaluation mode.
        data: The ONNX file.
        recipe: Its temperature and threshold make the masks.
        samples: Prepared slices (N, 1, H, W), float32; at least one.

    Raises:
        RunFailedError: The network returns NaN: training diverged in its last step.
    """
    session = open_runtime(data)
    differences = []
    both = either = marked = 0
    for sample in torch.split(samples, 1):
        with torch.no_grad():
            expected = tumour_probability(network(sample).numpy())
        if not np.isfinite(expected).all():
            raise RunFailedError("the network returns NaN: training diverged; lower training.learning_rate")
        actual = tumour_probability(session.run(None, {"images": sample.numpy()})[0])
        differences.append(np.abs(expected - actual).max())
        masks = [
            apply_temperature(probability, recipe.temperature) >= recipe.threshold for probability in (expected, actual)
        ]
        marked += bool(masks[0].any())
        both += int(np.count_nonzero(masks[0] & masks[1]))
        either += int(np.count_nonzero(masks[0] | masks[1]))
    # Unlike Python's max, numpy's is NaN if any is.
    return ExportDifference(float(np.max(differences)), both / either if either else 1.0, marked)


def refuse_disagreement(agreement: ExportDifference, path: Path) -> None:
    """Refuse an ONNX model that differs too much from its network.

    Args:
        agreement: Agreement from ``compare``.
        path: Path of the file to write, for the message.

    Raises:
        ModelError: The two differ too much; names the value and the limit.
    """
    remedy = "report this with the versions that `tumortrace info` prints"
    if not agreement.difference <= TOLERANCE:
        raise ModelError(
            f"{path}: not written, torch and ONNX differ by {agreement.difference:.2g} in probability "
            f"(allowed {TOLERANCE}); {remedy}"
        )
    if not agreement.mask_iou >= SAME_MASK:
        raise ModelError(
            f"{path}: not written, the masks of torch and ONNX have IoU {agreement.mask_iou:.4f} "
            f"(at least {SAME_MASK}); {remedy}"
        )


def _convert(network: nn.Module, sample: Tensor) -> onnx.ModelProto:
    two = torch.cat([sample, sample])
    # By place: other networks name their input otherwise.
    return convert(network, (two,), inputs=["images"], outputs=["logits"], shapes=({0: torch.export.Dim("batch")},))


def convert(
    network: nn.Module,
    arguments: tuple[Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: tuple[dict[int, Any], ...] | None = None,
) -> onnx.ModelProto:
    """Trace a network and return it as ONNX, without a word.

    Args:
        network: Network in evaluation mode, on the CPU.
        arguments: Tensors that it is traced on.
        inputs: Name of each argument.
        outputs: Name of each output.
        shapes: Free axes of each argument; None leaves all sizes as they are in the arguments.

    Raises:
        ModelError: torch exported nothing.
    """
    # torch's exporter writes about itself to stdout, stderr, warnings and logging; none of it concerns the user.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            arguments,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch exported no ONNX program; check that onnxscript is installed")
    model: onnx.ModelProto = program.model_proto
    _strip_traces(model)
    return model


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove torch's notes on its own work: stack traces with paths of the machine that exported."""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]
    for part in (model, model.graph, *model.graph.node, *values, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")

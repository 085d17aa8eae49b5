"""A training that begins from a finished model: its weights in a network, and what is known of what they learnt from.

An exported model has each batch normalisation that follows a convolution folded into it: weights and a bias are left.
Such a layer is unfolded by measuring what the convolution gives on slices, and taking that for its statistics: the
network gives what the file gives, and its next step of training normalises by what it sees, as before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tumortrace.copies.training_index import TrainingIndex, join, load_training_index
from tumortrace.errors import ModelError
from tumortrace.inference.model import Model
from tumortrace.run_folder import BEST, FIRST, MODEL, TRAINING_INDEX
from tumortrace.training.arrays import spread
from tumortrace.training.checkpoint import load_weights, save_weights

BATCH = 16
"""Slices that go through the network at once while its statistics are measured."""

MEASURED = 256
"""Slices, at most, that they are measured on."""


@dataclass(frozen=True)
class Origin:
    """The model that a run began from.

    Attributes:
        name: Of the model.
        sha256: Of its file.
        remembered: Whether the run's memory holds all slices that its weights have learnt from.
    """

    name: str
    sha256: str
    remembered: bool


def begin(network: nn.Module, run: Path, *, model: Model | None, images: Tensor) -> Origin | None:
    """Give a network its first weights: those of a model, or those that the run began with before it stopped.

    Args:
        network: Filled in place; left alone where there is neither.
        run: The run folder; keeps the weights and where they are from, so that the run goes on without the model.
        model: To begin from.
        images: Prepared slices (N, 1, H, W), at least one; on some of them, folded layers are measured.

    Raises:
        ModelError: The model's weights do not fit the network, or the kept ones are damaged.
    """
    if model is None:
        return _load_first(run / FIRST, network) if (run / FIRST).is_file() else None
    load_model_weights(model, network, images=images)
    origin = Origin(model.name, model.sha256, remembered=_memory_of(model) is not None)
    save_weights(run / FIRST, network, about={"origin": json.dumps(asdict(origin))})
    return origin


def load_model_weights(model: Model, network: nn.Module, *, images: Tensor) -> None:
    """Fill a network with a model's weights: those of its run folder, or the file's own, unfolded.

    Raises:
        ModelError: They do not fit the network, which then holds a part of them.
    """
    trained = model.path.with_name(BEST.name)
    if model.path.name == MODEL.name and trained.is_file():
        load_weights(trained, network)
        return
    graph = onnx.load(model.path).graph
    given = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    folded = dict(_folded_layers(network, given))
    missing = _fill(network, given, left_out=[f"{name}." for name in folded.values()])
    if missing:
        raise ModelError(
            f"{model.path}: not the weights of this network ({missing[0]} is missing or of another shape); give the "
            "--config that the model was trained with, and no model in 8 bits"
        )
    some = spread(range(len(images)), MEASURED)
    _unfold(network, {norm: given[f"{convolution}.weight_bias"] for convolution, norm in folded.items()}, images[some])


def join_training_index(memory: TrainingIndex, run: Path, *, model: Model | None) -> TrainingIndex:
    """What a run remembers: its own slices, and those of the model that it began from, as far as they are known.

    Args:
        memory: Of its own slices.
        run: The run folder; holds the memory of both if the run was stopped.
        model: That it began from; None where ``begin`` was given none.
    """
    before = _memory_of(model) if model is not None else None
    if model is None and (run / FIRST).is_file() and (run / TRAINING_INDEX).is_file():
        before = load_training_index(run / TRAINING_INDEX)
    return join(before, memory) if before is not None else memory


def _memory_of(model: Model) -> TrainingIndex | None:
    """Of all slices that a model learnt from; None if some of them are unknown."""
    path = model.path.with_name(TRAINING_INDEX.name)
    return load_training_index(path) if path.is_file() and model.card.get("remembered", True) else None


def _load_first(path: Path, network: nn.Module) -> Origin:
    load_weights(path, network)
    try:
        with safe_open(path, framework="pt") as file:
            return Origin(**json.loads(file.metadata()["origin"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: does not say where it is from ({error}); train into another --out") from None


def _folded_layers(network: nn.Module, given: dict[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Names of a convolution and of the normalisation after it, where the file has one bias for both."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            steps = list(module.named_children())
            for (first, convolution), (second, norm) in pairwise(steps):
                pair = isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
                if pair and f"{name}.{first}.weight_bias" in given:
                    yield f"{name}.{first}", f"{name}.{second}"


@torch.no_grad()
def _fill(network: nn.Module, given: dict[str, Tensor], *, left_out: list[str]) -> list[str]:
    """Copy what has its name and shape; returns the names of what is missing."""
    missing = []
    for name, tensor in network.state_dict().items():
        if name.startswith(tuple(left_out)) or name.endswith("num_batches_tracked"):
            continue
        if name in given and given[name].shape == tensor.shape:
            tensor.copy_(given[name])
        else:
            missing.append(name)
    return missing


@torch.no_grad()
def _unfold(network: nn.Module, biases: dict[str, Tensor], images: Tensor) -> None:
    """Set normalisations so that each adds its bias alone, with the statistics of what it is given on these images."""
    modules = dict(network.named_modules())
    norms = {name: module for name, module in modules.items() if name in biases and isinstance(module, nn.BatchNorm2d)}
    sums = {name: torch.zeros(3, norm.num_features, dtype=torch.float64) for name, norm in norms.items()}
    hooks = []
    for name, norm in norms.items():
        _set_norm(norm, mean=torch.zeros(norm.num_features), variance=torch.ones(norm.num_features), bias=biases[name])

        def measure(_norm: nn.Module, inputs: tuple[Tensor, ...], *, total: Tensor = sums[name]) -> None:
            values = inputs[0].double().transpose(0, 1).flatten(1)
            total += torch.stack([values.sum(1), (values**2).sum(1), torch.full((len(values),), values.shape[1])])

        hooks.append(norm.register_forward_pre_hook(measure))
    network.eval()
    for batch in torch.split(images, BATCH):
        network(batch)
    for hook in hooks:
        hook.remove()
    for name, norm in norms.items():
        total, squares, count = sums[name]
        mean = total / count
        _set_norm(norm, mean=mean, variance=(squares / count - mean**2).clamp(min=0), bias=biases[name])


def _set_norm(norm: nn.BatchNorm2d, *, mean: Tensor, variance: Tensor, bias: Tensor) -> None:
    """Statistics of which nothing is seen in evaluation: the scale undoes the division, the shift the subtraction."""
    state = {"running_mean": mean, "running_var": variance}
    state |= {"weight": (variance + norm.eps).sqrt(), "bias": bias + mean}
    for name, value in state.items():
        norm.state_dict()[name].copy_(value)

"""Weights to train on, from an ONNX file with batch normalisation folded in.

A shipped model needs no second copy of its convolutions: they follow from the ONNX file and the numbers of its batch
normalisations. With scale g, running variance v and epsilon e, the exporter writes W' = W g / sqrt(v + e) for each
output channel. So W = W' sqrt(v + e) / g.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from tumortrace.training.half import HALF_SUFFIX


def list_folded(network: nn.Module) -> dict[str, tuple[str, float]]:
    """Return the convolutions that an export folds a batch normalisation into.

    Args:
        network: A network whose normalisations directly follow their convolutions in an ``nn.Sequential``.

    Returns:
        For the name of each weight, the name of its normalisation and the epsilon of that. Convolutions with a bias
        of their own are left out.
    """
    found = {}
    for name, module in network.named_modules():
        layers = list(module.named_children()) if isinstance(module, nn.Sequential) else []
        for (first, convolution), (second, norm) in pairwise(layers):
            if isinstance(convolution, nn.Conv2d) and convolution.bias is None and isinstance(norm, nn.BatchNorm2d):
                place = f"{name}." if name else ""
                found[f"{place}{first}.weight"] = (f"{place}{second}", norm.eps)
    return found


def unfold(path: Path, tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a file of weights leaves to the ONNX file beside it.

    Args:
        path: The ONNX file.
        tensors: Tensors of the file of weights, by name.
        network: Network that the weights are for.

    Returns:
        The weights that ``tensors`` lacks and the ONNX file has, float32 (output channels, input channels, H, W). A
        channel with scale 0 computes nothing, and its weights are 0.
    """
    missing = {name: norm for name, norm in list_folded(network).items() if name not in tensors}
    stored = read_initializers(path) if missing else {}
    return {
        name: stored[name] / scale[:, None, None, None]
        for name, (norm, epsilon) in missing.items()
        if name in stored and (scale := _scale(tensors, norm, epsilon)) is not None and len(scale) == len(stored[name])
    }


def read_initializers(path: Path) -> dict[str, Tensor]:
    """Return the constants of an ONNX file by name, in float32; the names are those before half precision."""
    tensors = onnx.load(path).graph.initializer
    return {
        tensor.name.removesuffix(HALF_SUFFIX): torch.from_numpy(numpy_helper.to_array(tensor).copy()).float()
        for tensor in tensors
    }


def _scale(tensors: Mapping[str, Tensor], norm: str, epsilon: float) -> Tensor | None:
    """Return g / sqrt(v + e) for each channel, shape (C,), infinite where g is 0; None if the numbers are not there."""
    if not {f"{norm}.weight", f"{norm}.running_var"} <= tensors.keys():
        return None
    weight = tensors[f"{norm}.weight"].double()
    scale = weight / torch.sqrt(tensors[f"{norm}.running_var"].double() + epsilon)
    return torch.where(scale == 0, torch.inf, scale).float()

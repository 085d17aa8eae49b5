"""Weights stored in half precision: half the size, computed with in float32."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save

FEWEST = 256
"""Numbers of a tensor below which half precision saves nothing worth its rounding, such as biases."""

HALF_SUFFIX = "_half"
"""Suffix of an initializer that is stored in half precision."""


def store_onnx_in_half(model: onnx.ModelProto) -> None:
    """Store the large weights of a model as float16, each behind a cast to float32.

    ONNX Runtime folds the casts when it opens the model, so that a forward pass takes as long as before.

    Args:
        model: The model, changed in place. Initializers of other types, or with fewer than ``FEWEST`` numbers, stay.
    """
    kept, casts = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < FEWEST:
            kept.append(tensor)
            continue
        half = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}{HALF_SUFFIX}")
        kept.append(half)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def read_weights_as_half(path: Path, *, without: Collection[str] = ()) -> bytes:
    """Return a safetensors file with its large float32 tensors as float16; ``load_weights`` reads both.

    Args:
        path: The safetensors file.
        without: Names of tensors to leave out.
    """
    tensors = {name: tensor for name, tensor in load_file(path).items() if name not in without}
    return save(
        {
            name: tensor.half() if tensor.dtype == torch.float32 and tensor.numel() >= FEWEST else tensor
            for name, tensor in tensors.items()
        }
    )

"""Export of the prompted network to two ONNX files, compared with torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tumortrace.config import Recipe
from tumortrace.errors import ModelError
from tumortrace.files import write_atomically
from tumortrace.inference.recipe import tumour_probability
from tumortrace.inference.session import open_runtime
from tumortrace.run_folder import BOX_DECODER, BOX_ENCODER
from tumortrace.training.export import TOLERANCE, convert, encode_onnx
from tumortrace.training.prompted_network import PromptedNet, prompt_with_boxes


def export_prompted(
    network: PromptedNet, folder: Path, *, recipe: Recipe, card: Mapping[str, object], samples: Tensor
) -> float:
    """Write encoder and decoder as ONNX, after comparing them with torch.

    Args:
        network: Trained network; moved to the CPU and set to evaluation.
        folder: Folder for both files.
        recipe: Stored as ``tumortrace.recipe`` in both.
        card: Name and origin; stored as ``tumortrace.card`` in both.
        samples: Grey values and boxes on the network's grid, shape (N, 2, H, W); at least one.

    Returns:
        Largest difference in tumour probability on the samples.

    Raises:
        ModelError: They differ by more than ``TOLERANCE``; nothing is written.
    """
    network.cpu().eval()
    prompts = prompt_with_boxes(samples[:, 1])
    with torch.no_grad():
        features = network.encode(samples[:1])
    names = [f"features_{level}" for level in range(len(features))]
    encoder = convert(network.encode, (samples[:1],), inputs=["images"], outputs=names)
    decoder = convert(_Flat(network.decode), (*features, prompts[:1]), inputs=[*names, "prompts"], outputs=["logits"])
    encoder_file, decoder_file = (encode_onnx(model, recipe=recipe, card=card) for model in (encoder, decoder))
    difference = _compare(network, encoder_file, decoder_file, samples)
    if not difference <= TOLERANCE:
        raise ModelError(f"{folder}: not written, torch and ONNX differ by {difference:.2g} (allowed {TOLERANCE})")
    write_atomically(folder / BOX_DECODER, decoder_file)
    write_atomically(folder / BOX_ENCODER, encoder_file)
    return difference


class _Flat(nn.Module):
    """The decoder with an argument for each level of features, as ONNX needs it."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, prompts: Tensor) -> Tensor:
        logits: Tensor = self.decoder((a, b, c, d, e), prompts)
        return logits


def _compare(network: PromptedNet, encoder: bytes, decoder: bytes, samples: Tensor) -> float:
    """Return the largest difference in probability; infinity if a side returns NaN."""
    opened = [open_runtime(data) for data in (encoder, decoder)]
    worst = 0.0
    for sample in torch.split(samples, 1):
        prompts = prompt_with_boxes(sample[:, 1])
        with torch.no_grad():
            expected = tumour_probability(network(sample, prompts).numpy())
        features = opened[0].run(None, {"images": sample.numpy()})
        names = [value.name for value in opened[0].get_outputs()]
        inputs = dict(zip(names, features, strict=True))
        actual = tumour_probability(opened[1].run(None, {**inputs, "prompts": prompts.numpy()})[0])
        worst = max(worst, float(np.nan_to_num(np.abs(expected - actual), nan=np.inf).max()))
    return worst

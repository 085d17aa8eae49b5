"""Trainings on parts that an experiment has made itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from reproduction.size import Size, load_size
from tumortrace.config import Config, TrainingConfig
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import start_compute
from tumortrace.training.loop import fit
from tumortrace.training.networks import build_network

NO_PART = PreparedPart(torch.empty(0, 1, 1, 1), torch.empty(0, 1, 1, dtype=torch.uint8), (), {}, (), ())
"""Nothing is measured between epochs: the last weights are kept, and scored once."""


def config_of(size: Size, *, epochs: int, seed: int) -> Config:
    """The settings of one run."""
    return load_size(size, [f"training.epochs={epochs}", f"training.seed={seed}"])


def find_device(training: TrainingConfig) -> torch.device:
    """Where the settings let a network run: on a GPU if there is one, unless they say otherwise."""
    return torch.device("cuda" if training.device != "cpu" and torch.cuda.is_available() else "cpu")


def take(part: PreparedPart, indices: Sequence[int]) -> PreparedPart:
    """Some cases of a part, one that is named twice twice; its hashes stay those of the cases that are there."""
    chosen = list(indices)
    names = list(part.hashes)
    return replace(
        part,
        images=part.images[chosen],
        truths=part.truths[chosen],
        sources=tuple(part.sources[index] for index in chosen),
        hashes={names[index]: part.hashes[names[index]] for index in chosen},
        features=tuple(part.features[index] for index in chosen),
    )


def train_steps(part: PreparedPart, size: Size, *, steps: int, seed: int, run: Path) -> nn.Module:
    """Train for so many steps, rounded up to whole epochs; a run that was stopped goes on from its last epoch.

    Args:
        part: Learnt from, at least one case.
        size: Size of the network.
        steps: Number of optimiser steps, the same for any number of slices.
        seed: Seed of initial weights and order.
        run: Folder of its checkpoint.

    Returns:
        The network with its last weights, set to evaluation.
    """
    batch_size = config_of(size, epochs=1, seed=seed).training.batch_size
    config = config_of(size, epochs=math.ceil(steps * batch_size / len(part)), seed=seed)
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=seed)
    fit(network, config, compute=start_compute(config.training), train=part, val=NO_PART, run=run)
    return network.eval()


@torch.no_grad()
def mark(network: nn.Module, images: Tensor) -> Tensor:
    """Masks at one half, bool (N, H, W), of images (N, 1, H, W), both on the CPU; the network may be elsewhere."""
    device = next(network.parameters()).device
    return torch.cat([network(some.to(device)).softmax(dim=1)[:, 1].cpu() >= 0.5 for some in images.split(16)])


def dice_of(masks: Tensor, truths: Tensor) -> list[float]:
    """2 TP / (2 TP + FP + FN) of each slice, for masks bool and truths uint8 (N, H, W); NaN where both are empty."""
    tumour = truths == 1
    overlap = (masks & tumour).sum(dim=(1, 2))
    return list((2 * overlap / (masks.sum(dim=(1, 2)) + tumour.sum(dim=(1, 2)))).tolist())

"""Batches of prepared slices, with random variants, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tumortrace.config import AugmentationConfig, TrainingConfig
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.augment import augment
from tumortrace.training.implant import IMPLANTED, implant

Drawn = tuple[NDArray[np.float32], NDArray[np.uint8]]

COARSE = 0.625
"""Scale of the slices in the coarse epochs."""


def fetch(part: PreparedPart, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return slices (N, 1, H, W) and their truths (N, H, W), int64, on a device."""
    images = part.images[indices].to(device, non_blocking=True, memory_format=torch.channels_last)
    return images, part.truths[indices].to(device, non_blocking=True).long()


def fetch_varied(
    part: PreparedPart,
    indices: Tensor,
    settings: AugmentationConfig,
    rngs: Sequence[np.random.Generator],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Return a batch as ``fetch`` does, each slice in a random variant if the settings have any.

    Args:
        part: The slices to choose from.
        indices: Slices of the batch, shape (N,); none gives arrays of length 0.
        settings: Kinds of change.
        rngs: A generator for each slice of the batch.
        device: Device of the result.
    """
    if settings == AugmentationConfig() or not len(indices):
        return fetch(part, indices, device)
    variants = [
        augment(*_choose(part, index, settings, rng), settings, rng)
        for index, rng in zip(indices.tolist(), rngs, strict=True)
    ]
    images = torch.from_numpy(np.stack([image for image, _ in variants])).unsqueeze(1)  # (N, 1, H, W)
    truths = torch.from_numpy(np.stack([truth for _, truth in variants]))
    return images.to(device, memory_format=torch.channels_last), truths.to(device).long()


def _choose(part: PreparedPart, index: int, settings: AugmentationConfig, rng: np.random.Generator) -> Drawn:
    """Return a slice and its truth; now and then, if it is tumour-free, with a tumour of another slice."""
    image, truth = part.images[index, 0].numpy(), part.truths[index].numpy()
    if not settings.implants or part.with_tumour[index] or rng.random() >= IMPLANTED or not part.with_tumour.any():
        return image, truth
    donor = int(rng.choice(part.with_tumour.nonzero()[:, 0].numpy()))
    implanted = implant(image, part.images[donor, 0].numpy(), part.truths[donor].numpy(), rng)
    return implanted or (image, truth)


def shrink(images: Tensor, truths: Tensor, *, step: int) -> tuple[Tensor, Tensor]:
    """Return a batch at about ``COARSE`` of its height and width, both multiples of ``step``.

    Args:
        images: Prepared slices (N, 1, H, W), float32.
        truths: Masks (N, H, W), 0 and 1.
        step: Factor of height and width that the network asks for.

    Returns:
        Slices (N, 1, h, w), averaged over areas, and masks (N, h, w) of their nearest pixels.
    """
    size_hw = coarse_size(images.shape[2:], step=step)
    small = functional.interpolate(images, size_hw, mode="area")
    outlines = functional.interpolate(truths[:, None].float(), size_hw, mode="nearest-exact")  # (N, 1, h, w)
    return small.contiguous(memory_format=torch.channels_last), outlines[:, 0].long()


def coarse_size(size_hw: Sequence[int], *, step: int) -> list[int]:
    """Return height and width of coarse slices; neither is less than two steps unless it was so before."""
    return [max(round(COARSE * side / step), min(int(side) // step, 2)) * step for side in size_hw]


def is_coarse(training: TrainingConfig, epoch: int) -> bool:
    """Return whether an epoch, counted from 1, takes coarse slices."""
    return epoch <= training.coarse_epochs

"""Loss and Dice of a network on the validation part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import Recipe
from tumortrace.inference.mask import cut_mask
from tumortrace.inference.recipe import apply_temperature
from tumortrace.metrics.overlap import count_pixels
from tumortrace.training import batches
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute

LOSS = "cross_entropy"
"""Validation loss, whatever loss is trained."""


@dataclass(frozen=True)
class Validation:
    """Scores on the validation part.

    Attributes:
        loss: Mean cross-entropy over the slices.
        dice: Mean Dice over the slices where it is defined, on the network's grid; None if it is defined on none.
        marked: Number of slices on which the network marks a tumour.
    """

    loss: float
    dice: float | None
    marked: int


@torch.no_grad()
def validate(
    network: nn.Module,
    part: PreparedPart,
    *,
    compute: Compute,
    recipe: Recipe,
    batch_size: int,
    tick: Callable[[int, str], None] = lambda _images, _note: None,
) -> Validation:
    """Score a network on a part, with the recipe's temperature and thresholds but without its mirrored pass.

    The processes of a team divide each batch; every slice is scored once, and all of them return the same.

    Args:
        network: The network, which is set to evaluation.
        part: Part, at least one slice.
        compute: Device, precision and team.
        recipe: Recipe of the model.
        batch_size: Slices that pass through the network at a time.
        tick: Function that receives the number of slices in each batch.
    """
    network.eval()
    losses: list[Tensor] = []
    scores: list[Tensor] = []
    for indices in torch.split(torch.arange(len(part)), batch_size):
        loss, score = _score(
            network, *batches.fetch(part, compute.team.share(indices), compute.device), compute, recipe
        )
        losses.append(compute.team.gather(loss, len(indices)))
        scores.append(compute.team.gather(score, len(indices)))
        tick(len(indices), "validating")
    dices, marked = torch.cat(scores).T.numpy()
    defined = dices[~np.isnan(dices)]
    mean = float(np.mean(defined)) if len(defined) else None
    return Validation(torch.cat(losses).mean().item(), mean, int(marked.sum()))


def _score(
    network: nn.Module, images: Tensor, truths: Tensor, compute: Compute, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Return the loss of each slice, float32 (N,), and its Dice and whether it is marked, float64 (N, 2)."""
    with compute.autocast():
        logits = network(images)
    logits = logits.float()  # (N, 2, H, W)
    losses = functional.cross_entropy(logits, truths, reduction="none").mean(dim=(1, 2))
    rows = []
    for probability, truth in zip(logits.softmax(dim=1)[:, 1].cpu().numpy(), truths.cpu().numpy(), strict=True):
        mask = cut_mask(apply_temperature(probability, recipe.temperature), recipe)
        rows.append((count_pixels(mask, truth == 1).dice, float(mask.any())))
    return losses, torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)

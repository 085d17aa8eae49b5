"""The optimizer of a training: its learning rate, its steps, and divergence."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tumortrace.config import TrainingConfig
from tumortrace.errors import RunFailedError


def make_optimizer(network: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a network's parameters that the settings name."""
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, step: int, *, epoch_steps: int, training: TrainingConfig
) -> None:
    """Set the learning rate of the next step, as ``learning_rate_at`` returns it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, epoch_steps=epoch_steps, training=training)


def learning_rate_at(step: int, *, epoch_steps: int, training: TrainingConfig) -> float:
    """Return the learning rate of one step.

    Args:
        step: Number of the step, from 0, over the whole training.
        epoch_steps: Steps of an epoch.
        training: Highest rate and schedule: constant, or a linear rise over the first tenth of the steps and a cosine
            down to 0.
    """
    if training.schedule == "constant":
        return training.learning_rate
    steps = training.epochs * epoch_steps
    rise = max(steps // 10, 1)
    if step < rise:
        return training.learning_rate * (step + 1) / rise
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def update_weights(
    network: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedModel | None, *, clip: float
) -> None:
    """Take the step that the gradients ask for, and let the average follow.

    Args:
        network: The network, with its gradients.
        optimizer: Its optimizer.
        average: Average of its weights; None if the run averages nothing.
        clip: Largest norm of all gradients together; longer ones are shortened, and 0 leaves them as they are.
    """
    if clip:
        nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()
    if average is not None:
        average.update_parameters(network)


def refuse_diverged(epoch: int, loss: float) -> None:
    """Refuse to go on from an epoch whose loss is NaN or infinite.

    Raises:
        RunFailedError: It is; the last complete epoch's checkpoint stays.
    """
    if not math.isfinite(loss):
        raise RunFailedError(
            f"training diverged in epoch {epoch} (loss {loss}); lower training.learning_rate and train into another "
            "--out"
        )

"""As many epochs as fit into a given time."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from tumortrace.config import Config
from tumortrace.machine import usable_cores
from tumortrace.progress import tell
from tumortrace.training.compute import start_compute
from tumortrace.training.networks import build_network
from tumortrace.training.threads import fastest_threads, time_step, trial_step
from tumortrace.wording import counted, describe_seconds


def fit_epochs(config: Config, *, slices: int, minutes: float) -> Config:
    """Return the settings with at most as many epochs as fit into a time, by the pace of a few steps.

    The number of epochs is the only setting that this changes, and a fast computer changes nothing. Who repeats a run
    on a slower one gets the same with the epochs that the run's ``config.toml`` names.

    Args:
        config: Settings of the training; a coarse epoch counts as a full one.
        slices: Number of training slices, which an epoch draws unless the settings name another number.
        minutes: Time for all epochs; infinity measures no pace.
    """
    if math.isinf(minutes):
        return config
    seconds = _time_slice(config) * (config.training.epoch_slices or slices)
    most = max(1, int(60 * minutes / seconds))
    if most >= config.training.epochs:
        return config
    tell(
        f"an epoch takes about {describe_seconds(seconds)} here, so that {counted(most, 'epoch')} of "
        f"{config.training.epochs} fit into {minutes:g} min"
    )
    coarse = min(config.training.coarse_epochs, most - 1)
    return replace(config, training=replace(config.training, epochs=most, coarse_epochs=coarse))


def _time_slice(config: Config) -> float:
    """Return the seconds that a slice takes in training, by steps on noise."""
    training, (height, width) = config.training, config.recipe.size_hw
    compute = start_compute(training)
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=training.seed)
    images = torch.zeros(training.batch_size, 1, height, width)
    truths = torch.zeros(training.batch_size, height, width, dtype=torch.uint8)
    truths[:, : height // 4, : width // 4] = 1
    step = trial_step(network, config, compute, images, truths)
    with torch.random.fork_rng(devices=[]):  # layers that drop out draw numbers
        threads = training.threads or fastest_threads(step, most=usable_cores())
        return time_step(step, threads) / training.batch_size

"""The number of CPU threads with which a training is fastest."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import nn

from tumortrace.config import Config
from tumortrace.machine import usable_cores
from tumortrace.progress import tell
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute
from tumortrace.training.losses import make_loss

CLEARLY_FASTER = 0.8
"""Largest fraction of a step's time at which fewer threads count as faster."""

TRIAL_STEPS = 2
"""Timed steps for each number of threads, after one that warms up."""

LONGEST_TRIAL_STEP = 5.0
"""Seconds. A network whose step takes longer is not tried with fewer threads."""


def settle_threads(network: nn.Module, config: Config, compute: Compute, part: PreparedPart) -> None:
    """Set torch's threads to the number that is fastest on this network now.

    Args:
        network: The network to train; it is left as it is.
        config: Settings of the run.
        compute: Device and precision.
        part: Training slices, at least one.
    """
    trial = copy.deepcopy(network).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload] # missing
    images = part.images[: config.training.batch_size].contiguous(memory_format=torch.channels_last)
    truths = part.truths[: config.training.batch_size].long()
    loss_of = make_loss(config.training.loss)

    def step() -> None:
        with compute.autocast():
            logits = trial(images)
        torch.autograd.backward(loss_of(logits.float(), truths))

    cores = usable_cores()
    with torch.random.fork_rng(devices=[]):  # layers that drop out draw numbers
        threads = fastest_threads(step, most=cores)
    torch.set_num_threads(threads)
    if threads < cores:
        tell(f"CPU threads: {threads}, because {cores} are slower now, beside other programs")


def fastest_threads(step: Callable[[], object], *, most: int) -> int:
    """Return the number of CPU threads with which a step is fastest now: all, a half, a quarter, ... or one.

    Threads wait for each other after every layer. Beside other programs each waits until the slowest one gets a core,
    and one thread can be several times faster than two. Fewer threads must be clearly faster to be chosen.

    Args:
        step: Function that does the work of one training step.
        most: Largest number of threads.
    """
    threads = most
    seconds = _time_step(step, threads)
    while threads > 1 and seconds <= LONGEST_TRIAL_STEP:
        fewer = threads // 2
        seconds_fewer = _time_step(step, fewer)
        if seconds_fewer > CLEARLY_FASTER * seconds:
            break
        threads, seconds = fewer, seconds_fewer
    return threads


def _time_step(step: Callable[[], object], threads: int) -> float:
    """Return the least seconds of a few steps; of the first step alone if that takes very long."""
    torch.set_num_threads(threads)
    seconds = []
    for _ in range(1 + TRIAL_STEPS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
        if seconds[0] > LONGEST_TRIAL_STEP:
            break
    return min(seconds)

"""The number of CPU threads with which a training is fastest."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tumortrace.config import Config
from tumortrace.machine import usable_cores
from tumortrace.progress import tell
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute
from tumortrace.training.losses import make_loss
from tumortrace.training.out_of_memory import explain_memory

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
    count = config.training.batch_size
    step = trial_step(network, config, compute, part.images[:count], part.truths[:count])
    cores = usable_cores()
    with torch.random.fork_rng(devices=[]):  # layers that drop out draw numbers
        threads = fastest_threads(step, most=cores)
    torch.set_num_threads(threads)
    if threads < cores:
        tell(f"CPU threads: {threads}, because {cores} are slower now, beside other programs")


def trial_step(
    network: nn.Module, config: Config, compute: Compute, images: Tensor, truths: Tensor
) -> Callable[[], None]:
    """Return a function that does the work of one training step on a copy of a network.

    Like the training itself, it raises a ``RunFailedError`` where memory runs out.

    Args:
        network: The network; it is left as it is.
        config: Settings of the run.
        compute: Device and precision.
        images: A batch, shape (N, 1, H, W), float32.
        truths: Its masks, shape (N, H, W), uint8.
    """
    trial = copy.deepcopy(network).to(compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload] # missing
    batch = images.to(compute.device).contiguous(memory_format=torch.channels_last)
    masks = truths.to(compute.device).long()
    loss_of = make_loss(config.training.loss)

    def step() -> None:
        with explain_memory(config):
            with compute.autocast():
                logits = trial(batch)
            torch.autograd.backward(loss_of(logits.float(), masks))

    return step


def fastest_threads(step: Callable[[], object], *, most: int) -> int:
    """Return the number of CPU threads with which a step is fastest now: all, a half, a quarter, ... or one.

    Threads wait for each other after every layer. Beside other programs each waits until the slowest one gets a core,
    and one thread can be several times faster than two. Fewer threads must be clearly faster to be chosen.

    Args:
        step: Function that does the work of one training step.
        most: Largest number of threads.
    """
    threads = most
    seconds = time_step(step, threads)
    while threads > 1 and seconds <= LONGEST_TRIAL_STEP:
        fewer = threads // 2
        seconds_fewer = time_step(step, fewer)
        if seconds_fewer > CLEARLY_FASTER * seconds:
            break
        threads, seconds = fewer, seconds_fewer
    return threads


def time_step(step: Callable[[], object], threads: int) -> float:
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

"""How long a training will take, and whether other programs slow it down."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from tumortrace.machine import usable_cores
from tumortrace.progress import tell
from tumortrace.wording import counted, describe_seconds, percent

FIRST_STEPS = 3
"""Steps after which the speed is known."""

WARM_UP = 1
"""Steps that are not counted: libraries choose their algorithms in the first one."""

LOW_CPU = 0.6
"""Fraction of its threads' time below which a training counts as slowed down."""


@dataclass(frozen=True)
class Work:
    """How much a training does, in pixels that pass through the network.

    Attributes:
        pixels: Pixels of all epochs that are left, validation included.
        epochs: Number of those epochs.
    """

    pixels: int
    epochs: int


class Pace:
    """A clock that watches the steps of a training."""

    def __init__(self, work: Work, *, on_cpu: bool) -> None:
        """Start before the first step.

        Args:
            work: Remaining work.
            on_cpu: Whether the CPU does the work; the time of a GPU says nothing about other programs.
        """
        self.work = work
        self.on_cpu = on_cpu
        self.steps = 0
        self.pixels = 0
        self.warned = False
        self._start()

    def step(self, pixels: int) -> None:
        """Count a step; say after the first ones how long the training will take."""
        self.steps += 1
        if self.steps <= WARM_UP:
            self._start()
            return
        self.pixels += pixels
        if self.steps == WARM_UP + FIRST_STEPS:
            seconds = (time.perf_counter() - self.wall) / self.pixels * self.work.pixels
            tell(f"{counted(self.work.epochs, 'epoch')} will take about {describe_seconds(seconds)}")
            self._warn()

    def end_epoch(self) -> None:
        """Say once if other programs take the CPU, and what to do."""
        self._warn()
        self._start()

    def find_slowdown(self) -> str:
        """Return a line on what slows this training down since the last epoch; empty if nothing does."""
        if not hasattr(os, "getloadavg"):  # Windows
            return ""
        threads, cores, load = torch.get_num_threads(), usable_cores(), os.getloadavg()[0]
        wall = time.perf_counter() - self.wall
        busy = (time.process_time() - self.cpu) / max(wall, 1e-9) / threads
        if busy >= LOW_CPU or load < cores + 0.5:
            return ""
        waits_less = "interrupt it, and continue with --set training.threads=1 too, which waits less"
        remedy = waits_less if threads > 1 else "stop one of them"
        return (
            f"slow: other programs take the CPU (load {load:.1f} on {cores} cores); this training computes "
            f"{percent(busy)} of the time; {remedy}"
        )

    def _warn(self) -> None:
        warning = "" if self.warned or not self.on_cpu else self.find_slowdown()
        if warning:
            tell(warning)
            self.warned = True

    def _start(self) -> None:
        self.wall = time.perf_counter()
        self.cpu = time.process_time()
        self.pixels = 0

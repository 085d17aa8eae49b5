"""Bare inference of several networks in torch and ONNX Runtime.

The floor is the network's floating-point operations over the rate at which this machine multiplies matrices: no direct
convolution passes it, but Winograd's, which multiplies less for 3 x 3 kernels, may. Every network sees one slice at a
time at the input size of ``default``, the student paper's also at its own, on all cores, all in one run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table
from studies.peers import make_networks
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import make_table
from tumortrace.config import load_config
from tumortrace.inference.model import open_model
from tumortrace.machine import usable_cores
from tumortrace.training.export import ModelCard, export_onnx
from tumortrace.training.networks import build_network

ROUNDS = 60
WARM_UP = 5
SECONDS = 12.0
"""A way that is slow is timed no longer than this."""

MATRIX = 2048

DEFAULT = "tumortrace default"


class Cost(NamedTuple):
    """Cost of one network in one runtime; ``gflop`` is that of one forward pass."""

    milliseconds: list[float]
    gflop: float
    parameters: int


def measure() -> Table:
    """Time each network in each runtime, as a multiple of ``default`` and of its floor."""
    torch.set_num_threads(usable_cores())
    rate = matrix_rate()
    title = f"One slice, bare inference, {usable_cores()} threads; matrices: {rate:.0f} GFLOP/s in float32"
    headings = ("M parameters", "GFLOP", "median ms", "95 % ms", "slices/s", "x default", "x floor")
    table = make_table(title, "network, runtime", *headings)
    costs = {name: cost for name, build in _networks().items() for name, cost in _time_network(name, *build).items()}
    basis = float(np.median(costs[f"{DEFAULT}, ONNX Runtime"].milliseconds))
    for name, cost in costs.items():
        median = float(np.median(cost.milliseconds))
        table.add_row(
            name,
            f"{cost.parameters / 1e6:.2f}",
            f"{cost.gflop:.2f}",
            f"{median:.1f}",
            f"{np.quantile(cost.milliseconds, 0.95):.1f}",
            f"{1000 / median:.1f}",
            f"{median / basis:.1f}",
            f"{median * rate / 1000 / cost.gflop:.1f}",
        )
    return table


def matrix_rate() -> float:
    """Return the GFLOP/s of multiplying two large float32 matrices on all cores, the best of several."""
    left, right = (torch.randn(MATRIX, MATRIX, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * MATRIX**3 / min(seconds) / 1e9


def _networks() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]]:
    """Return a function that builds each network, and the height and width of its input."""
    default, paper = load_config("default"), load_config("paper")
    size_hw, paper_hw = default.recipe.size_hw, paper.recipe.size_hw
    others = make_networks(load_config("fast", [f"recipe.size_hw={list(size_hw)}"]))
    return {
        DEFAULT: (lambda: build_network(default.network, size_hw=size_hw, seed=0), size_hw),
        **{name: (build, size_hw) for name, build in others.items()},
        "the student paper's": (lambda: build_network(paper.network, size_hw=paper_hw, seed=0), paper_hw),
    }


def _time_network(name: str, build: Callable[[], nn.Module], size_hw: tuple[int, int]) -> dict[str, Cost]:
    network = build().eval()
    image = torch.randn(1, 1, *size_hw, generator=torch.Generator().manual_seed(0))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image)
    gflop = counter.get_total_flops() / 1e9
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "model.onnx"
        with torch.inference_mode(mode=False):
            recipe = load_config("default", [f"recipe.size_hw={list(size_hw)}"]).recipe
            card = asdict(ModelCard(name, "", "", "", 0, ""))
            export_onnx(network, path, recipe=recipe, card=card, feature_ranges={}, samples=image)
        session = open_model(str(path)).session
        pixels = image.numpy()
        ways = {"torch": lambda: network(image), "ONNX Runtime": lambda: session.run(pixels)}
        return {f"{name}, {way}": Cost(_time(work), gflop, parameters) for way, work in ways.items()}


def _time(work: Callable[[], object]) -> list[float]:
    """Return the milliseconds of each call, without the first few."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < WARM_UP + ROUNDS and (len(times) < 3 or time.perf_counter() - began < SECONDS):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return times[min(WARM_UP, len(times) - 2) :]

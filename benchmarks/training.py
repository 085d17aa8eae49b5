"""Training steps beside their bare arithmetic, and what makes them fast."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks.common import make_table, some_data
from tumortrace.config import Config, load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.training.arrays import PreparedPart, prepare_part
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.encoder import DepthwiseConv2d
from tumortrace.training.epochs import EpochRow
from tumortrace.training.loop import fit
from tumortrace.training.losses import make_loss
from tumortrace.training.networks import build_network
from tumortrace.wording import percent

SLICES = 60
ROUNDS = 3
BARE = "bare forward, backward, Adam"
ONE_FULL_EPOCH = ("training.epochs=1", "training.coarse_epochs=0")
"""Settings without coarse slices, which would take less than half of the arithmetic."""


def measure() -> Table:
    """Count the slices a second of the configuration fast: its arithmetic alone, and the loop as users run it.

    All take the same slices at full size, in turns after a warm-up; the best round of each counts. The arithmetic is
    that of the loop, and also without each choice that makes it fast. The loop also shuffles and varies the slices,
    clips gradients and averages weights.
    """
    config = load_config("fast", ONE_FULL_EPOCH)
    compute = start_compute(config.training)
    with some_data() as (name, data):
        records = open_dataset(data).select("train")[:SLICES]
        started = time.perf_counter()
        part = prepare_part(records, config.recipe, name="slices")
        preparing = time.perf_counter() - started
    batches = _batches(part, config, device=compute.device)
    _rate_of_bare_steps(batches, config, compute=compute)
    rounds = [(_rates_of_variants(batches, config, compute), _run_loop(part, config, compute)) for _ in range(ROUNDS)]
    rates = {what: max(round_[what] for round_, _ in rounds) for what in rounds[0][0]}
    row = max((row for _, row in rounds), key=lambda row: row.images_per_second)
    bare = rates[BARE]
    title = f"Training on {len(part)} slices of {name}, configuration fast, {compute.describe()}"
    table = make_table(title, f"what, best of {ROUNDS}", "slices/s", "ratio to bare steps")
    for what, rate in rates.items():
        table.add_row(what, f"{rate:.2f}", f"{rate / bare:.2f}")
    table.add_row("training loop", f"{row.images_per_second:.2f}", f"{row.images_per_second / bare:.2f}")
    table.add_row("decoding and preparing, once a run", f"{len(part) / preparing:.0f}", "")
    table.add_row("loader's share of a step", percent(row.loader_share, 2), "")
    return table


def _rates_of_variants(batches: list[tuple[Tensor, Tensor]], config: Config, compute: Compute) -> dict[str, float]:
    """Return the slices a second of the bare steps, and of those without each choice that makes them fast."""
    rates = {BARE: _rate_of_bare_steps(batches, config, compute=compute)}
    rates["the same, channels first"] = _rate_of_bare_steps(
        [(images.contiguous(), truths) for images, truths in batches],
        config,
        compute=compute,
        layout=torch.contiguous_format,
    )
    if compute.precision == "bf16-mixed":
        exact = replace(compute, precision="32-true")
        rates["the same, in float32"] = _rate_of_bare_steps(batches, config, compute=exact)
        with mock.patch.object(DepthwiseConv2d, "forward", nn.Conv2d.forward):
            rates["the same, all convolutions in bfloat16"] = _rate_of_bare_steps(batches, config, compute=compute)
    return rates


def _network(config: Config) -> nn.Module:
    return build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)


def _batches(part: PreparedPart, config: Config, *, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return images (N, 1, H, W) and truths (N, H, W) in batches, ready on the device."""
    order = torch.arange(len(part))
    return [
        (
            part.images[indices].to(device, memory_format=torch.channels_last),
            part.truths[indices].to(device).long(),
        )
        for indices in torch.split(order, config.training.batch_size)
    ]


def _run_loop(part: PreparedPart, config: Config, compute: Compute) -> EpochRow:
    nothing = prepare_part((), config.recipe, name="nothing")
    with tempfile.TemporaryDirectory() as run:
        state = fit(_network(config), config, compute=compute, train=part, val=nothing, run=Path(run))
    return state.rows[0]


def _rate_of_bare_steps(
    batches: list[tuple[Tensor, Tensor]],
    config: Config,
    *,
    compute: Compute,
    layout: torch.memory_format = torch.channels_last,
) -> float:
    network = _network(config)
    network.to(batches[0][0].device, memory_format=layout)  # type: ignore[call-overload] # missing in the stub
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate)
    loss_of = make_loss(config.training.loss)
    started = time.perf_counter()
    for images, truths in batches:
        with compute.autocast():
            logits = network(images)
        loss = loss_of(logits.float(), truths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()  # a GPU has done the work only when the number is here
    return sum(map(len, (images for images, _ in batches))) / (time.perf_counter() - started)

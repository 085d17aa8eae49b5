"""Training: our loop against the bare arithmetic of the same steps, and the loader's share of a step."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import torch
from rich.table import Table
from torch import nn
from torch.nn import functional

from benchmarks.common import make_table, some_data
from tumortrace.config import Config, load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.train.arrays import PreparedPart, prepare_part
from tumortrace.train.loop import fit, start_fabric
from tumortrace.train.networks import build_network

SLICES = 60


def measure() -> Table:
    """Slices a second of the default configuration: the loop as users run it, and its arithmetic alone."""
    config = load_config("default")
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    fabric = start_fabric(config.training)
    with some_data() as (name, data), tempfile.TemporaryDirectory() as run:
        records = open_dataset(data).select("train")[:SLICES]
        started = time.perf_counter()
        part = prepare_part(records, config.recipe, name="slices")
        preparing = time.perf_counter() - started
        nothing = prepare_part((), config.recipe, name="nothing")
        bare = _rate_of_bare_steps(part, config)
        state = fit(_network(config), config, fabric=fabric, train=part, val=nothing, run=Path(run))
    row = state.rows[0]
    title = f"Training on {len(part)} slices of {name}, configuration default, {torch.get_num_threads()} threads"
    table = make_table(title, "what", "slices/s", "ratio to bare steps")
    table.add_row("bare forward, backward, Adam", f"{bare:.2f}", "1.00")
    table.add_row("training loop", f"{row.images_per_second:.2f}", f"{row.images_per_second / bare:.2f}")
    table.add_row("decoding and preparing, once a run", f"{len(part) / preparing:.0f}", "")
    table.add_row("loader's share of a step", f"{100 * row.loader_share:.2f} %", "")
    return table


def _network(config: Config) -> nn.Module:
    return build_network(config.network.widths, size_hw=config.recipe.size_hw, seed=config.training.seed)


def _rate_of_bare_steps(part: PreparedPart, config: Config) -> float:
    network = _network(config).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.training.learning_rate)
    size = config.training.batch_size
    images = part.images[:size].contiguous(memory_format=torch.channels_last)
    truths = part.truths[:size].long()
    steps = len(part) // size
    started = time.perf_counter()
    for _ in range(steps):
        loss = functional.cross_entropy(network(images), truths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps * size / (time.perf_counter() - started)

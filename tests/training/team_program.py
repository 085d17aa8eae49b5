"""One of two processes that train together; started by test_team.py, which reads what each leaves behind.

Arguments: a folder with the parts, to write into. The place comes from torchrun's environment variables.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tumortrace.config import Config, config_from_tables
from tumortrace.processes import PeerLostError, find_place
from tumortrace.training import loop
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.batch_norm import GatheredBatchNorm2d
from tumortrace.training.checkpoint import save_weights
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.loop import fit
from tumortrace.training.networks import build_network
from tumortrace.training.team import Team, open_team
from tumortrace.training.validation import validate

CONFIG = {
    "recipe": {"size_hw": [16, 24]},
    "network": {"widths": [4, 8, 8]},
    "augmentation": {"flips": True, "geometry": True, "intensity": True},
    "training": {
        "epochs": 3,
        "batch_size": 3,
        "learning_rate": 0.003,
        "average": 0.9,
        "clip": 1.0,
        "keep": "best_dice",
        "device": "cpu",
        "threads": 2,
    },
}
"""Settings with all that a share of a batch could change: batch norm, clipping, average, augmentation."""

BATCHES = ((3, 0), (2, 1), (1, 4))
"""Slices that the two processes have of a batch of features."""


def read_part(folder: Path, name: str) -> PreparedPart:
    """Read a part that the test has written."""
    tensors = load_file(folder / f"{name}.safetensors")
    count = len(tensors["images"])
    hashes = {f"{name}{index}": f"{index}" for index in range(count)}
    return PreparedPart(tensors["images"], tensors["truths"], ("",) * count, hashes, (None,) * count, ())


def pool_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """Dice of the whole batch: no mean over slices, so that the mean over processes would be another loss."""
    probabilities = logits.softmax(dim=1)[:, 1]
    return 1 - (2 * (probabilities * truths).sum() + 1) / (probabilities.sum() + truths.sum() + 1)


def train(folder: Path, run: str, compute: Compute, *, epochs: int = 3) -> tuple[list[dict[str, object]], nn.Module]:
    """Train, or continue, in a run folder; return the history and the network."""
    config = config_from_tables(CONFIG)
    config = replace(config, training=replace(config.training, epochs=epochs))
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=0)
    parts = {name: read_part(folder, name) for name in ("train", "val")}
    with mock.patch.object(loop, "make_loss", return_value=pool_dice):
        state = fit(network, config, compute=compute, **parts, run=folder / run)
    return [vars(row) for row in state.rows], network


def normalise(team: Team, features: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Normalise this process's slices of each batch; return outputs, gradients and running statistics."""
    layer = GatheredBatchNorm2d.like(nn.BatchNorm2d(features.shape[2], eps=1e-3))
    found = {}
    for number, sizes in enumerate(BATCHES):
        layer.zero_grad()
        rank = team.place.rank
        mine = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        own = features[number, : sum(sizes)][mine].clone().requires_grad_()
        output = layer(own)
        (output * weights[number, : sum(sizes)][mine]).sum().backward()
        found |= {f"output{number}": output.detach(), f"gradient{number}": own.grad}
        found |= {f"weight{number}": layer.weight.grad.clone(), f"bias{number}": layer.bias.grad.clone()}
    return found | {"mean": layer.running_mean, "variance": layer.running_var, "count": layer.num_batches_tracked}


def score(folder: Path, compute: Compute, config: Config) -> dict[str, object]:
    """Score seven slices; return the scores, and how many of them passed through the network here."""
    torch.manual_seed(3)
    network = nn.Conv2d(1, 2, 3, padding=1)
    seen = []
    network.register_forward_hook(lambda _layer, inputs, _output: seen.append(len(inputs[0])))
    scores = validate(network, read_part(folder, "train"), compute=compute, recipe=config.recipe, batch_size=4)
    return {**vars(scores), "seen": sum(seen)}


def watch_import() -> list[str]:
    """Import Fabric, which training alone does not; return what it asks of the network and of other programs."""
    asked: list[str] = []
    watched = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen")
    assert "lightning_fabric" not in sys.modules
    sys.addaudithook(lambda event, _arguments: asked.append(event) if event in watched else None)
    import lightning_fabric  # noqa: F401, PLC0415

    return asked + [module for module in ("aiohttp", "requests") if module in sys.modules]


def main(folder: Path) -> None:
    """Do everything once in both processes."""
    place = find_place()
    assert place is not None
    asked = watch_import()
    config = config_from_tables(CONFIG)
    with open_team(place, "cpu") as team:
        compute = start_compute(config.training, team)
        found = {"asked": asked, "threads": torch.get_num_threads(), "described": compute.describe()}
        found["rows"], network = train(folder, "together" if team.leads else "not-written", compute)
        save_weights(folder / f"together{place.rank}.safetensors", network)
        train(folder, "resumed", compute, epochs=1)
        if team.leads:
            train(folder, "resumed", replace(compute, team=Team()), epochs=2)
        found["agreed"] = team.agree(f"continue, says {place.rank}")
        found["resumed"], network = train(folder, "resumed", compute)
        found["scores"] = score(folder, compute, config)
        tensors = load_file(folder / "features.safetensors")
        save_file(normalise(team, **tensors), folder / f"normalised{place.rank}.safetensors")
        (folder / f"{place.rank}.json").write_text(json.dumps(found), encoding="utf-8")
    try:
        with open_team(place, "cpu") as team:
            if not team.leads:
                os._exit(0)  # without a word
            team.agree("who is there?" * 1000)
            team.gather(torch.zeros(1), 2)
    except PeerLostError as error:
        (folder / "lost.txt").write_text(str(error), encoding="utf-8")


main(Path(sys.argv[1]))

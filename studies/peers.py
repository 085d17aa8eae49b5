"""Other networks with the same data, augmentation, loop and training time.

``python -m studies.peers DATA --sources DIR --minutes 8`` trains each on three folds of ``studies.sources`` and prints
its Dice with intervals on every second slice of the fourth that is no copy of a training slice, its parameters, and the
milliseconds of a slice in ONNX Runtime. Finished networks are not trained again, so that several processes can share
the work with ``--network NAME``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from benchmarks.common import make_table
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet as MonaiUNet
from rich.console import Console
from rich.table import Table
from torch import nn

from studies.ablation import IMPLANTS, one_map, open_held_out, score
from tumortrace.cli import run_script
from tumortrace.config import Config, load_config
from tumortrace.data.dataset import Dataset
from tumortrace.inference.model import open_model
from tumortrace.json_csv import read_json, write_json
from tumortrace.progress import tell
from tumortrace.run_folder import MODEL
from tumortrace.training.arrays import PreparedPart, prepare_part
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.export import ModelCard, export_onnx
from tumortrace.training.loop import fit
from tumortrace.training.networks import UNet, build_network

WIDTHS = (16, 32, 64, 128, 256)
STRIDES = (2, 2, 2, 2)
OURS = "tumortrace fast"
EPOCH_SLICES = 1024
"""Short epochs, so that a few minutes hold several."""

COARSE_SHARE = 0.6
"""Fraction of the epochs that take coarse slices, about that of the configuration ``fast`` (20 of 32)."""


def make_networks(config: Config) -> dict[str, Callable[[], nn.Module]]:
    """Return each network at a size that two cores can train; MONAI's have the widths of its tutorials."""
    size_hw = config.recipe.size_hw
    return {
        OURS: lambda: build_network(config.network, size_hw=size_hw, seed=0),
        "the student paper's, 4 x narrower": lambda: UNet(WIDTHS),
        "MONAI UNet": lambda: MonaiUNet(2, 1, 2, WIDTHS, STRIDES, num_res_units=2),
        "MONAI AttentionUnet": lambda: AttentionUnet(2, 1, 2, WIDTHS, STRIDES),
        "MONAI SegResNet": lambda: SegResNet(spatial_dims=2, init_filters=16, in_channels=1, out_channels=2),
        "MONAI DynUNet": lambda: DynUNet(2, 1, 2, [3] * 5, [1, *STRIDES], STRIDES, filters=WIDTHS),
    }


class Terms(NamedTuple):
    """What all networks have in common; peers have one map of tumour, and the loss for it."""

    config: Config
    compute: Compute
    part: PreparedPart
    minutes: float


def run_network(name: str, build: Callable[[], nn.Module], terms: Terms, out: Path) -> None:
    """Train one network for so many minutes, and export it; nothing if that was done before."""
    config, compute, part, minutes = terms
    if (out / MODEL).is_file():
        return
    tell(f"{name} ...")
    probe = dataclasses.replace(config.training, epochs=1, coarse_epochs=0, epoch_slices=64)
    nothing = prepare_part((), config.recipe, name="nothing")
    few = dataclasses.replace(part, images=part.images[:64], truths=part.truths[:64], sources=part.sources[:64])
    started = time.perf_counter()
    probing = dataclasses.replace(config, training=probe)
    fit(build(), probing, compute=compute, train=few, val=nothing, run=out / "probe")
    fine = (time.perf_counter() - started) * (config.training.epoch_slices or len(part)) / 64
    # A coarse epoch costs about 0.4 of a fine one.
    epochs = max(round(60 * minutes / (fine * (0.4 * COARSE_SHARE + 1 - COARSE_SHARE))), 1)
    training = dataclasses.replace(config.training, epochs=epochs, coarse_epochs=int(COARSE_SHARE * epochs))
    network = build()
    whole = dataclasses.replace(config, training=training)
    started = time.perf_counter()
    fit(network, whole, compute=compute, train=part, val=nothing, run=out)
    seconds = time.perf_counter() - started
    parameters = sum(parameter.numel() for parameter in network.parameters())
    write_json(out / "cost.json", {"epochs": epochs, "minutes": seconds / 60, "parameters": parameters})
    card = dataclasses.asdict(ModelCard(name, "", "", "", 0, ""))
    export_onnx(network, out / MODEL, recipe=config.recipe, card=card, feature_ranges={}, samples=part.images[:2])


def time_slice(run: Path, *, rounds: int = 30) -> float:
    """Return the median milliseconds of one slice in ONNX Runtime on all cores, bare inference."""
    model = open_model(str(run))
    image = np.zeros((1, 1, *model.recipe.size_hw), np.float32)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.session.run(image)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[rounds // 5 :]))


def tabulate(results: dict[str, dict[str, Any]]) -> Table:
    """Return a table with a row for each network."""
    sources = sorted(next(iter(results.values()))["dice"])
    table = make_table(
        "Same data, same minutes",
        "network",
        "M parameters",
        "epochs",
        "minutes",
        "ms a slice",
        *sources,
        "false-positive rate",
    )
    for name, result in results.items():
        cells = [result["dice"][source] for source in sources]
        written = [f"{cell['mean']:.3f} [{cell['ci95'][0]:.3f}, {cell['ci95'][1]:.3f}]" for cell in cells]
        cost = [f"{result['parameters'] / 1e6:.2f}", str(result["epochs"]), f"{result['minutes']:.1f}"]
        table.add_row(name, *cost, f"{result['ms']:.1f}", *written, f"{result['painted']:.1%}")
    return table


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    minutes: Annotated[float, typer.Option()] = 8.0,
    threads: Annotated[int, typer.Option()] = 0,
    network: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    out: Annotated[Path, typer.Option()] = Path("runs/peers"),
) -> None:
    """Train what is not trained yet, score everything, print the table."""
    settings = [*IMPLANTS, f"training.threads={threads}", f"training.epoch_slices={EPOCH_SLICES}"]
    config = load_config("fast", settings)
    of_peers = load_config("fast", [*settings, *one_map("dice_cross_entropy")])
    dataset, group_of = open_held_out(data, sources)
    compute = start_compute(config.training)
    part = prepare_part(dataset.select("train"), config.recipe, name="TRAIN")
    results = {}
    for name, build in make_networks(config).items():
        if network and name not in network:
            continue
        folder = out / name.replace(" ", "-").replace("'", "").replace(",", "")
        run_network(name, build, Terms(config if name == OURS else of_peers, compute, part, minutes), folder)
        results[name] = _score(folder, dataset, group_of)
    Console(width=160).print(tabulate(results))


def _score(folder: Path, dataset: Dataset, group_of: dict[str, str]) -> dict[str, Any]:
    path = folder / "scores.json"
    if not path.is_file():
        write_json(path, score(folder, dataset, group_of))
    return {**read_json(path), **read_json(folder / "cost.json"), "ms": time_slice(folder)}


if __name__ == "__main__":
    run_script(main)

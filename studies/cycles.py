"""Gain of a second training cycle, and of the mean of both, on held-out slices.

``python -m studies.cycles DATA... --negatives DIR --crossval DIR`` takes the folds that ``tumortrace crossval``
trained in two cycles. A fold's checkpoint holds what its second cycle ended with, and its kept weights are the mean of
both ends, so the first end follows. Each is asked on the fold's held-out slices (every ``--every``-th), and so are both
ends together, the mean of their probabilities; in torch, on the network's grid, at a threshold of 0.5.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from studies.held_out import Scored, tabulate_gains
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.splits import apply_split, read_split
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import ConfigError
from tumortrace.metrics.calibration import PAINTED
from tumortrace.progress import tell
from tumortrace.run_folder import BEST, CHECKPOINT, CONFIG
from tumortrace.training.arrays import PreparedPart, prepare_part
from tumortrace.training.networks import build_network

WAYS = ("first cycle", "second cycle", "mean of the weights", "both asked")

Weights = dict[str, Tensor]


def read_ends(run: Path) -> tuple[Weights, Weights, Weights]:
    """The weights that each of two cycles ended with, and their mean.

    Raises:
        ConfigError: The run was not trained in two cycles.
    """
    if load_config(str(run / CONFIG)).training.cycles != 2:
        raise ConfigError(f"{run}: was not trained in two cycles; give folds with training.cycles=2")
    mean = load_file(run / BEST)
    tensors = load_file(run / CHECKPOINT)
    second = {name: tensors[f"average.{name}"] for name in mean}
    first = {name: 2 * mean[name] - second[name] if mean[name].is_floating_point() else mean[name] for name in mean}
    return first, second, mean


@torch.no_grad()
def ask(network: nn.Module, weights: Weights, images: Tensor) -> Tensor:
    """Probability of tumour, shape (N, H, W)."""
    network.load_state_dict(weights)
    return torch.cat([network.eval()(batch).softmax(dim=1)[:, 1] for batch in images.split(16)])


def score(crossval: Path, whole: Dataset, *, every: int) -> list[Scored]:
    """Ask all ways on the held-out slices."""
    split = read_split(crossval / "split.json")
    group_of = {case.file: case.group for case in split.cases}
    config = load_config(str(crossval / CONFIG))
    network = build_network(replace(config.network, pretrained=False), size_hw=config.recipe.size_hw, seed=0)
    scored = []
    for side in split.sides:
        tell(f"Fold {side}")
        records = apply_split(whole, split, fold=int(side)).select("test")[::every]
        part = prepare_part(records, config.recipe, name="held out")
        first, second, mean = (ask(network, each, part.images) for each in read_ends(crossval / f"fold-{side}"))
        values = np.stack([judge(each, part) for each in (first, second, mean, (first + second) / 2)], axis=1)
        healthy = (~part.truths.bool().flatten(1).any(dim=1)).tolist()
        for index, case_id in enumerate(part.hashes):
            one = tuple(values[index].tolist())
            scored.append(Scored(part.sources[index], group_of[case_id], healthy[index], one))
    return scored


def judge(probability: Tensor, part: PreparedPart) -> NDArray[np.float64]:
    """Dice of each slice's mask at 0.5; of one without tumour, whether more than ``PAINTED`` of it is marked."""
    marked, tumour = probability >= 0.5, part.truths.bool()
    total = (marked.sum(dim=(1, 2)) + tumour.sum(dim=(1, 2))).double()
    dice = 2 * (marked & tumour).sum(dim=(1, 2)) / total
    painted = (marked.double().mean(dim=(1, 2)) > PAINTED).double()
    return torch.where(tumour.flatten(1).any(dim=1), dice, painted).numpy()


def main(
    data: list[Path],
    crossval: Annotated[Path, typer.Option()],
    negatives: Annotated[Path | None, typer.Option()] = None,
    every: Annotated[int, typer.Option(help="Take every so many of the held-out slices.")] = 1,
) -> None:
    """Ask in all ways; print the table."""
    scored = score(crossval, open_datasets(data, negatives=negatives), every=every)
    Console(width=150).print(tabulate_gains("Two cycles", WAYS[0], [f"gain: {way}" for way in WAYS[1:]], scored))


if __name__ == "__main__":
    run_script(main)

"""The mean of the weights of two runs or more, as a run of its own.

``python -m studies.mean_of_runs RUN RUN --out MEAN`` averages the kept weights of runs that began from one another,
batch statistics included; a run that is given twice has twice the weight. MEAN has settings, training index and
manifest of the last run, which must know all training slices of the others.

Source: Wortsman et al. 2022, "Model soups".
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from tumortrace.cli import run_script
from tumortrace.copies.training_index import load_training_index
from tumortrace.errors import ModelError
from tumortrace.files import write_atomically
from tumortrace.run_folder import BEST, CONFIG, MANIFEST, MODEL, NETWORK, TRAINING_INDEX
from tumortrace.training.export import make_onnx
from tumortrace.training.export_run import open_run


def average(weights: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights in some files, at least one.

    Raises:
        ModelError: They are of different networks.
    """
    states = [load_file(path) for path in weights]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(each != shapes[0] for each in shapes):
        raise ModelError(f"{weights[0].parent}: the runs are of different networks; give runs of one")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(first.dtype)
        for name, first in states[0].items()
    }


def check_last_knows_all(runs: Sequence[Path]) -> None:
    """Check that the last run remembers the training slices of all others, since the mean takes its index.

    Raises:
        ModelError: It lacks some, so that an evaluation of the mean would call their copies clean.
    """
    *others, last = (set(load_training_index(run / TRAINING_INDEX).hashes) for run in runs)
    for run, hashes in zip(runs, others, strict=False):
        if lacking := len(hashes - last):
            raise ModelError(
                f"{runs[-1]}: does not know {lacking} training slices of {run}; start the last run from it"
            )


def main(runs: list[Path], out: Annotated[Path, typer.Option()]) -> None:
    """Write the folder of the mean."""
    check_last_knows_all(runs)
    if out.exists():
        raise ModelError(f"{out}: is there already; choose another --out, or remove it")
    partial = out.with_name(f"{out.name}.partial")  # until the end it holds the model of the last run
    partial.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, NETWORK, TRAINING_INDEX, MANIFEST, MODEL):
        shutil.copyfile(runs[-1] / name, partial / name)
    save_file(average([run / BEST for run in runs]), partial / BEST)
    run = open_run(partial)
    sample = torch.zeros(1, 1, *run.model.recipe.size_hw)
    card = run.model.card | {"name": out.name, "weights_sha256": run.weights_sha256}
    ranges = run.model.feature_ranges
    data = make_onnx(run.network, recipe=run.model.recipe, card=card, feature_ranges=ranges, sample=sample)
    write_atomically(partial / MODEL, data)
    partial.rename(out)
    print(f"{out}: the mean of {len(runs)} runs")


if __name__ == "__main__":
    run_script(main)

"""Why a training with Tversky loss collapsed: a saturated softmax.

``python -m reproduction.dead_softmax BR35H --run RUN --split FILE --fold I`` takes a run that ended so; ``tumortrace
sweep BR35H --config reproduction/sweeps/losses.toml`` trains one, Tversky with seed 0. It first measures the gradient
of each loss on some training slices, at the run's first weights and at its last. An overlap loss reaches the logits
through p (1 - p) alone, which float32 rounds to zero once they are some tens apart; the gradient of cross-entropy is
p - t.

Then it trains ``EPOCHS`` epochs of each of ``TRIALS``: changes that might prevent the collapse, and changes that
might revive the dead weights.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn

from reproduction.runs import finish_run
from reproduction.tables import write_table
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import apply_split, read_split
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.inference.model import open_model
from tumortrace.progress import tell
from tumortrace.reporting.figures import read_metrics
from tumortrace.run_folder import BEST, CONFIG, METRICS
from tumortrace.training.arrays import PreparedPart, evenly_spaced, prepare_part
from tumortrace.training.checkpoint import load_weights
from tumortrace.training.losses import make_loss
from tumortrace.training.networks import build_network

LOSSES = ("tversky", "dice", "cross_entropy", "dice_cross_entropy")
EPOCHS = 4
SLICES = 16
"""That the gradients are measured on."""

TRIALS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "as it was": (False, ()),
    "a tenth of the rate, 1e-4": (False, ("training.learning_rate=1e-4",)),
    "gradients clipped at 1": (False, ("training.clip=1.0",)),
    "the rate rises at first, one cycle": (False, ("training.schedule=one_cycle",)),
    "on from the dead weights": (True, ()),
    "on from the dead weights, Dice + cross-entropy": (True, ("training.loss=dice_cross_entropy",)),
}
"""Whether each begins from the run's last weights, and what it changes of its settings."""


def measure_gradients(network: nn.Module, part: PreparedPart) -> list[dict[str, Any]]:
    """The gradient of each loss at a network's weights, in training mode, over all slices at once.

    Returns:
        A row a loss: its value, the Euclidean norm of its gradient over all weights, and how far tumour's logit lies
        from background's, as the middle and both ends over all pixels.
    """
    rows = []
    for name in LOSSES:
        network.zero_grad()
        logits = network.train()(part.images)
        loss = make_loss(name)(logits, part.truths.long())  # type: ignore[arg-type] # of LOSSES
        loss.backward()
        norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
        apart = (logits[:, 1] - logits[:, 0]).detach()
        rows.append(
            {
                "loss": name,
                "value": loss.item(),
                "gradient_norm": math.hypot(*(norm.item() for norm in norms)),
                "logits_apart_low": apart.min().item(),
                "logits_apart_middle": apart.median().item(),
                "logits_apart_high": apart.max().item(),
            }
        )
    return rows


def try_out(name: str, dataset: Dataset, *, run: Path, out: Path) -> dict[str, Any]:
    """Train one of ``TRIALS``; its last epoch's scores on the slices that were held out."""
    goes_on, changes = TRIALS[name]
    folder = out / f"{list(TRIALS).index(name) + 1}"
    tell(name)
    config = load_config(str(run / CONFIG), (f"training.epochs={EPOCHS}", *changes))
    finish_run(dataset, config, folder, start_from=open_model(str(run)) if goes_on else None)
    last = read_metrics(folder / METRICS)[-1]
    return {"trial": name, **{key: last[key] for key in ("epoch", "train_loss", "val_loss", "val_dice")}}


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the Br35H segmentation data.")],
    run: Annotated[Path, typer.Option(help="A run that stood still.")],
    split: Annotated[Path, typer.Option(help="The split.json that it was trained by.")],
    fold: Annotated[int, typer.Option(help="The fold that it was scored on.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the trainings.")] = Path("runs/dead-softmax"),
    into: Annotated[Path, typer.Option(help="Folder of results/.")] = Path("reproduction"),
) -> None:
    """Measure gradients, then train what may prevent or mend it."""
    config = load_config(str(run / CONFIG))
    parted = apply_split(open_dataset(data), read_split(split), fold=fold)
    # Nothing is chosen on it: the last epoch is kept.
    renamed = tuple(replace(record, part=record.part.replace("test", "val")) for record in parted.records)
    dataset = replace(parted, records=renamed)
    part = prepare_part(tuple(evenly_spaced(dataset.select("train"), SLICES)), config.recipe, name="slices")
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)
    rows = [{"weights": "first", **row} for row in measure_gradients(network, part)]
    load_weights(run / BEST, network)
    rows += [{"weights": "last", **row} for row in measure_gradients(network, part)]
    write_table(into / "results" / "dead_softmax.csv", rows)
    trials = [try_out(name, dataset, run=run, out=out) for name in TRIALS]
    write_table(into / "results" / "dead_softmax_trials.csv", trials)
    for row in [*rows, *trials]:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


if __name__ == "__main__":
    run_script(main)

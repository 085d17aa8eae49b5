"""The epochs of a run: their rows, and which one's weights are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from tumortrace.config import Keep
from tumortrace.json_csv import write_csv
from tumortrace.wording import describe_seconds


@dataclass(frozen=True)
class EpochRow:
    """One epoch, a row of ``metrics.csv``.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean of the configured loss over the slices while they were trained on.
        val_loss: Mean cross-entropy on VAL after the epoch; None without a VAL part.
        val_dice: Mean Dice on VAL at the recipe's thresholds, on the network's grid, over the slices where it is
            defined; None without.
        images_per_second: Training speed, validation excluded.
        loader_share: Fraction of the training time spent on fetching batches, 0 to 1.
        seconds: Wall time of the epoch, validation included.
        train_loss_name: Name of the loss in ``train_loss``, a value of ``training.loss``.
        val_loss_name: Name of the loss in ``val_loss``; empty without one.
    """

    epoch: int
    train_loss: float
    val_loss: float | None
    val_dice: float | None
    images_per_second: float
    loader_share: float
    seconds: float
    train_loss_name: str = ""
    val_loss_name: str = ""


def kept_epoch(rows: Sequence[EpochRow], *, keep: Keep) -> int:
    """Return the number of the epoch whose weights are kept; of equal ones the first; an undefined score never wins."""
    if keep == "last":
        return rows[-1].epoch
    scores = [row.val_loss if keep == "best_loss" else row.val_dice for row in rows]
    values = np.array([np.nan if score is None else score for score in scores])
    if np.isnan(values).all():
        return rows[-1].epoch
    return rows[int(np.nanargmin(values) if keep == "best_loss" else np.nanargmax(values))].epoch


def describe_epoch(rows: Sequence[EpochRow], *, epochs: int) -> str:
    """Return the last epoch as one line, with the time that the rest will take at the mean speed so far."""
    row = rows[-1]
    pieces = [f"epoch {row.epoch}/{epochs}", f"loss {row.train_loss:.4f}"]
    pieces += [f"VAL loss {row.val_loss:.4f}"] if row.val_loss is not None else []
    pieces += [f"VAL Dice {row.val_dice:.3f}"] if row.val_dice is not None else []
    pieces += [f"{row.images_per_second:.1f} images/s"]
    seconds_left = (epochs - row.epoch) * sum(each.seconds for each in rows) / len(rows)
    pieces += [f"{describe_seconds(seconds_left)} left"] if row.epoch < epochs else []
    return "  ".join(pieces)


def write_metrics(path: Path, rows: Sequence[EpochRow]) -> None:
    """Write ``metrics.csv``: a row an epoch, empty cells where nothing was measured."""
    write_csv(path, (asdict(row) for row in rows), columns=[field.name for field in fields(EpochRow)])

"""The training loop, read from top to bottom: epoch after epoch of train, validate, keep, save.

Nothing random survives an epoch: the order of slices is drawn anew from (seed, epoch). A run that is killed and resumed
from its last whole epoch therefore ends, on a CPU, with the same weights, bit for bit.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

from tumortrace.config import Config, Keep, TrainingConfig
from tumortrace.data.fingerprint import hash_part
from tumortrace.data.slice import write_atomically
from tumortrace.errors import TumortraceError
from tumortrace.machine import usable_cores
from tumortrace.progress import open_progress, tell
from tumortrace.runfolder import BEST, CHECKPOINT, METRICS, TENSORBOARD
from tumortrace.train.arrays import PreparedPart
from tumortrace.train.checkpoint import (
    EpochRow,
    TrainingState,
    load_checkpoint,
    read_state,
    refuse_other_settings,
    save_checkpoint,
    save_weights,
)
from tumortrace.train.memory import explain_memory

Tick = Callable[[int, str], None]


@dataclass(frozen=True, eq=False)
class EpochResult:
    """Means over one pass through a part.

    Attributes:
        loss: Mean cross-entropy over the slices.
        dice: Mean Dice over the slices where it is defined, on the network's grid; None where it is not measured.
        images_per_second: Slices by the wall time of the pass.
        loader_share: Share of that time spent on fetching batches.
    """

    loss: float
    dice: float | None
    images_per_second: float
    loader_share: float


def start_fabric(training: TrainingConfig) -> Fabric:
    """Threads, device and precision, chosen once for the process.

    Raises:
        TumortraceError: The device that the configuration names is not there.
    """
    torch.set_num_threads(training.threads or usable_cores())
    if training.device == "cuda" and not torch.cuda.is_available():
        raise TumortraceError("training.device = 'cuda', but torch sees no GPU; set training.device=auto")
    fabric = Fabric(accelerator=training.device, devices=1, precision=training.precision)
    fabric.launch()
    return fabric


def fit(
    network: nn.Module,
    config: Config,
    *,
    fabric: Fabric,
    train: PreparedPart,
    val: PreparedPart,
    run: Path,
) -> TrainingState:
    """Train until the last epoch, from the run folder's checkpoint if it has one.

    Writes after every epoch ``last/checkpoint.safetensors``, and what follows from it: ``best.safetensors`` (when the
    epoch is the one to keep), ``metrics.csv`` and TensorBoard events.

    Args:
        network: With its first weights; holds the last ones afterwards.
        config: Of the run.
        fabric: From ``start_fabric``.
        train: What is learnt from.
        val: What each epoch is measured on; may be empty if ``config.training.keep`` is ``"last"``.
        run: The run folder; a checkpoint in it from other data or under other settings is refused.

    Raises:
        ConfigError: The checkpoint began under other settings.
        TumortraceError: Memory ran out, the loss is no longer a number (the last whole epoch's checkpoint stays), or
            the checkpoint is damaged or belongs to other data.
    """
    training = config.training
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks this form
    model, adam = fabric.setup(network, optimizer)
    checkpoint = run / CHECKPOINT
    state = TrainingState(config, hash_part(train.hashes | val.hashes))
    if checkpoint.is_file():
        state = _resume(checkpoint, network=network, optimizer=optimizer, fresh=state)
    with SummaryWriter(run / TENSORBOARD, purge_step=len(state.rows)) as events, explain_memory(config):
        if state.rows:  # the kill may have come between this checkpoint and what follows from it
            _write_epoch(run, network, rows=state.rows, keep=training.keep, events=events)
        for epoch in range(len(state.rows) + 1, training.epochs + 1):
            started = time.perf_counter()
            with _epoch_bar(epoch, config, total=len(train) + len(val)) as tick:
                order = epoch_order(len(train), seed=training.seed, epoch=epoch)
                batches = torch.split(order, training.batch_size)
                learnt = _train_epoch(model, adam, fabric=fabric, part=train, batches=batches, tick=tick)
                _refuse_diverged(epoch, learnt.loss)
                measured = _validate(model, fabric=fabric, part=val, config=config, tick=tick) if len(val) else None
            state.rows.append(_row(epoch, learnt, measured, seconds=time.perf_counter() - started))
            save_checkpoint(checkpoint, network=network, optimizer=optimizer, state=state)
            _write_epoch(run, network, rows=state.rows, keep=training.keep, events=events)
            tell(describe_epoch(state.rows, epochs=training.epochs))
    return state


def epoch_order(count: int, *, seed: int, epoch: int) -> Tensor:
    """The order in which one epoch visits the slices: a permutation that depends on (seed, epoch) alone."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))


def kept_epoch(rows: list[EpochRow], *, keep: Keep) -> int:
    """Number of the epoch whose weights are kept; of equals the first; an undefined score never wins."""
    if keep == "last":
        return rows[-1].epoch
    scores = [row.val_loss if keep == "best_loss" else row.val_dice for row in rows]
    values = np.array([np.nan if score is None else score for score in scores])
    if np.isnan(values).all():
        return rows[-1].epoch
    return rows[int(np.nanargmin(values) if keep == "best_loss" else np.nanargmax(values))].epoch


def describe_epoch(rows: list[EpochRow], *, epochs: int) -> str:
    """The last epoch as one line, with the time that the rest will take at the mean speed so far."""
    row = rows[-1]
    pieces = [f"epoch {row.epoch}/{epochs}", f"loss {row.train_loss:.4f}"]
    pieces += [f"VAL loss {row.val_loss:.4f}"] if row.val_loss is not None else []
    pieces += [f"VAL Dice {row.val_dice:.3f}"] if row.val_dice is not None else []
    seconds_left = (epochs - row.epoch) * sum(each.seconds for each in rows) / len(rows)
    return "  ".join([*pieces, f"{row.images_per_second:.1f} images/s", f"{seconds_left / 60:.1f} min left"])


def write_metrics(path: Path, rows: list[EpochRow]) -> None:
    """Write ``metrics.csv``: a row an epoch, empty cells where nothing was measured."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomically(path, text.getvalue().encode())


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    fabric: Fabric,
    part: PreparedPart,
    batches: Sequence[Tensor],
    tick: Tick,
) -> EpochResult:
    model.train()
    total_loss = torch.zeros((), device=fabric.device)
    started = time.perf_counter()
    loading = 0.0
    for indices in batches:
        fetching = time.perf_counter()
        images, truths = _fetch(part, indices, fabric.device)
        loading += time.perf_counter() - fetching
        loss = functional.cross_entropy(model(images), truths)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        total_loss += loss.detach() * len(indices)
        tick(len(indices), f"loss {loss.item():.4f}")
    seconds = time.perf_counter() - started
    return EpochResult(total_loss.item() / len(part), None, len(part) / seconds, loading / seconds)


@torch.no_grad()
def _validate(model: nn.Module, *, fabric: Fabric, part: PreparedPart, config: Config, tick: Tick) -> EpochResult:
    model.eval()
    losses: list[Tensor] = []
    dices: list[Tensor] = []
    started = time.perf_counter()
    for indices in torch.split(torch.arange(len(part)), config.training.batch_size):
        images, truths = _fetch(part, indices, fabric.device)
        logits = model(images).float()
        losses.append(functional.cross_entropy(logits, truths, reduction="none").mean(dim=(1, 2)))
        dices.append(_dice(logits.softmax(dim=1)[:, 1] >= config.recipe.threshold, truths == 1))
        tick(len(indices), "validating")
    seconds = time.perf_counter() - started
    dice = torch.cat(dices).nanmean().item()
    return EpochResult(torch.cat(losses).mean().item(), None if np.isnan(dice) else dice, len(part) / seconds, 0.0)


def _dice(prediction: Tensor, truth: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN) of each slice, for bool tensors (N, H, W); NaN where both are empty."""
    overlap = (prediction & truth).sum(dim=(1, 2))
    return 2 * overlap / (prediction.sum(dim=(1, 2)) + truth.sum(dim=(1, 2)))


def _fetch(part: PreparedPart, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    images = part.images[indices].to(device, non_blocking=True, memory_format=torch.channels_last)
    return images, part.truths[indices].to(device, non_blocking=True).long()


def _row(epoch: int, learnt: EpochResult, measured: EpochResult | None, *, seconds: float) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        train_loss=learnt.loss,
        val_loss=measured.loss if measured else None,
        val_dice=measured.dice if measured else None,
        images_per_second=round(learnt.images_per_second, 2),
        loader_share=round(learnt.loader_share, 4),
        seconds=round(seconds, 2),
    )


def _write_epoch(run: Path, network: nn.Module, *, rows: list[EpochRow], keep: Keep, events: SummaryWriter) -> None:
    if kept_epoch(rows, keep=keep) == rows[-1].epoch:
        save_weights(run / BEST, network)
    write_metrics(run / METRICS, rows)
    _log_events(events, rows[-1])


def _log_events(events: SummaryWriter, row: EpochRow) -> None:
    scalars = {"loss/train": row.train_loss, "loss/val": row.val_loss, "dice/val": row.val_dice}
    for tag, value in scalars.items():
        if value is not None:
            events.add_scalar(tag, value, row.epoch)
    events.flush()


@contextmanager
def _epoch_bar(epoch: int, config: Config, *, total: int) -> Iterator[Tick]:
    """A bar for one epoch, with the loss and images/s; its line shows the time left in the epoch."""
    with open_progress() as progress:
        task = progress.add_task(f"Epoch {epoch}/{config.training.epochs}", total=total, note="")

        def tick(images: int, note: str) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed:.1f} images/s" if speed else ""
            progress.update(task, advance=images, note=f"{note} {rate}")

        yield tick


def _refuse_diverged(epoch: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise TumortraceError(
            f"training diverged in epoch {epoch} (loss {loss}); lower training.learning_rate and train into another "
            "--out"
        )


def _resume(
    checkpoint: Path, *, network: nn.Module, optimizer: torch.optim.Optimizer, fresh: TrainingState
) -> TrainingState:
    """The state in a checkpoint, with the settings of now; network and optimizer are put back to where they were."""
    state = read_state(checkpoint)
    refuse_other_settings(checkpoint, state.config, fresh.config)
    if state.data_hash != fresh.data_hash:
        raise TumortraceError(
            f"{checkpoint}: was trained on other data (sha256 {state.data_hash[:12]}, now {fresh.data_hash[:12]}); "
            "restore the data, or train into another --out"
        )
    load_checkpoint(checkpoint, network=network, optimizer=optimizer)
    return replace(fresh, rows=state.rows)

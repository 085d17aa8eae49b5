"""The training loop, read from top to bottom: epoch after epoch of train, validate, keep, save.

Nothing random survives an epoch: the order of slices and their variants are drawn anew from (seed, epoch). A run that
is killed and resumed from its last whole epoch therefore ends, on a CPU, with the same weights, bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import AugmentationConfig, Config, Keep, TrainingConfig
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import RunFailedError, TumortraceError
from tumortrace.files import write_csv
from tumortrace.progress import open_progress, tell
from tumortrace.run_folder import BEST, CHECKPOINT, METRICS, TENSORBOARD
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.augment import augment
from tumortrace.training.average import KeptNetwork
from tumortrace.training.checkpoint import (
    EpochRow,
    TrainingState,
    load_checkpoint,
    read_state,
    refuse_other_settings,
    save_checkpoint,
    save_weights,
)
from tumortrace.training.compute import Compute
from tumortrace.training.events import log_epoch, start_events
from tumortrace.training.losses import make_loss
from tumortrace.training.out_of_memory import explain_memory
from tumortrace.training.pace import Pace, Work
from tumortrace.training.sampling import draw_epoch

COARSE = 0.625
"""Scale of the slices in the coarse epochs."""

VALIDATION_WORK = 1 / 3
"""Work of a slice in validation, which has no backward pass, as a fraction of its work in training."""

Tick = Callable[[int, str], None]

GoOn = Callable[[Sequence[EpochRow]], bool]
"""Whether a run goes on after these epochs; given at least one.

The answer must depend on the rows alone: a run that is resumed asks again about the epochs it has."""


def always(_rows: Sequence[EpochRow]) -> bool:
    """Every run goes on to its last epoch."""
    return True


@dataclass(frozen=True, eq=False)
class EpochResult:
    """Means over one pass through a part.

    Attributes:
        loss: Mean over the slices: in training of the configured loss, in validation of the cross-entropy.
        dice: Mean Dice over the slices where it is defined, on the network's grid; None where it is not measured.
        images_per_second: Slices by the wall time of the pass.
        loader_share: Share of that time spent on fetching batches.
    """

    loss: float
    dice: float | None
    images_per_second: float
    loader_share: float


def fit(  # noqa: PLR0913 - what a training is made of
    network: nn.Module,
    config: Config,
    *,
    compute: Compute,
    train: PreparedPart,
    val: PreparedPart,
    run: Path,
    go_on: GoOn = always,
) -> TrainingState:
    """Train until the last epoch, or the one after which ``go_on`` ends it; from a checkpoint if there is one.

    Writes after every epoch ``last/checkpoint.safetensors``, and what follows from it: ``best.safetensors`` (when the
    epoch is the one to keep), ``metrics.csv`` and TensorBoard events.

    Args:
        network: With its first weights; holds the last ones afterwards.
        config: Of the run.
        compute: From ``start_compute``.
        train: What is learnt from.
        val: What each epoch is measured on; may be empty if ``config.training.keep`` is ``"last"``.
        run: The run folder; a checkpoint in it from other data or under other settings is refused.
        go_on: Asked after each epoch; a run that does not go on ends there as a whole one.

    Raises:
        ConfigError: The checkpoint began under other settings.
        TumortraceError: Memory ran out, the loss is no longer a number (the last whole epoch's checkpoint stays), or
            the checkpoint is damaged or belongs to other data.
    """
    training = config.training
    network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stub
    optimizer = _make_optimizer(network, training)
    kept = KeptNetwork(network, decay=training.average, cycle_epochs=training.cycle_epochs)
    checkpoint = run / CHECKPOINT
    state = TrainingState(config, hash_part(train.hashes | val.hashes), threads=torch.get_num_threads())
    if checkpoint.is_file():
        state = _resume(checkpoint, network=network, kept=kept, optimizer=optimizer, fresh=state)
    drawn = training.epoch_slices or len(train)
    work = _work_left(config, finished=len(state.rows), train=drawn, val=len(val))
    pace = Pace(work, on_cpu=compute.device.type == "cpu")
    learner = _Learner(network, kept, optimizer, compute, config, train, pace)
    events = start_events(run / TENSORBOARD, epoch=max(len(state.rows), 1))
    with explain_memory(config):
        if state.rows:  # the kill may have come between this checkpoint and what follows from it
            _write_epoch(run, kept, rows=state.rows, keep=training.keep, events=events)
        for epoch in range(len(state.rows) + 1, training.epochs + 1):
            if state.rows and not go_on(state.rows):
                break
            started = time.perf_counter()
            with _epoch_bar(epoch, config, total=drawn + len(val)) as tick:
                learnt = _train_epoch(learner, epoch, tick=tick)
                _refuse_diverged(epoch, learnt.loss)
                ended = kept.end_epoch(epoch)
                measured = _validate(ended, compute=compute, part=val, config=config, tick=tick) if len(val) else None
            state.rows.append(_row(epoch, learnt, measured, seconds=time.perf_counter() - started))
            save_checkpoint(checkpoint, network=network, kept=kept, optimizer=optimizer, state=state)
            _write_epoch(run, kept, rows=state.rows, keep=training.keep, events=events)
            tell(describe_epoch(state.rows, epochs=training.epochs))
            pace.end_epoch()
    network.load_state_dict(kept.after(len(state.rows)).state_dict())
    return state


def learning_rate_at(step: int, *, epoch_steps: int, training: TrainingConfig) -> float:
    """The learning rate of one step.

    Args:
        step: Counted from 0, over the whole training.
        epoch_steps: Of one epoch.
        training: Says the highest rate, and the schedule: constant, or in each cycle a linear rise over the first tenth
            and a cosine down to 0 (Loshchilov & Hutter 2017).
    """
    if training.schedule == "constant":
        return training.learning_rate
    steps = training.cycle_epochs * epoch_steps
    step %= steps
    rise = max(steps // 10, 1)
    if step < rise:
        return training.learning_rate * (step + 1) / rise
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


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
    write_csv(path, (asdict(row) for row in rows), columns=[field.name for field in fields(EpochRow)])


@dataclass(frozen=True, eq=False)
class _Learner:
    """What one epoch of training needs."""

    network: nn.Module
    kept: KeptNetwork
    optimizer: torch.optim.Optimizer
    compute: Compute
    config: Config
    part: PreparedPart
    pace: Pace


def _make_optimizer(network: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)


def _train_epoch(learner: _Learner, epoch: int, *, tick: Tick) -> EpochResult:
    training, compute, part = learner.config.training, learner.compute, learner.part
    loss_of = make_loss(training.loss)
    coarse = _is_coarse(training, epoch)
    with_tumour = part.truths.flatten(1).any(dim=1).tolist()
    count = training.epoch_slices or len(part)
    order = draw_epoch(
        part.sources, with_tumour, count=count, negatives=training.negatives, seed=training.seed, epoch=epoch
    )
    batches = torch.split(order, training.batch_size)
    learner.network.train()
    total_loss = torch.zeros((), device=compute.device)
    started = time.perf_counter()
    loading = 0.0
    for number, indices in enumerate(batches):
        fetching = time.perf_counter()
        rng = np.random.default_rng([training.seed, epoch, number])
        images, truths = _fetch_varied(part, indices, learner.config.augmentation, rng, compute.device)
        if coarse:
            images, truths = _shrink(images, truths, step=2**learner.config.network.poolings)
        loading += time.perf_counter() - fetching
        step = (epoch - 1) * len(batches) + number
        for group in learner.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, epoch_steps=len(batches), training=training)
        with compute.autocast():
            logits = learner.network(images)
        loss = loss_of(logits.float(), truths)
        learner.optimizer.zero_grad()
        torch.autograd.backward(loss)
        if training.clip:
            nn.utils.clip_grad_norm_(learner.network.parameters(), training.clip)
        learner.optimizer.step()
        learner.kept.average.follow(learner.network, step=step + 1)
        total_loss += loss.detach() * len(indices)
        tick(len(indices), f"loss {loss.item():.4f}")
        learner.pace.step(images[:, 0].numel())
    seconds = time.perf_counter() - started
    return EpochResult(total_loss.item() / count, None, count / seconds, loading / seconds)


def _fetch_varied(
    part: PreparedPart, indices: Tensor, settings: AugmentationConfig, rng: np.random.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """A batch of slices, each in a random variant if the settings have any."""
    if settings == AugmentationConfig():
        return _fetch(part, indices, device)
    variants = [
        augment(part.images[index, 0].numpy(), part.truths[index].numpy(), settings, rng) for index in indices.tolist()
    ]
    images = torch.from_numpy(np.stack([image for image, _ in variants])).unsqueeze(1)
    truths = torch.from_numpy(np.stack([truth for _, truth in variants]))
    return images.to(device, memory_format=torch.channels_last), truths.to(device).long()


def _shrink(images: Tensor, truths: Tensor, *, step: int) -> tuple[Tensor, Tensor]:
    """A batch at about ``COARSE`` of its height and width, both multiples of ``step``."""
    size_hw = _coarse_size(images.shape[2:], step=step)
    small = functional.interpolate(images, size_hw, mode="area")
    outlines = functional.interpolate(truths[:, None].float(), size_hw, mode="nearest-exact")
    return small.contiguous(memory_format=torch.channels_last), outlines[:, 0].long()


def _coarse_size(size_hw: Sequence[int], *, step: int) -> list[int]:
    return [max(round(COARSE * side / step), 1) * step for side in size_hw]


def _is_coarse(training: TrainingConfig, epoch: int) -> bool:
    return (epoch - 1) % training.cycle_epochs < training.coarse_epochs


def _work_left(config: Config, *, finished: int, train: int, val: int) -> Work:
    """Return the work of the epochs after the finished ones; ``train`` and ``val`` are slices an epoch."""
    full = math.prod(config.recipe.size_hw)
    coarse = math.prod(_coarse_size(config.recipe.size_hw, step=2**config.network.poolings))
    epochs = range(finished + 1, config.training.epochs + 1)
    trained = sum(train * (coarse if _is_coarse(config.training, epoch) else full) for epoch in epochs)
    return Work(round(trained + VALIDATION_WORK * len(epochs) * val * full), len(epochs))


@torch.no_grad()
def _validate(network: nn.Module, *, compute: Compute, part: PreparedPart, config: Config, tick: Tick) -> EpochResult:
    network.eval()
    losses: list[Tensor] = []
    dices: list[Tensor] = []
    started = time.perf_counter()
    for indices in torch.split(torch.arange(len(part)), config.training.batch_size):
        images, truths = _fetch(part, indices, compute.device)
        with compute.autocast():
            logits = network(images).float()
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


def _write_epoch(run: Path, kept: KeptNetwork, *, rows: list[EpochRow], keep: Keep, events: Path) -> None:
    if kept_epoch(rows, keep=keep) == rows[-1].epoch:
        save_weights(run / BEST, kept.after(rows[-1].epoch))
    write_metrics(run / METRICS, rows)
    log_epoch(events, rows[-1])


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
        raise RunFailedError(
            f"training diverged in epoch {epoch} (loss {loss}); lower training.learning_rate and train into another "
            "--out"
        )


def _resume(
    checkpoint: Path,
    *,
    network: nn.Module,
    kept: KeptNetwork,
    optimizer: torch.optim.Optimizer,
    fresh: TrainingState,
) -> TrainingState:
    """The state in a checkpoint, with the settings of now; the networks and the optimizer are put back to theirs."""
    state = read_state(checkpoint)
    refuse_other_settings(checkpoint, state.config, fresh.config)
    if state.data_hash != fresh.data_hash:
        raise TumortraceError(
            f"{checkpoint}: was trained on other data (sha256 {state.data_hash[:12]}, now {fresh.data_hash[:12]}); "
            "restore the data, or train into another --out"
        )
    load_checkpoint(checkpoint, network=network, kept=kept, optimizer=optimizer)
    return replace(fresh, rows=state.rows)

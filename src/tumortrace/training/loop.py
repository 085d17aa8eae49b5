"""The training loop: epoch after epoch of train, validate, save.

Nothing random survives an epoch: the order of slices and their variants are drawn anew from (seed, epoch). A run that
is killed and resumed from its last complete epoch therefore ends, on a CPU, with the same weights, bit for bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tumortrace.config import Config, Keep
from tumortrace.progress import open_progress, tell
from tumortrace.run_folder import BEST, CHECKPOINT, FIRST, METRICS, TENSORBOARD
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.average import average_weights
from tumortrace.training.batches import coarse_size, fetch_varied, is_coarse, shrink
from tumortrace.training.checkpoint import (
    Saved,
    TrainingState,
    load_checkpoint,
    new_state,
    resume_state,
    save_checkpoint,
    save_weights,
)
from tumortrace.training.compute import Compute
from tumortrace.training.epochs import EpochRow, describe_epoch, kept_epoch, write_metrics
from tumortrace.training.events import log_epoch, start_events
from tumortrace.training.losses import make_loss
from tumortrace.training.optimizer import make_optimizer, refuse_diverged, set_learning_rate, update_weights
from tumortrace.training.out_of_memory import explain_memory
from tumortrace.training.pace import Pace, Work
from tumortrace.training.sampling import Negatives, draw_epoch, peak_probabilities
from tumortrace.training.validation import LOSS, Validation, validate
from tumortrace.wording import counted

VALIDATION_WORK = 1 / 3
"""Work of a slice in validation, which has no backward pass, as a fraction of its work in training."""

EMPTY_EPOCHS = 3
"""Epochs in a row without a mark on VAL after which the run says so."""

Tick = Callable[[int, str], None]

ShouldStop = Callable[[Sequence[EpochRow]], bool]
"""Function that is given the epochs so far, at least one, and says whether the run ends there.

The answer must depend on the rows alone: a run that is resumed asks again about the epochs that it has."""


def never(_rows: Sequence[EpochRow]) -> bool:
    """Let every run continue to its last epoch."""
    return False


def fit(  # noqa: PLR0913 - what a training is made of
    network: nn.Module,
    config: Config,
    *,
    compute: Compute,
    train: PreparedPart,
    val: PreparedPart,
    run: Path,
    should_stop: ShouldStop = never,
) -> TrainingState:
    """Train to the last epoch, or to the one after which ``should_stop`` ends it; from a checkpoint if there is one.

    After every epoch it writes ``last/checkpoint.safetensors``, then ``best.safetensors`` (if this is the epoch to
    keep), ``metrics.csv`` and TensorBoard events. Of several processes the first one writes; the others read the
    checkpoint, and all end with the same weights and history.

    Args:
        network: The network with its first weights; afterwards it holds the last ones.
        config: Settings of the run.
        compute: Device, precision and team.
        train: Slices to train on.
        val: Slices to validate on; may be empty if ``config.training.keep`` is ``"last"``.
        run: The run folder; a checkpoint in it from other data or under other settings is refused.
        should_stop: Function that may end the run after an epoch, as a complete one.

    Raises:
        ConfigError: The checkpoint began under other settings.
        TumortraceError: Memory ran out, training diverged (the last complete epoch's checkpoint stays), or the
            checkpoint is damaged or belongs to other data.
    """
    training = config.training
    network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stub
    state, trainer = _start(network, config, compute=compute, train=train, val=val, checkpoint=run / CHECKPOINT)
    state.from_model = (run / FIRST).is_file()
    keep_epoch = _open_folder(run, trainer, state) if compute.team.leads else _keep_nothing
    empty = 0
    with explain_memory(config):
        for epoch in range(len(state.rows) + 1, training.epochs + 1):
            if state.rows and should_stop(state.rows):
                break
            started = time.perf_counter()
            with _epoch_bar(epoch, config, total=trainer.epoch_slices + len(val)) as tick:
                trained = _train_epoch(trainer, epoch, tick=tick)
                refuse_diverged(epoch, trained.loss)
                validated = _validate(trainer, val, tick=tick) if len(val) else None
            row = _row(epoch, trained, validated, config, seconds=time.perf_counter() - started)
            state.rows.append(EpochRow(**json.loads(compute.team.agree(json.dumps(asdict(row))))))  # times differ
            keep_epoch()
            tell(describe_epoch(state.rows, epochs=training.epochs))
            empty = empty + 1 if validated is not None and not validated.marked else 0
            if empty == EMPTY_EPOCHS:
                tell(_explain_empty(config, len(val)))
            trainer.pace.end_epoch()
    network.load_state_dict(trainer.kept.state_dict())
    return state


@dataclass(frozen=True)
class _TrainedEpoch:
    """One pass of training: the mean loss of the slices, and how fast it went."""

    loss: float
    images_per_second: float
    loader_share: float


@dataclass(frozen=True, eq=False)
class _Trainer:
    """What one epoch of training needs."""

    network: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    compute: Compute
    config: Config
    part: PreparedPart
    pace: Pace
    peaks: Tensor
    forward: nn.Module

    @property
    def kept(self) -> nn.Module:
        """The network whose weights are validated and kept."""
        return self.average.module if self.average is not None else self.network

    @property
    def epoch_slices(self) -> int:
        """Slices of an epoch."""
        return self.config.training.epoch_slices or len(self.part)

    @property
    def saved(self) -> Saved:
        """What a checkpoint keeps of it."""
        return Saved(self.network, self.average.module if self.average else None, self.optimizer, self.peaks)


def _start(
    network: nn.Module, config: Config, *, compute: Compute, train: PreparedPart, val: PreparedPart, checkpoint: Path
) -> tuple[TrainingState, _Trainer]:
    """Return a fresh state and trainer, or those of the checkpoint under the settings of now."""
    training = config.training
    optimizer = make_optimizer(network, training)
    threads = torch.get_num_threads() * compute.team.place.local_size
    state = resume_state(checkpoint, fresh=new_state(config, train.hashes, val.hashes, threads=threads))
    drawn = training.epoch_slices or len(train)
    steps = len(state.rows) * -(-drawn // training.batch_size)
    average = average_weights(network, decay=training.average, steps=steps) if training.average else None
    work = _work_left(config, finished=len(state.rows), train=drawn, val=len(val))
    pace = Pace(work, on_cpu=compute.device.type == "cpu")
    peaks = torch.ones(len(train))
    if checkpoint.is_file():
        load_checkpoint(checkpoint, Saved(network, average.module if average else None, optimizer, peaks))
    forward = compute.team.join_network(network)
    return state, _Trainer(network, average, optimizer, compute, config, train, pace, peaks, forward)


def _train_epoch(trainer: _Trainer, epoch: int, *, tick: Tick) -> _TrainedEpoch:
    training, compute, part = trainer.config.training, trainer.compute, trainer.part
    share = compute.team.share
    loss_of = make_loss(training.loss)
    coarse = is_coarse(training, epoch)
    count = trainer.epoch_slices
    negatives = Negatives(training.negatives, training.hard_negatives, trainer.peaks)
    order = draw_epoch(
        part.sources, part.with_tumour.tolist(), count=count, negatives=negatives, seed=training.seed, epoch=epoch
    )
    batches = torch.split(order, training.batch_size)
    trainer.network.train()
    total_loss = torch.zeros((), device=compute.device)
    started = time.perf_counter()
    loading = 0.0
    for number, indices in enumerate(batches):
        fetching = time.perf_counter()
        places = share(torch.arange(len(indices)) + number * training.batch_size).tolist()
        rngs = [np.random.default_rng([training.seed, epoch, 1 + place]) for place in places]
        images, truths = fetch_varied(part, share(indices), trainer.config.augmentation, rngs, compute.device)
        if coarse:
            images, truths = shrink(images, truths, step=2**trainer.config.network.poolings)
        loading += time.perf_counter() - fetching
        step = (epoch - 1) * len(batches) + number
        set_learning_rate(trainer.optimizer, step, epoch_steps=len(batches), training=training)
        loss, peaks = _step(trainer, images, truths, loss_of, count=len(indices))
        tumour_free = ~peaks.isnan()
        trainer.peaks[indices[tumour_free]] = peaks[tumour_free]
        total_loss += loss * len(indices)
        tick(len(indices), f"loss {loss.item():.4f}")
        trainer.pace.step(len(indices) * math.prod(images.shape[2:]))
    seconds = time.perf_counter() - started
    return _TrainedEpoch(total_loss.item() / count, count / seconds, loading / seconds)


def _step(
    trainer: _Trainer, images: Tensor, truths: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor], *, count: int
) -> tuple[Tensor, Tensor]:
    """Take one step on a batch and return its loss, and the highest tumour probability of each slice, on the CPU.

    Slices and truths are this process's share of the batch, ``count`` slices; what is returned is of the whole batch.
    The probability is NaN where the truth is not empty: a tumour that was implanted makes no slice hard.
    """
    team = trainer.compute.team
    with trainer.compute.autocast():
        logits = trainer.forward(images)
    logits = team.gather(logits.float(), count)
    truths = team.gather(truths, count)
    loss = loss_of(logits, truths)
    trainer.optimizer.zero_grad()
    team.backward(loss)
    update_weights(trainer.network, trainer.optimizer, trainer.average, clip=trainer.config.training.clip)
    peaks = peak_probabilities(logits.detach()).masked_fill(truths.flatten(1).any(dim=1), math.nan)
    return loss.detach(), peaks.cpu()


def _validate(trainer: _Trainer, part: PreparedPart, *, tick: Tick) -> Validation:
    config = trainer.config
    batch = config.training.batch_size
    return validate(trainer.kept, part, compute=trainer.compute, recipe=config.recipe, batch_size=batch, tick=tick)


def _work_left(config: Config, *, finished: int, train: int, val: int) -> Work:
    """Return the work of the epochs after the finished ones; ``train`` and ``val`` are slices an epoch."""
    full = math.prod(config.recipe.size_hw)
    coarse = math.prod(coarse_size(config.recipe.size_hw, step=2**config.network.poolings))
    epochs = range(finished + 1, config.training.epochs + 1)
    trained = sum(train * (coarse if is_coarse(config.training, epoch) else full) for epoch in epochs)
    return Work(round(trained + VALIDATION_WORK * len(epochs) * val * full), len(epochs))


def _row(
    epoch: int, trained: _TrainedEpoch, validated: Validation | None, config: Config, *, seconds: float
) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        train_loss=trained.loss,
        val_loss=validated.loss if validated else None,
        val_dice=validated.dice if validated else None,
        images_per_second=round(trained.images_per_second, 2),
        loader_share=round(trained.loader_share, 4),
        seconds=round(seconds, 2),
        train_loss_name=config.training.loss,
        val_loss_name=LOSS if validated else "",
    )


def _explain_empty(config: Config, slices: int) -> str:
    return (
        f"the model has marked no tumour on any of {counted(slices, 'VAL slice')} for {EMPTY_EPOCHS} epochs (threshold "
        f"{config.recipe.threshold}); if that stays so, train longer, or change training.learning_rate or training.loss"
    )


def _open_folder(run: Path, trainer: _Trainer, state: TrainingState) -> Callable[[], None]:
    """Complete the files of a resumed run; return the function that writes those of each epoch after it."""
    events = start_events(run / TENSORBOARD, epoch=max(len(state.rows), 1))
    keep = trainer.config.training.keep

    def keep_epoch() -> None:
        save_checkpoint(run / CHECKPOINT, trainer.saved, state)
        _write_epoch(run, trainer.kept, rows=state.rows, keep=keep, events=events)

    if state.rows:  # the kill may have come between the checkpoint and the files that follow it
        _write_epoch(run, trainer.kept, rows=state.rows, keep=keep, events=events)
    return keep_epoch


def _keep_nothing() -> None:
    """Leave the files of an epoch to the process that writes."""


def _write_epoch(run: Path, kept: nn.Module, *, rows: Sequence[EpochRow], keep: Keep, events: Path) -> None:
    if kept_epoch(rows, keep=keep) == rows[-1].epoch:
        save_weights(run / BEST, kept)
    write_metrics(run / METRICS, rows)
    log_epoch(events, rows[-1])


@contextmanager
def _epoch_bar(epoch: int, config: Config, *, total: int) -> Iterator[Tick]:
    """Show a bar for one epoch, with the loss, images/s and the time left in the epoch."""
    with open_progress() as progress:
        task = progress.add_task(f"Epoch {epoch}/{config.training.epochs}", total=total, note="")

        def tick(images: int, note: str) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed:.1f} images/s" if speed else ""
            progress.update(task, advance=images, note=f"{note} {rate}")

        yield tick

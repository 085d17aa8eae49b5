"""The training loop of the prompted network: boxes, then clicks on its own errors.

Each step answers its boxes alone, and then with one to four clicks on the largest errors that the network made itself
(iterative training, Sofiiuk et al. 2022). Nothing random survives an epoch, so a resumed run ends with the same
weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tumortrace.config import Config
from tumortrace.evaluation.simulated_prompts import click_error
from tumortrace.inference.prompts.grid import Square, draw_clicks
from tumortrace.progress import open_progress, tell
from tumortrace.run_folder import BEST, CHECKPOINT, FIRST, METRICS
from tumortrace.training.average import average_weights
from tumortrace.training.batches import coarse_size, is_coarse
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
from tumortrace.training.epochs import EpochRow, describe_epoch, write_metrics
from tumortrace.training.losses import LossFunction, make_loss
from tumortrace.training.optimizer import make_optimizer, refuse_diverged, set_learning_rate, update_weights
from tumortrace.training.prompted_network import PromptedNet, prompt_with_boxes
from tumortrace.training.prompted_samples import PromptedPart, Sample, draw_sample
from tumortrace.training.sampling import Negatives, draw_epoch

MOST_CLICKS = 4
"""Clicks that a box is refined by in training, at most."""


@dataclass(frozen=True, eq=False)
class _Trainer:
    """What one epoch of training needs."""

    network: PromptedNet
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    compute: Compute
    config: Config
    part: PromptedPart
    loss_of: LossFunction

    @property
    def saved(self) -> Saved:
        """What a checkpoint keeps of it."""
        return Saved(self.network, self.average.module, self.optimizer, torch.ones(len(self.part)))


def fit_prompted(
    network: PromptedNet, config: Config, *, compute: Compute, train: PromptedPart, run: Path
) -> TrainingState:
    """Train to the last epoch, from a checkpoint if there is one.

    After every epoch it writes ``last/checkpoint.safetensors``, ``best.safetensors`` and ``metrics.csv``.

    Args:
        network: The network with its first weights; afterwards it holds the averaged ones.
        config: Settings of the run.
        compute: Device and precision.
        train: Slices to train on.
        run: The run folder.

    Raises:
        ConfigError: The checkpoint began under other settings.
        TumortraceError: Training diverged, or the checkpoint is damaged or belongs to other data.
    """
    network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in the stub
    state, trainer = _start(network, config, compute=compute, train=train, checkpoint=run / CHECKPOINT)
    state.from_model = (run / FIRST).is_file()
    if state.rows:  # the kill may have come between the checkpoint and the files that follow it
        _write_epoch(run, trainer, state)
    for epoch in range(len(state.rows) + 1, config.training.epochs + 1):
        started = time.perf_counter()
        loss, speed, loading = _train_epoch(trainer, epoch)
        refuse_diverged(epoch, loss)
        seconds = round(time.perf_counter() - started, 2)
        state.rows.append(EpochRow(epoch, loss, None, None, speed, loading, seconds, config.training.loss))
        save_checkpoint(run / CHECKPOINT, trainer.saved, state)
        _write_epoch(run, trainer, state)
        tell(describe_epoch(state.rows, epochs=config.training.epochs))
    network.load_state_dict(trainer.average.module.state_dict())
    return state


def _write_epoch(run: Path, trainer: _Trainer, state: TrainingState) -> None:
    save_weights(run / BEST, trainer.average.module)
    write_metrics(run / METRICS, state.rows)


def _start(
    network: PromptedNet, config: Config, *, compute: Compute, train: PromptedPart, checkpoint: Path
) -> tuple[TrainingState, _Trainer]:
    training = config.training
    optimizer = make_optimizer(network, training)
    fresh = new_state(config, train.hashes, {}, threads=torch.get_num_threads())
    state = resume_state(checkpoint, fresh=fresh)
    drawn = training.epoch_slices or len(train)
    steps = len(state.rows) * -(-drawn // training.batch_size)
    average = average_weights(network, decay=training.average, steps=steps)
    trainer = _Trainer(network, average, optimizer, compute, config, train, make_loss(training.loss))
    if checkpoint.is_file():
        load_checkpoint(checkpoint, trainer.saved)
    return state, trainer


def _train_epoch(trainer: _Trainer, epoch: int) -> tuple[float, float, float]:
    """Train one epoch; return the mean loss, slices a second and the fraction of time that drawing them took."""
    training, part = trainer.config.training, trainer.part
    count = training.epoch_slices or len(part)
    negatives = Negatives(training.negatives, 0.0, torch.ones(len(part)))
    order = draw_epoch(
        part.sources, part.with_tumour, count=count, negatives=negatives, seed=training.seed, epoch=epoch
    )
    batches = torch.split(order, training.batch_size)
    size_hw = trainer.config.recipe.size_hw
    (grid, _) = coarse_size(size_hw, step=2**trainer.config.network.poolings) if is_coarse(training, epoch) else size_hw
    total, loading, started = 0.0, 0.0, time.perf_counter()
    with open_progress() as progress:
        task = progress.add_task(f"Epoch {epoch}/{training.epochs}", total=count, note="")
        for number, indices in enumerate(batches):
            drawing = time.perf_counter()
            rng = np.random.default_rng([training.seed, epoch, number])
            settings = trainer.config.augmentation
            samples = [draw_sample(part, index, settings, rng, grid=grid) for index in indices.tolist()]
            loading += time.perf_counter() - drawing
            step = (epoch - 1) * len(batches) + number
            set_learning_rate(trainer.optimizer, step, epoch_steps=len(batches), training=training)
            loss = _step(trainer, samples, rng)
            total += loss * len(indices)
            progress.update(task, advance=len(indices), note=f"loss {loss:.4f}")
    seconds = time.perf_counter() - started
    return total / count, round(count / seconds, 2), round(loading / seconds, 4)


def _step(trainer: _Trainer, samples: list[Sample], rng: np.random.Generator) -> float:
    """Take one step: the boxes alone, and refined by clicks, in one batch of the decoder."""
    network, device = trainer.network.train(), trainer.compute.device
    images = torch.from_numpy(np.stack([np.stack([each.grey, each.box]) for each in samples])).to(device)
    truths = torch.from_numpy(np.stack([each.truth for each in samples])).to(device).long()
    alone = prompt_with_boxes(images[:, 1])
    with trainer.compute.autocast():
        features = network.encode(images.contiguous(memory_format=torch.channels_last))
    # In a context of its own: torch up to 2.9 reuses weights that it cast without gradients within one.
    with trainer.compute.autocast():
        clicked = _simulate_clicks(network, features, samples, alone, rng)
    with trainer.compute.autocast():
        twice = tuple(torch.cat([level, level]) for level in features)
        logits = network.decode(twice, torch.cat([alone, clicked]))
    loss = trainer.loss_of(logits.float(), torch.cat([truths, truths]))
    trainer.optimizer.zero_grad()
    torch.autograd.backward(loss)
    update_weights(network, trainer.optimizer, trainer.average, clip=trainer.config.training.clip)
    return float(loss.detach())


@torch.no_grad()
def _simulate_clicks(
    network: PromptedNet, features: tuple[Tensor, ...], samples: list[Sample], alone: Tensor, rng: np.random.Generator
) -> Tensor:
    """Return prompts with one to four clicks a sample, each on the largest error of the answer before it."""
    network.decode.eval()
    prompts = alone.clone()
    wanted = rng.integers(1, MOST_CLICKS + 1, size=len(samples))
    grid = alone.shape[-1]
    whole = Square(0.0, 0.0, float(grid))
    for number in range(int(wanted.max())):
        still = np.flatnonzero(wanted > number)
        chosen = torch.from_numpy(still)
        logits = network.decode(tuple(level[chosen] for level in features), prompts[chosen]).float()
        probability = (logits[:, 1] - logits[:, 0]).sigmoid()
        for place, index in enumerate(still.tolist()):
            mask = (probability[place] >= 0.5).cpu().numpy()
            click = click_error(mask, samples[index].truth > 0, rng)
            if click is not None:
                disc = torch.from_numpy(draw_clicks([(click.x, click.y)], whole, grid=grid)).to(prompts.device)
                channel = 1 if click.on_tumour else 2
                prompts[index, channel] = torch.maximum(prompts[index, channel], disc)
            prompts[index, 3] = probability[place]
    network.decode.train()
    return prompts

"""The slices of an epoch: how many are tumour-free, which, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

HARDEST = 4
"""The hard tumour-free slices are the hardest one of so many."""


@dataclass(frozen=True, eq=False)
class Negatives:
    """How the tumour-free slices of an epoch are drawn.

    Attributes:
        share: Fraction of the epoch, in [0, 1).
        hard: Fraction of them that is drawn from the hardest quarter, in [0, 1].
        peaks: Highest probability of a tumour that the network gave to each training slice when it last saw it, float32
            (N,); 1 for a slice that it has not seen.
    """

    share: float
    hard: float
    peaks: Tensor


def peak_probabilities(logits: Tensor) -> Tensor:
    """Return the highest tumour probability of each slice.

    Args:
        logits: Shape (N, 2, H, W), or (N, 4, H, W) of two maps, of which the presence map counts.

    Returns:
        Probabilities in float32, shape (N,).
    """
    return (logits[:, -1] - logits[:, -2]).float().amax(dim=(1, 2)).sigmoid()


def draw_epoch(
    sources: Sequence[str], with_tumour: Sequence[bool], *, count: int, negatives: Negatives, seed: int, epoch: int
) -> Tensor:
    """Draw the slices of one epoch in an order that depends on (seed, epoch) alone.

    A single source is visited slice by slice. With several, ``negatives.share`` of the epoch are tumour-free slices,
    each of them equally likely whatever its source, but for the hard ones (Shrivastava et al. 2016 mine them likewise).
    The rest is divided equally among the sources that have slices with tumour: those of a small source come several
    times, each as often as any other of it, give or take one.

    Args:
        sources: Name of each slice's source.
        with_tumour: Whether each slice holds tumour.
        count: Number of slices to draw.
        negatives: The rule for tumour-free slices; ignored unless there are both kinds.
        seed: Seed of the training.
        epoch: Number of the epoch, counted from 1.

    Returns:
        Indices into the slices, int64, shape (count,).
    """
    rng = np.random.default_rng([seed, epoch])
    if len(set(sources)) <= 1:
        return torch.from_numpy(_draw(np.arange(len(sources)), count, rng))
    names, tumour = np.array(sources), np.array(with_tumour, dtype=np.bool_)
    pools = [np.flatnonzero(tumour & (names == name)) for name in sorted(set(names[tumour].tolist()))]
    free = np.flatnonzero(~tumour)
    share = Fraction(negatives.share) if pools and len(free) else Fraction(len(free) > 0)
    shares = [(1 - share) / len(pools) for _ in pools] + [share]
    *counts, free_count = _round_to(count, shares)
    chosen = [_draw(pool, drawn, rng) for pool, drawn in zip(pools, counts, strict=True)]
    chosen += _draw_negatives(free, free_count, negatives, rng)
    return torch.from_numpy(rng.permutation(np.concatenate(chosen)))


def _draw_negatives(free: NDArray[np.intp], count: int, negatives: Negatives, rng: Generator) -> list[NDArray[np.intp]]:
    hard_count = round(count * negatives.hard)
    if not hard_count:
        return [_draw(free, count, rng)]
    shuffled = rng.permutation(free)  # equal ones, as all are before the first epoch, come in any order
    by_peak = shuffled[np.argsort(-negatives.peaks.numpy()[shuffled], kind="stable")]
    hardest = by_peak[: -(-len(by_peak) // HARDEST)]
    return [_draw(hardest, hard_count, rng), _draw(free, count - hard_count, rng)]


def _draw(indices: NDArray[np.intp], count: int, rng: Generator) -> NDArray[np.intp]:
    """Concatenate permutations of the indices until there are enough."""
    if not len(indices):
        return indices
    rounds = [rng.permutation(indices) for _ in range(-(-count // len(indices)))]
    return np.concatenate([indices[:0], *rounds])[:count]


def _round_to(total: int, shares: list[Fraction]) -> list[int]:
    """Return whole numbers in these shares that add up to the total, by rounding each sum so far."""
    sums = [round(total * sum(shares[: index + 1])) for index in range(len(shares))]
    return [after - before for before, after in zip([0, *sums], sums, strict=False)]

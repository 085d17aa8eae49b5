"""The slices of an epoch, their order, and the fraction that is tumour-free."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor


def draw_epoch(
    sources: Sequence[str], with_tumour: Sequence[bool], *, count: int, negatives: float, seed: int, epoch: int
) -> Tensor:
    """Draw the slices of one epoch in an order that depends on (seed, epoch) alone.

    A single source is visited slice by slice. With several, ``negatives`` of the epoch are tumour-free
    slices, each of them equally likely whatever its source. The rest is divided equally among the sources that have
    slices with tumour: those of a small source come several times, each as often as any other of it, give or take one.

    Args:
        sources: Name of each slice's source.
        with_tumour: Whether each slice holds tumour.
        count: Number of slices to draw.
        negatives: Fraction of the epoch for tumour-free slices, in [0, 1); ignored unless there are both kinds.
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
    share = Fraction(negatives) if pools and len(free) else Fraction(len(free) > 0)
    shares = [(1 - share) / len(pools) for _ in pools] + [share]
    counts = _round_to(count, shares)
    chosen = [_draw(pool, drawn, rng) for pool, drawn in zip([*pools, free], counts, strict=True)]
    return torch.from_numpy(rng.permutation(np.concatenate(chosen)))


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

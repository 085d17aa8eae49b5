"""Which slices an epoch visits, in which order: every source alike, whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor


def draw_epoch(
    sources: Sequence[str], with_tumour: Sequence[bool], *, negatives: float, seed: int, epoch: int
) -> Tensor:
    """The slices of one epoch, as many as there are, in an order that depends on (seed, epoch) alone.

    Of one source, each slice comes once. Of several, each has the same share of the epoch: a small one's slices come
    several times, each as often as any other of it but for one. Sources without any tumour share ``negatives``.

    Args:
        sources: Name of each slice's source.
        with_tumour: Whether each slice holds tumour.
        negatives: Share of the epoch for the sources that hold none, in [0, 1); taken only if there are such.
        seed: Of the training.
        epoch: Counted from 1.

    Returns:
        Indices into the slices, int64, shape (len(sources),).
    """
    rng = np.random.default_rng([seed, epoch])
    names = np.array(sources)
    positive = sorted({name for name, tumour in zip(sources, with_tumour, strict=True) if tumour})
    negative = sorted(set(sources) - set(positive))
    if len(positive) + len(negative) <= 1:
        return torch.from_numpy(rng.permutation(len(names)))
    share = Fraction(negatives) if positive and negative else Fraction(len(negative) > 0)
    shares = [(1 - share) / len(positive) for _ in positive] + [share / len(negative) for _ in negative]
    counts = _round_to(len(names), shares)
    chosen = [
        _draw(np.flatnonzero(names == name), count, rng)
        for name, count in zip([*positive, *negative], counts, strict=True)
    ]
    return torch.from_numpy(rng.permutation(np.concatenate(chosen)))


def _draw(indices: NDArray[np.intp], count: int, rng: Generator) -> NDArray[np.intp]:
    """Permutation after permutation of the indices, until there are enough."""
    rounds = [rng.permutation(indices) for _ in range(-(-count // len(indices)))]
    return np.concatenate([indices[:0], *rounds])[:count]


def _round_to(total: int, shares: list[Fraction]) -> list[int]:
    """Whole numbers in these shares that add up to the total: the rounding of each sum so far."""
    sums = [round(total * sum(shares[: index + 1])) for index in range(len(shares))]
    return [after - before for before, after in zip([0, *sums], sums, strict=False)]

"""Losses of ``dice_collapse`` as pure functions, and their best constants.

Everywhere: p is the probability of tumour and q = 1 - p of background, t the truth (1 where there is tumour) and
u = 1 - t, and f the foreground share, the mean of t. All losses take logits, float (N, 2, H, W), background first, and
truths, int64 (N, H, W) of 0 and 1, and give a scalar.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

LossFunction = Callable[[Tensor, Tensor], Tensor]
OfConstant = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

EPSILON = 1e-5
"""Of the batch-pooled losses, beside thousands of pixels: it decides only where a batch holds no tumour at all."""


def paper_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """Return the student paper's Dice loss.

    It is 1 - (2 sum(p t) / (sum(p^2) + sum(t)) + 2 sum(q u) / (sum(q^2) + sum(u))) / 2 for each slice by itself. The
    sums run over a slice's pixels; the losses of the slices are averaged. From 0 (perfect) to 1.
    """
    return 1 - _dice(logits, truths, squares=True).mean()


def batch_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """As ``paper_dice``, the sums taken over the whole batch, ``EPSILON`` added above and below. From 0 to 1."""
    return 1 - _dice(logits, truths, squares=True, dims=(0, 2, 3), epsilon=EPSILON).mean()


def pooled_channels_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """One fraction for both one-hot channels: 1 - 2 sum(p t + q u) / sum(p^2 + q^2 + t + u), in each slice alone.

    From 0 to 1; t + u is 1, so all background is worth a Dice of 1 - f.
    """
    return 1 - _dice(logits, truths, squares=True, dims=(1, 2, 3)).mean()


def pooled_batch_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """As ``pooled_channels_dice``, the sums taken over the whole batch, ``EPSILON`` added above and below."""
    return 1 - _dice(logits, truths, squares=True, dims=(0, 1, 2, 3), epsilon=EPSILON)


def pooled_unsquared_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """As ``pooled_channels_dice`` without squares: 1 - sum(p t + q u) / sum(t + u), which is the mean of abs(p - t)."""
    return 1 - _dice(logits, truths, squares=False, dims=(1, 2, 3)).mean()


def foreground_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """The tumour's half of ``paper_dice``: 1 - 2 sum(p t) / (sum(p^2) + sum(t)), in each slice alone. From 0 to 1."""
    return 1 - _dice(logits, truths, squares=True)[:, 1].mean()


def unsquared_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """As ``paper_dice`` with sum(p) and sum(q) in place of sum(p^2) and sum(q^2). From 0 to 1."""
    return 1 - _dice(logits, truths, squares=False).mean()


def batch_foreground_dice(logits: Tensor, truths: Tensor) -> Tensor:
    """Three cures at once: 1 - (2 sum(p t) + e) / (sum(p) + sum(t) + e) over the batch, e = ``EPSILON``. 0 to 1."""
    return 1 - _dice(logits, truths, squares=False, dims=(0, 2, 3), epsilon=EPSILON)[1]


def cross_entropy(logits: Tensor, truths: Tensor) -> Tensor:
    """The control: -mean(t log p + u log q) over all pixels, in nats; no upper bound."""
    return functional.cross_entropy(logits, truths)


def with_cross_entropy(loss: LossFunction) -> LossFunction:
    """The sum of a loss and ``cross_entropy``, each weighing 1."""

    def sum_of_both(logits: Tensor, truths: Tensor) -> Tensor:
        return loss(logits, truths) + cross_entropy(logits, truths)

    return sum_of_both


LOSSES: dict[str, LossFunction] = {
    "paper": paper_dice,
    "batch": batch_dice,
    "foreground": foreground_dice,
    "unsquared": unsquared_dice,
    "pooled channels": pooled_channels_dice,
    "pooled channels, batch": pooled_batch_dice,
    "pooled channels, unsquared": pooled_unsquared_dice,
    "batch foreground": batch_foreground_dice,
    "cross-entropy": cross_entropy,
    "paper + cross-entropy": with_cross_entropy(paper_dice),
    "pooled channels + cross-entropy": with_cross_entropy(pooled_channels_dice),
    "batch foreground + cross-entropy": with_cross_entropy(batch_foreground_dice),
}

POOLED = frozenset({"batch", "pooled channels, batch", "batch foreground", "batch foreground + cross-entropy"})
"""Losses in which slices of one batch add up before the fraction is taken: of their shares only the mean counts."""
LINEAR = frozenset({"pooled channels", "pooled channels, unsquared", "cross-entropy"})
"""Losses of a constant that are linear in the share."""


def loss_of_constant(name: str, p: ArrayLike, shares: ArrayLike) -> NDArray[np.float64]:
    """A loss when every pixel of every slice is given the same probability of tumour; epsilons are left out.

    Args:
        name: Key of ``LOSSES``.
        p: Probabilities from 0 to 1, any shape.
        shares: Foreground shares of the slices, strictly between 0 and 1, at least one.

    Returns:
        The loss over these slices, float64, in the shape of p; cross-entropy is infinite at 0 and 1. A pooled loss
        takes all slices as one batch.
    """
    of_slices = np.atleast_1d(np.asarray(shares, dtype=np.float64))
    if name in POOLED:
        of_slices = of_slices.mean(keepdims=True)
    with np.errstate(divide="ignore"):
        losses = _CONSTANT[name](np.asarray(p, dtype=np.float64)[..., None], of_slices)
    return np.asarray(losses.mean(axis=-1))


def best_constant(name: str, shares: ArrayLike) -> float:
    """The constant probability of tumour with the smallest loss, in closed form where there is one, else by search.

    For one share f, and for a pooled loss whose shares have the mean f:

    - ``paper``, ``batch``: sqrt(f) / (sqrt(f) + sqrt(1 - f)), the square root of the tumour's odds; the loss there is
      1 / (2 + 2 sqrt(f (1 - f))), against 1 / (2 - f) of all background.
    - ``pooled channels``, also of a batch: (1 - f - sqrt(1 - 3 f + 3 f^2)) / (1 - 2 f), about f / 2; the loss of all
      background is f. Without squares 0, all background.
    - ``foreground``: sqrt(f). ``unsquared``, ``cross-entropy``: f. ``batch foreground``: 1, all tumour.

    Several shares have one only where the loss is linear in f, so that their mean decides: ``LINEAR``.

    Args:
        name: Key of ``LOSSES``.
        shares: Tumour fraction of each slice, strictly between 0 and one half.

    Returns:
        From 0 to 1.
    """
    of_slices = np.atleast_1d(np.asarray(shares, dtype=np.float64))
    if name in _CLOSED and (len(of_slices) == 1 or name in POOLED | LINEAR):
        return _CLOSED[name](float(of_slices.mean()))
    return _search(lambda p: float(loss_of_constant(name, p, of_slices)))


def _dice(
    logits: Tensor, truths: Tensor, *, squares: bool, dims: tuple[int, ...] = (2, 3), epsilon: float = 0.0
) -> Tensor:
    """Soft Dice, background before tumour; the dimensions over which is summed are gone."""
    probabilities = logits.softmax(dim=1)
    targets = torch.stack([1 - truths, truths], dim=1).to(probabilities.dtype)
    overlap = (probabilities * targets).sum(dim=dims)
    sizes = (probabilities**2 if squares else probabilities).sum(dim=dims) + targets.sum(dim=dims)
    return (2 * overlap + epsilon) / (sizes + epsilon)


def _search(loss: Callable[[float], float]) -> float:
    """The least of a grid, made exact between its neighbours: a Dice need not be convex in p."""
    grid = np.linspace(1e-4, 1 - 1e-4, 2000)
    least = int(np.argmin([loss(p) for p in grid]))
    low, high = grid[max(least - 1, 0)], grid[min(least + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    return float(found.x)


def _paper_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - f * p / (p**2 + f) - (1 - f) * (1 - p) / ((1 - p) ** 2 + 1 - f)


def _pooled_channels_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - 2 * (f * p + (1 - f) * (1 - p)) / (p**2 + (1 - p) ** 2 + 1)


def _foreground_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - 2 * f * p / (p**2 + f)


def _unsquared_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - f * p / (p + f) - (1 - f) * (1 - p) / (2 - p - f)


def _batch_foreground_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - 2 * f * p / (p + f)


def _cross_entropy_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return -f * np.log(p) - (1 - f) * np.log1p(-p)


def _pooled_unsquared_of_constant(p: NDArray[np.float64], f: NDArray[np.float64]) -> NDArray[np.float64]:
    return f + (1 - 2 * f) * p


def _plus_cross_entropy(loss: OfConstant) -> OfConstant:
    return lambda p, f: loss(p, f) + _cross_entropy_of_constant(p, f)


_CONSTANT: dict[str, OfConstant] = {
    "paper": _paper_of_constant,
    "batch": _paper_of_constant,
    "foreground": _foreground_of_constant,
    "unsquared": _unsquared_of_constant,
    "pooled channels": _pooled_channels_of_constant,
    "pooled channels, batch": _pooled_channels_of_constant,
    "pooled channels, unsquared": _pooled_unsquared_of_constant,
    "batch foreground": _batch_foreground_of_constant,
    "cross-entropy": _cross_entropy_of_constant,
    "paper + cross-entropy": _plus_cross_entropy(_paper_of_constant),
    "pooled channels + cross-entropy": _plus_cross_entropy(_pooled_channels_of_constant),
    "batch foreground + cross-entropy": _plus_cross_entropy(_batch_foreground_of_constant),
}


def _root_of_odds(f: float) -> float:
    return float(np.sqrt(f) / (np.sqrt(f) + np.sqrt(1 - f)))


def _half_share(f: float) -> float:
    return float((1 - f - np.sqrt(1 - 3 * f + 3 * f**2)) / (1 - 2 * f))


_CLOSED: dict[str, Callable[[float], float]] = {
    "paper": _root_of_odds,
    "batch": _root_of_odds,
    "foreground": lambda f: float(np.sqrt(f)),
    "unsquared": lambda f: f,
    "pooled channels": _half_share,
    "pooled channels, batch": _half_share,
    "pooled channels, unsquared": lambda _: 0.0,
    "batch foreground": lambda _: 1.0,
    "cross-entropy": lambda f: f,
}

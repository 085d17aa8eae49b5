"""Losses: cross-entropy, MONAI's overlap losses, and the loss of two maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.nn import functional

from tumortrace.config import Loss

LossFunction = Callable[[Tensor, Tensor], Tensor]

SMOOTHING = 1e-3
"""Fraction of the frame that is added to numerator and denominator of an overlap. Without it a tumour-free slice costs
1 whatever is marked on it, and trains nothing. With it, a mark of that size costs one half."""


def make_loss(name: Loss) -> LossFunction:
    """Return the loss of a name.

    Overlap losses are computed on the tumour channel of each slice and averaged over slices: a small tumour weighs as
    much as a large one, as it does in the mean Dice. s is ``SMOOTHING`` of the slice's pixels. MONAI, which takes a
    second to import, is imported by the losses that need it.

    - ``cross_entropy``: the mean cross-entropy over all pixels.
    - ``dice``: 1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s) (Milletari et al. 2016, without squares).
    - ``dice_cross_entropy``: the sum of both.
    - ``pooled_dice_cross_entropy``: the same with sums over the whole batch and s = 1e-5: large tumours decide.
    - ``focal``: cross-entropy times (1 - p)^2 (Lin et al. 2017).
    - ``tversky``: like Dice, with weight 0.7 for a missed pixel and 0.3 for a false one (Salehi et al. 2017).
    - ``unified_focal``: the asymmetric unified focal loss, both parts with equal weight (Yeung et al. 2022).
    - ``where_and_whether``: for two maps. The location map is trained only on slices with tumour, by twice the unified
      focal loss; the presence map on all slices, by ``dice_cross_entropy``. In a single map, doubt about the tumour's
      presence keeps the network from showing where it would be.
    - ``overlap_where_and_whether``: the same with ``dice_cross_entropy`` for the location map too.

    Returns:
        A function of logits, float32 (N, 2, H, W) or for two maps (N, 4, H, W), and truths, int64 (N, H, W) of 0 and 1,
        that returns a scalar.
    """
    loss: LossFunction
    match name:
        case "cross_entropy":
            loss = functional.cross_entropy
        case "dice":
            loss = _dice
        case "dice_cross_entropy":
            loss = _with_cross_entropy(_dice)
        case "pooled_dice_cross_entropy":
            loss = _with_cross_entropy(_pooled_dice)
        case "focal":
            loss = _focal
        case "tversky":
            loss = _tversky
        case "unified_focal":
            loss = _unified_focal
        case "where_and_whether":
            loss = _where_and_whether(lambda logits, truths: 2 * _unified_focal(logits, truths))
        case "overlap_where_and_whether":
            loss = _where_and_whether(_with_cross_entropy(_dice))
    return loss


def _with_cross_entropy(loss: LossFunction) -> LossFunction:
    def sum_of_both(logits: Tensor, truths: Tensor) -> Tensor:
        return loss(logits, truths) + functional.cross_entropy(logits, truths)

    return sum_of_both


def _dice(logits: Tensor, truths: Tensor) -> Tensor:
    from monai.losses.dice import DiceLoss

    s = SMOOTHING * truths[0].numel()
    loss = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=s, smooth_dr=s)
    return cast("Tensor", loss(logits, truths.unsqueeze(1)))  # MONAI takes truths (N, 1, H, W)


def _pooled_dice(logits: Tensor, truths: Tensor) -> Tensor:
    from monai.losses.dice import DiceLoss

    loss = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    return cast("Tensor", loss(logits, truths.unsqueeze(1)))


def _tversky(logits: Tensor, truths: Tensor) -> Tensor:
    from monai.losses.tversky import TverskyLoss

    s = SMOOTHING * truths[0].numel() / 2  # Tversky's numerator and denominator are half of Dice's
    loss = TverskyLoss(
        include_background=False, to_onehot_y=True, softmax=True, alpha=0.3, beta=0.7, smooth_nr=s, smooth_dr=s
    )
    return cast("Tensor", loss(logits, truths.unsqueeze(1)))


def _focal(logits: Tensor, truths: Tensor) -> Tensor:
    from monai.losses.focal_loss import FocalLoss

    loss = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0)
    return cast("Tensor", loss(logits, truths.unsqueeze(1)))


def _unified_focal(logits: Tensor, truths: Tensor) -> Tensor:
    from monai.losses.unified_focal_loss import AsymmetricUnifiedFocalLoss

    loss = AsymmetricUnifiedFocalLoss(to_onehot_y=True)  # takes its input as probabilities
    return cast("Tensor", loss(logits.softmax(dim=1), truths.unsqueeze(1)))


def _where_and_whether(where_loss: LossFunction) -> LossFunction:
    def sum_over_maps(logits: Tensor, truths: Tensor) -> Tensor:
        where, whether = logits[:, :2], logits[:, 2:]
        loss = _with_cross_entropy(_dice)(whether, truths)
        present = truths.flatten(1).any(dim=1)
        return loss + where_loss(where[present], truths[present]) if present.any() else loss

    return sum_over_maps

"""What training makes small: MONAI's losses and torch's cross-entropy."""

from __future__ import annotations

from collections.abc import Callable

from monai.losses.dice import DiceCELoss, DiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.tversky import TverskyLoss
from monai.losses.unified_focal_loss import AsymmetricUnifiedFocalLoss
from torch import Tensor
from torch.nn import functional

from tumortrace.config import Loss

LossFunction = Callable[[Tensor, Tensor], Tensor]


def make_loss(name: Loss) -> LossFunction:
    """The loss of that name.

    All overlap losses look at the tumour alone, pooled over the batch: a slice without tumour then counts by what is
    wrongly painted on it, and the constant output that drew the report's loss to all background is no optimum.

    - ``cross_entropy``: its mean over all pixels.
    - ``dice``: 1 - 2 sum(p t) / (sum(p) + sum(t)) (Milletari et al. 2016, without squares).
    - ``dice_cross_entropy``: the sum of both.
    - ``focal``: cross-entropy times (1 - p)^2 (Lin et al. 2017).
    - ``tversky``: as Dice, a missed pixel weighing 0.7 and a painted one 0.3 (Salehi et al. 2017).
    - ``unified_focal``: asymmetric, its two parts weighing the same (Yeung et al. 2022).

    Returns:
        A function of logits, float32 (N, 2, H, W), and truths, int64 (N, H, W) of 0 and 1, to a scalar.
    """
    match name:
        case "cross_entropy":
            return functional.cross_entropy
        case "dice":
            return _on_channel(DiceLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True))
        case "dice_cross_entropy":
            return _on_channel(DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True))
        case "focal":
            return _on_channel(FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0))
        case "tversky":
            loss = TverskyLoss(
                include_background=False, to_onehot_y=True, softmax=True, batch=True, alpha=0.3, beta=0.7
            )
            return _on_channel(loss)
        case "unified_focal":
            unified = AsymmetricUnifiedFocalLoss(to_onehot_y=True)  # takes what is given as probabilities
            return _on_channel(lambda logits, truths: unified(logits.softmax(dim=1), truths))


def _on_channel(loss: Callable[[Tensor, Tensor], Tensor]) -> LossFunction:
    """MONAI wants truths with a channel of their own, (N, 1, H, W)."""
    return lambda logits, truths: loss(logits, truths.unsqueeze(1))

"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_weights(network: nn.Module, *, decay: float, steps: int = 0) -> AveragedModel:
    """Return a copy of a network that will follow it.

    The first steps, far from anything good, are forgotten soon: after n steps the decay is at most (1 + n) / (10 + n),
    as in TensorFlow's ``ExponentialMovingAverage``. The statistics of batch normalisation are averaged likewise.

    Args:
        network: The network to follow; it is left as it is.
        decay: Fraction of the average that stays at each step, in (0, 1).
        steps: Steps that the average has followed already, after a resumption.
    """

    def follow(average: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        taken = int(count)
        update = get_ema_multi_avg_fn(min(decay, (1 + taken) / (10 + taken)))  # type: ignore[no-untyped-call]
        update(average, current, count)

    model = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
    model.eval().requires_grad_(False)
    model.n_averaged.fill_(steps)
    return model

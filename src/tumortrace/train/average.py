"""The exponential moving average of a network's weights: steadier than any single step's, and what is kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AverageNetwork:
    """A copy of a network that follows it.

    The decay of step n is at most (1 + n) / (10 + n), so that the first steps, far from anything good, are soon
    forgotten (as in TensorFlow's ``ExponentialMovingAverage``). The statistics of batch normalisation are averaged
    alike.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        """Begin with the network's weights of now.

        Args:
            network: Which is followed; left as it is.
            decay: Share of the average that stays at each step, in [0, 1); 0 follows at once.
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, network: nn.Module, *, step: int) -> None:
        """Take one step towards the network; ``step`` is counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own, theirs = self.network.state_dict(), network.state_dict()
        averaged = [name for name, tensor in own.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in averaged], [theirs[name] for name in averaged], 1 - decay)
        for name in own.keys() - set(averaged):
            own[name].copy_(theirs[name])

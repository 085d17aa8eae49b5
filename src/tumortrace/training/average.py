"""Means of a network's weights, steadier than any single step's, and what is kept: over steps, and over cycles."""

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


class CycleMean:
    """The mean of the networks that a training's cycles ended with (Izmailov et al. 2018).

    Each cycle ends in another corner of the same wide valley; their mean lies further from its walls than any of them,
    and costs nothing to run. The statistics of batch normalisation are averaged alike.
    """

    def __init__(self, network: nn.Module) -> None:
        """Begin with a network that the first cycle's end will replace; it is left as it is."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def add(self, ended: nn.Module, *, cycles: int) -> None:
        """Take in the network that a cycle ended with; ``cycles`` have ended, this one included."""
        for own, theirs in zip(self.network.state_dict().values(), ended.state_dict().values(), strict=True):
            if own.is_floating_point() and cycles > 1:
                own.lerp_(theirs, 1 / cycles)
            else:
                own.copy_(theirs)


class KeptNetwork:
    """What a training measures and keeps: the moving average, and at a cycle's end the mean of all cycles' ends."""

    def __init__(self, network: nn.Module, *, decay: float, cycle_epochs: int) -> None:
        """Begin with the network's weights of now; ``decay`` is of the moving average."""
        self.average = AverageNetwork(network, decay=decay)
        self.mean = CycleMean(network)
        self.cycle_epochs = cycle_epochs

    def end_epoch(self, epoch: int) -> nn.Module:
        """Take in what the epoch ended with, and give what is kept of it."""
        cycles, within = divmod(epoch, self.cycle_epochs)
        if not within:
            self.mean.add(self.average.network, cycles=cycles)
        return self.after(epoch)

    def after(self, epoch: int) -> nn.Module:
        """What is kept of that epoch, the last that was taken in."""
        return self.average.network if epoch % self.cycle_epochs else self.mean.network

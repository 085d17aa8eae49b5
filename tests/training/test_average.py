"""The moving average, by hand on a network of one weight and one running mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tumortrace.training.average import average_weights


class Weight(nn.Module):
    """One weight, one buffer of numbers and one of counts."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))
        self.register_buffer("mean", torch.tensor(-value))
        self.register_buffer("count", torch.tensor(7))

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.mean.fill_(-value)


def values(module: nn.Module) -> tuple[float, float]:
    state: dict[str, Tensor] = module.state_dict()
    return state["weight"].item(), state["mean"].item()


def test_the_first_steps_are_forgotten_soon_and_buffers_follow_too():
    network = Weight(100.0)
    average = average_weights(network, decay=0.99)
    network.set(1.0)
    average.update_parameters(network)
    assert values(average.module) == (1.0, -1.0)  # of nothing, the first step is the average
    network.set(2.0)
    average.update_parameters(network)  # one step taken: decay 2/11
    assert values(average.module) == pytest.approx((20 / 11, -20 / 11))
    network.set(0.0)
    average.update_parameters(network)  # decay 3/12
    assert values(average.module) == pytest.approx((5 / 11, -5 / 11))
    assert average.module.count.item() == 7


@pytest.mark.parametrize(("decay", "expected"), [(0.5, 0.5), (0.99, 0.99), (0.9999, 1001 / 1010)])
def test_after_many_steps_the_decay_is_the_one_that_was_asked_for(decay: float, expected: float):
    network = Weight(1.0)
    average = average_weights(network, decay=decay, steps=1000)
    network.set(0.0)
    average.update_parameters(network)
    assert values(average.module)[0] == pytest.approx(expected)


def test_the_average_cannot_be_trained_and_leaves_the_network_alone():
    network = Weight(3.0)
    average = average_weights(network, decay=0.9)
    average.update_parameters(network)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert not average.module.training
    assert network.weight.requires_grad
    assert values(network) == (3.0, -3.0)

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tumortrace.config import TrainingConfig
from tumortrace.training.average import average_weights
from tumortrace.training.optimizer import learning_rate_at, make_optimizer, set_learning_rate, update_weights


def two_weights(gradients: tuple[float, float]) -> nn.Linear:
    """Weight and bias, both 2, with these gradients."""
    network = nn.Linear(1, 1)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.full_like(parameter, gradient)
    return network


def values_of(network: nn.Module) -> list[float]:
    return [parameter.item() for parameter in network.parameters()]


def test_one_cycle_by_hand():
    training = TrainingConfig(epochs=4, learning_rate=0.01, schedule="one_cycle")
    rates = [learning_rate_at(step, epoch_steps=5, training=training) for step in (0, 1, 2, 11, 19)]
    # Two steps up; then a cosine over 18: at its start 1, in its middle a half, one step before its end nearly 0.
    end = 0.5 * (1 + math.cos(math.pi * 17 / 18))
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.005, 0.01 * end])


def test_a_constant_rate_stays():
    training = TrainingConfig(epochs=4, learning_rate=0.01, schedule="constant")
    assert {learning_rate_at(step, epoch_steps=9, training=training) for step in range(9)} == {0.01}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", 2 - 0.1),  # the decay is a gradient, and the first step along any gradient is the learning rate
        ("adamw", 2 * (1 - 0.1 * 0.25)),
    ],
)
def test_the_decay_of_each_optimizer(name: str, expected: float):
    network = two_weights((0.0, 0.0))
    settings = TrainingConfig(optimizer=name, learning_rate=0.1, weight_decay=0.25)
    make_optimizer(network, settings).step()
    assert values_of(network) == pytest.approx([expected] * 2)


@pytest.mark.parametrize(("clip", "expected"), [(1.0, [1.4, 1.2]), (0.0, [-1.0, -2.0]), (9.0, [-1.0, -2.0])])
def test_a_long_gradient_is_shortened_as_a_whole_and_the_average_follows(clip: float, expected: list[float]):
    network = two_weights((3.0, 4.0))  # of norm 5
    average = average_weights(network, decay=0.5, steps=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=7.0)
    set_learning_rate(optimizer, 0, epoch_steps=3, training=TrainingConfig(learning_rate=1.0, schedule="constant"))
    update_weights(network, optimizer, average, clip=clip)
    assert values_of(network) == pytest.approx(expected)
    assert values_of(average.module) == pytest.approx(expected)  # of its first step it takes all
    update_weights(network, optimizer, None, clip=clip)
    assert values_of(average.module) == pytest.approx(expected)

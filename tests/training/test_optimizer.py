from __future__ import annotations

import math

import pytest

from tumortrace.config import TrainingConfig
from tumortrace.training.optimizer import learning_rate_at


def test_one_cycle_by_hand():
    training = TrainingConfig(epochs=4, learning_rate=0.01, schedule="one_cycle")
    rates = [learning_rate_at(step, epoch_steps=5, training=training) for step in (0, 1, 2, 11, 19)]
    # Two steps up; then a cosine over 18: at its start 1, in its middle a half, one step before its end nearly 0.
    end = 0.5 * (1 + math.cos(math.pi * 17 / 18))
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.005, 0.01 * end])


def test_a_constant_rate_stays():
    training = TrainingConfig(epochs=4, learning_rate=0.01, schedule="constant")
    assert {learning_rate_at(step, epoch_steps=9, training=training) for step in range(9)} == {0.01}

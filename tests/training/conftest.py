"""Fixtures for training: slices that any network learns at once, and the settings to learn them with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from tumortrace.config import Config, config_from_tables
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.loop import start_fabric

SIZE_HW = (16, 24)


def draw_squares(count: int, *, seed: int) -> PreparedPart:
    """Slices of noise, each with one bright square that is the tumour."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.3, (count, 1, *SIZE_HW)).astype(np.float32)
    truths = np.zeros((count, *SIZE_HW), dtype=np.uint8)
    for image, truth in zip(images, truths, strict=True):
        top, left = rng.integers(0, 10), rng.integers(0, 18)
        truth[top : top + 6, left : left + 6] = 1
        image[0] += 3.0 * truth
    hashes = {f"{seed}/{index}.png": f"{seed:032x}{index:032x}" for index in range(count)}
    return PreparedPart(
        images=torch.from_numpy(images),
        truths=torch.from_numpy(truths),
        sources=("",) * count,
        hashes=hashes,
        looks=(None,) * count,
        findings=(),
    )


@pytest.fixture(scope="session")
def squares() -> PreparedPart:
    """Seven slices to learn from. Read only."""
    return draw_squares(7, seed=1)


@pytest.fixture(scope="session")
def other_squares() -> PreparedPart:
    """Three slices to measure on. Read only."""
    return draw_squares(3, seed=2)


@pytest.fixture(scope="session")
def no_squares() -> PreparedPart:
    """A part without a slice."""
    return draw_squares(0, seed=3)


@pytest.fixture(scope="session")
def settings() -> Callable[..., Config]:
    """Settings for the squares; keywords change those of training."""

    def make(**training: object) -> Config:
        usual = {"epochs": 3, "batch_size": 3, "learning_rate": 0.01, "keep": "last", "device": "cpu", "threads": 1}
        return config_from_tables(
            {"recipe": {"size_hw": list(SIZE_HW)}, "network": {"widths": [4, 8]}, "training": usual | training}
        )

    return make


@pytest.fixture(scope="session")
def fabric(settings: Callable[..., Config]) -> Fabric:
    return start_fabric(settings().training)

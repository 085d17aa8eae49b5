"""Slices that look like heads as far as similarity is concerned: texture in an ellipse on black."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

DrawHead = Callable[..., NDArray[np.uint8]]


def _draw_head(seed: int, size_hw: tuple[int, int] = (170, 140)) -> NDArray[np.uint8]:
    height, width = size_hw
    noise = np.random.default_rng(seed).standard_normal(size_hw).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 4.0)
    grey = 130.0 + 45.0 * texture / texture.std()
    rows, columns = np.mgrid[0:height, 0:width]
    down, across = (rows - 0.52 * height) / (0.42 * height), (columns - 0.47 * width) / (0.40 * width)
    return np.where(down**2 + across**2 < 1, np.clip(grey, 40, 250), 0).astype(np.uint8)


@pytest.fixture(scope="session")
def draw_head() -> DrawHead:
    """Draw a head by the seed of its texture; shape (H, W), uint8. Each seed is another, unrelated slice."""
    return _draw_head

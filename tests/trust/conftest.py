"""Slices that look like heads as far as similarity is concerned, and small datasets of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.data.dataset import CaseRecord
from tumortrace.data.slice import write_png

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


def _draw_head(seed: int, size_hw: tuple[int, int] = (170, 140)) -> NDArray[np.uint8]:
    height, width = size_hw
    noise = np.random.default_rng(seed).standard_normal(size_hw).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 4.0)
    grey = 130.0 + 45.0 * texture / texture.std()
    rows, columns = np.mgrid[0:height, 0:width]
    down, across = (rows - 0.52 * height) / (0.42 * height), (columns - 0.47 * width) / (0.40 * width)
    return np.where(down**2 + across**2 < 1, np.clip(grey, 40, 250), 0).astype(np.uint8)


def _write_case(
    folder: Path, name: str, pixels: NDArray[np.uint8], truth: NDArray[np.bool_] | None = None, **fields: str
) -> CaseRecord:
    write_png(folder / f"{name}.png", np.ascontiguousarray(pixels))
    if truth is None:
        return CaseRecord(f"{name}.png", fields.get("part", ""), folder / f"{name}.png", None)
    write_png(folder / f"{name}_mask.png", np.ascontiguousarray(truth).astype(np.uint8) * np.uint8(255))
    part = fields.pop("part", "train")
    return CaseRecord(f"{name}.png", part, folder / f"{name}.png", folder / f"{name}_mask.png", **fields)


@pytest.fixture(scope="session")
def draw_head() -> DrawHead:
    """Draw a head by the seed of its texture; shape (H, W), uint8. Each seed is another, unrelated slice."""
    return _draw_head


@pytest.fixture
def write_case(tmp_path: Path) -> WriteCase:
    """Write a slice and its truth (or none) by a name; further keywords are fields of the record."""

    def write(
        name: str, pixels: NDArray[np.uint8], truth: NDArray[np.bool_] | None = None, **fields: str
    ) -> CaseRecord:
        return _write_case(tmp_path, name, pixels, truth, **fields)

    return write

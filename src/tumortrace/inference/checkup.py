"""A check of this installation: a generated slice with known tumour, and speed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from tumortrace.data.geometry import rasterize
from tumortrace.inference.segmenter import Segmenter
from tumortrace.metrics.overlap import count_pixels
from tumortrace.phantoms.slices import draw_phantom

LOWEST_DICE = 0.7
"""Dice below which the check fails; both shipped models reach 0.9 on the generated slice."""

PUBLISHED_MS = {"default": 91.0, "fast": 23.0}
"""Milliseconds from an array to its mask, as ``docs/results/speed.md`` states them for ``PUBLISHED_ON``."""

PUBLISHED_ON = "two cores of an AMD EPYC, otherwise idle"

_SECONDS = 2.0  # spent on the speed of one model
_FEWEST, _MOST = 3, 50  # slices
_SIZE_HW = (320, 272)


@dataclass(frozen=True)
class Checkup:
    """What one model did on the generated slice.

    Attributes:
        model: Name of the shipped model.
        dice: Dice of its mask with the known outline, 0 to 1.
        milliseconds: Median time from the array to the mask, after a first slice that is not counted.
        published_ms: Published time on ``PUBLISHED_ON``.
    """

    model: str
    dice: float
    milliseconds: float
    published_ms: float

    @property
    def passed(self) -> bool:
        """Whether the mask fits the outline."""
        return self.dice >= LOWEST_DICE


def check_model(name: str) -> Checkup:
    """Segment a generated slice with a shipped model until about two seconds have passed.

    Args:
        name: A key of ``PUBLISHED_MS``.

    Raises:
        ModelError: The model's file is damaged or missing.
    """
    phantom = draw_phantom(np.random.default_rng(0), size_hw=_SIZE_HW, kind="bright")
    truth = rasterize(phantom.regions, _SIZE_HW)
    segmenter = Segmenter(name)
    dice = count_pixels(segmenter.predict(phantom.pixels).mask, truth).dice
    times: list[float] = []
    while len(times) < _FEWEST or (sum(times) < _SECONDS and len(times) < _MOST):
        start = time.perf_counter()
        segmenter.predict(phantom.pixels)
        times.append(time.perf_counter() - start)
    return Checkup(name, dice, 1000 * statistics.median(times), PUBLISHED_MS[name])

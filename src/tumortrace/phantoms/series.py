"""Generated series of slices through one head with a tumour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.geometry import rasterize
from tumortrace.phantoms.slices import draw_cut

_FLATTENING = 0.55  # how much smaller the head is on the outermost slices: those beyond are not drawn


@dataclass(frozen=True, eq=False)
class PhantomSeries:
    """A generated series.

    Attributes:
        pixels: Grey values, shape (slices, H, W), uint8, from the neck up.
        truth: Tumour, shape (slices, H, W), bool.
        spacing_mm: Distance between pixel centres along rows and columns.
        step_mm: Distance between slices.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    spacing_mm: tuple[float, float]
    step_mm: float


def draw_series(*, seed: int, slices: int, size_hw: tuple[int, int]) -> PhantomSeries:
    """Draw a series of slices through one head, whose tumour is a bright rounded body.

    Args:
        seed: Number from which all random choices come.
        slices: Number of slices, at least 3.
        size_hw: Height and width of each in pixels, at least 96 each.
    """
    heights = np.linspace(-1, 1, slices)  # of the slices: -1 is the lowest, 1 the highest
    tumour_at, tumour_reach = 0.15, 0.4
    drawn = []
    for index, height in enumerate(heights):
        away = (height - tumour_at) / tumour_reach
        drawn.append(
            draw_cut(
                np.random.default_rng(seed),
                np.random.default_rng((seed, index)),
                size_hw=size_hw,
                kind="bright",
                head_scale=float(np.sqrt(1 - _FLATTENING * height**2)),
                lesion_scale=float(np.sqrt(max(0.0, 1 - away**2))),
            )
        )
    side_mm = 190 / size_hw[0]  # a head is about 190 mm long
    return PhantomSeries(
        np.stack([one.pixels for one in drawn]),
        np.stack([rasterize(list(one.regions), size_hw) for one in drawn]),
        (side_mm, side_mm),
        step_mm=130 / slices,
    )

"""Erased tumours: what is left in their place is tissue of the slice, and nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.training.erase import ERASED, MARGIN, erase


def draw_slice(
    *, tumour_xy: tuple[int, int] = (60, 40), radius: int = 6
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A head of grey 0.5 in 80 rows and 96 columns, with a bright tumour."""
    grey, truth = np.zeros((80, 96), np.float32), np.zeros((80, 96), np.uint8)
    cv2.ellipse(grey, (48, 40), (44, 36), 0, 0, 360, 0.5, cv2.FILLED)
    if radius:
        cv2.circle(truth, tumour_xy, radius, 1, cv2.FILLED)
    grey[truth > 0] = 1.0
    return grey, truth


class Drawn:
    """A generator whose first number is given and whose others are drawn."""

    def __init__(self, first: float) -> None:
        self.first: float | None = first
        self.rng = np.random.default_rng(5)

    def random(self) -> float:
        first, self.first = self.first, None
        return self.rng.random() if first is None else first

    def __getattr__(self, name: str) -> object:
        return getattr(self.rng, name)


def test_an_erased_tumour_leaves_tissue_and_an_empty_truth():
    grey, truth = draw_slice()
    erased, empty = erase(grey, truth, Drawn(0.0))
    assert not empty.any()
    assert (erased.dtype, empty.dtype) == (np.float32, np.uint8)
    assert erased[truth > 0].max() == pytest.approx(0.5, abs=0.02)
    far = cv2.dilate(truth, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)) == 0
    assert np.array_equal(erased[far], grey[far])
    assert grey.max() == 1.0  # what was given stays
    assert truth.any()


def test_tissue_beside_the_tumour_is_replaced_and_the_truth_stays():
    grey, truth = draw_slice()
    grey += np.where(grey > 0, np.linspace(0, 0.2, 96, dtype=np.float32), 0)
    grey = np.clip(grey, 0, 1)
    changed = 0
    for seed in range(12):
        drawn = Drawn(1.0)
        drawn.rng = np.random.default_rng(seed)
        replaced, same = erase(grey, truth, drawn)
        assert np.array_equal(same, truth)
        assert np.array_equal(replaced[truth > 0], grey[truth > 0])
        changed += not np.array_equal(replaced, grey)
    assert changed


@pytest.mark.parametrize(
    ("tumour_xy", "radius", "why"),
    [((60, 40), 0, "no tumour"), ((48, 40), 20, "too large"), ((60, 2), 4, "at the edge of the frame")],
)
def test_what_cannot_be_erased_stays(tumour_xy: tuple[int, int], radius: int, why: str):
    grey, truth = draw_slice(tumour_xy=tumour_xy, radius=radius)
    same, outline = erase(grey, truth, Drawn(0.0))
    assert same is grey, why
    assert outline is truth


def test_without_other_tissue_the_tumour_stays():
    truth = np.zeros((40, 50), np.uint8)
    truth[18:22, 20:26] = 1
    grey = truth.astype(np.float32)  # a tumour in air: every place to copy from is air
    grey[truth == 0] = 0.0
    wide = cv2.dilate(truth, np.ones((9, 9), np.uint8))
    grey[wide > 0] = 1.0
    same, outline = erase(grey, truth, Drawn(0.0))
    assert same is grey
    assert outline is truth


def test_most_slices_stay_and_equal_generators_give_equal_slices():
    grey, truth = draw_slice()
    rng = np.random.default_rng(0)
    results = [erase(grey, truth, rng) for _ in range(300)]
    erased = sum(not outline.any() for _, outline in results)
    assert 0.5 * ERASED < erased / 300 < 1.5 * ERASED
    again = [erase(grey, truth, rng) for rng in [np.random.default_rng(0)] for _ in range(20)]
    for (first, _), (second, _) in zip(results, again, strict=False):
        assert np.array_equal(first, second)


def test_an_empty_frame_has_nothing_to_replace():
    grey = np.zeros((20, 30), np.float32)
    same, _ = erase(grey, np.zeros((20, 30), np.uint8), Drawn(1.0))
    assert same is grey


def test_regions_of_tiny_slices_are_replaced_or_left_alone():
    grey = np.full((16, 24), 0.5, np.float32)
    grey[:, 12:] = 0.8
    truth = np.zeros((16, 24), np.uint8)
    replaced = 0
    for seed in range(60):
        drawn = Drawn(1.0)
        drawn.rng = np.random.default_rng(seed)
        replaced += erase(grey, truth, drawn)[0] is not grey
    assert 0 < replaced < 60

"""Implanted tumours: as bright against the new surroundings as against the old, and nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.training.implant import implant

Grey = NDArray[np.float32]
Truth = NDArray[np.uint8]


def draw_head(level: float = 0.5) -> Grey:
    """A head in 96 rows and 112 columns, with one white and one black pixel, so that it spans 0..1."""
    grey = np.zeros((96, 112), np.float32)
    cv2.ellipse(grey, (56, 48), (50, 42), 0, 0, 360, level, cv2.FILLED)
    grey[48, 8] = 1.0
    return grey


def draw_donor(*, radius: int = 7, centre_xy: tuple[int, int] = (60, 46), ratio: float = 1.4) -> tuple[Grey, Truth]:
    """A head of grey 0.4 with a tumour that is so many times as bright."""
    grey, truth = draw_head(0.4), np.zeros((96, 112), np.uint8)
    if radius:
        cv2.circle(truth, centre_xy, radius, 1, cv2.FILLED)
    grey[truth > 0] = 0.4 * ratio
    return grey, truth


def draw_all(image: Grey, donor: Grey, outline: Truth) -> list[tuple[Grey, Truth]]:
    drawn = [implant(image, donor, outline, np.random.default_rng(seed)) for seed in range(40)]
    return [each for each in drawn if each is not None]


def test_a_tumour_comes_with_its_outline_and_the_rest_stays():
    image = draw_head()
    before = image.copy()
    implanted = draw_all(image, *draw_donor())
    assert len(implanted) > 30
    for grey, truth in implanted:
        assert (grey.dtype, truth.dtype, grey.shape, truth.shape) == (np.float32, np.uint8, (96, 112), (96, 112))
        assert 0.5 < truth.sum() / draw_donor()[1].sum() < 2.0  # a scale of e**-0.25 to e**0.25 on both axes
        far = cv2.dilate(truth, np.ones((17, 17), np.uint8)) == 0
        assert np.array_equal(grey[far], image[far])
    assert np.array_equal(image, before)


def test_it_is_as_bright_against_its_surroundings_as_before():
    ratios = []
    for grey, truth in draw_all(draw_head(), *draw_donor()):
        core = cv2.erode(truth, np.ones((7, 7), np.uint8)) > 0
        ratios.append(float(np.median(grey[core])) / 0.5)
    brighter = [ratio for ratio in ratios if ratio > 1]
    assert all(1 + 0.6 * 0.4 - 0.02 <= ratio <= 1 + 1.3 * 0.4 + 0.02 for ratio in brighter)
    assert 0.1 < 1 - len(brighter) / len(ratios) < 0.45  # a quarter is darker instead


def test_the_units_of_the_slices_do_not_matter():
    image, (donor, outline) = draw_head(), draw_donor()
    expected = implant(image, donor, outline, np.random.default_rng(0))
    standardised = implant(7 * image - 3, donor * 100, outline, np.random.default_rng(0))
    assert expected is not None
    assert standardised is not None
    assert np.allclose(standardised[0], expected[0], atol=1e-5)
    assert np.array_equal(standardised[1], expected[1])


@pytest.mark.parametrize(("radius", "why"), [(0, "no tumour"), (18, "too large")])
def test_what_cannot_be_implanted_is_not(radius: int, why: str):
    assert not draw_all(draw_head(), *draw_donor(radius=radius)), why


def test_nothing_grows_in_air():
    blank = np.zeros((96, 112), np.float32)
    small = blank.copy()
    cv2.circle(small, (56, 48), 9, 0.5, cv2.FILLED)  # no room for a tumour and its surroundings
    assert not draw_all(blank, *draw_donor())
    assert not draw_all(small, *draw_donor())


def test_a_tumour_lies_inside_the_head():
    for _, truth in draw_all(draw_head(), *draw_donor(centre_xy=(14, 48), radius=4)):
        rows, columns = np.nonzero(truth)
        off_middle = ((columns.mean() - 56) / 50) ** 2 + ((rows.mean() - 48) / 42) ** 2
        assert off_middle < 0.85**2

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.reporting.error_map import SAFE_LEGEND, compare_masks, compare_on_slice, split_comparison
from tumortrace.reporting.gallery import PANEL_PX, four_panels

PREDICTION = np.array([[True, True, False], [False, False, False]])
TRUTH = np.array([[True, False, True], [False, False, False]])
GREY = np.array([[200, 100, 40], [0, 255, 10]], dtype=np.uint8)


def test_a_comparison_gives_back_what_it_was_made_of():
    prediction, truth = split_comparison(compare_masks(PREDICTION, TRUTH))
    assert np.array_equal(prediction, PREDICTION)
    assert np.array_equal(truth, TRUTH)


def test_safe_colours_lie_on_the_darkened_slice():
    found, missed, marked = (rgb for _, rgb in SAFE_LEGEND[:3])
    picture = compare_on_slice(GREY, PREDICTION, TRUTH)
    assert [tuple(pixel) for pixel in picture[0].tolist()] == [found, marked, missed]
    assert [tuple(pixel) for pixel in picture[1].tolist()] == [(0, 0, 0), (140, 140, 140), (5, 5, 5)]


def test_safe_colours_are_apart_in_grey_print():
    grey = sorted(0.299 * r + 0.587 * g + 0.114 * b for _, (r, g, b) in SAFE_LEGEND[:3])
    assert grey[1] - grey[0] > 40
    assert grey[2] - grey[1] > 80


@pytest.mark.parametrize("colours", ["safe", "report"])
def test_four_panels_stand_side_by_side(colours: str):
    panels = four_panels(GREY, PREDICTION, TRUTH, colours=colours)  # type: ignore[arg-type]
    height, width, _ = panels.shape
    assert (height, width) == (round(PANEL_PX * 2 / 3), 4 * PANEL_PX + 3 * 6)
    truth = panels[:, PANEL_PX + 6 : 2 * PANEL_PX + 6]
    assert truth[5, 5].tolist() == [255, 255, 255]
    assert truth[5, PANEL_PX // 2].tolist() == [0, 0, 0]
    assert (panels[:, PANEL_PX : PANEL_PX + 6] == 255).all()


def test_one_pixel():
    one = np.ones((1, 1), dtype=np.bool_)
    assert four_panels(np.zeros((1, 1), np.uint8), one, one, colours="safe").shape == (PANEL_PX, 4 * PANEL_PX + 18, 3)

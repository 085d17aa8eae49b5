"""Boxes and clicks simulated from an outline, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.evaluation.simulated_prompts import Click, click_error, draw_loose_box, loosen_box


def test_a_box_is_loosened_on_each_side_and_then_shifted():
    assert loosen_box((10, 20, 30, 60), 0.25) == (5, 10, 35, 70)
    assert loosen_box((10, 20, 30, 60), 0.0, (0.5, -0.25)) == (20, 10, 40, 50)


def test_drawn_boxes_cover_most_of_the_tumour_and_are_at_most_half_as_wide_again_on_each_side():
    rng = np.random.default_rng(0)
    boxes = np.array([draw_loose_box((100, 50, 140, 130), rng) for _ in range(500)])
    beyond = np.array([100, 50, -140, -130]) - boxes * [1, 1, -1, -1]  # outwards is positive
    beyond = beyond / [40, 80, 40, 80]
    assert beyond.min() > -0.3
    assert beyond.max() < 0.65
    assert 0.1 < beyond.mean() < 0.25


def test_a_click_falls_on_the_deepest_pixel_of_the_largest_error():
    truth = np.zeros((12, 14), np.bool_)
    truth[2:7, 3:8] = True  # missed: 25 pixels, deepest at row 4, column 5
    mask = np.zeros_like(truth)
    mask[9:11, 10:13] = True  # false: 6 pixels
    assert click_error(mask, truth) == Click(5, 4, on_tumour=True)
    assert click_error(mask | truth, truth) == Click(10, 9, on_tumour=False)
    assert click_error(truth, truth) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_click_falls_within_the_error_and_away_from_its_border(seed: int):
    truth = np.zeros((30, 30), np.bool_)
    truth[5:25, 5:25] = True
    click = click_error(np.zeros_like(truth), truth, np.random.default_rng(seed))
    assert click is not None
    assert 9 <= click.x < 21
    assert 9 <= click.y < 21

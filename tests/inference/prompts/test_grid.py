"""The square around a box, and prompts on the network's grid, worked out by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortrace.data.geometry import Polygon, rasterize_region
from tumortrace.inference.prompts.grid import (
    Square,
    box_of,
    cut_square,
    cut_to_slice,
    draw_box,
    draw_clicks,
    draw_prompts,
    paste_square,
    pixel_of,
    pixels_between,
    square_around,
    widen_box,
)


def test_a_box_is_cut_to_the_slice():
    assert cut_to_slice((-3, 2, 50, 90), (40, 30)) == (0, 2, 30, 40)


def test_a_box_holds_the_marked_pixels_and_no_more():
    mask = np.zeros((5, 7), np.bool_)
    mask[1:3, 4] = True
    assert box_of(mask) == (4.0, 1.0, 5.0, 3.0)


def test_a_box_is_widened_by_a_share_of_each_side_or_by_so_many_pixels():
    assert widen_box((10, 20, 20, 60), 0.1) == (9, 16, 21, 64)
    assert widen_box((10, 20, 20, 60), 0.1, least_px=2) == (8, 16, 22, 64)


def test_the_square_has_the_middle_of_the_box_and_is_wider_than_its_longer_side():
    assert square_around((10, 30, 50, 40)) == Square(2.0, 7.0, 56.0)


def test_the_square_of_a_tiny_box_still_shows_surroundings():
    assert square_around((10, 10, 12, 12)) == Square(-1.0, -1.0, 24.0)


def test_a_square_of_the_grids_size_is_cut_out_pixel_by_pixel():
    grey = np.arange(48, dtype=np.float32).reshape(6, 8)
    assert np.array_equal(cut_square(grey, Square(2, 1, 4), grid=4), grey[1:5, 2:6])


def test_beyond_the_slice_lies_the_darkest_grey():
    grey = np.array([[5, 9], [7, 8]], dtype=np.uint8)
    assert cut_square(grey, Square(-1, -1, 4), grid=4).tolist() == [[5, 5, 5, 5], [5, 5, 9, 5], [5, 7, 8, 5], [5] * 4]


def test_pixels_that_share_a_place_on_the_grid_are_averaged():
    grey = np.kron(np.array([[1, 3], [5, 7]], dtype=np.float32), np.ones((2, 2), np.float32))
    grey[0, 0] += 4
    assert cut_square(grey, Square(0, 0, 4), grid=2).tolist() == [[2, 3], [5, 7]]


def test_a_turn_mirrors_the_square():
    grey = np.arange(16, dtype=np.float32).reshape(4, 4)
    turn = np.array([[-1.0, 0.0, 4.0], [0.0, 1.0, 0.0]])  # column edges run backwards
    assert np.array_equal(cut_square(grey, Square(0, 0, 4), grid=4, turn=turn), grey[:, ::-1])


def test_values_come_back_to_where_they_were_cut_out():
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    pasted = paste_square(values, Square(1, 2, 3), (6, 5))
    expected = np.zeros((6, 5), np.float32)
    expected[2:5, 1:4] = values
    assert np.array_equal(pasted, expected)


@given(left=st.integers(-6, 20), top=st.integers(-6, 20), side=st.integers(8, 30), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_cutting_and_pasting_shift_nothing(left: int, top: int, side: int, seed: int):
    rows, columns = np.mgrid[:24, :28].astype(np.float32)
    slope = np.random.default_rng(seed).uniform(-1, 1, size=2)
    grey = (rows * slope[0] + columns * slope[1]).astype(np.float32)
    square = Square(float(left), float(top), float(side))
    pasted = paste_square(cut_square(grey, square, grid=32), square, grey.shape)
    inside = np.zeros(grey.shape, np.bool_)  # two pixels from the edges of square and slice, all is linear
    inside[max(top, 0) + 2 : min(top + side, 24) - 2, max(left, 0) + 2 : min(left + side, 28) - 2] = True
    assert np.allclose(pasted[inside], grey[inside], atol=1e-3)


def test_a_square_beside_the_slice_pastes_nothing():
    assert not paste_square(np.ones((4, 4), np.float32), Square(30, 2, 4), (10, 10)).any()


def test_the_box_is_filled_and_shares_the_pixels_at_its_edges():
    drawn = draw_box((1.5, 0, 3, 1), Square(0, 0, 4), grid=4)
    assert drawn.tolist() == [[0, 0.5, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_click_is_a_disc_of_its_own_size_on_the_grid():
    drawn = draw_clicks([(10, 20)], Square(0, 0, 32), grid=64)
    rows, columns = np.nonzero(drawn)
    assert (rows.mean(), columns.mean()) == (41, 21)  # the pixel's centre, 20.5, is 41 on the grid
    assert (rows.min(), rows.max(), drawn.max()) == (37, 45, 1)


def test_a_click_far_outside_draws_nothing():
    assert not draw_clicks([(500, -300)], Square(0, 0, 32), grid=64).any()


def test_the_maps_of_a_prompt_come_in_order():
    before = np.full((32, 32), 0.25, np.float32)
    maps = draw_prompts((8, 8, 16, 24), [((10, 10), True), ((25, 25), False)], before, Square(0, 0, 32))
    assert maps.shape == (4, 32, 32)
    assert maps[0].sum() == 8 * 16
    assert (maps[1, 10, 10], maps[1, 25, 25], maps[2, 25, 25]) == (1, 0, 1)
    assert np.array_equal(maps[3], before)


@given(low=st.integers(-12, 60).map(lambda n: n / 4), size=st.integers(1, 60).map(lambda n: n / 4))
def test_a_box_covers_the_pixels_that_a_polygon_of_its_corners_covers(low: float, size: float):
    corners = np.array([[low, 1], [low + size, 1], [low + size, 4], [low, 4]]) - 0.5  # edges to pixel centres
    drawn = rasterize_region(Polygon(corners), (6, 11))
    columns = pixels_between(low, low + size, 11)
    assert np.flatnonzero(drawn.any(axis=0)).tolist() == list(range(11))[columns]


def test_halves_are_rounded_alike_everywhere():
    assert [pixels_between(edge, edge + 2, 9) for edge in (0.5, 1.5, 2.5)] == [slice(0, 2), slice(1, 3), slice(2, 4)]
    assert [pixel_of((x, 3.5)) for x in (-0.5, 0.49, 0.5, 1.5, 2.5)] == [(4, 0), (4, 0), (4, 1), (4, 2), (4, 3)]

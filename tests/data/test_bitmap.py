"""Marked pixels as runs, by hand and against masks of every shape."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tumortrace.data.bitmap import draw_bitmap, split_lesions, to_bitmap
from tumortrace.data.geometry import (
    Polygon,
    count_overlap,
    cut_holes,
    outline_region,
    rasterize,
    region_area,
    region_bounds_xyxy,
)

MASK = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 1], [0, 0, 1, 0, 0]], bool)
masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=7))


def square(left: float, top: float, right: float, bottom: float) -> Polygon:
    return Polygon(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))


def test_runs_by_hand():
    bitmap = to_bitmap(MASK, (10, 20))
    assert bitmap.origin_xy == (11, 21)
    assert bitmap.size_hw == (2, 4)
    assert bitmap.runs.tolist() == [[0, 2], [3, 4], [5, 6]]
    np.testing.assert_array_equal(draw_bitmap(bitmap), MASK[1:, 1:])
    assert region_area(bitmap) == 4
    assert region_bounds_xyxy(bitmap) == (10.5, 20.5, 14.5, 22.5)
    assert count_overlap(bitmap, (30, 30)) == 0


def test_nothing_marked():
    bitmap = to_bitmap(np.zeros((3, 4), bool))
    assert (bitmap.size_hw, len(bitmap.runs)) == ((0, 0), 0)
    assert not rasterize([bitmap], (3, 4)).any()
    assert split_lesions(np.zeros((3, 4), bool)) == []


def test_a_bitmap_is_cut_at_the_border_of_the_image():
    drawn = rasterize([to_bitmap(MASK, (-1, -1))], (2, 2))
    assert drawn.tolist() == [[True, True], [False, True]]


@given(masks, st.integers(-3, 3), st.integers(-3, 3))
def test_a_bitmap_marks_what_the_mask_marks(mask: np.ndarray, x: int, y: int):
    height, width = mask.shape
    drawn = rasterize([to_bitmap(mask, (x, y))], (20, 20))
    expected = np.zeros((40, 40), bool)
    expected[10 + y : 10 + y + height, 10 + x : 10 + x + width] = mask
    np.testing.assert_array_equal(drawn, expected[10:30, 10:30])


@given(masks)
def test_lesions_and_their_outlines_cover_the_mask(mask: np.ndarray):
    lesions = split_lesions(mask)
    np.testing.assert_array_equal(rasterize(lesions, mask.shape), mask)
    outlines = [outline for lesion in lesions for outline in outline_region(lesion, mask.shape)]
    np.testing.assert_array_equal(rasterize(outlines, mask.shape), mask)


def test_holes_stay_empty_whichever_way_they_turn():
    outer, hole = square(0.5, 0.5, 8.5, 8.5), square(2.5, 2.5, 4.5, 5.5)
    for inner in (hole, Polygon(hole.points_xy[::-1])):
        drawn = rasterize([cut_holes(outer, [inner, square(6.5, 6.5, 7.5, 7.5)])], (10, 10))
        assert drawn.sum() == 64 - 6 - 1
        assert not drawn[3:6, 3:5].any()
    assert cut_holes(outer, []).points_xy.tolist() == outer.points_xy.tolist()


def test_a_small_hole_stays_open_whichever_way_both_outlines_turn():
    outer = Polygon(np.array([(20.5, 20.5), (29.5, 21.5), (28.5, 29.5), (20.5, 27.5)]))
    hole = Polygon(np.array([(22.6, 22.8), (23.3, 22.9), (23.1, 23.4)]))  # a quarter of a pixel, round (23, 23)
    whole = rasterize([outer], (40, 40))
    for border in (outer, Polygon(outer.points_xy[::-1])):
        for inner in (hole, Polygon(hole.points_xy[::-1])):
            drawn = rasterize([cut_holes(border, [inner])], (40, 40))
            assert np.argwhere(whole & ~drawn).tolist() == [[23, 23]]


def test_a_polygon_is_its_own_outline():
    outline = square(0.5, 0.5, 3.5, 2.5)
    assert outline_region(outline, (2, 2)) == [outline]
    assert [type(each) for each in outline_region(to_bitmap(MASK), MASK.shape)] == [Polygon, Polygon]

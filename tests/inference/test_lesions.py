"""Lesions measured by hand, and against scikit-image and all pairs of corners on random masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from tumortrace.inference.lesions import Lesion, find_lesions

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=10))
spacings = st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.25, 1.0, 3.0]))


def drawn(*rows: str) -> NDArray[np.bool_]:
    """A mask from rows of '#' (inside) and '.' (outside)."""
    return np.array([[character == "#" for character in row] for row in rows])


def measure(mask: NDArray[np.bool_], spacing_mm: tuple[float, float] | None = None) -> tuple[Lesion, ...]:
    return find_lesions(mask, mask.astype(np.float32), spacing_mm=spacing_mm)


def test_one_pixel():
    mask = drawn("...", "...", ".#.", "...")
    probability = np.full((4, 3), 0.25, dtype=np.float32)
    probability[2, 1] = 0.75
    assert find_lesions(mask, probability) == (
        Lesion(
            area_px=1,
            area_mm2=None,
            centroid_xy=(1.0, 2.0),
            bbox_xyxy=(1, 2, 2, 3),
            diameter_px=math.sqrt(2),
            diameter_mm=None,
            confidence=0.75,
        ),
    )


def test_l_shape():
    # Pixels (x, y): (1, 0), (1, 1), (1, 2), (2, 2); the corners (1, 0) and (3, 3) are the farthest apart.
    (lesion,) = measure(drawn(".#..", ".#..", ".##.", "...."))
    assert lesion.area_px == 4
    assert lesion.centroid_xy == (1.25, 1.25)
    assert lesion.bbox_xyxy == (1, 0, 3, 3)
    assert lesion.diameter_px == pytest.approx(math.hypot(2, 3))


def test_spacing_is_along_rows_then_columns():
    # Rows lie 2 mm apart, columns 0.5 mm.
    (wide,) = measure(drawn(".....", ".###."), (2.0, 0.5))
    assert wide.area_mm2 == 3.0
    assert wide.diameter_px == pytest.approx(math.hypot(3, 1))
    assert wide.diameter_mm == pytest.approx(math.hypot(3 * 0.5, 1 * 2))
    (tall,) = measure(drawn("#..", "#..", "#.."), (2.0, 0.5))
    assert tall.area_mm2 == 3.0
    assert tall.diameter_px == pytest.approx(math.hypot(1, 3))
    assert tall.diameter_mm == pytest.approx(math.hypot(1 * 0.5, 3 * 2))


def test_longest_distance_in_millimetres_may_lie_elsewhere_than_in_pixels():
    # In pixels the bar of four columns is longest; with rows 10 mm apart the step of two rows is.
    (lesion,) = measure(drawn("##..", ".###"), (10.0, 1.0))
    assert lesion.diameter_px == pytest.approx(math.hypot(4, 2))
    assert lesion.diameter_mm == pytest.approx(math.hypot(4, 20))


def test_pixels_that_touch_at_a_corner_are_one_lesion():
    (lesion,) = measure(drawn("#..", ".#.", "..."))
    assert lesion.area_px == 2
    assert lesion.centroid_xy == (0.5, 0.5)
    assert lesion.diameter_px == pytest.approx(2 * math.sqrt(2))


def test_larger_lesion_comes_first():
    small, large = (1, 0, 2, 1), (3, 2, 5, 3)
    assert [lesion.bbox_xyxy for lesion in measure(drawn(".#...", ".....", "...##"))] == [large, small]


def test_equally_large_lesions_come_from_top_to_bottom():
    mask = drawn(".....#..", "#.......", "........", "..#....#")
    assert [lesion.bbox_xyxy[:2] for lesion in measure(mask)] == [(5, 0), (0, 1), (2, 3), (7, 3)]


def test_confidence_is_that_of_the_lesion_alone():
    # A ring round a dot: the dot lies within the ring's box, but is a lesion of its own.
    mask = drawn("#####.", "#...#.", "#.#.#.", "#...#.", "#####.")
    probability = np.full((5, 6), 0.125, dtype=np.float32)
    probability[mask] = 0.5
    probability[0, 0:4] = 1.0
    probability[2, 2] = 0.875
    ring, dot = find_lesions(mask, probability)
    assert ring.area_px == 16
    assert ring.confidence == pytest.approx((4 * 1.0 + 12 * 0.5) / 16)
    assert (dot.area_px, dot.confidence) == (1, 0.875)


def test_empty_mask_has_no_lesion():
    assert measure(np.zeros((3, 5), dtype=np.bool_), (1.0, 1.0)) == ()


def test_full_mask_is_one_lesion():
    (lesion,) = measure(np.ones((3, 5), dtype=np.bool_))
    assert lesion.area_px == 15
    assert lesion.centroid_xy == (2.0, 1.0)
    assert lesion.bbox_xyxy == (0, 0, 5, 3)
    assert lesion.diameter_px == pytest.approx(math.hypot(5, 3))


@given(masks, st.integers(0, 1000))
def test_same_lesions_as_scikit_image(mask: NDArray[np.bool_], seed: int):
    probability = np.random.default_rng(seed).random(mask.shape, dtype=np.float32)
    found = find_lesions(mask, probability)
    expected = regionprops(label(mask, connectivity=2), intensity_image=probability)
    assert [lesion.area_px for lesion in found] == sorted((region.area for region in expected), reverse=True)
    by_place = sorted(found, key=lambda lesion: (lesion.bbox_xyxy, lesion.area_px, lesion.centroid_xy))
    regions = sorted(
        ((left, top, right, bottom), region.area, (x, y), region.intensity_mean)
        for region in expected
        for (top, left, bottom, right), (y, x) in [(region.bbox, region.centroid)]
    )
    for lesion, (bbox_xyxy, area_px, centroid_xy, confidence) in zip(by_place, regions, strict=True):
        assert (lesion.bbox_xyxy, lesion.area_px) == (bbox_xyxy, area_px)
        assert lesion.centroid_xy == pytest.approx(centroid_xy)
        assert lesion.confidence == pytest.approx(confidence, rel=1e-5)


@given(masks, spacings)
def test_diameter_is_the_longest_of_all_distances_between_corners(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float]
):
    labels = label(mask, connectivity=2)
    expected_mm = []
    for number in range(1, labels.max() + 1):
        corners = [(y + dy, x + dx) for y, x in np.argwhere(labels == number) for dy in (0, 1) for dx in (0, 1)]
        steps_mm = (np.array(corners)[:, None] - np.array(corners)[None, :]) * spacing_mm
        expected_mm.append(math.sqrt((steps_mm**2).sum(axis=2).max()))
    found_mm = [lesion.diameter_mm for lesion in measure(mask, spacing_mm)]
    assert sorted(found_mm) == pytest.approx(sorted(expected_mm))

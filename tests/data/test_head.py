"""The box around the head: drawn heads whose box is known, and pictures without one."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.data.grey import scale_grey
from tumortrace.data.head import Head, Window, find_head, measure_depth, scale


def draw_head(size_hw: tuple[int, int], centre_xy: tuple[int, int], axes: tuple[int, int]) -> NDArray[np.uint8]:
    """An ellipse of 120 with a bright rim on black."""
    pixels = np.zeros(size_hw, dtype=np.uint8)
    cv2.ellipse(pixels, centre_xy, axes, 0, 0, 360, 120, cv2.FILLED)
    cv2.ellipse(pixels, centre_xy, axes, 0, 0, 360, 250, 5)
    return pixels


def head_of(pixels: NDArray[np.generic]) -> Head:
    head = find_head(scale_grey(pixels))
    assert head is not None
    return head


def assert_close(window: Window, expected: tuple[int, int, int, int], *, within: int):
    assert np.abs(np.array(window) - expected).max() <= within, window


def test_box_of_a_head_that_is_not_in_the_middle_of_a_wide_slice():
    head = head_of(draw_head((300, 480), (150, 140), (90, 120)))
    assert_close(head.box, (20 - 8, 260 + 8, 60 - 8, 240 + 8), within=6)
    assert head.area == pytest.approx(math.pi * 92 * 122 / (300 * 480), rel=0.07)
    assert head.outside == 0.0
    assert head.close is head.whole
    found = head.close.find_box()
    margin = 0.03 * (found.bottom - found.top)  # its longer side
    assert head.box.top == math.floor(found.top - margin)
    assert head.box.bottom == math.ceil(found.bottom + margin)
    assert head.box.left == math.floor(found.left - margin)
    assert head.box.right == math.ceil(found.right + margin)


def test_grey_values_between_two_ends_are_scaled_and_the_frame_is_an_edge():
    assert scale(np.array([2, 4, 5, 8, 9], np.float32), (4.0, 8.0)).tolist() == [0, 0, 0.25, 1, 1]
    # One step of OpenCV's distance along a row or column is 0.955.
    steps = [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]
    assert measure_depth(np.ones((3, 5), np.bool_)) == pytest.approx(0.955 * np.array(steps), abs=1e-3)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int16])
def test_box_does_not_depend_on_how_grey_values_are_stored(dtype: type):
    pixels = draw_head((200, 200), (110, 90), (60, 75))
    other = pixels.astype(dtype) * dtype(90) - dtype(5000 if dtype is np.int16 else 0)
    assert head_of(other).box == head_of(pixels).box


def test_text_and_noise_around_a_head_do_not_move_its_box():
    pixels = draw_head((300, 300), (150, 150), (80, 100))
    noisy = np.clip(pixels + np.random.default_rng(0).normal(8, 4, pixels.shape), 0, 255).astype(np.uint8)
    cv2.putText(noisy, "R 12", (2, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    assert_close(head_of(noisy).box, head_of(pixels).box, within=6)


def draw_noise(size_hw: tuple[int, int], *, mean: float) -> NDArray[np.uint8]:
    """Noise in a disc that reaches all edges of the slice, as coils receive it; its corners are black."""
    noise = np.random.default_rng(0).normal(mean, mean / 4, size_hw)
    y, x = np.mgrid[-1 : 1 : size_hw[0] * 1j, -1 : 1 : size_hw[1] * 1j]
    return np.where(x**2 + y**2 < 1.02, noise, 0).clip(0, 255).astype(np.uint8)


def test_strong_noise_in_the_air_is_not_taken_for_the_head():
    pixels = draw_head((240, 300), (130, 100), (50, 60))
    noisy = np.maximum(pixels, draw_noise((240, 300), mean=32))
    assert_close(head_of(noisy).box, head_of(pixels).box, within=11)  # 4 pixels of the small picture
    assert head_of(noisy).outside == 0.0


def test_a_ragged_patch_of_noise_is_not_taken_for_the_head():
    pixels = draw_head((240, 300), (150, 120), (30, 35))
    noisy = pixels.copy()
    cv2.ellipse(noisy, (150, 120), (120, 90), 0, 50, 310, 48, 30)  # a C around the head, larger than that
    assert_close(head_of(noisy).box, head_of(pixels).box, within=6)


@pytest.mark.parametrize("shape", ["reaches an edge", "ragged"])
def test_a_bright_part_of_a_head_that_fills_the_slice_is_not_taken_for_it(shape: str):
    pixels = np.full((200, 240), 70, np.uint8)
    pixels[:20, :20] = 0
    if shape == "ragged":
        cv2.ellipse(pixels, (120, 100), (70, 60), 0, 50, 310, 250, 14)
    else:
        pixels[120:, 60:180] = 250
    assert head_of(pixels).box == Window(0, 200, 0, 240)


def test_a_dim_object_that_is_larger_than_a_bright_one_stays_the_head_if_it_is_compact():
    pixels = np.zeros((240, 300), np.uint8)
    cv2.ellipse(pixels, (110, 120), (90, 100), 0, 0, 360, 64, cv2.FILLED)
    cv2.ellipse(pixels, (260, 120), (20, 30), 0, 0, 360, 250, cv2.FILLED)
    top, bottom, left, right = head_of(pixels).box
    assert (top, left, right) == pytest.approx((14, 14, 206), abs=6)
    assert bottom == pytest.approx(226, abs=6)


def test_a_head_that_fills_the_slice_keeps_its_scalp():
    pixels = draw_head((200, 200), (100, 100), (70, 80))
    cv2.ellipse(pixels, (100, 100), (104, 104), 0, 0, 360, 110, 40)
    assert head_of(pixels).box == Window(0, 200, 0, 200)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_a_head_that_is_small_in_its_frame_is_found_as_exactly(factor: int):
    pixels = draw_head((300, 240), (130, 140), (90, 120))
    above, before = 300 * (factor - 1), 120 * (factor - 1)  # all rows above, the columns on both sides
    padded = np.pad(pixels, ((above, 0), (before, before)))
    alone, small = head_of(pixels), head_of(padded)
    shifted = tuple(np.array(alone.box) + np.array([above, above, before, before]))
    assert_close(small.box, shifted, within=5)
    assert small.area == pytest.approx(alone.area / factor**2, rel=0.06)
    assert (small.close is small.whole) == (factor == 2)


def two_objects(other: int) -> NDArray[np.uint8]:
    """An ellipse of 120 and 60 x 80 half axes, and a square of 40 x 40 of another value."""
    pixels = cv2.ellipse(np.zeros((300, 300), np.uint8), (100, 150), (60, 80), 0, 0, 360, 120, cv2.FILLED)
    pixels[100:140, 240:280] = other
    return pixels


def test_a_second_object_as_bright_as_the_head_counts_by_its_area():
    assert head_of(two_objects(120)).outside == pytest.approx(1600 / (1600 + math.pi * 60 * 80), rel=0.05)


def test_a_second_object_hardly_brighter_than_the_background_hardly_counts():
    # The mean grey value is about 0.17, so the background ends at 0.163; the square is at 0.25, the head at 1.
    head = head_of(two_objects(30))
    assert (head.whole.bright & ~head.whole.head).sum() > 100
    assert head.outside == pytest.approx(1600 * 0.087 / (1600 * 0.087 + math.pi * 60 * 80 * 0.837), rel=0.15)


@pytest.mark.parametrize(
    "pixels", [np.zeros((40, 70), np.uint8), np.full((40, 70), 9, np.uint16), np.zeros((1, 1))], ids=str
)
def test_a_blank_slice_has_no_head(pixels: NDArray[np.generic]):
    assert find_head(scale_grey(pixels)) is None


def test_a_dot_is_no_head_and_its_box_is_the_whole_slice():
    pixels = np.pad(np.full((4, 4), 200, dtype=np.uint8), ((20, 16), (60, 6)))
    assert head_of(pixels).box == Window(0, 40, 0, 70)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_box_lies_within_the_slice_and_holds_a_pixel(pixels: NDArray[np.uint8]):
    head = find_head(scale_grey(pixels))
    if head is not None:
        top, bottom, left, right = head.box
        assert 0 <= top < bottom <= pixels.shape[0]
        assert 0 <= left < right <= pixels.shape[1]
        assert 0 < head.area <= 1
        assert 0 <= head.outside <= 1

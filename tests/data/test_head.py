"""The box around the head: drawn heads whose box is known, pictures without one, and real slices."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.data.head import Window, find_head, on_black


def draw_head(size_hw: tuple[int, int], centre_xy: tuple[int, int], axes: tuple[int, int]) -> NDArray[np.uint8]:
    """An ellipse of 120 with a bright rim on black."""
    pixels = np.zeros(size_hw, dtype=np.uint8)
    cv2.ellipse(pixels, centre_xy, axes, 0, 0, 360, 120, cv2.FILLED)
    cv2.ellipse(pixels, centre_xy, axes, 0, 0, 360, 250, 5)
    return pixels


def assert_close(window: Window, expected: tuple[int, int, int, int], *, within: int):
    assert np.abs(np.array(window) - expected).max() <= within, window


def test_box_of_a_head_that_is_not_in_the_middle_of_a_wide_slice():
    pixels = draw_head((300, 480), (150, 140), (90, 120))
    assert_close(find_head(pixels), (20 - 8, 260 + 8, 60 - 8, 240 + 8), within=6)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int16])
def test_box_does_not_depend_on_how_grey_values_are_stored(dtype: type):
    pixels = draw_head((200, 200), (110, 90), (60, 75))
    assert find_head(pixels.astype(dtype) * 90 - (5000 if dtype is np.int16 else 0)) == find_head(pixels)


def test_text_and_noise_around_a_head_do_not_move_its_box():
    pixels = draw_head((300, 300), (150, 150), (80, 100))
    expected = find_head(pixels)
    noisy = np.clip(pixels + np.random.default_rng(0).normal(8, 4, pixels.shape), 0, 255).astype(np.uint8)
    cv2.putText(noisy, "R 12", (2, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    assert_close(find_head(noisy), expected, within=6)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((40, 70), dtype=np.uint8),
        np.full((40, 70), 9, dtype=np.uint16),
        np.pad(np.full((3, 3), 200, dtype=np.uint8), ((20, 17), (60, 7))),
    ],
    ids=["black", "constant", "a dot"],
)
def test_without_a_head_it_is_the_whole_slice(pixels: NDArray[np.generic]):
    assert find_head(pixels) == Window(0, *pixels.shape[:1], 0, pixels.shape[1])


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_slices_too_small_for_a_head_are_taken_whole(size_hw: tuple[int, int]):
    pixels = np.zeros(size_hw, dtype=np.uint8)
    assert find_head(pixels) == Window(0, size_hw[0], 0, size_hw[1])


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60))))
def test_box_lies_within_the_slice_and_holds_a_pixel(pixels: NDArray[np.uint8]):
    top, bottom, left, right = find_head(pixels)
    assert 0 <= top < bottom <= pixels.shape[0]
    assert 0 <= left < right <= pixels.shape[1]


# --- inverted slices ---


def test_inverted_slice_is_turned_back():
    pixels = draw_head((90, 120), (60, 45), (30, 35)).astype(np.float32)
    assert np.array_equal(on_black(np.float32(250) - pixels), pixels)
    assert np.array_equal(on_black(np.float32(900) - 3 * pixels), 3 * pixels)
    assert find_head(250 - pixels) == find_head(pixels)


@pytest.mark.parametrize(
    "grey",
    [draw_head((90, 120), (60, 45), (30, 35)), np.full((9, 9), 200), np.zeros((1, 1)), np.array([[9, 1], [0, 9]])],
    ids=["head on black", "constant", "one pixel", "two bright corners"],
)
def test_slice_that_is_not_inverted_stays(grey: NDArray[np.generic]):
    kept = on_black(grey.astype(np.float32))
    assert np.array_equal(kept, grey)

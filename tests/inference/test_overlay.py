"""The mask drawn over its slice, colour by colour."""

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.inference.overlay import OUTLINE_RGB, draw_overlay, to_display


def test_grey_values_are_stretched_over_the_whole_range():
    # (20 - 10) / 20 * 255 = 127.5 goes to the even 128, (15 - 10) / 20 * 255 = 63.75 to 64.
    shown = to_display(np.array([[10, 20, 30], [15, 10, 10]], dtype=np.uint8))
    assert shown.dtype == np.uint8
    assert shown.tolist() == [[0, 128, 255], [64, 0, 0]]


def test_16_bit_and_negative_values_are_shown_too():
    assert to_display(np.array([[0, 65535, 257]], dtype=np.uint16)).tolist() == [[0, 255, 1]]
    assert to_display(np.array([[-1.0, 0.0, 1.0]])).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("hot", [65535, 40000])
def test_a_hot_pixel_does_not_turn_the_others_black(hot: int):
    pixels = np.tile(np.arange(0, 1020, 20, dtype=np.uint16), (40, 1))
    clean = to_display(pixels)
    assert (clean.min(), clean.max()) == (0, 255)
    pixels[20, 25] = hot
    shown = to_display(pixels).astype(int)
    assert np.abs(shown - clean).max() <= 3  # the pixel itself is shown like its neighbours
    assert np.array_equal(np.delete(shown.ravel(), 20 * 51 + 25), np.delete(clean.ravel(), 20 * 51 + 25))


@pytest.mark.parametrize("value", [np.uint8(0), np.uint8(200), np.uint16(60001)])
def test_constant_picture_is_shown_black(value: np.generic):
    assert to_display(np.full((2, 3), value)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_outline_is_full_and_the_inside_is_tinted():
    pixels = np.full((5, 6), 100, dtype=np.uint8)
    pixels[0, 0], pixels[0, 5] = 0, 255  # so that 100 is shown as 100
    mask = np.zeros((5, 6), dtype=np.bool_)
    mask[1:4, 2:5] = True
    overlay = draw_overlay(pixels, mask)
    assert overlay.dtype == np.uint8
    assert overlay.shape == (5, 6, 3)
    # Four fifths of 100 and one of 255, 176 and 0.
    assert overlay[2, 3].tolist() == [131, 115, 80]
    is_outline = (overlay == OUTLINE_RGB).all(axis=2)
    assert is_outline.sum() == 8
    assert np.array_equal(is_outline | (np.indices(mask.shape) == [[[2]], [[3]]]).all(axis=0), mask)
    assert np.array_equal(overlay[~mask], np.repeat(pixels[~mask][:, None], 3, axis=1))


def test_mask_that_leaves_the_picture_is_outlined_at_its_border():
    overlay = draw_overlay(np.zeros((3, 4), dtype=np.uint8), np.ones((3, 4), dtype=np.bool_))
    is_outline = (overlay == OUTLINE_RGB).all(axis=2)
    assert is_outline.tolist() == [[True] * 4, [True, False, False, True], [True] * 4]
    assert overlay[1, 1].tolist() == [51, 35, 0]


def test_empty_mask_leaves_the_grey_picture():
    pixels = np.array([[0, 40, 255]], dtype=np.uint8)
    overlay = draw_overlay(pixels, np.zeros((1, 3), dtype=np.bool_))
    assert overlay.tolist() == [[[0, 0, 0], [40, 40, 40], [255, 255, 255]]]
    assert pixels.tolist() == [[0, 40, 255]]

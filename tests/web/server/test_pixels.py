from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from tumortrace.data.slice import Slice
from tumortrace.web.pixels import describe_pixels, to_numbers


@pytest.mark.parametrize(
    ("pixels", "numbers", "slope", "intercept"),
    [
        (np.array([[0, 7], [255, 1]], np.uint8), [[0, 7], [255, 1]], 1, 0),
        (np.array([[0, 65535]], np.uint16), [[0, 65535]], 1, 0),
        (np.array([[-1000, 500]], np.int16), [[0, 1500]], 1, -1000),
        (np.array([[0, 131070]], np.int32), [[0, 65535]], 2, 0),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [[0, 32768, 65535]], 2 / 65535, -1),
        (np.array([[3.5, 3.5]], np.float64), [[0, 0]], 1, 3.5),
    ],
)
def test_numbers_slope_and_intercept_worked_out_by_hand(pixels, numbers, slope, intercept):
    found, found_slope, found_intercept = to_numbers(pixels)
    assert found.tolist() == numbers
    assert (found_slope, found_intercept) == (pytest.approx(slope), intercept)


def test_huge_values_stay_finite():
    found, slope, intercept = to_numbers(np.array([[-3e38, 3e38]], np.float32))
    assert found.tolist() == [[0, 65535]]
    assert np.isfinite([slope, intercept]).all()


def test_the_window_is_the_files_own_or_leaves_out_half_a_per_cent():
    ramp = np.arange(200 * 200, dtype=np.uint16).reshape(200, 200)
    assert describe_pixels(Slice(ramp, "a", window=(100, 300)))["window"] == [200, 200]
    centre, width = describe_pixels(Slice(ramp, "a"))["window"]
    assert centre == pytest.approx(19_900, abs=150)
    assert width == pytest.approx(0.99 * 39_999, rel=0.01)
    assert describe_pixels(Slice(np.full((4, 4), 9, np.uint8), "a"))["window"] == [9, 1]


def test_numbers_are_little_endian_row_by_row():
    data = describe_pixels(Slice(np.array([[1, 2, 3], [256, 257, 258]], np.uint16), "a"))["data"]
    assert zlib.decompress(base64.b64decode(data)) == b"\x01\0\x02\0\x03\0\x00\x01\x01\x01\x02\x01"

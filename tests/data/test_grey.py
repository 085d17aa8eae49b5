"""Grey values on one scale: types, offsets, padding values and defects make no difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.data.grey import BRIGHTEST, DARKEST, scale_grey

RAMP = np.tile(np.arange(200, dtype=np.uint8), (150, 1))
"""Columns of 0 to 199: half a per cent of the pixels lie below 1, and as many above 198."""


def slice_in_air(dtype: type, *, seed: int = 0) -> NDArray[np.generic]:
    """Noise of 300 to 1,200 in the middle of air of 0 to 40, 60 rows and 80 columns."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 40, (60, 80))
    pixels[15:50, 20:60] = rng.integers(300, 1200, (35, 40))
    return pixels.astype(dtype)


def test_half_a_per_cent_lies_below_0_and_above_1():
    grey = scale_grey(RAMP)
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey[0], (np.arange(200) - 1) / 197, atol=1e-6)


def test_fewer_than_200_pixels_are_scaled_from_end_to_end():
    np.testing.assert_allclose(scale_grey(np.array([[20, 30, 60]], dtype=np.uint8)), [[0, 0.25, 1]], atol=1e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_type_and_unit_make_no_difference(dtype: type):
    np.testing.assert_allclose(scale_grey(RAMP.astype(dtype)), scale_grey(RAMP), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "offset"), [(np.uint16, 32768), (np.int16, -1024), (np.int32, 2**31 - 2**11), (np.float64, -1e6)]
)
def test_an_offset_makes_no_difference(dtype: type, offset: float):
    pixels = slice_in_air(dtype)
    np.testing.assert_allclose(scale_grey(pixels + dtype(offset)), scale_grey(pixels), atol=1e-6)


@pytest.mark.parametrize("factor", [1e300, 2e36, 1e-300, 1e-40])
@pytest.mark.filterwarnings("error")
def test_huge_and_tiny_values_are_scaled_like_others(factor: float):
    pixels = slice_in_air(np.float64)
    np.testing.assert_allclose(scale_grey(pixels * factor), scale_grey(pixels), atol=1e-6)
    np.testing.assert_allclose(scale_grey(pixels.astype(np.longdouble) * factor), scale_grey(pixels), atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_values_from_one_end_of_the_type_to_the_other_do_not_overflow():
    ends = np.full((40, 30), np.finfo(np.float64).max)
    ends[10:30, 8:20] *= -1
    assert set(np.unique(scale_grey(ends))) == {0.0, 1.0}


@pytest.mark.parametrize("value", [np.uint8(0), np.uint16(60001), np.int64(2**60), np.float64(0.1), np.float32(3e38)])
def test_a_constant_picture_becomes_zeros(value: np.generic):
    assert not scale_grey(np.full((7, 9), value)).any()


def test_rounding_is_no_contrast_but_a_step_of_one_is():
    rounding = np.full((40, 50), 1e6, dtype=np.float32)
    rounding[3:20, 7:30] += np.float32(0.125)
    assert not scale_grey(rounding).any()
    step = np.full((40, 50), 65000, dtype=np.uint16)
    step[3:20, 7:30] += np.uint16(1)
    assert set(np.unique(scale_grey(step))) == {0.0, 1.0}


# --- defects ---


@pytest.mark.parametrize(("dtype", "hot"), [(np.uint16, 65535), (np.int16, -32768), (np.float64, 1e30)])
def test_a_hot_or_dead_pixel_gets_the_median_of_its_neighbourhood(dtype: type, hot: float):
    pixels = slice_in_air(dtype)
    expected = scale_grey(pixels)
    expected[30, 40] = np.median(np.append(np.delete(expected[29:32, 39:42].ravel(), 4), 9 * np.sign(hot)))
    pixels[30, 40] = hot
    np.testing.assert_allclose(scale_grey(pixels), expected, atol=0.01)


def test_a_hot_pixel_on_a_black_picture_stays_the_only_one():
    pixels = np.zeros((90, 100), dtype=np.uint16)
    pixels[20, 30] = 65535
    grey = scale_grey(pixels)
    assert grey[20, 30] == 1.0
    assert grey.sum() == 1.0


def test_bright_tissue_is_no_defect():
    pixels = slice_in_air(np.uint16)
    pixels[20:22, 30:33] = 3000  # 2.6 times as bright as the rest
    assert scale_grey(pixels)[20:22, 30:33].min() > 2.4


# --- padding ---


@pytest.mark.parametrize(
    ("dtype", "padding"),
    [(np.int16, -2000), (np.int16, -32768), (np.float32, -1000), (np.float64, -1e20), (np.uint16, 65535)],
)
def test_a_padding_value_around_the_slice_is_as_dark_as_air(dtype: type, padding: float):
    pixels = slice_in_air(dtype)
    rows, columns = np.mgrid[:60, :80]
    beyond = (rows - 30) ** 2 + (columns - 40) ** 2 > 38**2
    air = np.where(beyond, dtype(0), pixels)
    padded = np.where(beyond, dtype(padding), pixels)
    found = scale_grey(padded)
    np.testing.assert_allclose(found[~beyond], scale_grey(air)[~beyond], atol=0.02)
    assert (found[beyond] == 0).all()


def test_black_around_a_brain_without_air_is_no_padding():
    # As after skull stripping: 0 lies as far below the tissue as other air does, but there is no other air.
    pixels = np.zeros((60, 80), dtype=np.uint16)
    pixels[15:50, 20:60] = np.random.default_rng(0).integers(700, 1200, (35, 40))
    grey = scale_grey(pixels)
    assert grey[0, 0] == 0.0
    assert grey[15:50, 20:60].min() > 0.5


def test_white_on_a_drawing_of_few_levels_is_no_padding():
    pixels = np.zeros((60, 80), dtype=np.uint8)
    pixels[15:50, 20:60] = 20
    pixels[20:30, 30:40] = 255
    assert scale_grey(pixels)[25, 35] == 1.0


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=30),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
@pytest.mark.filterwarnings("error")
def test_any_picture_is_scaled_within_the_limits_and_left_as_it_is(pixels: NDArray[np.generic]):
    before = pixels.copy()
    grey = scale_grey(pixels)
    assert (pixels == before).all()
    assert grey.shape == pixels.shape
    assert np.isfinite(grey).all()
    assert grey.min() >= DARKEST
    assert grey.max() <= BRIGHTEST

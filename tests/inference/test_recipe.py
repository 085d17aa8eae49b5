"""To the network's grid and back: by hand on tiny grids, and by property for every size and padding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.config import CONFIDENCE_WEIGHTS, Recipe
from tumortrace.data.head import Window
from tumortrace.data.upright import UprightSlice, turn_upright
from tumortrace.errors import ConfigError
from tumortrace.inference.recipe import (
    apply_temperature,
    cut_out,
    find_window,
    prepare,
    prepare_mask,
    prepare_pixels,
    recipe_from_json,
    recipe_to_json,
    restore,
    tumour_probability,
)

sides = st.integers(1, 9)
factors = st.integers(1, 4)
pictures = hnp.arrays(np.uint8, st.tuples(sides, sides))
recipes = st.builds(Recipe, st.tuples(sides, sides), pad_to_square=st.booleans())


def standardised(values: list[list[float]]) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1, straight from the definition."""
    array = np.array(values, dtype=np.float64)
    mean = array.sum() / array.size
    return (array - mean) / math.sqrt(((array - mean) ** 2).sum() / array.size)


# --- prepare ---


def test_picture_on_the_network_grid_is_only_standardised():
    # Mean 2, variance (4 + 4 + 36 + 4 + 4 + 4) / 6.
    prepared = prepare_pixels(np.array([[0, 0, 8], [4, 0, 0]], dtype=np.uint8), Recipe((2, 3)))
    deviation = math.sqrt(56 / 6)
    expected = [[-2 / deviation, -2 / deviation, 6 / deviation], [2 / deviation, -2 / deviation, -2 / deviation]]
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, expected, rtol=1e-6)


def test_wide_picture_is_padded_above_and_below_with_its_darkest_value():
    prepared = prepare_pixels(np.array([[5, 7, 9]], dtype=np.uint8), Recipe((3, 3), pad_to_square=True))
    np.testing.assert_allclose(prepared, standardised([[5, 5, 5], [5, 7, 9], [5, 5, 5]]), rtol=1e-6)


def test_padding_is_as_dark_as_the_darkest_pixel_below_the_scale():
    # Half a per cent of the pixels lie below 0.
    upright = UprightSlice(np.array([[-0.5, 0.0, 1.0]], dtype=np.float32), inverted=False, framed=False, head=None)
    prepared = prepare(upright, Recipe((3, 3), pad_to_square=True))
    expected = standardised([[-0.5, -0.5, -0.5], [-0.5, 0.0, 1.0], [-0.5, -0.5, -0.5]])
    np.testing.assert_allclose(prepared, expected, rtol=1e-6)


def test_odd_row_of_padding_goes_below():
    prepared = prepare_pixels(np.array([[5, 7, 9, 6]], dtype=np.uint8), Recipe((4, 4), pad_to_square=True))
    expected = standardised([[5, 5, 5, 5], [5, 7, 9, 6], [5, 5, 5, 5], [5, 5, 5, 5]])
    np.testing.assert_allclose(prepared, expected, rtol=1e-6)


def test_odd_column_of_padding_goes_to_the_right():
    prepared = prepare_pixels(np.array([[5], [7], [9], [6]], dtype=np.uint8), Recipe((4, 4), pad_to_square=True))
    expected = standardised([[5, 5, 5, 5], [5, 7, 5, 5], [5, 9, 5, 5], [5, 6, 5, 5]])
    np.testing.assert_allclose(prepared, expected, rtol=1e-6)


def test_without_padding_height_and_width_are_stretched_independently():
    # Columns are doubled bilinearly, with the first and last centres beyond the outer ones of the source.
    prepared = prepare_pixels(np.array([[0, 4], [8, 8]], dtype=np.uint8), Recipe((2, 4)))
    np.testing.assert_allclose(prepared, standardised([[0, 1, 3, 4], [8, 8, 8, 8]]), rtol=1e-6)


def test_shrinking_averages_areas():
    pixels = np.array([[0, 4, 8, 8], [8, 0, 8, 0]], dtype=np.uint8)
    np.testing.assert_allclose(prepare_pixels(pixels, Recipe((1, 2))), standardised([[3, 6]]), rtol=1e-6)


def test_axis_that_shrinks_is_averaged_although_the_other_grows():
    # Averages 3 and 5; interpolating between the two middle rows of each four would give 6 and 5.
    column = np.array([0, 4, 8, 0, 9, 9, 1, 1], dtype=np.uint8)
    expected = standardised([[3, 3], [5, 5]])
    np.testing.assert_allclose(prepare_pixels(column[:, None], Recipe((2, 2))), expected, rtol=1e-6)
    np.testing.assert_allclose(prepare_pixels(column[None, :], Recipe((2, 2))), expected.T, rtol=1e-6)


@given(pictures, recipes)
def test_input_has_the_recipe_size_mean_0_and_deviation_1_or_is_0(pixels: NDArray[np.uint8], recipe: Recipe):
    prepared = prepare_pixels(pixels, recipe)
    assert prepared.shape == recipe.size_hw
    assert prepared.dtype == np.float32
    assert abs(prepared.mean()) < 1e-5
    assert abs(prepared.std() - 1) < 1e-5 or not prepared.any()


@given(pictures, recipes)
def test_8_and_16_bit_pictures_of_one_scan_give_the_same_input(pixels: NDArray[np.uint8], recipe: Recipe):
    np.testing.assert_allclose(
        prepare_pixels(pixels.astype(np.uint16) * 257, recipe), prepare_pixels(pixels, recipe), atol=1e-4
    )


@pytest.mark.parametrize("recipe", [Recipe((64, 48)), Recipe((900, 2)), Recipe((3, 5), pad_to_square=True)])
@pytest.mark.parametrize("value", [np.uint8(0), np.uint8(100), np.uint16(60001), np.float64(0.1)])
def test_constant_picture_gives_zeros(value: np.generic, recipe: Recipe):
    prepared = prepare_pixels(np.full((700, 301), value), recipe)
    assert prepared.shape == recipe.size_hw
    assert prepared.dtype == np.float32
    assert not prepared.any()


def test_picture_that_is_constant_once_resized_gives_zeros_and_no_amplified_rounding():
    # Its one column of averages, 2 / 3, is rounded differently in the three rows that it becomes.
    assert not prepare_pixels(np.array([[0, 1, 1]], dtype=np.uint8), Recipe((3, 1))).any()


def test_preparing_leaves_the_slice_as_it_is():
    pixels = np.array([[1.0, 2.0, 7.0]], dtype=np.float32)
    prepare_pixels(pixels, Recipe((2, 2), pad_to_square=True))
    assert pixels.tolist() == [[1.0, 2.0, 7.0]]


# --- the window ---


def test_window_is_the_slice_or_the_square_around_it():
    pixels = np.zeros((3, 6), dtype=np.uint8)
    assert find_window(turn_upright(pixels), Recipe((8, 8))) == Window(0, 3, 0, 6)
    assert find_window(turn_upright(pixels), Recipe((8, 8), pad_to_square=True)) == Window(-1, 5, 0, 6)


def test_window_of_a_recipe_that_crops_is_the_square_around_the_head():
    pixels = np.zeros((200, 300), dtype=np.uint8)
    pixels[40:160, 100:180] = 90  # 120 rows, 80 columns, around row 100 and column 140
    top, bottom, left, right = find_window(turn_upright(pixels), Recipe((8, 8), pad_to_square=True, crop_to_head=True))
    assert bottom - top == right - left
    assert abs((top + bottom) / 2 - 100) <= 3
    assert abs((left + right) / 2 - 140) <= 3
    assert 120 < bottom - top <= 140
    assert find_window(turn_upright(np.zeros((3, 6))), Recipe((8, 8), crop_to_head=True)) == Window(0, 3, 0, 6)


def test_what_is_cut_out_beyond_the_slice_is_0():
    values = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    assert cut_out(values, Window(1, 3, -1, 2)).tolist() == [[0, 4, 5], [0, 0, 0]]
    assert cut_out(values, Window(0, 1, 1, 4)).tolist() == [[2, 3, 0]]


# --- where a pixel lands ---


@pytest.mark.parametrize(
    ("recipe", "rows", "columns"),
    [
        (Recipe((4, 6)), slice(1, 2), slice(4, 5)),
        (Recipe((8, 12)), slice(2, 4), slice(8, 10)),
        # Padded to 6 x 6 with one row above and one below.
        (Recipe((6, 6), pad_to_square=True), slice(2, 3), slice(4, 5)),
        (Recipe((12, 12), pad_to_square=True), slice(4, 6), slice(8, 10)),
    ],
)
def test_lit_pixel_of_a_4_by_6_slice_lands_on_the_same_place_in_picture_and_mask(
    recipe: Recipe, rows: slice, columns: slice
):
    mask = np.zeros((4, 6), dtype=np.bool_)
    mask[1, 4] = True
    expected = np.zeros(recipe.size_hw, dtype=np.bool_)
    expected[rows, columns] = True
    prepared = prepare_pixels(mask.astype(np.uint8) * np.uint8(200), recipe)
    assert np.array_equal(prepare_mask(mask, recipe, find_window(turn_upright(mask), recipe)), expected)
    assert np.array_equal(np.isclose(prepared, prepared.max()), expected)


def test_mask_shrinks_to_the_nearest_pixels():
    mask = np.zeros((6, 9), dtype=np.bool_)
    mask[4, 1] = True  # the middle of the 3 x 3 pixels that become (1, 0)
    mask[0, 8] = True  # a corner of those that become (0, 2)
    assert prepare_mask(mask, Recipe((2, 3)), Window(0, 6, 0, 9)).tolist() == [
        [False, False, False],
        [True, False, False],
    ]


def test_mask_that_grows_keeps_its_corners():
    # Interpolated and rounded, the pixel of 4 x 4 for one would lack its inner corner: 0.625 x 0.625 is less than half.
    grown = np.zeros((8, 8), dtype=np.bool_)
    grown[:4, 4:] = True
    mask = np.array([[False, True], [False, False]])
    assert np.array_equal(prepare_mask(mask, Recipe((8, 8)), Window(0, 2, 0, 2)), grown)


@pytest.mark.parametrize("pad_to_square", [False, True])
@given(mask=hnp.arrays(np.bool_, st.tuples(sides, sides)), row_factor=factors, column_factor=factors)
def test_mask_that_goes_to_the_network_grid_and_back_is_the_same_to_the_pixel(
    mask: NDArray[np.bool_], row_factor: int, column_factor: int, *, pad_to_square: bool
):
    height, width = (max(mask.shape),) * 2 if pad_to_square else mask.shape
    recipe = Recipe((height * row_factor, width * column_factor), pad_to_square=pad_to_square)
    window = find_window(turn_upright(mask), recipe)
    back = restore(prepare_mask(mask, recipe, window).astype(np.float32), mask.shape, window)
    assert np.array_equal(back, mask)  # even the probabilities are exact: 0 and 1


# --- restore ---


def test_probability_is_interpolated_between_pixel_centres():
    # Centres of four columns lie at -0.25, 0.25, 0.75 and 1.25 of the two; outside, the nearest holds.
    restored = restore(np.array([[0, 1]], dtype=np.float32), (1, 4), Window(0, 1, 0, 4))
    assert restored.dtype == np.float32
    assert restored.tolist() == [[0.0, 0.25, 0.75, 1.0]]


def test_padding_is_cut_off_again_the_odd_one_at_the_end():
    probability = np.arange(16, dtype=np.float32).reshape(4, 4) / 16
    recipe = Recipe((4, 4), pad_to_square=True)
    for size_hw, kept in [((1, 4), np.s_[1:2]), ((4, 1), np.s_[:, 1:2]), ((2, 4), np.s_[1:3]), ((4, 4), np.s_[:])]:
        window = find_window(turn_upright(np.zeros(size_hw)), recipe)
        assert np.array_equal(restore(probability, size_hw, window), probability[kept])


def test_outside_of_the_window_there_is_no_tumour():
    restored = restore(np.array([[0.5, 1.0]], dtype=np.float32), (2, 4), Window(1, 2, 1, 3))
    assert restored.tolist() == [[0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 1.0, 0.0]]


@pytest.mark.parametrize("pad_to_square", [False, True])
@given(
    probability=hnp.arrays(np.float32, st.tuples(sides, sides), elements=st.floats(0, 1, width=32)),
    size_hw=st.tuples(sides, sides),
)
def test_restored_probability_stays_a_probability(
    probability: NDArray[np.float32], size_hw: tuple[int, int], *, pad_to_square: bool
):
    window = find_window(turn_upright(np.zeros(size_hw)), Recipe(probability.shape, pad_to_square=pad_to_square))
    restored = restore(probability, size_hw, window)
    assert restored.shape == size_hw
    assert restored.dtype == np.float32
    assert probability.min() - 1e-6 <= restored.min()
    assert restored.max() <= probability.max() + 1e-6


# --- tumour_probability ---


def test_probability_by_hand():
    # exp(ln 3) / (exp(0) + exp(ln 3)) = 3 / 4; equal logits give one half; background ahead by ln 4 gives 1 / 5.
    background = [[[0.0, 7.0, math.log(4.0)]], [[1.0, 1.0, 1.0]]]
    tumour = [[[math.log(3.0), 7.0, 0.0]], [[1.0, 1.0, 1.0]]]
    probability = tumour_probability(np.stack([background, tumour], axis=1).astype(np.float32))
    assert probability.shape == (2, 1, 3)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, [[[0.75, 0.5, 0.2]], [[0.5, 0.5, 0.5]]], rtol=1e-6)


@given(hnp.arrays(np.float32, (2, 2, 3, 1), elements=st.floats(-30, 30, width=32)))
def test_probability_is_the_softmax(logits: NDArray[np.float32]):
    exponentials = np.exp(logits.astype(np.float64))
    softmax = exponentials[:, 1] / (exponentials[:, 0] + exponentials[:, 1])
    np.testing.assert_allclose(tumour_probability(logits), softmax, atol=1e-6)


def test_probability_of_huge_logits_does_not_overflow():
    logits = np.array([[[[1000.0, -1000.0]], [[-1000.0, 1000.0]]]], dtype=np.float32)
    with np.errstate(all="raise"):
        assert tumour_probability(logits).tolist() == [[[0.0, 1.0]]]


# --- JSON ---


def test_recipe_as_json():
    text = recipe_to_json(Recipe((48, 32), pad_to_square=True, threshold=0.25))
    assert text == (
        '{"average_mirror": false, "confidence": [], "crop_to_head": false, "pad_to_square": true, '
        '"peak_threshold": 0.0, "review_below": 0.75, "size_hw": [48, 32], "temperature": 1.0, "threshold": 0.25}'
    )


def test_temperature_divides_the_logit():
    probability = np.array([[0.0, 0.2, 0.5], [0.8, 0.999999, 1.0]], dtype=np.float32)
    cooled = apply_temperature(probability, 2.0)
    assert cooled.dtype == np.float32
    # log(0.8 / 0.2) / 2 = log(2): 2 / 3; the other side by symmetry; 0, 0.5 and 1 stay.
    assert cooled.tolist()[0] == pytest.approx([0.0, 1 / 3, 0.5])
    assert cooled.tolist()[1] == pytest.approx([2 / 3, 0.999001, 1.0], abs=2e-5)
    assert apply_temperature(probability, 1.0) is probability


@given(
    st.builds(
        Recipe,
        st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
        pad_to_square=st.booleans(),
        threshold=st.floats(0, 1, exclude_min=True, exclude_max=True),
        temperature=st.floats(0.01, 100),
        confidence=st.just(()) | st.tuples(*[st.floats(-50, 50)] * CONFIDENCE_WEIGHTS),
        review_below=st.floats(0, 1),
    )
)
def test_recipe_comes_back_from_json(recipe: Recipe):
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[48, 32]", "recipe must be a table"),
        ('{"size": [48, 32]}', "unknown key 'recipe.size'; did you mean 'recipe.size_hw'"),
        ('{"size_hw": [48]}', "recipe.size_hw = .* must be a list of 2 values"),
        ('{"size_hw": [48, 0]}', "recipe.size_hw = .* must be two positive numbers"),
        ('{"pad_to_square": 1}', "recipe.pad_to_square = 1 must be true or false"),
        ('{"threshold": 1.0}', "recipe.threshold = 1.0 must be a number between 0 and 1"),
    ],
)
def test_wrong_recipe_is_refused_by_the_name_of_its_key(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        recipe_from_json(text)


def test_recipe_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match="Expecting value"):
        recipe_from_json("size_hw = [48, 32]")

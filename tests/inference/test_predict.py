"""A slice through a model that calls bright pixels tumour: the mask, its confidence and the doubts, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.slice import Slice
from tumortrace.errors import ModelError
from tumortrace.inference.model import Model
from tumortrace.inference.predict import predict

OpenHandModel = Callable[..., Model]


def bright(size_hw: tuple[int, int], rows: slice, columns: slice, dtype: type[Any] = np.uint8) -> NDArray[Any]:
    """A picture of 10 with a block of 200."""
    pixels = np.full(size_hw, 10, dtype=dtype)
    pixels[rows, columns] = 200
    return pixels


def predict_pixels(model: Model, pixels: NDArray[Any], spacing_mm: tuple[float, float] | None = None):
    return predict(model, Slice(pixels, "by hand", spacing_mm))


# --- the mask ---


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe((8, 12)),  # the slice's own grid
        Recipe((24, 12)),  # three rows for one
        Recipe((4, 6)),  # half; the block lies on whole pixels of that grid
        Recipe((12, 12), pad_to_square=True),
        Recipe((6, 6), pad_to_square=True),
    ],
)
def test_mask_is_exactly_the_block_on_the_slices_own_grid(open_hand_model: OpenHandModel, recipe: Recipe):
    pixels = bright((8, 12), slice(2, 4), slice(6, 10))
    prediction = predict_pixels(open_hand_model(recipe), pixels)
    assert prediction.mask.dtype == np.bool_
    assert prediction.probability.dtype == np.float32
    assert prediction.probability.shape == (8, 12)
    assert np.array_equal(prediction.mask, pixels == 200)
    (lesion,) = prediction.lesions
    assert lesion.bbox_xyxy == (6, 2, 10, 4)


@pytest.mark.parametrize("recipe", [Recipe((16, 16)), Recipe((16, 16), pad_to_square=True)])
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 7), (9, 1), (5, 33), (40, 3)])
def test_mask_has_the_slices_size_whatever_that_is(
    open_hand_model: OpenHandModel, size_hw: tuple[int, int], recipe: Recipe
):
    pixels = np.random.default_rng(0).integers(0, 255, size_hw, dtype=np.uint8)
    prediction = predict_pixels(open_hand_model(recipe), pixels)
    assert prediction.mask.shape == prediction.probability.shape == size_hw


def test_16_bit_slice_gives_the_mask_of_the_8_bit_one(open_hand_model: OpenHandModel):
    model = open_hand_model(Recipe((8, 8)))
    pixels = bright((5, 9), slice(1, 3), slice(5, 8))
    deep = predict_pixels(model, pixels.astype(np.uint16) * 257)
    assert np.array_equal(deep.mask, predict_pixels(model, pixels).mask)


def test_pixel_at_the_very_threshold_is_tumour(open_hand_model: OpenHandModel):
    # A constant slice is 0 after standardisation, so every probability is 0.5.
    pixels = np.full((3, 5), 90, dtype=np.uint8)
    assert predict_pixels(open_hand_model(Recipe((3, 5), threshold=0.5)), pixels).mask.all()
    assert not predict_pixels(open_hand_model(Recipe((3, 5), threshold=0.5000001)), pixels).mask.any()


def test_lesions_are_measured_with_the_slices_spacing(open_hand_model: OpenHandModel):
    prediction = predict_pixels(
        open_hand_model(Recipe((6, 10))), bright((6, 10), slice(1, 2), slice(5, 8)), spacing_mm=(2.0, 1.0)
    )
    (lesion,) = prediction.lesions
    assert lesion.area_mm2 == 6.0
    assert lesion.diameter_mm == pytest.approx(math.hypot(3, 2))


# --- confidence ---


def test_confidence_of_a_mask_is_the_mean_probability_over_it(open_hand_model: OpenHandModel):
    # Values 0 (12 times), 30 (twice) and 60 (once): mean 8, variance (12 * 64 + 2 * 484 + 2704) / 15 = 296.
    pixels = np.zeros((3, 5), dtype=np.uint8)
    pixels[1, 1:4] = 30, 60, 30
    prediction = predict_pixels(open_hand_model(Recipe((3, 5)), gain=0.5), pixels)
    low, high = (1 / (1 + math.exp(-(value - 8) / math.sqrt(296))) for value in (30, 60))
    assert np.array_equal(prediction.mask, pixels > 0)
    assert prediction.confidence == pytest.approx((2 * low + high) / 3)
    assert prediction.lesions[0].confidence == pytest.approx((2 * low + high) / 3)


def test_confidence_of_an_empty_mask_is_what_the_likeliest_pixel_lacks(open_hand_model: OpenHandModel):
    # One pixel of 12 lit: (1 - 1/12) / sqrt(1/12 - 1/144) = sqrt(11) deviations above the mean.
    pixels = np.zeros((3, 4), dtype=np.uint8)
    pixels[1, 2] = 80
    prediction = predict_pixels(open_hand_model(Recipe((3, 4), threshold=0.9), gain=0.05), pixels)
    assert not prediction.mask.any()
    assert prediction.lesions == ()
    assert prediction.confidence == pytest.approx(1 - 1 / (1 + math.exp(-2 * 0.05 * math.sqrt(11))))


# --- doubts ---


def test_sure_mask_inside_the_picture_needs_no_review(open_hand_model: OpenHandModel):
    prediction = predict_pixels(open_hand_model(Recipe((6, 10))), bright((6, 10), slice(1, 5), slice(1, 9)))
    assert prediction.confidence >= Recipe().review_below
    assert (prediction.review, prediction.reasons) == (False, ())


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(0, 2), slice(3, 5)), (slice(4, 6), slice(3, 5)), (slice(2, 4), slice(0, 2)), (slice(2, 4), slice(8, 10))],
    ids=["top", "bottom", "left", "right"],
)
def test_mask_at_the_border_is_to_be_reviewed(open_hand_model: OpenHandModel, rows: slice, columns: slice):
    prediction = predict_pixels(open_hand_model(Recipe((6, 10))), bright((6, 10), rows, columns))
    assert (prediction.review, prediction.reasons) == (True, ("the mask touches the border of the picture",))


def test_mask_of_low_confidence_is_to_be_reviewed(open_hand_model: OpenHandModel):
    # 4 of 40 pixels lit lie 3 deviations above the mean: probability 1 / (1 + exp(-2 * 0.1 * 3)) = 0.6457.
    pixels = bright((5, 8), slice(1, 3), slice(5, 7))
    prediction = predict_pixels(open_hand_model(Recipe((5, 8)), gain=0.1), pixels)
    assert prediction.mask.sum() == 4
    assert (prediction.review, prediction.reasons) == (True, ("low confidence (0.65)",))


def test_empty_mask_of_low_confidence_is_to_be_reviewed(open_hand_model: OpenHandModel):
    prediction = predict_pixels(open_hand_model(Recipe((3, 5), threshold=0.9)), np.full((3, 5), 90, dtype=np.uint8))
    assert not prediction.mask.any()
    assert (prediction.review, prediction.reasons) == (True, ("low confidence (0.50)",))


def test_model_that_gives_no_numbers_is_refused(open_hand_model: OpenHandModel):
    model = open_hand_model(Recipe((4, 4)), gain=math.inf)
    image = Slice(np.arange(16, dtype=np.uint8).reshape(4, 4), "scan.png")
    with pytest.raises(ModelError, match=r"model.onnx: gives no numbers \(NaN or infinity\) for scan.png"):
        predict(model, image)


def test_a_peak_threshold_drops_the_fainter_lesion(open_hand_model: OpenHandModel):
    pixels = bright((6, 12), slice(2, 4), slice(1, 3))
    pixels[2:4, 7:9] = 140
    whole = predict_pixels(open_hand_model(Recipe((6, 12)), gain=0.1), pixels)
    peaks = sorted(float(whole.probability[2:4, x : x + 2].max()) for x in (1, 7))
    assert len(whole.lesions) == 2
    between = Recipe((6, 12), peak_threshold=sum(peaks) / 2)
    (lesion,) = predict_pixels(open_hand_model(between, gain=0.1), pixels).lesions
    assert lesion.bbox_xyxy == (1, 2, 3, 4)


def test_a_prediction_is_shown_without_its_arrays(open_hand_model: OpenHandModel):
    prediction = predict_pixels(open_hand_model(Recipe((6, 10))), bright((6, 10), slice(1, 3), slice(2, 7)))
    assert repr(prediction) == "<Prediction of 10 x 6 px: 1 lesion, 10 px, confidence 1.00>"
    border = predict_pixels(open_hand_model(Recipe((6, 10))), bright((6, 10), slice(0, 3), slice(2, 7)))
    assert repr(border).endswith(", for review: the mask touches the border of the picture>")
    rejected = predict(open_hand_model(Recipe((6, 10))), Slice(np.zeros((40, 50), np.uint8), "x"), gate=True)
    assert repr(rejected) == "<Prediction of 50 x 40 px: rejected, not a brain MR slice: the picture is blank>"

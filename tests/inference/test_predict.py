"""A slice through a model that calls bright pixels tumour: mask, confidence and reasons for review, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tumortrace.data.upright as upright_module
from tumortrace.config import CONFIDENCE_WEIGHTS, Recipe
from tumortrace.data.slice import Slice
from tumortrace.errors import ModelError
from tumortrace.inference.acquisition import Acquisition
from tumortrace.inference.model import Model
from tumortrace.inference.predict import predict

OpenHandModel = Callable[..., Model]

LARGE_HW = (80, 100)  # a smaller picture is reviewed for its size


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


def test_probability_is_calibrated_by_the_temperature(open_hand_model: OpenHandModel):
    # 0, 0, 0 and 60: one pixel of four lies sqrt(3) deviations above the mean; a temperature of 4 divides the logit.
    pixels = np.array([[0, 0], [60, 0]], dtype=np.uint8)
    prediction = predict_pixels(open_hand_model(Recipe((2, 2), temperature=4.0), gain=1.0), pixels)
    assert prediction.probability[1, 0] == pytest.approx(1 / (1 + math.exp(-2 * math.sqrt(3) / 4)))
    assert prediction.probability[0, 1] == pytest.approx(1 / (1 + math.exp(2 / math.sqrt(3) / 4)))


def test_confidence_is_the_estimate_of_the_recipe_that_has_weights_for_it(open_hand_model: OpenHandModel):
    # The constant alone weighs: the logistic function of log 3 is 3 / 4.
    recipe = Recipe(LARGE_HW, confidence=(math.log(3), *[0.0] * (CONFIDENCE_WEIGHTS - 1)))
    prediction = predict_pixels(open_hand_model(recipe), bright(LARGE_HW, slice(10, 70), slice(10, 90)))
    assert prediction.confidence == pytest.approx(0.75)


def test_confidence_of_an_empty_mask_is_what_the_likeliest_pixel_lacks(open_hand_model: OpenHandModel):
    # One pixel of 12 lit: (1 - 1/12) / sqrt(1/12 - 1/144) = sqrt(11) deviations above the mean.
    pixels = np.zeros((3, 4), dtype=np.uint8)
    pixels[1, 2] = 80
    prediction = predict_pixels(open_hand_model(Recipe((3, 4), threshold=0.9), gain=0.05), pixels)
    assert not prediction.mask.any()
    assert prediction.lesions == ()
    assert prediction.confidence == pytest.approx(1 - 1 / (1 + math.exp(-2 * 0.05 * math.sqrt(11))))


# --- reasons for review ---


def predict_block(open_hand_model: OpenHandModel, rows: slice, columns: slice, *, gain: float = 50.0, **recipe: float):
    return predict_pixels(open_hand_model(Recipe(LARGE_HW, **recipe), gain=gain), bright(LARGE_HW, rows, columns))


def test_sure_mask_inside_the_picture_needs_no_review(open_hand_model: OpenHandModel):
    prediction = predict_block(open_hand_model, slice(10, 70), slice(10, 90))
    assert prediction.mask.sum() == 60 * 80
    assert prediction.confidence >= Recipe().review_below
    assert (prediction.review, prediction.reasons) == (False, ())


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(0, 66), slice(15, 85)),
        (slice(14, 80), slice(15, 85)),
        (slice(8, 72), slice(0, 80)),
        (slice(8, 72), slice(20, 100)),
    ],
    ids=["top", "bottom", "left", "right"],
)
def test_mask_at_the_border_is_to_be_reviewed(open_hand_model: OpenHandModel, rows: slice, columns: slice):
    prediction = predict_block(open_hand_model, rows, columns)
    assert (prediction.review, prediction.reasons) == (True, ("the mask touches the border of the picture",))


def test_mask_of_low_confidence_is_to_be_reviewed(open_hand_model: OpenHandModel):
    # 70 x 40 = 0.35 of 8,000 pixels lie 0.65 / sqrt(0.35 x 0.65) = 1.363 deviations above the mean:
    # probability 1 / (1 + exp(-2 x 0.1 x 1.363)) = 0.568.
    prediction = predict_block(open_hand_model, slice(5, 75), slice(20, 60), gain=0.1)
    assert prediction.mask.sum() == 2800
    assert (prediction.review, prediction.reasons) == (True, ("low confidence (0.57)",))


def test_empty_mask_of_low_confidence_is_to_be_reviewed(open_hand_model: OpenHandModel):
    # 64 x 65 = 0.52 of 8,000 pixels lie 0.961 deviations above the mean: probability 1 / (1 + exp(-0.1922)) = 0.548.
    prediction = predict_block(open_hand_model, slice(8, 72), slice(20, 85), gain=0.1, threshold=0.9)
    assert not prediction.mask.any()
    assert (prediction.review, prediction.reasons) == (True, ("low confidence (0.45)",))


def test_blank_picture_has_no_confidence(open_hand_model: OpenHandModel):
    black = predict_pixels(open_hand_model(Recipe(LARGE_HW, threshold=0.9)), np.zeros(LARGE_HW, dtype=np.uint8))
    assert (black.confidence, black.reasons) == (0.0, ("low confidence (0.00)", "blank picture"))
    assert not black.mask.any()


def test_a_feature_outside_its_usual_range_is_named(open_hand_model: OpenHandModel):
    model = replace(open_hand_model(Recipe(LARGE_HW)), feature_ranges={"width": (0.5, 0.9)})
    prediction = predict_pixels(model, bright(LARGE_HW, slice(10, 70), slice(10, 90)))
    assert prediction.reasons == (
        "unlike the training data: head's width by its height in the picture 1.3, usual 0.5 to 0.9",
    )


def test_a_plane_and_contrast_that_training_lacked_are_named(
    open_hand_model: OpenHandModel, monkeypatch: pytest.MonkeyPatch
):
    sagittal = Acquisition("sagittal", 0.9, "T2", 0.95)
    monkeypatch.setattr("tumortrace.inference.predict.recognise", lambda _: sagittal)
    model = replace(open_hand_model(Recipe(LARGE_HW)), card={"acquisitions": {"axial T2": 50}})
    prediction = predict_pixels(model, bright(LARGE_HW, slice(10, 70), slice(10, 90)))
    assert prediction.reasons == ("unlike the training data: sagittal T2, 0 of 50 training slices",)
    assert prediction.acquisition == sagittal


def test_model_that_gives_no_numbers_is_refused(open_hand_model: OpenHandModel):
    model = open_hand_model(Recipe((4, 4)), gain=math.inf)
    image = Slice(np.arange(16, dtype=np.uint8).reshape(4, 4), "scan.png")
    with pytest.raises(ModelError, match=r"model.onnx: returns NaN or infinity for scan.png"):
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
    prediction = predict_block(open_hand_model, slice(10, 70), slice(10, 90))
    assert repr(prediction) == "<Prediction of 100 x 80 px: 1 lesion, 4800 px, confidence 1.00>"
    border = predict_block(open_hand_model, slice(0, 66), slice(15, 85))
    assert repr(border).endswith(", for review: the mask touches the border of the picture>")
    rejected = predict(open_hand_model(Recipe((6, 10))), Slice(np.zeros((40, 50), np.uint8), "x"), gate=True)
    assert repr(rejected) == "<Prediction of 50 x 40 px: rejected, not a brain MR slice: the picture is blank>"


@pytest.mark.parametrize("inverted", [False, True])
def test_the_head_is_found_once_a_slice(
    open_hand_model: OpenHandModel,
    monkeypatch: pytest.MonkeyPatch,
    inverted: bool,  # noqa: FBT001 - a parameter
):
    calls: list[tuple[int, ...]] = []
    find = upright_module.find_head
    monkeypatch.setattr(upright_module, "find_head", lambda grey, small: calls.append(grey.shape) or find(grey, small))
    model = open_hand_model(Recipe((32, 32), pad_to_square=True, crop_to_head=True))
    pixels = bright(LARGE_HW, slice(10, 70), slice(20, 80))
    predict(model, Slice(255 - pixels if inverted else pixels, "x"), gate=False)
    assert calls == [LARGE_HW]

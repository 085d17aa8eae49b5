"""Metrics by hand, against sets of pixels, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.metrics.aggregate import Distribution, summarise
from tumortrace.metrics.overlap import PixelCounts, count_pixels

METRICS = ("precision", "recall", "dice", "iou")
counts = st.integers(0, 1000)
size_hw = st.tuples(st.integers(1, 8), st.integers(1, 8))
mask_pairs = size_hw.flatmap(lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape)))


def drawn(*rows: str) -> NDArray[np.bool_]:
    """A mask from rows of '#' (inside) and '.' (outside)."""
    return np.array([[character == "#" for character in row] for row in rows])


def same(value: float, expected: float) -> bool:
    """Equal, where NaN equals NaN."""
    return value == expected or (math.isnan(value) and math.isnan(expected))


# --- one image ---


def test_counts_and_metrics_by_hand():
    # Three pixels in both, one in the prediction alone, two in the truth alone.
    prediction = drawn("##...", "##...", ".....")
    truth = drawn("##...", "#....", ".##..")
    pixels = count_pixels(prediction, truth)
    assert pixels == PixelCounts(tp=3, fp=1, fn=2, tn=9)
    assert pixels.precision == 3 / 4
    assert pixels.recall == 3 / 5
    assert pixels.dice == 6 / 9
    assert pixels.iou == 3 / 6


def test_prediction_and_truth_are_not_exchangeable():
    prediction, truth = drawn("###."), drawn("#...")
    assert count_pixels(prediction, truth) == PixelCounts(tp=1, fp=2, fn=0, tn=1)
    assert count_pixels(truth, prediction) == PixelCounts(tp=1, fp=0, fn=2, tn=1)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ("...", "...", (math.nan, math.nan, math.nan, math.nan)),
        ("...", ".#.", (0.0, math.nan, 0.0, 0.0)),
        (".##", "...", (math.nan, 0.0, 0.0, 0.0)),
        (".##", "#..", (0.0, 0.0, 0.0, 0.0)),
        (".##", ".##", (1.0, 1.0, 1.0, 1.0)),
        ("###", "###", (1.0, 1.0, 1.0, 1.0)),
    ],
    ids=["both empty", "truth empty", "prediction empty", "apart", "perfect", "perfect and full"],
)
def test_degenerate_masks(truth: str, prediction: str, expected: tuple[float, ...]):
    pixels = count_pixels(drawn(prediction), drawn(truth))
    found = tuple(getattr(pixels, metric) for metric in METRICS)
    assert all(map(same, found, expected)), found


@given(hnp.arrays(np.bool_, size_hw).filter(np.any))
def test_perfect_mask_scores_1(mask: NDArray[np.bool_]):
    pixels = count_pixels(mask, mask.copy())
    assert [getattr(pixels, metric) for metric in METRICS] == [1.0] * 4


@given(st.builds(PixelCounts, tp=counts, fp=counts, fn=counts, tn=counts))
def test_dice_follows_from_iou_and_from_precision_and_recall(pixels: PixelCounts):
    # Dice = 2 IoU / (1 + IoU), and Dice is the harmonic mean of precision and recall.
    if pixels.tp + pixels.fp + pixels.fn == 0:
        assert math.isnan(pixels.dice)
        assert math.isnan(pixels.iou)
        return
    assert pixels.dice == pytest.approx(2 * pixels.iou / (1 + pixels.iou))
    if pixels.tp:
        assert pixels.dice == pytest.approx(2 / (1 / pixels.precision + 1 / pixels.recall))


@given(mask_pairs)
def test_same_as_sets_of_pixels(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]):
    prediction, truth = ({tuple(place) for place in np.argwhere(mask).tolist()} for mask in pair)
    pixels = count_pixels(*pair)
    assert pixels.tp == len(prediction & truth)
    assert pixels.fp == len(prediction - truth)
    assert pixels.fn == len(truth - prediction)
    assert pixels.tn == pair[0].size - len(prediction | truth)
    if prediction | truth:
        assert pixels.dice == 2 * len(prediction & truth) / (len(prediction) + len(truth))
        assert pixels.iou == len(prediction & truth) / len(prediction | truth)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_mask_that_is_not_bool_is_refused(dtype: type[np.generic]):
    mask = drawn("#..", "...")
    with pytest.raises(ValueError, match=f"masks must be bool, not {np.dtype(dtype)} .prediction. and bool"):
        count_pixels(mask.astype(dtype), mask)
    with pytest.raises(ValueError, match=f"masks must be bool, not bool .prediction. and {np.dtype(dtype)}"):
        count_pixels(mask, mask.astype(dtype))


@pytest.mark.parametrize("shape", [(3, 2), (1, 3), (2,), (2, 3, 1)])
def test_masks_of_different_shapes_are_refused_even_where_they_would_broadcast(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"masks differ in shape: prediction \(2, 3\), truth \("):
        count_pixels(drawn("#..", "..."), np.zeros(shape, dtype=np.bool_))


# --- many images ---


def test_spread_by_hand():
    # 21 values at steps of 5 percentiles: 0, 1, ..., 20 and the mean lifted by the last.
    values = [float(value) for value in range(20, 0, -1)] + [0.0]
    values[0] = 41.0
    spread = summarise(values)
    assert spread == Distribution(mean=231 / 21, median=10.0, min=0.0, max=41.0, p05=1.0, p95=19.0, undefined=0)


def test_percentiles_between_values_are_interpolated():
    # Of 10 and 20 the 5th percentile lies a twentieth of the way.
    spread = summarise([20.0, 10.0])
    assert (spread.p05, spread.median, spread.p95) == pytest.approx((10.5, 15.0, 19.5))


def test_undefined_values_are_left_out_and_counted():
    spread = summarise([math.nan, 0.2, math.nan, 0.6, math.nan])
    assert (spread.mean, spread.median, spread.min, spread.max) == pytest.approx((0.4, 0.4, 0.2, 0.6))
    assert spread.undefined == 3


@pytest.mark.parametrize("values", [[], [math.nan], [math.nan, math.nan]])
def test_spread_of_nothing_is_undefined(values: list[float]):
    spread = summarise(values)
    assert spread.undefined == len(values)
    assert all(
        math.isnan(value) for value in (spread.mean, spread.median, spread.min, spread.max, spread.p05, spread.p95)
    )


def test_spread_of_one_value_is_that_value():
    assert summarise(iter([0.25])) == Distribution(0.25, 0.25, 0.25, 0.25, 0.25, 0.25, undefined=0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_spread_is_in_order_and_says_the_same_of_any_order(values: list[float]):
    spread = summarise(values)
    assert spread.min <= spread.p05 <= spread.median <= spread.p95 <= spread.max
    assert spread.min - 1e-12 <= spread.mean <= spread.max + 1e-12
    turned = summarise(values[::-1])
    assert (turned.median, turned.p05, turned.p95) == (spread.median, spread.p05, spread.p95)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from tumortrace.trust.calibration import (
    CaseHistogram,
    caught_share,
    choose_threshold,
    count_logits,
    expected_calibration_error,
    fit_confidence,
    fit_temperature,
    reliability,
    risk_coverage,
)

Floats = NDArray[np.float64]


def sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


def simulate(
    seed: int, *, temperature: float, size_hw: tuple[int, int] = (60, 80)
) -> tuple[CaseHistogram, Floats, Floats]:
    """A case whose tumour pixels are drawn from sigmoid(logit / temperature), all of it in the band."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, size_hw)
    truth = rng.random(size_hw) < sigmoid(logits / temperature)
    probability = sigmoid(logits).astype(np.float32)
    return count_logits(probability, probability >= 0.5, truth), probability, truth


def test_pixels_are_counted_by_truth_and_logit():
    probability = np.array([[0.0, 0.5, 1.0], [0.25, 0.75, 0.5]], dtype=np.float32)
    truth = np.array([[False, True, True], [False, False, False]])
    counts = count_logits(probability, probability > 0.6, truth).whole
    assert counts.sum() == 6
    # A bin is 0.1 wide from -16: logits -16 and less, +16 and more, 0, and log 3 = 1.0986 at 170.98.
    assert (counts[0, 0], counts[1, 319], counts[1, 160], counts[0, 160]) == (1, 1, 1, 1)
    assert (counts[0, 170], counts[0, 149]) == (1, 1)


def test_the_band_lies_around_tumour_and_prediction():
    truth, mask = np.zeros((3, 40), dtype=np.bool_), np.zeros((3, 40), dtype=np.bool_)
    truth[1, 10], mask[1, 12] = True, True
    half = np.full((3, 40), 0.5, dtype=np.float32)
    # 5 % of 40: 2 pixels. Row 1: columns 8 to 14; rows 0 and 2: 9 to 13 (distance to (1, 10) from column 9: sqrt 2).
    assert count_logits(half, mask, truth).band.sum() == 7 + 2 * 5
    empty = np.zeros((3, 40), dtype=np.bool_)
    assert count_logits(half, empty, empty).band.sum() == 0
    assert count_logits(half, ~empty, empty).band.sum() == 120


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float):
    histograms = [simulate(seed, temperature=temperature)[0] for seed in range(12)]
    assert fit_temperature(histograms) == pytest.approx(temperature, rel=0.03)


def test_every_case_has_the_same_say_in_the_temperature():
    small = [simulate(seed, temperature=1.0, size_hw=(40, 40))[0] for seed in range(20)]
    large = [simulate(seed, temperature=3.0, size_hw=(400, 400))[0] for seed in range(1)]
    assert fit_temperature(small + large) < 1.3


def test_without_a_band_there_is_nothing_to_fit():
    empty = np.zeros((3, 4), dtype=np.bool_)
    histogram = count_logits(np.full((3, 4), 0.1, np.float32), empty, empty)
    assert fit_temperature([histogram]) == 1.0
    assert fit_temperature([]) == 1.0
    assert math.isnan(expected_calibration_error(reliability([histogram], 1.0)))


def test_calibration_error_by_hand():
    # 10 pixels of probability 0.85, of which 5 are tumour; 10 of 0.2, of which 2 are: (10 x 0.35 + 10 x 0) / 20.
    probability = np.repeat([[0.85], [0.2]], 10, axis=1).astype(np.float32)
    truth = np.zeros((2, 10), dtype=np.bool_)
    truth[0, :5], truth[1, :2] = True, True
    bins = reliability([count_logits(probability, np.ones_like(truth), truth)], 1.0)
    assert expected_calibration_error(bins) == pytest.approx(0.175, abs=0.01)
    filled = [each for each in bins if each.pixels]
    assert [(each.pixels, each.tumour_share) for each in filled] == [(10, 0.2), (10, 0.5)]
    assert filled[1].low <= 0.85 < filled[1].high


def test_the_right_temperature_calibrates():
    histograms = [simulate(seed, temperature=2.0)[0] for seed in range(6)]
    before, after = (expected_calibration_error(reliability(histograms, each)) for each in (1.0, 2.0))
    assert after < 0.012
    assert before > 0.08


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=3), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_threshold_is_the_best_of_the_grid(seeds: list[int], temperature: float):
    cases = [simulate(seed, temperature=1.7, size_hw=(9, 12)) for seed in seeds]
    means = {}
    for threshold in np.round(np.arange(0.05, 0.951, 0.05), 2):
        dices = []
        for _, probability, truth in cases:
            logits = np.log(probability) - np.log1p(-probability.astype(np.float64))
            # The histogram's edges are 0.1 apart: the first edge at or above the threshold's logit.
            edge = np.ceil((temperature * np.log(threshold / (1 - threshold)) - 1e-9) * 10) / 10
            mask = logits >= edge - 1e-12
            dices.append(2 * (mask & (truth > 0)).sum() / max(mask.sum() + truth.sum(), 1))
        means[threshold] = np.mean(dices)
    chosen = choose_threshold([case[0] for case in cases], temperature)
    assert means[chosen] >= max(means.values()) - 0.02  # a logit on an edge may fall on either side in float32


def test_equal_thresholds_go_to_the_middle():
    truth = np.array([[True, False, False]])
    sharp = np.array([[1.0, 0.0, 0.0]], dtype=np.float32)
    assert choose_threshold([count_logits(sharp, truth, truth)], 1.0) == 0.5
    assert choose_threshold([], 1.0) == 0.5


def test_risk_and_coverage_by_hand():
    points = risk_coverage([0.9, 0.1, 0.5, 0.7], [0.8, 0.2, math.nan, 0.6])
    rows = [(point.coverage, point.mean_dice, point.low_dice_share) for point in points]
    assert rows == [
        (1.0, pytest.approx((0.8 + 0.2 + 0.6) / 3), pytest.approx(1 / 3)),
        (pytest.approx(2 / 3), pytest.approx(0.7), 0.0),
        (pytest.approx(1 / 3), pytest.approx(0.8), 0.0),
    ]
    assert risk_coverage([], []) == ()
    assert len(risk_coverage(np.linspace(0, 1, 500).tolist(), [0.5] * 500)) == 50


def test_what_flagging_catches():
    dices = [0.1, 0.9, 0.3, 0.9, 0.9, 0.9, 0.9, 0.4, 0.9, 0.9]
    confidences = [0.05, 0.2, 0.1, 0.9, 0.8, 0.7, 0.6, 0.95, 0.5, 0.4]
    # The two least confident of ten have Dice 0.1 and 0.3; three are below 0.5.
    assert caught_share(confidences, dices, flagged=0.2) == pytest.approx(2 / 3)
    assert math.isnan(caught_share([0.5], [0.9]))


def test_confidence_weights_are_the_maximum_likelihood_ones():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 3)) * [1.0, 20.0, 0.1] + [0, 5, -2]
    dices = np.clip(sigmoid(8.5 + features @ [1.0, -0.05, 4.0]) + rng.normal(0, 0.05, 400), 0, 1)
    weights = np.array(fit_confidence(features, dices))

    def loss(candidate: Floats) -> float:
        expected = sigmoid(candidate[0] + features @ candidate[1:])
        ridge = 0.01 / 2 * ((candidate[1:] * features.std(axis=0)) ** 2).sum()
        return float(-np.mean(dices * np.log(expected + 1e-15) + (1 - dices) * np.log1p(1e-15 - expected)) + ridge)

    best = optimize.minimize(loss, weights + 0.3, method="BFGS", tol=1e-9)
    assert loss(weights) <= best.fun + 1e-6
    assert np.corrcoef(sigmoid(weights[0] + features @ weights[1:]), dices)[0, 1] > 0.9


def test_features_that_never_vary_weigh_nothing():
    features = np.column_stack([np.linspace(0, 1, 30), np.full(30, 7.0)])
    constant, slope, idle = fit_confidence(features, np.linspace(0.2, 0.9, 30))
    assert slope > 1
    assert abs(idle) < 1e-9
    assert math.isfinite(constant)

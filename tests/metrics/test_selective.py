from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit as sigmoid

from tumortrace.inference.confidence import estimate_confidence
from tumortrace.metrics.selective import caught_share, fit_confidence, risk_coverage

Floats = NDArray[np.float64]


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
    assert math.isnan(caught_share([0.5], [0.9], flagged=0.2))


def test_the_order_of_masks_of_equal_confidence_does_not_matter():
    dices = [0.1, 0.4, 0.9, 0.8]
    for ordered in (dices, dices[::-1]):
        # One of four is reviewed. By chance it is one of the two bad masks half of the time.
        assert caught_share([0.7] * 4, ordered, flagged=0.25) == pytest.approx(0.25)
        points = risk_coverage([0.7] * 4, ordered)
        assert [point.mean_dice for point in points] == pytest.approx([0.55] * 4)
        assert [point.low_dice_share for point in points] == pytest.approx([0.5] * 4)


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


def test_few_masks_give_their_mean():
    features = np.column_stack([np.linspace(0, 1, 19), np.linspace(5, 2, 19)])
    dices = np.linspace(0.5, 1.0, 19)
    constant, *slopes = fit_confidence(features, dices)
    assert sigmoid(np.array(constant)) == pytest.approx(0.75)
    assert slopes == [0.0, 0.0]
    assert math.isfinite(fit_confidence(features, np.ones(19))[0])
    enough = fit_confidence(np.linspace([0.0], [1.0], 20), np.linspace(0.5, 1.0, 20))
    assert enough[1] > 1


def test_a_dice_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="1 with a Dice of NaN"):
        fit_confidence(np.zeros((30, 2)), np.array([math.nan, *[0.5] * 29]))
    with pytest.raises(ValueError, match="0 masks"):
        fit_confidence(np.zeros((0, 2)), np.zeros(0))


@given(st.integers(0, 2**31), st.booleans(), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_a_better_feature_gives_a_higher_confidence(seed: int, rising: bool, scale: float, shift: float):  # noqa: FBT001
    rng = np.random.default_rng(seed)
    quality = rng.random(60)
    features = np.column_stack([(quality if rising else -quality) * scale + shift, rng.random(60)])
    weights = fit_confidence(
        features, (quality > 0.4).astype(np.float64)
    )  # separable: only the ridge holds the weights
    assert np.isfinite(weights).all()
    assert (weights[1] > 0) == rising
    rated = [estimate_confidence(row, weights) for row in features]
    assert np.corrcoef(rated, quality)[0, 1] > 0.7


def test_flagging_leaves_undefined_out():
    dices = [0.1, math.nan, 0.9, 0.2, 0.9, 0.9]
    # Five count, and one of them is flagged: it is one of the two bad masks in two of five cases.
    assert caught_share([0.5] * 6, dices, flagged=0.2) == pytest.approx(2 / 5 / 2)
    assert caught_share([0.5] * 6, dices, flagged=0.0) == 0.0
    assert caught_share([0.5, 0.0, 0.9, 0.1, 0.9, 0.9], dices, flagged=0.4) == 1.0
    assert caught_share([0.1, 0.2], [0.5, 0.49], flagged=0.5) == 0.0  # 0.5 itself is not low

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.config import CONFIDENCE_WEIGHTS
from tumortrace.inference.confidence import FEATURES, estimate_confidence, mask_features


def test_features_by_hand():
    probability = np.array([[0.9, 0.7, 0.2], [0.3, 0.6, 0.0]], dtype=np.float32)
    features = mask_features(probability, probability >= 0.5)
    # Over the mask 2.2 / 3; expected Dice 2 x 2.2 / (2.7 + 3); from 0.3 on 4 pixels, from 0.7 on 2: 2 x 2 / 6.
    assert features.tolist() == pytest.approx([2.2 / 3, 4.4 / 5.7, 4 / 6, math.log10(2.7 / 6), 0.0, 0.0], abs=1e-6)
    assert len(features) == len(FEATURES) == CONFIDENCE_WEIGHTS - 1


def test_an_empty_mask():
    probability = np.full((2, 3), 0.25, dtype=np.float32)
    features = mask_features(probability, np.zeros((2, 3), dtype=np.bool_))
    # The odds of a probability of 1 / 4 are 1 / 3.
    assert features.tolist() == pytest.approx([0.0, 0.0, 0.0, math.log10(0.25), 1.0, -math.log(3)])
    nothing = mask_features(np.zeros((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=np.bool_))
    assert nothing.tolist() == [0.0, 0.0, 0.0, -5.0, 1.0, pytest.approx(-math.log(999_999))]
    sure = mask_features(np.ones((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=np.bool_))
    assert sure.tolist() == [0.0, 0.0, 1.0, 0.0, 1.0, pytest.approx(math.log(999_999))]


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)), hnp.arrays(np.bool_, shape)
        )
    )
)
def test_features_are_finite_and_shares_are_shares(case: tuple[NDArray[np.float32], NDArray[np.bool_]]):
    features = mask_features(*case)
    assert np.isfinite(features).all()
    assert (features[:3] >= 0).all()
    assert (features[:3] <= 1 + 1e-6).all()
    assert -5 <= features[3] <= 1e-6
    assert abs(features[5]) <= math.log(999_999) + 1e-6


def test_confidence_by_hand():
    # 0.5 + 2 x 0.25 - 1 x 1 = 0: the logistic function of nothing is a half; of log 3 it is 3 / 4.
    assert estimate_confidence(np.array([0.25, 1.0]), (0.5, 2.0, -1.0)) == 0.5
    assert estimate_confidence(np.array([0.0]), (math.log(3), 5.0)) == pytest.approx(0.75)
    assert estimate_confidence(np.array([1.0]), (0.0, 1e6)) == 1.0
    with pytest.raises(ValueError, match="2 weights for 2 features"):
        estimate_confidence(np.array([1.0, 2.0]), (0.0, 1.0))


def test_a_full_mask_and_a_single_pixel():
    full = mask_features(np.ones((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.bool_))
    assert full.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    probability, one = np.zeros((4, 5), dtype=np.float32), np.zeros((4, 5), dtype=np.bool_)
    probability[1, 3], one[1, 3] = 0.8, True
    # Over the mask 0.8; expected Dice 2 x 0.8 / (0.8 + 1); both thresholds mark that pixel; area 0.8 / 20.
    assert mask_features(probability, one).tolist() == pytest.approx([0.8, 1.6 / 1.8, 1.0, math.log10(0.04), 0.0, 0.0])


def test_a_sharp_mask_is_trusted_more_than_a_blurred_one():
    mask = np.zeros((9, 11), dtype=np.bool_)
    mask[3:6, 4:8] = True
    sharp, blurred = np.where(mask, 0.95, 0.02), np.where(mask, 0.6, 0.4)
    better, worse = (mask_features(each.astype(np.float32), mask) for each in (sharp, blurred))
    assert (better[:3] > worse[:3]).all()


def test_a_fainter_trace_in_an_empty_mask_is_told_from_none():
    nothing = np.zeros((3, 4), dtype=np.bool_)
    highest = (0.4, 0.04, 0.004)
    logits = [mask_features(np.full((3, 4), value, dtype=np.float32), nothing)[5] for value in highest]
    assert logits == pytest.approx([math.log(value / (1 - value)) for value in highest])

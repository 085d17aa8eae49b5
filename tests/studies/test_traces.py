"""The study of traces: fractions in the least confident fifth by hand, and the halves of the groups."""

from __future__ import annotations

import numpy as np
from studies.traces import Slices, describe, rate_by_halves, with_highest

from tumortrace.inference.confidence import estimate_confidence
from tumortrace.metrics.selective import fit_confidence


def make_slices(*, dices: list[float], empty: list[bool], free: list[bool]) -> Slices:
    n = len(dices)
    features = np.arange(6.0 * n).reshape(n, 6)
    return Slices(features, np.linspace(0, 1, n), np.array(dices), np.array(empty), np.array(free), np.arange(n) % 2)


def test_fractions_in_the_least_confident_fifth():
    slices = make_slices(
        dices=[0.0, 0.0, 0.3, 0.8, 0.9, 0.0, 1.0, 1.0, 0.7, 0.6],
        empty=[True, True, False, False, False, False, True, True, False, False],
        free=[False, False, False, False, False, True, True, True, False, False],
    )
    confidences = np.array([0.1, 0.9, 0.2, 0.8, 0.85, 0.7, 0.95, 0.99, 0.6, 0.5])
    # The first and the third slice are the least confident two: two of the four bad masks, one of the two missed.
    assert describe(slices, confidences) == ["50% of 4", "50% of 2", "100% of 1", "0% of 1", "0% of 2"]


def test_kinds_without_a_slice_stay_empty():
    slices = make_slices(dices=[0.9] * 5, empty=[False] * 5, free=[False] * 5)
    assert describe(slices, np.linspace(0.1, 0.9, 5)) == [""] * 5


def test_the_highest_probability_replaces_the_trace():
    slices = make_slices(dices=[0.5, 0.6], empty=[False, True], free=[False, False])
    assert with_highest(slices).tolist() == [[0, 1, 2, 3, 4, 0.0], [6, 7, 8, 9, 10, 1.0]]


def test_each_half_is_rated_by_the_other():
    rng = np.random.default_rng(3)
    features, dices, halves = rng.random((60, 6)), rng.random(60), np.arange(60) % 2
    slices = Slices(features, features[:, 0], dices, dices < 0, dices < 0, halves)
    rated = rate_by_halves(features, slices)
    weights = fit_confidence(features[halves == 1], dices[halves == 1])
    assert rated[4] == estimate_confidence(features[4], weights)
    assert rated[5] != estimate_confidence(features[5], weights)

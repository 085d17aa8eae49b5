"""The recipe that is fitted on held-out predictions; tests/trials scores whole cross-validations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from tumortrace.config import Recipe
from tumortrace.evaluation.crossfit import fit_recipe
from tumortrace.metrics.calibration import CaseHistogram, count_logits, fit_temperature


def count(logits: NDArray[np.float64], truth: NDArray[np.bool_]) -> CaseHistogram:
    """Count all pixels of a case; all of them lie in the band."""
    return count_logits(expit(logits).astype(np.float32), np.ones_like(truth), truth)


def test_a_temperature_that_calibrates_is_taken():
    rng = np.random.default_rng(0)
    histograms = []
    for _ in range(5):
        logits = rng.normal(0, 3, (60, 80))
        histograms.append(count(logits, rng.random((60, 80)) < expit(logits / 2)))
    assert fit_recipe(Recipe(), histograms).temperature == pytest.approx(2.0, rel=0.05)


def test_a_temperature_that_makes_calibration_worse_is_not_taken():
    # Well calibrated but for missed tumours, of logit -9: likelihood asks for a high temperature, the error for none.
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2.5, (60, 80))
    truth = rng.random((60, 80)) < expit(logits)
    truth[:3], logits[:3] = True, -9
    missed = count(logits, truth)
    assert fit_temperature([missed]) > 1.2
    assert fit_recipe(Recipe(), [missed]).temperature == 1.0

"""From the probability to the mask, on arrays worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.inference.mask import cut_mask, drop_specks, keep_peaks
from tumortrace.metrics.lesions import label_lesions


def test_lesions_that_are_nowhere_sure_are_dropped_whole():
    probability = np.array(
        [
            [0.6, 0.0, 0.0, 0.7, 0.8],
            [0.0, 0.6, 0.0, 0.0, 0.7],
            [0.9, 0.0, 0.0, 0.0, 0.0],
        ],
        dtype=np.float32,
    )
    mask = probability >= 0.5
    # The left one reaches 0.9 over its corner (8-connected); the right one has 0.8 at most.
    right = np.zeros_like(mask)
    right[:2, 3:] = mask[:2, 3:]
    np.testing.assert_array_equal(keep_peaks(mask, probability, 0.85), mask & ~right)
    assert keep_peaks(mask, probability, 0.8) is mask
    assert not keep_peaks(mask, probability, 0.95).any()
    assert keep_peaks(mask, probability, 0.0) is mask
    assert not keep_peaks(np.zeros_like(mask), probability, 0.5).any()


def one_large_and_one_small(small_px: int, peak: float) -> NDArray[np.float32]:
    """A lesion of 100 pixels of 0.7, and in another corner a row of pixels of 0.6, one of which is surer."""
    probability = np.zeros((20, 10), dtype=np.float32)
    probability[:10, :] = 0.7
    probability[15, 2 : 2 + small_px] = 0.6
    probability[15, 2] = peak
    return probability


@pytest.mark.parametrize(
    ("small_px", "peak", "kept_px"),
    [
        (1, 0.6, 0),
        (1, 0.79, 0),
        (1, 0.8, 1),  # the network is sure of it
        (2, 0.6, 2),  # not below a fiftieth of the larger one
    ],
)
def test_a_small_unsure_lesion_beside_a_large_one_is_a_speck(small_px: int, peak: float, kept_px: int):
    probability = one_large_and_one_small(small_px, peak)
    mask = probability >= 0.5
    result = drop_specks(mask, probability)
    assert (result is mask) == (kept_px > 0)
    assert result[:10].all()
    assert result.sum() == 100 + kept_px


def test_what_stands_alone_is_no_speck():
    probability = np.zeros((50, 70), dtype=np.float32)
    probability[31, 4] = 0.55
    mask = probability >= 0.5
    assert drop_specks(mask, probability) is mask
    assert not drop_specks(np.zeros_like(mask), probability).any()
    everything = np.ones_like(mask)
    assert drop_specks(everything, probability) is everything


@given(st.integers(0, 2**31), st.sampled_from([0.5, 0.6, 0.8]))
def test_the_largest_lesion_stays_and_nothing_is_added(seed: int, threshold: float):
    probability = np.random.default_rng(seed).random((30, 40)).astype(np.float32)
    mask = probability >= threshold
    result = drop_specks(mask, probability)
    assert not (result & ~mask).any()
    assert label_lesions(result).areas_px.max() == label_lesions(mask).areas_px.max()


def test_a_mask_has_the_threshold_and_the_peaks_of_its_recipe():
    probability = one_large_and_one_small(2, 0.9)
    recipe = replace(Recipe(), threshold=0.65, peak_threshold=0.0)
    assert cut_mask(probability, recipe).sum() == 100 + 1  # one pixel, but sure
    assert cut_mask(probability, replace(recipe, threshold=0.5, peak_threshold=0.75)).sum() == 2
    assert cut_mask(probability, replace(recipe, threshold=0.95)).sum() == 0

from __future__ import annotations

import numpy as np

from tumortrace.inference.volumes import link_lesions
from tumortrace.phantoms.series import draw_series
from tumortrace.phantoms.slices import draw_cut, draw_phantom


def test_the_tumour_is_one_body_within_the_head_and_most_of_it_in_the_middle():
    series = draw_series(seed=0, slices=9, size_hw=(128, 112))
    assert series.pixels.shape == series.truth.shape == (9, 128, 112)
    assert series.pixels.dtype == np.uint8
    assert link_lesions(series.truth)[1] == 1
    areas = series.truth.sum(axis=(1, 2))
    assert areas.argmax() == 5
    assert areas[0] == areas[-1] == 0
    heads = (series.pixels > 40).sum(axis=(1, 2))
    assert heads[4] > 1.5 * heads[0]


def test_a_seed_fixes_the_series_and_noise_differs_between_slices():
    first, again = (draw_series(seed=3, slices=3, size_hw=(100, 96)) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert not np.array_equal(first.pixels[0], first.pixels[2])  # the same cut of the head


def test_a_whole_cut_is_the_phantom():
    whole = draw_phantom(np.random.default_rng(1), size_hw=(120, 100), kind="ring")
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(draw_cut(rng, rng, size_hw=(120, 100), kind="ring").pixels, whole.pixels)

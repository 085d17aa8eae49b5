"""Batches: which slices get a tumour of another slice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.training.test_implant import draw_donor, draw_head

from tumortrace.config import AugmentationConfig
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.batches import fetch_varied, shrink


def make_part() -> PreparedPart:
    """A tumour-free slice, one with a tumour, and another tumour-free one."""
    donor, outline = draw_donor()
    images = torch.from_numpy(np.stack([draw_head(), donor, draw_head(0.6)]))[:, None]
    truths = torch.from_numpy(np.stack([np.zeros_like(outline), outline, np.zeros_like(outline)]))
    return PreparedPart(images, truths, ("a", "b", "a"), {}, (None,) * 3, ())


def count_tumours(part: PreparedPart, *, implants: bool, draws: int = 200) -> list[int]:
    counts = torch.zeros(3)
    for seed in range(draws):
        rngs = [np.random.default_rng([seed, place]) for place in range(3)]
        settings = AugmentationConfig(flips=True, implants=implants)
        _, truths = fetch_varied(part, torch.arange(3), settings, rngs, torch.device("cpu"))
        counts += truths.flatten(1).any(dim=1)
    return counts.int().tolist()


def test_three_in_ten_tumour_free_slices_get_a_tumour():
    first, own, second = count_tumours(make_part(), implants=True)
    assert own == 200
    assert 30 <= first <= 85
    assert 30 <= second <= 85


def test_without_the_setting_none_does():
    assert count_tumours(make_part(), implants=False) == [0, 200, 0]


def test_where_no_slice_has_a_tumour_none_is_implanted():
    part = make_part()
    assert count_tumours(replace(part, truths=torch.zeros_like(part.truths)), implants=True, draws=20) == [0, 0, 0]


def test_coarse_slices_are_averaged_and_their_outlines_are_the_nearest_pixels():
    # Five columns of eight: each averages what 1.6 columns touch; their middles are 0.8, 2.4, 4, 5.6 and 7.2.
    images = torch.tensor([[0.0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 0, 0, 0, 0, 8]])[None, None]
    truths = torch.tensor([[1, 0, 0, 1, 0, 1, 0, 1], [0, 1, 1, 0, 1, 0, 1, 0]])[None]
    small, outlines = shrink(images, truths, step=1)
    assert small[0, 0].tolist() == [[0.5, 2, 3.5, 5, 6.5], [0, 0, 0, 0, 4]]
    assert outlines[0].tolist() == [[1, 0, 0, 1, 1], [0, 1, 1, 0, 0]]

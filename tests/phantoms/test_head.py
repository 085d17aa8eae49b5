from __future__ import annotations

import numpy as np
import pytest

from tumortrace.data.geometry import Polygon, rasterize
from tumortrace.phantoms.head import (
    SEQUENCES,
    Tissue,
    brain_contour,
    draw_head,
    paint_tissues,
    shrink,
    smooth_noise,
    soft_mask,
)

SIZE_HW = (180, 150)
LESION_TISSUES = {Tissue.TUMOUR, Tissue.NECROSIS, Tissue.OEDEMA}


def paint(seed: int, *, push_px: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return paint_tissues(rng, draw_head(rng, SIZE_HW), displace=lambda points_xy: points_xy + push_px)


def test_map_is_twice_as_fine_as_the_frame_and_holds_every_healthy_tissue():
    labels = np.stack([paint(seed) for seed in range(10)])
    assert labels.shape == (10, 360, 300)
    assert set(np.unique(labels)) == set(Tissue) - LESION_TISSUES


def test_head_stays_within_the_frame():
    for seed in range(30):
        labels = paint(seed)
        border = np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))
        assert (border == Tissue.AIR).all()


def test_brain_lies_inside_the_contour_and_fills_it():
    rng = np.random.default_rng(5)
    head = draw_head(rng, SIZE_HW)
    brain = rasterize([Polygon(brain_contour(head))], SIZE_HW)
    labels = paint_tissues(rng, head, displace=lambda points_xy: points_xy)
    white = shrink((labels == Tissue.WHITE).astype(np.uint8)) > 0
    skull = shrink((labels == Tissue.BONE).astype(np.uint8)) > 0
    assert not (white & ~brain).any()
    assert not (skull & brain).any()
    assert 0.3 < white.sum() / brain.sum() < 0.8


def test_displacement_moves_the_brain_and_leaves_the_skull():
    still, pushed = paint(2), paint(2, push_px=3.0)
    assert (still != pushed).any()
    for tissue in (Tissue.AIR, Tissue.SKIN, Tissue.FAT, Tissue.BONE, Tissue.MARROW, Tissue.DURA):
        np.testing.assert_array_equal(still == tissue, pushed == tissue)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_sequence_has_a_grey_value_for_each_tissue(sequence: str):
    assert len(SEQUENCES[sequence]) == len(Tissue)
    assert all(0 <= value <= 255 for value in SEQUENCES[sequence])


def test_shrink_averages_four_fine_pixels():
    fine = np.array([[0, 100, 7, 7, 0, 0], [100, 200, 7, 7, 0, 4]], dtype=np.uint8)
    np.testing.assert_array_equal(shrink(fine), [[100, 7, 1]])


def test_soft_mask_is_one_inside_half_on_the_contour_and_zero_outside():
    square = np.array([[10.0, 5.0], [30.0, 5.0], [30.0, 25.0], [10.0, 25.0]])
    mask = soft_mask(square, (40, 60), soft_px=1.0)
    assert mask.shape == (40, 60)
    assert mask[15, 20] == pytest.approx(1)
    assert mask[15, 10] == pytest.approx(0.5, abs=0.06)
    assert mask[15, 30] == pytest.approx(0.5, abs=0.06)
    assert mask[20, 45] == 0


def test_smooth_noise_is_smooth_at_its_grain():
    fine = smooth_noise(np.random.default_rng(0), (64, 48), grain_px=2)
    coarse = smooth_noise(np.random.default_rng(0), (64, 48), grain_px=16)
    assert fine.shape == coarse.shape == (64, 48)
    assert np.abs(np.diff(coarse, axis=1)).mean() < 0.3 * np.abs(np.diff(fine, axis=1)).mean()

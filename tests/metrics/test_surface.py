from __future__ import annotations

import math

import monai.metrics
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tumortrace.metrics.surface import SurfaceScores, compare_surfaces

Mask = NDArray[np.bool_]


def draw(text: str) -> Mask:
    return np.array([[character == "#" for character in line] for line in text.split()])


def dots(size_hw: tuple[int, int], *places: tuple[int, int]) -> Mask:
    mask = np.zeros(size_hw, dtype=np.bool_)
    for row, column in places:
        mask[row, column] = True
    return mask


def test_two_units_are_tolerated_unless_told_otherwise():
    one = dots((6, 9), (1, 2))
    assert compare_surfaces(one, dots((6, 9), (3, 2))).nsd == 1.0
    assert compare_surfaces(one, dots((6, 9), (4, 2))).nsd == 0.0


def test_two_pixels_apart():
    one, other = dots((6, 9), (1, 2)), dots((6, 9), (4, 6))
    # 3 rows and 4 columns: 5 pixels; with rows 2 mm and columns 1 mm apart sqrt(6^2 + 4^2).
    assert compare_surfaces(one, other) == SurfaceScores(0.0, 5.0, 5.0)
    distance = math.sqrt(36 + 16)
    scores = compare_surfaces(one, other, spacing=(2.0, 1.0), tolerance=7.3)
    assert scores == SurfaceScores(1.0, pytest.approx(distance), pytest.approx(distance))
    assert compare_surfaces(one, other, spacing=(1.0, 2.0)).assd == pytest.approx(math.sqrt(9 + 64))


def test_by_hand():
    truth = draw("##### ##### ##### .....")
    prediction = draw("###.. ###.. ###.. #....")
    scores = compare_surfaces(prediction, truth, tolerance=1.0)
    there = [0, 0, 0, 0, 1, 0, 0, 0, 1]  # from the prediction's border, row by row: 3 + 2 + 3 + 1 pixels
    back = [0, 0, 0, 1, 2, 0, 2, 0, 0, 0, 1, 2]  # from the truth's: 5 + 2 + 5 pixels
    both = np.array(there + back)
    assert scores.assd == pytest.approx(both.mean())
    assert scores.nsd == pytest.approx((both <= 1).mean())
    assert scores.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))


def test_a_distance_equal_to_the_tolerance_is_within():
    one, other = dots((3, 5), (1, 1)), dots((3, 5), (1, 3))
    assert compare_surfaces(one, other, tolerance=2.0).nsd == 1.0
    assert compare_surfaces(one, other, tolerance=1.99).nsd == 0.0
    one, other = dots((6, 9), (1, 2)), dots((6, 9), (4, 6))
    assert compare_surfaces(one, other, spacing=(1.1, 1.1), tolerance=5.5).nsd == 1.0  # 5.500000000000001 in floats


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 7)])
def test_degenerate_masks(size_hw: tuple[int, int]):
    empty, full = np.zeros(size_hw, dtype=np.bool_), np.ones(size_hw, dtype=np.bool_)
    nothing = compare_surfaces(empty, empty)
    assert math.isnan(nothing.nsd)
    assert math.isnan(nothing.hd95)
    assert math.isnan(nothing.assd)
    for one, other in ((empty, full), (full, empty)):
        missed = compare_surfaces(one, other)
        assert missed.nsd == 0.0
        assert math.isnan(missed.hd95)
        assert math.isnan(missed.assd)
    assert compare_surfaces(full, full) == SurfaceScores(1.0, 0.0, 0.0)


def test_what_cannot_be_compared():
    mask = np.ones((2, 3), dtype=np.bool_)
    with pytest.raises(ValueError, match="bool"):
        compare_surfaces(mask.astype(np.uint8), mask)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape"):
        compare_surfaces(mask, mask.T)
    with pytest.raises(ValueError, match="positive"):
        compare_surfaces(mask, mask, spacing=(1.0, 0.0))
    with pytest.raises(ValueError, match="positive"):
        compare_surfaces(mask, mask, spacing=(1.0, math.nan))
    with pytest.raises(ValueError, match="positive"):
        compare_surfaces(mask, mask, tolerance=math.inf)


def random_mask(rng: np.random.Generator, size_hw: tuple[int, int]) -> Mask:
    """Blobs, single pixels, nothing or everything; often at the border."""
    kind = rng.integers(6)
    if kind == 0:
        return np.zeros(size_hw, dtype=np.bool_) if rng.random() < 0.6 else np.ones(size_hw, dtype=np.bool_)
    if kind == 1:
        return dots(size_hw, (int(rng.integers(size_hw[0])), int(rng.integers(size_hw[1]))))
    rows, columns = np.mgrid[0 : size_hw[0], 0 : size_hw[1]]
    mask = np.zeros(size_hw, dtype=np.bool_)
    for _ in range(int(rng.integers(1, 4))):
        row, column = rng.uniform(0, size_hw[0]), rng.uniform(0, size_hw[1])
        radii = rng.uniform(1, size_hw[0] / 2), rng.uniform(1, size_hw[1] / 2)
        mask |= ((rows - row) / radii[0]) ** 2 + ((columns - column) / radii[1]) ** 2 < 1
    return mask


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own
def test_200_random_masks_agree_with_monai():
    rng = np.random.default_rng(5)
    compared = 0
    for _ in range(200):
        size_hw = (int(rng.integers(3, 30)), int(rng.integers(3, 30)))
        prediction, truth = random_mask(rng, size_hw), random_mask(rng, size_hw)
        spacing = (float(rng.uniform(0.4, 2.5)), float(rng.uniform(0.4, 2.5)))
        scores = compare_surfaces(prediction, truth, spacing=spacing, tolerance=1.7)
        if not (prediction.any() and truth.any()):
            assert math.isnan(scores.hd95)
            assert math.isnan(scores.assd)
            assert math.isnan(scores.nsd) or (scores.nsd == 0.0 and (prediction.any() or truth.any()))
            continue
        one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, truth))
        options = {"include_background": True, "spacing": list(spacing)}
        nsd = monai.metrics.compute_surface_dice(one, other, class_thresholds=[1.7], **options)
        hd95 = monai.metrics.compute_hausdorff_distance(one, other, percentile=95, **options)
        assd = monai.metrics.compute_average_surface_distance(one, other, symmetric=True, **options)
        assert scores.nsd == pytest.approx(float(nsd), abs=1e-6)
        assert scores.hd95 == pytest.approx(float(hd95), rel=1e-6, abs=1e-6)
        assert scores.assd == pytest.approx(float(assd), rel=1e-6, abs=1e-6)
        compared += 1
    assert 120 < compared < 200

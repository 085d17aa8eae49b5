from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.config import AugmentationConfig
from tumortrace.inference.recipe import standardise
from tumortrace.training.augment import augment

ALL = AugmentationConfig(flips=True, geometry=True, intensity=True, appearance=True)


def head(size_hw: tuple[int, int] = (64, 64)) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A bright rim around a grey brain with a brighter tumour on its left, and the tumour."""
    y, x = np.indices(size_hw)
    height, width = size_hw
    radius = np.hypot((y - height / 2) / (0.45 * height), (x - width / 2) / (0.4 * width))
    truth = (np.hypot(y - height / 2, x - width / 3) < min(size_hw) / 10).astype(np.uint8)
    grey = 0.5 * (radius < 0.85) + 1.0 * ((radius >= 0.85) & (radius < 1)) + 0.3 * truth
    return grey.astype(np.float32), truth


def variants(
    setting: AugmentationConfig, count: int, **options: tuple[int, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    image, truth = head(**options)
    return [augment(image, truth, setting, np.random.default_rng(seed)) for seed in range(count)]


def test_nothing_asked_is_nothing_changed_but_the_scale():
    image, truth = head()
    varied, outline = augment(image, truth, AugmentationConfig(), np.random.default_rng(0))
    np.testing.assert_allclose(varied, standardise(image), atol=1e-5)
    np.testing.assert_array_equal(outline, truth)


KINDS = sorted({field.name for field in fields(AugmentationConfig)} - {"implants"})  # which take a second slice


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_changes_the_slice(name: str):
    image, truth = head()
    unchanged = augment(image, truth, AugmentationConfig(), np.random.default_rng(0))[0]
    changed = [
        not np.allclose(varied, unchanged, atol=1e-3) for varied, _ in variants(AugmentationConfig(**{name: True}), 120)
    ]
    assert sum(changed) >= 10


def test_the_same_draw_gives_the_same_variant_and_what_is_given_stays():
    image, truth = head()
    kept = image.copy(), truth.copy()
    one, other = (augment(image, truth, ALL, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(truth, kept[1])


def test_flips_are_the_eight_of_the_square_each_drawn():
    image = np.arange(9, dtype=np.float32).reshape(3, 3)
    truth = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], np.uint8)
    seen = set()
    for seed in range(200):
        varied, outline = augment(image, truth, AugmentationConfig(flips=True), np.random.default_rng(seed))
        seen.add(tuple(np.argsort(varied.ravel()).tolist()))
        assert varied[outline == 1] == varied.min()  # the truth goes where its pixel goes
    eight = {
        tuple(np.argsort(np.rot90(side, turns).ravel()).tolist())
        for side, turns in itertools.product((image, image[:, ::-1]), range(4))
    }
    assert seen == eight


def test_geometry_moves_the_truth_with_the_tumour():
    _, truth = head()
    moved = 0
    for seed in range(40):
        bright = truth.astype(np.float32)
        varied, outline = augment(bright, truth, AugmentationConfig(geometry=True), np.random.default_rng(seed))
        if not outline.any():
            continue  # shifted out of the frame
        np.testing.assert_array_equal(varied > (varied.min() + varied.max()) / 2, outline == 1)
        moved += not np.array_equal(outline, truth)
    assert moved > 20


@pytest.mark.parametrize("name", ["intensity", "appearance"])
def test_what_changes_grey_values_leaves_the_truth(name: str):
    for _, outline in variants(AugmentationConfig(**{name: True}), 20):
        np.testing.assert_array_equal(outline, head()[1])


def test_tissue_is_sometimes_inverted_but_air_stays_dark():
    image, _ = head()
    tissue = image > 0
    inverted = 0
    for varied, _ in variants(AugmentationConfig(intensity=True), 300):
        if np.corrcoef(varied[tissue], image[tissue])[0, 1] < -0.5:
            inverted += 1
            assert varied[~tissue].mean() < varied[image == 0.5].mean()
    assert 6 <= inverted <= 40


def test_the_skull_is_sometimes_taken_away_but_never_the_tumour():
    image, truth = head()
    rim = image == 1.0
    stripped = 0
    for varied, _ in variants(AugmentationConfig(appearance=True), 100):
        black = varied < np.median(varied[~rim & (image > 0)]) - 0.5
        if black[rim].mean() > 0.9:
            stripped += 1
            assert not np.allclose(varied[truth == 1], varied.min())
    assert stripped >= 5


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(8, 70), st.integers(8, 70)),
    st.integers(0, 2**32),
    st.sampled_from(["empty", "full", "pixel", "disc"]),
    st.sampled_from(["head", "constant", "noise"]),
)
def test_every_slice_gives_a_standardised_slice_and_a_mask(
    size_hw: tuple[int, int], seed: int, outline: str, picture: str
):
    image, truth = head(size_hw)
    rng = np.random.default_rng(seed)
    if picture != "head":
        image = (
            np.full(size_hw, 3.0, np.float32) if picture == "constant" else rng.normal(size=size_hw).astype(np.float32)
        )
    if outline != "disc":
        truth = np.full(size_hw, outline == "full", dtype=np.uint8)
        truth[2, 3] = outline != "empty"
    varied, mask = augment(image, truth, ALL, rng)
    assert varied.dtype == np.float32
    assert mask.dtype == np.uint8
    assert varied.shape == mask.shape == size_hw
    assert set(np.unique(mask)) <= {0, 1}
    assert np.isfinite(varied).all()
    assert abs(varied.mean()) < 1e-3
    assert varied.std() == pytest.approx(1, abs=1e-3) or not varied.any()

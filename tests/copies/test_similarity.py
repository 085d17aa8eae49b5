"""Copies of a slice are told from other slices, however they were turned, resized or recoloured."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.copies import similarity
from tumortrace.copies.similarity import ORIENTATIONS, SIDE_PX, References, head_box, orient, signature

DrawHead = Callable[..., NDArray[np.uint8]]


def recode_as_jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return np.asarray(decoded, dtype=np.uint8)


def resize(pixels: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, size_hw[::-1], interpolation=cv2.INTER_CUBIC))


CHANGES: dict[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
    "nothing": lambda pixels: pixels,
    "darker gamma": lambda pixels: np.rint(255 * (pixels / 255) ** 1.5).astype(np.uint8),
    "brighter gamma": lambda pixels: np.rint(255 * (pixels / 255) ** 0.7).astype(np.uint8),
    "stretched contrast": lambda pixels: np.clip((pixels.astype(np.float64) - 30) * 1.4, 0, 255).astype(np.uint8),
    "less contrast, brighter": lambda pixels: np.rint(pixels * 0.6 + 8).astype(np.uint8),
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 257,
    "values of 0 to 1": lambda pixels: pixels / 255.0,
    "smaller": lambda pixels: resize(pixels, (119, 98)),
    "larger": lambda pixels: resize(pixels, (306, 252)),
    "another aspect": lambda pixels: resize(pixels, (200, 120)),
    "JPEG": recode_as_jpeg,
    "sharpened": lambda pixels: cv2.addWeighted(pixels, 1.7, cv2.GaussianBlur(pixels, (0, 0), 2.0), -0.7, 0),
    "black margin": lambda pixels: np.pad(pixels, ((31, 5), (0, 44))),
    "margin cut off": lambda pixels: pixels[5:-3, 4:-12],
}


# --- orientations ---


def test_orientations_by_hand():
    array = np.array([[1, 2, 3], [4, 5, 6]])
    assert orient(array, turns=0, flip=False).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert orient(array, turns=0, flip=True).tolist() == [[3, 2, 1], [6, 5, 4]]
    assert orient(array, turns=1, flip=False).tolist() == [[3, 6], [2, 5], [1, 4]]  # counter-clockwise
    assert orient(array, turns=1, flip=True).tolist() == [[1, 4], [2, 5], [3, 6]]  # flipped first: transposed
    assert orient(array, turns=2, flip=True).tolist() == [[4, 5, 6], [1, 2, 3]]  # upside down


def test_there_are_eight_orientations():
    array = np.arange(6).reshape(2, 3)
    seen = {str(orient(array, turns=turns, flip=flip).tolist()) for turns, flip in ORIENTATIONS}
    assert len(seen) == len(ORIENTATIONS) == 8


# --- the head ---


def test_box_of_a_head_has_a_margin_of_three_per_cent():
    # 60 columns: 1.8 pixels on each side, made whole outwards.
    pixels = np.zeros((100, 120), dtype=np.uint8)
    pixels[40:60, 30:90] = 180
    pixels[2, 3] = pixels[97, 118] = 255
    assert head_box(pixels) == (slice(38, 62), slice(28, 92))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_constant_picture_is_a_head_as_a_whole(value: int):
    assert head_box(np.full((4, 7), value, dtype=np.uint8)) == (slice(0, 4), slice(0, 7))


# --- signatures ---


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_signature_has_mean_0_and_norm_1_or_is_0(pixels: NDArray[np.uint8]):
    found = signature(pixels)
    assert found.shape == (SIDE_PX, SIDE_PX)
    assert found.dtype == np.float32
    assert abs(float(found.mean(dtype=np.float64))) < 1e-6
    assert abs(float(np.linalg.norm(found)) - 1) < 1e-5 or not found.any()


@pytest.mark.parametrize("value", [np.uint8(0), np.uint8(100), np.uint16(60001), np.float64(0.1)])
@pytest.mark.parametrize("size_hw", [(37, 53), (301, 700), (1, 1)])
def test_signature_of_a_constant_picture_is_0(value: np.generic, size_hw: tuple[int, int]):
    assert not signature(np.full(size_hw, value)).any()


def test_signature_does_not_change_the_slice(draw_head: DrawHead):
    pixels = draw_head(1).astype(np.float32)
    before = pixels.copy()
    signature(pixels)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("size_hw", [(170, 140), (60, 190), (70, 50)], ids=["shrinks", "shrinks and grows", "grows"])
def test_signature_of_a_turned_slice_is_the_turned_signature(draw_head: DrawHead, size_hw: tuple[int, int]):
    pixels = draw_head(1, size_hw)
    for turns, flip in ORIENTATIONS:
        turned = orient(signature(pixels), turns=turns, flip=flip)
        np.testing.assert_allclose(signature(orient(pixels, turns=turns, flip=flip)), turned, atol=1e-5)


# --- the nearest ---


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copy_stays_similar(draw_head: DrawHead, change: str):
    pixels = draw_head(1)
    (match,) = References(signature(pixels)[None]).find_nearest(signature(CHANGES[change](pixels))[None])
    assert (match.turns, match.flip) == (0, False)
    assert 0.85 < match.similarity <= 1 + 1e-5


@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_every_orientation_is_recovered(draw_head: DrawHead, turns: int, flip: bool):  # noqa: FBT001 - a parameter
    references = np.stack([signature(draw_head(seed)) for seed in (2, 1, 3)])
    query = orient(draw_head(1), turns=turns, flip=flip)
    (match,) = References(references).find_nearest(signature(resize(query, (150, 160)))[None])
    assert (match.index, match.turns, match.flip) == (1, turns, flip)
    assert match.similarity > 0.95
    # Turned that way, the reference lies on the query.
    assert np.array_equal(orient(draw_head(1), turns=match.turns, flip=match.flip), query)


def test_unrelated_slices_are_not_similar(draw_head: DrawHead):
    signatures = [signature(draw_head(seed)) for seed in range(6)]
    similarities = [
        References(other[None]).find_nearest(one[None])[0].similarity for one, other in combinations(signatures, 2)
    ]
    assert len(similarities) == 15
    assert max(similarities) < 0.6


def test_constant_picture_is_like_nothing(draw_head: DrawHead):
    (match,) = References(signature(draw_head(1))[None]).find_nearest(
        signature(np.full((50, 40), 90, dtype=np.uint8))[None]
    )
    assert match.similarity == 0.0


@pytest.mark.parametrize("at_a_time", [1, 2, 256])
def test_each_query_has_its_own_nearest(draw_head: DrawHead, monkeypatch: pytest.MonkeyPatch, at_a_time: int):
    monkeypatch.setattr(similarity, "_QUERIES", at_a_time)
    monkeypatch.setattr(similarity, "_SHORTLIST", 2)
    references = np.stack([signature(draw_head(seed)) for seed in range(4)])
    queries = np.stack([signature(orient(draw_head(seed), turns=seed, flip=True)) for seed in (3, 0, 2)])
    matches = References(references).find_nearest(queries)
    assert [(match.index, match.turns, match.flip) for match in matches] == [(3, 3, True), (0, 0, True), (2, 2, True)]


@given(
    hnp.arrays(np.float32, (2, 3, 3), elements=st.integers(-9, 9)),
    hnp.arrays(np.float32, (3, 3, 3), elements=st.integers(-9, 9)),
)
def test_nearest_has_the_largest_of_all_sums_of_products(queries: NDArray[np.float32], references: NDArray[np.float32]):
    for query, match in zip(queries, References(references).find_nearest(queries), strict=True):
        sums = [
            float((query * orient(reference, turns=turns, flip=flip)).sum())
            for reference in references
            for turns, flip in ORIENTATIONS
        ]
        assert match.similarity == max(sums)
        turned = orient(references[match.index], turns=match.turns, flip=match.flip)
        assert float((query * turned).sum()) == match.similarity

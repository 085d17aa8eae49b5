"""Planted copies are found in whatever orientation and contrast; different patients are not called copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.compare import SAME_SLICE, CopyPair
from tumortrace.copies.find import find_copies, score_pairs
from tumortrace.copies.registration import lay_mask, lay_pixels, orientation_matrix, window_matrix
from tumortrace.copies.signatures import Signatures, measure_signature, stack_signatures
from tumortrace.copies.similarity import ORIENTATIONS, SIDE_PX, orient
from tumortrace.data.components import link
from tumortrace.data.dataset import open_dataset
from tumortrace.data.slice_file import read_slice

DrawHead = Callable[..., NDArray[np.uint8]]


def plant(pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy: cropped by up to 5 % a side, turned, gamma 0.5-2, contrast stretched, resized by 0.5-1.5, JPEG 40."""
    height, width = pixels.shape
    top, bottom = rng.integers(0, round(0.05 * height) + 1, 2)
    left, right = rng.integers(0, round(0.05 * width) + 1, 2)
    cropped = pixels[top : height - bottom, left : width - right]
    turns, flip = ORIENTATIONS[rng.integers(8)]
    grey = np.ascontiguousarray(orient(cropped, turns=turns, flip=flip)).astype(np.float64) / pixels.max()
    grey **= np.exp(rng.uniform(np.log(0.5), np.log(2)))
    low, high = np.percentile(grey, [rng.uniform(0, 2), rng.uniform(98, 100)])
    stretched = np.clip((grey - low) / (high - low), 0, 1) * 255
    scale = rng.uniform(0.5, 1.5)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(stretched, None, fx=scale, fy=scale, interpolation=how)
    _, encoded = cv2.imencode(".jpg", np.rint(resized).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def signatures_of(*pictures: NDArray[Any]) -> Signatures:
    return stack_signatures(map(measure_signature, pictures))


@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_the_map_lays_a_turned_and_resized_copy_onto_the_slice(
    draw_head: DrawHead,
    turns: int,
    flip: bool,  # noqa: FBT001 - a parameter
):
    slice_ = draw_head(1)
    turned = np.ascontiguousarray(orient(slice_, turns=turns, flip=flip))
    copy = np.asarray(cv2.resize(turned, None, fx=1.4, fy=1.4, interpolation=cv2.INTER_LINEAR))
    (pair,) = find_copies(signatures_of(slice_, copy))
    assert (pair.first, pair.second) == (0, 1)
    assert pair.similarity > 0.97
    laid = lay_pixels(copy.astype(np.float32), pair.to_second, slice_.shape)
    inside = np.s_[20:150, 20:120]
    assert np.abs(laid[inside] - slice_[inside]).mean() < 4
    back = pair.turned()
    assert (back.first, back.second) == (1, 0)
    assert np.allclose(back.to_second @ pair.to_second, np.eye(3), atol=1e-9)


def test_a_mask_follows_its_copy(draw_head: DrawHead):
    slice_ = draw_head(2)
    mask = np.zeros(slice_.shape, dtype=np.bool_)
    mask[50:90, 40:60] = True
    mask[80:90, 60:75] = True
    copy = cv2.copyMakeBorder(slice_[::-1], 12, 0, 0, 9, cv2.BORDER_CONSTANT)
    its_mask = np.pad(mask[::-1], ((12, 0), (0, 9)))
    (pair,) = find_copies(signatures_of(slice_, copy))
    laid = lay_mask(its_mask, pair.to_second, slice_.shape)
    assert 2 * (laid & mask).sum() / (laid.sum() + mask.sum()) > 0.96


def crop(pixels: NDArray[Any], *, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> NDArray[Any]:
    height, width = pixels.shape
    return pixels[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]


@pytest.mark.parametrize(
    "cut",
    [{"left": 0.3}, {"top": 0.25}, {"right": 0.2, "bottom": 0.25}, {"left": 0.15, "right": 0.15, "top": 0.1}],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_crop_of_up_to_thirty_per_cent_is_found(draw_head: DrawHead, cut: dict[str, float], turned: bool):  # noqa: FBT001
    heads = [draw_head(seed) for seed in range(8)]
    part = crop(heads[3], **cut)
    part = np.ascontiguousarray(part[::-1].T if turned else part)
    (pair,) = find_copies(signatures_of(part), signatures_of(*heads))
    assert pair.second == 3
    where = pair.to_second @ np.array([0.0, 0.0, 1.0])  # the first pixel of the crop, on the slice
    left, top = cut.get("left", 0) * 140, cut.get("top", 0) * 170
    bottom = (1 - cut.get("bottom", 0)) * 170
    assert where[:2] == pytest.approx((left, bottom - 1) if turned else (left, top), abs=2.5)


def test_the_negative_of_a_slice_is_found(draw_head: DrawHead):
    heads = [draw_head(seed) for seed in range(6)]
    filled = [head[40:130, 35:100] for head in heads]  # no air around them that would show a negative
    for pictures in (heads, filled):
        negatives = signatures_of(*(255 - picture for picture in pictures))
        pairs = find_copies(negatives, signatures_of(*pictures))
        assert [(pair.first, pair.second) for pair in pairs] == [(index, index) for index in range(6)]


def test_a_white_border_neither_hides_copies_nor_makes_any(draw_head: DrawHead):
    heads = [draw_head(seed) for seed in range(6)]
    sheets = [np.pad(head, ((40, 25), (30, 60)), constant_values=255) for head in heads]
    pairs = find_copies(signatures_of(*heads, *sheets))
    assert [(pair.first, pair.second) for pair in pairs] == [(index, index + 6) for index in range(6)]


def test_different_heads_are_no_copies(draw_head: DrawHead):
    assert find_copies(signatures_of(*(draw_head(seed) for seed in range(12)))) == []


def test_planted_copies_of_heads_are_found(draw_head: DrawHead):
    rng = np.random.default_rng(0)
    heads = [draw_head(seed) for seed in range(40)]
    planted = signatures_of(*(plant(head, rng) for head in heads))
    pairs = {(pair.first, pair.second) for pair in find_copies(planted, signatures_of(*heads))}
    assert {(index, index) for index in range(40)} >= pairs
    assert len(pairs) >= 38


def test_large_groups_that_show_one_slice_are_joined(draw_head: DrawHead):
    # Twelve close copies of a slice and twelve of it cropped into the head: the nearest of each are all of its own.
    rng = np.random.default_rng(3)
    slice_ = draw_head(5)
    other = slice_[24:-14, 14:-22]
    pictures = [
        np.clip(base + rng.normal(0, 2, base.shape), 0, 255).astype(np.uint8)
        for base in (slice_, other)
        for _ in range(12)
    ]
    pairs = find_copies(signatures_of(*pictures))
    assert set(link(24, [(pair.first, pair.second) for pair in pairs])) == {0}


def test_degenerate_pictures_are_like_nothing():
    blank, dot = np.zeros((40, 30), dtype=np.uint8), np.zeros((30, 40), dtype=np.uint8)
    dot[7, 9] = 255
    one = np.full((1, 1), 9, dtype=np.uint8)
    assert find_copies(signatures_of(blank, dot, one, blank)) == []
    assert score_pairs(signatures_of(blank)) == []


def test_sixteen_bits_are_as_good_as_eight(draw_head: DrawHead):
    deep = draw_head(7).astype(np.uint16) * 257
    (pair,) = find_copies(signatures_of(draw_head(7), deep))
    assert pair.similarity > 0.999


def test_orientation_and_window_maps_by_hand():
    window = np.arange(SIDE_PX**2, dtype=np.float32).reshape(SIDE_PX, SIDE_PX)
    for turns, flip in ORIENTATIONS:
        oriented = orient(window, turns=turns, flip=flip)
        x, y, _ = orientation_matrix(turns=turns, flip=flip) @ np.array([5.0, 11.0, 1.0])
        assert oriented[11, 5] == window[round(y), round(x)]
    # A window of 192 x 96 pixels at (10, 20): its first pixel's centre is half a pixel right of the slice's.
    x, y, _ = window_matrix(np.array([10.0, 20.0, 192.0, 96.0])) @ np.array([0.0, 3.0, 1.0])
    assert (x, y) == (10.5, 23.0)


def test_registered_pairs_are_ordered_and_named_once(draw_head: DrawHead):
    pairs = score_pairs(signatures_of(draw_head(1), draw_head(2), draw_head(1), draw_head(1)))
    indices = [(pair.first, pair.second) for pair in pairs if pair.similarity >= SAME_SLICE]
    assert indices == [(0, 2), (0, 3), (2, 3)]
    assert all(isinstance(pair, CopyPair) for pair in pairs)


# --- real data ---


def read_all(folder: Path) -> tuple[list[NDArray[Any]], list[str | None]]:
    records = open_dataset(folder).records
    return [read_slice(record.image_path).pixels for record in records], [record.patient for record in records]


@pytest.mark.parametrize("name", ["br35h", "lgg"])
def test_planted_copies_of_real_slices_are_found(request: pytest.FixtureRequest, name: str):
    pictures, _ = read_all(request.getfixturevalue(name))
    rng = np.random.default_rng(11)
    chosen = rng.permutation(len(pictures))[:100]
    planted = signatures_of(*(plant(pictures[index], rng) for index in chosen))
    found = {pair.first for pair in find_copies(planted, signatures_of(*(pictures[index] for index in chosen)))}
    assert len(found) >= 95


CHANGES: dict[str, Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]] = {
    "negative": lambda pixels, _rng: 255 - pixels,
    "white border": lambda pixels, rng: np.pad(pixels, rng.integers(5, 60, (2, 2)), constant_values=255),
    "crop at one edge": lambda pixels, rng: crop(
        pixels, **{str(rng.choice(["left", "top", "right", "bottom"])): rng.uniform(0.1, 0.3)}
    ),
    "crop of both sides": lambda pixels, rng: crop(
        pixels, **dict(zip(("left", "top", "right", "bottom"), rng.uniform(0, 0.15, 4), strict=True))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["br35h", "lgg"])
def test_changed_copies_of_real_slices_are_found(request: pytest.FixtureRequest, name: str, change: str):
    records = open_dataset(request.getfixturevalue(name)).records
    rng = np.random.default_rng(5)
    pictures = [read_slice(records[index].image_path).pixels for index in rng.permutation(len(records))[:40]]
    planted = signatures_of(*(np.ascontiguousarray(CHANGES[change](picture, rng)) for picture in pictures))
    found = {pair.first for pair in find_copies(planted, signatures_of(*pictures)) if pair.first == pair.second}
    assert len(found) >= 38


def test_different_patients_are_not_called_copies(lgg: Path):
    records = open_dataset(lgg).records[::4]
    pairs = score_pairs(signatures_of(*(read_slice(record.image_path).pixels for record in records)))
    strangers = [p for p in pairs if records[p.first].patient != records[p.second].patient]
    assert len(strangers) > 500
    assert max(pair.similarity for pair in strangers) < SAME_SLICE


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("TCGA_CS_4942_19970222_19", "TCGA_DU_A5TW_19980228_28"),
        ("TCGA_CS_5396_20010302_23", "TCGA_CS_6669_20020102_22"),
        ("TCGA_DU_5871_19941206_31", "TCGA_HT_7874_19950902_19"),
        ("TCGA_HT_7855_19951020_20", "TCGA_HT_7874_19950902_19"),
    ],
)
def test_heads_that_share_only_the_ring_of_the_skull_are_no_copies(lgg: Path, first: str, second: str):
    pictures = [read_slice(lgg / "images" / f"{name}.jpg").pixels for name in (first, second)]
    assert find_copies(signatures_of(*pictures)) == []

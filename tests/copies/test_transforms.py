from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.find import find_copies
from tumortrace.copies.signatures import measure_signature, stack_signatures
from tumortrace.copies.similarity import ORIENTATIONS, orient
from tumortrace.copies.transforms import make_thumbnail, name_transform

DrawHead = Callable[..., NDArray[np.uint8]]
IDENTITY = np.eye(3)


def name(first: NDArray[Any], second: NDArray[Any], to_second: NDArray[np.float64] = IDENTITY) -> str:
    return name_transform(
        make_thumbnail(first),
        make_thumbnail(second),
        first_hw=first.shape[:2],
        second_hw=second.shape[:2],
        to_second=to_second,
    )


def registered(first: NDArray[Any], second: NDArray[Any]) -> str:
    (pair,) = find_copies(stack_signatures(map(measure_signature, (first, second))))
    return name(first, second, pair.to_second)


WORDS = [
    "alike",
    "turned 90° left",
    "turned 180°",
    "turned 90° right",
    "mirrored left-right",
    "mirrored and turned 90° left",
    "mirrored up-down",
    "mirrored and turned 90° right",
]


@pytest.mark.parametrize("index", range(8))
def test_orientations(draw_head: DrawHead, index: int):
    turns, flip = ORIENTATIONS[index]
    turned = np.ascontiguousarray(orient(draw_head(1), turns=turns, flip=flip))
    assert registered(turned, draw_head(1)) == WORDS[index]


def test_sizes(draw_head: DrawHead):
    small = cv2.resize(draw_head(1), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    assert registered(small, draw_head(1)).startswith("resized to 60 %")
    assert registered(draw_head(1), small).startswith("resized to 167 %")


def test_crops_and_borders(draw_head: DrawHead):
    slice_ = draw_head(1)
    cropped = np.ascontiguousarray(slice_[9:, :-7])  # 9 of 170 rows, 7 of 140 columns: 5 %
    move = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 9.0], [0.0, 0.0, 1.0]])
    assert name(cropped, slice_, move) == "cropped by up to 5 %"
    assert name(slice_, cropped, np.linalg.inv(move)) == "with a border of up to 6 %"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: 255 * (x / 255) ** 0.6, "gamma 0.6"),
        (lambda x: 255 * (x / 255) ** 1.7, "gamma 1.7"),
        (lambda x: 255 - x, "inverted"),
        (lambda x: np.clip(1.3 * x - 20, 0, 255), "contrast raised"),
        (lambda x: 0.6 * x + 20, "contrast lowered"),
        (lambda x: np.clip(x + 20, 0, 255), "brighter"),
        (lambda x: x, "alike"),
    ],
)
def test_grey_values(draw_head: DrawHead, change: Callable[[NDArray[Any]], NDArray[Any]], words: str):
    slice_ = draw_head(1)
    assert name(change(slice_.astype(np.float64)).astype(np.uint8), slice_) == words


def test_sharpened_and_blurred(draw_head: DrawHead):
    slice_ = draw_head(1, (96, 96))
    fine = np.clip(slice_ + np.random.default_rng(0).normal(0, 6, (96, 96)), 0, 255).astype(np.uint8)
    soft = cv2.GaussianBlur(fine, (0, 0), 1.5)
    assert "sharpened" in name(fine, soft)
    assert "blurred" in name(soft, fine)


@pytest.mark.parametrize(
    "store",
    [
        lambda head: head.astype(np.uint16) * 2,
        lambda head: head.astype(np.int16) - 1000,
        lambda head: head.astype(np.float32) / 255,
    ],
)
def test_values_of_any_scale_are_seen(draw_head: DrawHead, store: Callable[[NDArray[Any]], NDArray[Any]]):
    thumbnail = make_thumbnail(store(draw_head(1)))
    assert (thumbnail.min(), thumbnail.max()) == (0, 255)
    assert name(store(draw_head(1)), store(draw_head(1))) == "alike"


def test_sixteen_bits_count_as_eight(draw_head: DrawHead):
    assert name(draw_head(1).astype(np.uint16) * 257, draw_head(1)) == "alike"


def test_blank_pictures_have_an_orientation_and_no_more():
    blank = np.zeros((5, 7), dtype=np.uint8)
    assert name(blank, blank) == "alike"

"""Slices shown inverted, framed, padded or with an offset come out as the plain slice does."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tumortrace.data.slice_file import read_slice
from tumortrace.data.upright import turn_upright
from tumortrace.phantoms.slices import draw_phantom

DATA = os.environ.get("TUMORTRACE_DATA")


def phantom(seed: int = 0) -> NDArray[np.uint8]:
    return np.asarray(draw_phantom(np.random.default_rng(seed), size_hw=(240, 200), kind="bright").pixels)


def framed(pixels: NDArray[np.uint8], width: int, level: int = 255) -> NDArray[np.uint8]:
    return np.pad(pixels, width, constant_values=level)


def box_of(pixels: NDArray[np.generic]) -> NDArray[np.int_]:
    head = turn_upright(pixels).head
    assert head is not None
    return np.array(head.box)


# --- inverted ---


@pytest.mark.parametrize("seed", range(5))
def test_an_inverted_slice_is_the_slice(seed: int):
    plain, inverted = turn_upright(phantom(seed)), turn_upright(255 - phantom(seed))
    assert (plain.inverted, inverted.inverted) == (False, True)
    np.testing.assert_allclose(inverted.grey, plain.grey, atol=1e-6)
    assert np.array_equal(box_of(255 - phantom(seed)), box_of(phantom(seed)))


def test_16_bits_and_floats_are_inverted_too():
    deep = phantom().astype(np.uint16) * 200
    assert turn_upright(np.uint16(60000) - deep).inverted
    assert turn_upright(-phantom().astype(np.float64)).inverted


def test_a_neck_in_two_corners_does_not_hide_the_white_air_in_the_others():
    pixels = np.zeros((200, 160), np.uint8)
    cv2.ellipse(pixels, (80, 80), (60, 70), 0, 0, 360, 110, cv2.FILLED)
    pixels[130:] = 90
    assert turn_upright(255 - pixels).inverted
    assert not turn_upright(pixels).inverted


def test_what_fills_the_frame_with_bright_tissue_is_not_inverted():
    assert not turn_upright(np.pad(np.full((80, 60), 200, np.uint8), 4)).inverted
    brain = np.random.default_rng(0).normal(180, 20, (90, 90)).clip(0, 255).astype(np.uint8)
    assert not turn_upright(brain).inverted


@pytest.mark.parametrize("pixels", [np.zeros((1, 1)), np.array([[9, 1], [0, 9]]), np.full((9, 9), 200)], ids=str)
def test_tiny_and_constant_pictures_stay_as_they_are(pixels: NDArray[np.generic]):
    upright = turn_upright(pixels)
    assert (upright.inverted, upright.framed) == (False, False)
    assert upright.size_hw == pixels.shape


# --- framed ---


@pytest.mark.parametrize("width", [1, 3, 12, 60])
@pytest.mark.parametrize("level", [255, 160])
def test_a_frame_becomes_as_dark_as_air(width: int, level: int):
    upright = turn_upright(framed(phantom(), width, level))
    assert (upright.framed, upright.inverted) == (True, False)
    assert upright.grey[:width].max() <= 0.02
    assert upright.grey[:, -width:].max() <= 0.02
    assert np.abs(box_of(framed(phantom(), width, level)) - width - box_of(phantom())).max() <= 4


def test_a_frame_on_one_side_and_one_that_went_through_jpeg_become_dark():
    left = np.pad(phantom(), ((0, 0), (9, 0)), constant_values=255)
    assert np.abs(box_of(left) - (0, 0, 9, 9) - box_of(phantom())).max() <= 4
    ok, data = cv2.imencode(".jpg", framed(phantom(), 13), [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert ok
    upright = turn_upright(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    assert upright.framed
    edges = [upright.grey[0], upright.grey[14], upright.grey[:, -14], upright.grey[:, 12]]
    assert max(float(edge.max()) for edge in edges) < 0.15


@pytest.mark.parametrize("width", [4, 30])
def test_the_negative_of_a_framed_slice_is_turned_back_and_its_frame_becomes_dark(width: int):
    upright = turn_upright(255 - framed(phantom(), width))
    assert (upright.inverted, upright.framed) == (True, True)
    np.testing.assert_allclose(upright.grey, turn_upright(framed(phantom(), width)).grey, atol=1e-6)


def test_a_slice_on_a_white_sheet_and_a_slice_inverted_on_white_are_told_apart():
    sheet = framed(phantom(), 90)
    inverted = framed(np.asarray(255 - phantom()), 90)
    assert (turn_upright(sheet).inverted, turn_upright(sheet).framed) == (False, True)
    assert (turn_upright(inverted).inverted, turn_upright(inverted).framed) == (True, False)
    assert np.abs(box_of(sheet) - box_of(inverted)).max() <= 4


@pytest.mark.parametrize("width", [9, 20])
def test_a_frame_within_a_dark_margin_becomes_dark_too(width: int):
    pixels = framed(framed(phantom(), width), 8, level=0)
    upright = turn_upright(pixels)
    assert (upright.framed, upright.inverted) == (True, False)
    assert upright.grey[8 : 8 + width].max() <= 0.02
    assert np.abs(box_of(pixels) - width - 8 - box_of(phantom())).max() <= 4


def test_grey_air_that_reaches_the_edges_is_no_frame():
    pixels = np.full((120, 120), 90, np.uint8)
    cv2.ellipse(pixels, (60, 60), (40, 50), 0, 0, 360, 250, cv2.FILLED)
    pixels[60, 60] = 0
    assert not turn_upright(pixels).framed


def test_a_slice_without_a_frame_is_only_scaled():
    pixels = phantom()
    upright = turn_upright(pixels)
    assert not upright.framed
    spread = (upright.grey.max() - upright.grey.min()) / float(np.ptp(pixels))
    expected = (pixels - pixels.min()) * spread
    np.testing.assert_allclose(upright.grey - upright.grey.min(), expected, atol=1e-5)


def test_the_head_is_found_once(monkeypatch: pytest.MonkeyPatch):
    import tumortrace.data.upright as module  # noqa: PLC0415 - the module itself, to count its calls

    calls: list[tuple[int, ...]] = []
    find = module.find_head
    monkeypatch.setattr(module, "find_head", lambda grey, small: calls.append(grey.shape) or find(grey, small))
    for pixels in (phantom(), 255 - phantom(), framed(phantom(), 8)):
        calls.clear()
        turn_upright(pixels)
        assert calls == [pixels.shape]


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 50), st.integers(1, 50))))
def test_any_picture_comes_out_finite_and_is_left_as_it_is(pixels: NDArray[np.uint8]):
    before = pixels.copy()
    upright = turn_upright(pixels)
    assert np.array_equal(pixels, before)
    assert np.isfinite(upright.grey).all()
    assert upright.grey.shape == pixels.shape


@pytest.mark.skipif(not DATA, reason="TUMORTRACE_DATA is not set: the real data is not here")
@pytest.mark.parametrize("source", ["figshare", "lgg"])
def test_real_slices_are_upright_and_their_negatives_are_turned_back(source: str):
    root = Path(str(DATA)) / source
    with (root / "pairs.csv").open(encoding="utf-8") as file:
        names = [row["image"] for row in csv.DictReader(file)][::40]
    assert len(names) >= 20
    for name in names:
        pixels = read_slice(root / "images" / name).pixels
        plain, negative = turn_upright(pixels), turn_upright(pixels.max() - pixels)
        assert (plain.inverted, negative.inverted) == (False, True), name
        np.testing.assert_allclose(negative.grey, plain.grey, atol=1e-5, err_msg=name)

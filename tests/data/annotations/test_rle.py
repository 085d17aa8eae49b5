"""Run lengths by hand, against pycocotools, and from damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tumortrace.data.annotations.rle import (
    decode_brush,
    decode_runs,
    encode_brush,
    encode_runs,
    pack_counts,
    unpack_counts,
)
from tumortrace.data.annotations.shapes import ShapeError

MASK = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30))


def test_runs_by_hand():
    assert encode_runs(MASK, by_columns=False) == [1, 2, 2, 1, 2, 1, 3]
    assert encode_runs(MASK, by_columns=True) == [2, 3, 1, 1, 5]
    assert encode_runs(np.ones((2, 3), bool), by_columns=False) == [0, 6]
    np.testing.assert_array_equal(decode_runs([2, 3, 1, 1, 5], (3, 4), by_columns=True), MASK)


@given(mask=masks, by_columns=st.booleans())
def test_runs_come_back(mask: np.ndarray, *, by_columns: bool):
    counts = encode_runs(mask, by_columns=by_columns)
    np.testing.assert_array_equal(decode_runs(counts, mask.shape, by_columns=by_columns), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within pycocotools
@given(masks)
def test_pycocotools_writes_and_reads_the_same_text(mask: np.ndarray):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = encode_runs(mask, by_columns=True)
    assert pack_counts(counts) == theirs["counts"].decode()
    assert unpack_counts(theirs["counts"].decode()) == counts
    own = {"size": list(mask.shape), "counts": pack_counts(counts).encode()}
    np.testing.assert_array_equal(coco.decode(own).astype(bool), mask)


@given(st.lists(st.integers(0, 2**40)))
def test_packed_numbers_of_any_size_come_back(counts: list[int]):
    assert unpack_counts(pack_counts(counts)) == counts


@given(masks)
def test_brushes_come_back(mask: np.ndarray):
    data = encode_brush(mask)
    np.testing.assert_array_equal(decode_brush(data, mask.shape), mask)


def test_a_brush_of_one_channel_and_of_single_values():
    bits = f"{6:032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "0" + "00" + f"{3:03b}" + "".join(f"{value:08b}" for value in (0, 255, 127, 128))
    bits += "1" + "00" + f"{1:03b}" + f"{255:08b}"
    bits += "0" * (-len(bits) % 8)
    data = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert decode_brush(data, (2, 3)).tolist() == [[False, True, False], [True, True, True]]


@pytest.mark.parametrize(
    ("counts", "cause"),
    [
        ([2, 300, 1], "add up to 303 pixels"),
        ([3], "add up to 3 pixels"),
        ([], "add up to 0 pixels"),
        ([-1, 13], "not a list of whole numbers"),
        ([2.5, 9.5], "not a list"),
        ([True, 11], "not a list"),
        ("x", "not a list"),
        (None, "not a list"),
        ([10**30], "not a list"),
    ],
)
def test_runs_that_do_not_fill_the_mask_are_refused(counts: object, cause: str):
    with pytest.raises(ShapeError, match=cause):
        decode_runs(counts, (3, 4), by_columns=True)


def test_a_huge_mask_is_refused_before_anything_is_allocated():
    with pytest.raises(ShapeError, match="1000000 x 1000000"):
        decode_runs([10**12], (10**6, 10**6), by_columns=True)
    with pytest.raises(ShapeError, match="1000000 x 1000000"):
        decode_brush([0] * 20, (10**6, 10**6))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=130), max_size=30))
def test_any_text_is_unpacked_or_refused(text: str):
    try:
        counts = unpack_counts(text)
    except ShapeError:
        return
    assert all(isinstance(count, int) for count in counts)


@given(st.lists(st.integers(0, 255), max_size=40) | st.lists(st.integers(-5, 300), max_size=5))
def test_any_brush_is_decoded_or_refused(data: list[int]):
    head = [0, 0, 0, 12 * 4]
    for each in (data, head + data):
        try:
            mask = decode_brush(each, (3, 4))
        except ShapeError:
            continue
        assert mask.shape == (3, 4)

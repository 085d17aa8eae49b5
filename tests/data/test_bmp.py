"""BMP files give colours and palette indices as they are stored."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tumortrace.data.pictures import read_picture
from tumortrace.errors import DataError


def write_bmp(path: Path, index: np.ndarray, palette: np.ndarray, bits: int) -> Path:
    """A BMP by hand: rows from the bottom, each filled to four bytes; entries of blue, green, red and nothing."""
    height, width = index.shape
    per_byte = 8 // bits
    stride = (width * bits + 31) // 32 * 4
    rows = np.zeros((height, stride * per_byte), int)
    rows[:, :width] = index[::-1]
    packed = sum(rows[:, at::per_byte] << (bits * (per_byte - 1 - at)) for at in range(per_byte))
    pixels = np.asarray(packed, np.uint8).tobytes()
    entries = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    start = 14 + 40 + len(entries)
    head = b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(pixels), 0, 0, len(palette), 0)
    path.write_bytes(head + info + entries + pixels)
    return path


@settings(max_examples=80, deadline=None)
@given(
    bits=st.sampled_from([1, 4, 8]),
    size_hw=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    is_grey=st.booleans(),
    seed=st.integers(0, 999),
)
def test_palette_of_any_depth(tmp_path_factory, bits, size_hw, is_grey, seed):
    rng = np.random.default_rng(seed)
    entries = int(rng.integers(1, 2**bits + 1))
    palette = rng.integers(0, 256, (entries, 3))
    if is_grey:
        palette = np.repeat(np.linspace(0, 255, entries).astype(int)[:, None], 3, axis=1)
    index = rng.integers(0, entries, size_hw)
    path = write_bmp(tmp_path_factory.mktemp("loose") / "hypothesis.bmp", index, palette, bits)
    samples = read_picture(path)
    np.testing.assert_array_equal(samples.index, index)
    np.testing.assert_array_equal(samples.colour, palette[index])
    np.testing.assert_array_equal(samples.colour[:, :, ::-1], cv2.imread(str(path), cv2.IMREAD_COLOR))


def test_colour(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    samples = read_picture(tmp_path / "a.bmp")
    np.testing.assert_array_equal(samples.colour, pixels)
    assert samples.index is None
    assert not samples.lossy


@pytest.mark.parametrize("kept", [30, 60, 0.8])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = write_bmp(tmp_path / "a.bmp", np.ones((9, 9), int), np.array([[0, 0, 0], [9, 9, 9]]), 8)
    data = path.read_bytes()
    path.write_bytes(data[: kept if kept > 1 else int(len(data) * kept)])
    with pytest.raises(DataError, match=r"a\.bmp: cannot be decoded"):
        read_picture(path)


def test_a_palette_of_all_greys_in_order_keeps_its_indices(tmp_path):
    """Pillow takes such indices for grey values, and OpenCV has none either."""
    palette = np.repeat(np.arange(256)[:, None], 3, axis=1)
    samples = read_picture(write_bmp(tmp_path / "a.bmp", np.array([[0, 1, 255]]), palette, 8))
    np.testing.assert_array_equal(samples.index, [[0, 1, 255]])
    np.testing.assert_array_equal(samples.colour, [[[0] * 3, [1] * 3, [255] * 3]])
    assert samples.colour.dtype == np.uint8


def test_a_palette_that_does_not_say_its_length_is_full(tmp_path):
    palette = np.arange(48).reshape(16, 3) * 5
    path = write_bmp(tmp_path / "a.bmp", np.array([[15, 0, 9], [8, 2, 1]]), palette, 4)
    data = bytearray(path.read_bytes())
    data[46:54] = struct.pack("<II", 0, 3)  # three of them are said to matter, which means nothing
    path.write_bytes(data)
    np.testing.assert_array_equal(read_picture(path).colour, palette[[[15, 0, 9], [8, 2, 1]]])


def test_entries_that_are_said_to_matter_do_not_lengthen_the_palette(tmp_path):
    palette = np.array([[9, 8, 7], [200, 0, 90]])
    path = write_bmp(tmp_path / "a.bmp", np.array([[1, 0, 0], [0, 1, 1]]), palette, 8)
    data = bytearray(path.read_bytes())
    data[50:54] = struct.pack("<I", 2)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_picture(path).colour, palette[[[1, 0, 0], [0, 1, 1]]])


def test_rows_from_the_top(tmp_path):
    palette = np.array([[9, 8, 7], [200, 0, 90], [1, 2, 3]])
    path = write_bmp(tmp_path / "a.bmp", np.array([[1, 0], [0, 2], [2, 2]]), palette, 8)
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack("<i", -3)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_picture(path).index, [[2, 2], [0, 2], [1, 0]])

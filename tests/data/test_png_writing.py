"""What is written as PNG is read again as it was."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tumortrace.data.png_writing import encode_mask, write_png
from tumortrace.data.slice_file import read_slice

GREY = np.array([[0, 10, 20, 30, 40], [50, 60, 70, 80, 90], [100, 150, 200, 250, 255]], dtype=np.uint8)


def test_png_round_trip_of_grey_and_colour(tmp_path: Path):
    write_png(tmp_path / "sub" / "grey.png", GREY)
    np.testing.assert_array_equal(read_slice(tmp_path / "sub" / "grey.png").pixels, GREY)
    colour = np.zeros((2, 3, 3), np.uint8)
    colour[0, 0] = (255, 1, 2)
    write_png(tmp_path / "colour.png", colour)
    blue_green_red = cv2.imread(str(tmp_path / "colour.png"))
    assert blue_green_red is not None
    np.testing.assert_array_equal(blue_green_red[0, 0], (2, 1, 255))


def test_a_mask_is_written_as_0_and_255(tmp_path: Path):
    (tmp_path / "mask.png").write_bytes(encode_mask(np.array([[True, False, False], [False, True, True]])))
    np.testing.assert_array_equal(read_slice(tmp_path / "mask.png").pixels, [[255, 0, 0], [0, 255, 255]])

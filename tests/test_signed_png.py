"""A PNG that tumortrace drew is recognised by its content, and no longer once it was changed."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.signed_png import is_signed_png, sign_png


def encode(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3)])
def test_a_signed_png_shows_the_same_pixels_and_is_recognised(tmp_path: Path, shape: tuple[int, ...]):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / "x.png"
    path.write_bytes(encode(pixels))
    assert not is_signed_png(path)
    path.write_bytes(sign_png(encode(pixels)))
    assert is_signed_png(path)
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), pixels)
    data, at = path.read_bytes(), 33  # the text chunk stands behind the header, with length and checksum as PNG asks
    length = int.from_bytes(data[at : at + 4], "big")
    assert data[at + 4 : at + 8] == b"tEXt"
    end = at + 8 + length
    assert int.from_bytes(data[end : end + 4], "big") == zlib.crc32(data[at + 4 : end])
    assert data[at + 8 : end].startswith(b"Software\x00tumortrace")


def test_a_png_that_was_changed_is_no_longer_ours(tmp_path: Path):
    path = tmp_path / "x.png"
    signed = sign_png(encode(np.zeros((3, 5), np.uint8)))
    other = sign_png(encode(np.full((3, 5), 255, np.uint8)))
    header = 33 + 12 + len(b"Software\x00tumortrace ") + 8
    for data in (signed[:header] + other[header:], signed[:-1], signed + b"0", signed[:header], signed[:40], b""):
        path.write_bytes(data)
        assert not is_signed_png(path), data
    assert not is_signed_png(tmp_path / "missing.png")
    assert not is_signed_png(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    assert not is_signed_png(tmp_path / "pipe.png")  # and does not wait for somebody to write

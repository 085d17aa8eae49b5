"""The limits of a picture, and what becomes of every type of samples."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tumortrace.data.pictures import read_picture_bytes
from tumortrace.data.samples import (
    MEGAPIXELS,
    MOST_PIXELS_A_SIDE,
    ORIENTATION,
    Header,
    Samples,
    apply_orientation,
    check_header,
    most_pixels,
    read_orientation,
    take_samples,
)
from tumortrace.errors import ConfigError, DataError


@pytest.mark.parametrize(("text", "pixels"), [("", 64_000_000), ("0.0005", 500), ("400", 400_000_000)])
def test_the_limit_is_read_from_the_environment(monkeypatch, text, pixels):
    monkeypatch.setenv(MEGAPIXELS, text)
    assert most_pixels() == pixels


@pytest.mark.parametrize("text", ["many", "0", "-3", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv(MEGAPIXELS, text)
    with pytest.raises(ConfigError, match=f"TUMORTRACE_MEGAPIXELS={text}: not a positive number; give the limit in"):
        most_pixels()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_every_format_keeps_it(monkeypatch, tmp_path, kind):
    file = io.BytesIO()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(file, kind)
    monkeypatch.setenv(MEGAPIXELS, "0.0006")
    assert read_picture_bytes(file.getvalue(), tmp_path / "a").colour.shape[:2] == (20, 30)
    monkeypatch.setenv(MEGAPIXELS, "0.000599")
    with pytest.raises(DataError, match="a: 30 x 20 pixels, more than the limit of 599; save a smaller picture"):
        read_picture_bytes(file.getvalue(), tmp_path / "a")


@pytest.mark.parametrize(("long", "short"), [(MOST_PIXELS_A_SIDE, 1), (1, MOST_PIXELS_A_SIDE)])
def test_a_side_is_as_long_as_the_limit_and_no_longer(long, short):
    check_header(Path("a.png"), Header("a PNG", (long, short)))
    with pytest.raises(DataError, match=r"^a\.png: .* pixels, a side longer than the limit of 32,767; crop it"):
        check_header(Path("a.png"), Header("a PNG", (long + (long > 1), short + (short > 1))))


def make_palette(mode: str) -> Image.Image:
    """Three pixels of the colours 2, 0 and 1 of a palette."""
    image = Image.fromarray(np.array([[2, 0, 1]], np.uint8)).convert("P")
    image.putpalette([1, 2, 3, 40, 50, 60, 255, 0, 7])
    if mode == "PA":
        image = image.convert("PA")
        image.putalpha(Image.fromarray(np.array([[0, 9, 255]], np.uint8)))
    return image


@pytest.mark.parametrize(
    ("mode", "key", "alpha"), [("P", None, None), ("P", 0, [255, 0, 255]), ("PA", None, [0, 9, 255])]
)
def test_samples_of_a_palette(mode, key, alpha):
    image = make_palette(mode)
    if key is not None:
        image.info["transparency"] = key
    samples = take_samples(image)
    assert image.mode == mode
    np.testing.assert_array_equal(samples.index, [[2, 0, 1]])
    np.testing.assert_array_equal(samples.colour, [[[255, 0, 7], [1, 2, 3], [40, 50, 60]]])
    assert (samples.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(samples.alpha, [alpha])


@pytest.mark.parametrize(
    ("pixels", "key", "alpha"),
    [
        ([[7, 8]], 8, [[255, 0]]),
        ([[7, 8]], None, None),
        ([[[1, 2, 3], [1, 2, 4]]], (1, 2, 3), [[0, 255]]),
        ([[[1, 2, 3], [1, 2, 4]]], None, None),
    ],
)
def test_samples_with_a_transparent_colour(pixels, key, alpha):
    image = Image.fromarray(np.array(pixels, np.uint8))
    if key is not None:
        image.info["transparency"] = key
    samples = take_samples(image)
    np.testing.assert_array_equal(samples.colour, pixels)
    assert samples.index is None
    assert (samples.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(samples.alpha, alpha)


@pytest.mark.parametrize(
    ("mode", "stored", "colour", "alpha"),
    [
        ("I;16", struct.pack("<2H", 300, 65535), [[300, 65535]], None),
        ("I;16L", struct.pack("<2H", 300, 65535), [[300, 65535]], None),
        ("I;16B", struct.pack(">2H", 300, 65535), [[300, 65535]], None),
        ("LA", b"\x64\x80\xff\x00", [[100, 255]], [[128, 0]]),
        ("La", b"\x40\x40\x00\x00", [[255, 0]], [[64, 0]]),
        ("RGBA", b"\1\2\3\4\5\6\7\xff", [[[1, 2, 3], [5, 6, 7]]], [[4, 255]]),
        ("CMYK", b"\0\0\0\0\xff\0\0\0", [[[255] * 3, [0, 255, 255]]], None),
        ("YCbCr", b"\x09\x80\x80\xff\x80\x80", [[[9] * 3, [255] * 3]], None),
        ("LAB", b"\x00\x00\x00\xff\x00\x00", [[[0] * 3, [255] * 3]], None),
    ],
)
def test_samples_of_each_type(mode, stored, colour, alpha):
    image = Image.frombytes(mode, (2, 1), stored)
    samples = take_samples(image)
    np.testing.assert_allclose(samples.colour, colour, rtol=0, atol=mode == "LAB")  # whose conversion rounds
    assert samples.colour.dtype == (np.uint16 if mode.startswith("I;16") else np.uint8)
    assert (samples.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(samples.alpha, alpha)


def test_samples_of_a_type_that_is_not_read():
    with pytest.raises(DataError, match=r"^pixels of type HSV, which is not read$"):
        take_samples(Image.new("HSV", (2, 1)))


def exif(tag: int, value: int) -> bytes:
    """An EXIF block with one short number."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, tag, 3, 1, value, 0, 0)


@pytest.mark.parametrize(
    ("block", "orientation"),
    [
        *((exif(ORIENTATION, value), value) for value in range(1, 9)),
        (exif(ORIENTATION, 0), 1),
        (exif(ORIENTATION, 9), 1),
        (exif(ORIENTATION + 1, 6), 1),
        (exif(ORIENTATION, 6).removeprefix(b"Exif\0\0"), 6),
        (exif(ORIENTATION, 6)[:20], 1),
        (b"", 1),
        (None, 1),
    ],
)
def test_the_orientation_that_a_block_holds(block, orientation):
    assert read_orientation(block) == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colour_opacity_and_index_are_turned_as_pillow_turns_them(orientation):
    planes = [np.arange(6, dtype=np.uint8).reshape(2, 3) + start for start in (0, 10, 20)]
    colour = np.dstack(planes)
    turned = apply_orientation(Samples(colour, planes[1], planes[2], lossy=True), orientation)
    images = [Image.fromarray(plane) for plane in (colour, planes[1], planes[2])]
    for image in images:
        image.getexif()[ORIENTATION] = orientation
    expected = [np.asarray(ImageOps.exif_transpose(image)) for image in images]
    for plane, other in zip((turned.colour, turned.alpha, turned.index), expected, strict=True):
        np.testing.assert_array_equal(plane, other)
    assert (turned.lossy, turned.turned) == (True, orientation != 1)
    without = apply_orientation(Samples(colour), orientation)
    assert (without.alpha, without.index) == (None, None)

"""A mask is read as it was drawn, however it is stored, or refused with the reason; it is never silently empty."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tumortrace.data.masks import read_label, read_mask, read_united
from tumortrace.errors import DataError

TUMOUR = np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=bool)
BLACK_WHITE = [0, 0, 0, 255, 255, 255]


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    assert mode in {None, image.mode}
    image.save(path, **options)
    return path


def save_palette(path: Path, indices: np.ndarray, palette: list[int], **options: object) -> Path:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(palette)
    image.save(path, **options)
    return path


def paint(tumour: tuple[int, ...], ground: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.where(TUMOUR[:, :, None], np.array(tumour, dtype), np.array(ground, dtype))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize(("ground", "tumour"), [(0, 1), (0, 255), (0, 7), (1, 2), (85, 170), (254, 255)])
def test_two_grey_values_whatever_they_are(tmp_path, suffix, ground, tumour):
    path = save(tmp_path / f"m{suffix}", np.where(TUMOUR, tumour, ground).astype(np.uint8), "L")
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("high", [1, 255, 256, 65535])
def test_sixteen_bits(tmp_path, suffix, high):
    path = save(tmp_path / f"m{suffix}", TUMOUR.astype(np.uint16) * np.uint16(high), "I;16")
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_one_bit(tmp_path, suffix):
    path = save(tmp_path / f"m{suffix}", TUMOUR, "1")
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("suffix", [".png"])
def test_palette_of_few_bits(tmp_path, suffix, bits):
    path = save_palette(tmp_path / f"m{suffix}", TUMOUR, BLACK_WHITE, bits=bits)
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_the_class_in_one_colour_channel(tmp_path, suffix, channel, value):
    colour = tuple(value if at == channel else 0 for at in range(3))
    path = save(tmp_path / f"m{suffix}", paint(colour, (0, 0, 0)), "RGB")
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_the_class_in_the_lowest_of_sixteen_bits_of_one_channel(tmp_path, channel):
    pixels = np.zeros((*TUMOUR.shape, 3), np.uint16)
    pixels[:, :, channel] = TUMOUR
    for suffix in (".png", ".tif"):
        assert cv2.imwrite(str(tmp_path / f"m{suffix}"), pixels)
        np.testing.assert_array_equal(read_mask(tmp_path / f"m{suffix}"), TUMOUR)


@pytest.mark.parametrize(
    ("tumour", "ground"),
    [
        ((0, 0, 0, 255), (0, 0, 0, 0)),  # opaque black on a transparent ground
        ((255, 255, 255, 255), (0, 0, 0, 0)),
        ((0, 0, 0, 255), (255, 255, 255, 0)),  # the colour under a transparent pixel cannot be seen
        ((255, 0, 0, 255), (255, 255, 255, 0)),
        ((255, 0, 0, 128), (0, 0, 0, 0)),  # half transparent
        ((255, 0, 0, 255), (0, 0, 0, 255)),  # opaque all over: the colour says it
        ((255, 0, 0, 0), (0, 0, 0, 0)),  # transparent all over, and yet drawn
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_colour_with_alpha(tmp_path, suffix, tumour, ground):
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"m{suffix}", paint(tumour, ground), "RGBA", **options)
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize(("tumour", "ground"), [((0, 255), (0, 0)), ((255, 255), (0, 255)), ((255, 255), (0, 0))])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_alpha(tmp_path, suffix, tumour, ground):
    path = save(tmp_path / f"m{suffix}", paint(tumour, ground), "LA")
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


def test_sixteen_bits_with_alpha(tmp_path):
    pixels = paint((0, 0, 0, 65535), (0, 0, 0, 0), np.uint16)
    assert cv2.imwrite(str(tmp_path / "m.png"), pixels)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), TUMOUR)


BLACK_BLACK = [0] * 6  # the index alone says which is which


@pytest.mark.parametrize(
    ("suffix", "palette"),
    [
        *itertools.product(
            (".png", ".tif", ".gif", ".bmp"),
            (BLACK_WHITE, [0, 0, 0, 128, 0, 0], [0, 0, 0, 1, 1, 1], [255, 255, 255, 255, 0, 0]),
        ),
        *itertools.product((".png", ".tif"), [BLACK_BLACK]),  # in the other two Pillow writes one entry for both
    ],
)
def test_palette_index(tmp_path, suffix, palette):
    path = save_palette(tmp_path / f"m{suffix}", TUMOUR, palette)
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


def test_compressed_palette_tiff_keeps_its_index(tmp_path):
    path = save_palette(tmp_path / "m.tif", TUMOUR, BLACK_BLACK, compression="tiff_lzw")
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


def test_palette_whose_ground_is_transparent(tmp_path):
    path = save_palette(tmp_path / "m.png", TUMOUR, BLACK_BLACK, transparency=0)
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.dtype(">u2")])
def test_tiff_whose_zero_is_white(tmp_path, dtype):
    """Stored as 0 in the tumour and the largest value outside: shown, the tumour is white."""
    stored = ~TUMOUR if dtype is bool else np.where(TUMOUR, 0, np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(tmp_path / "m.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), TUMOUR)


@pytest.mark.parametrize(
    ("pixels", "marked"),
    [
        (np.zeros((2, 3), np.uint8), False),
        (np.zeros((2, 3, 3), np.uint8), False),
        (np.zeros((2, 3, 4), np.uint8), False),  # transparent black
        (np.full((2, 3, 4), (0, 0, 0, 255), np.uint8), False),  # opaque black
        (np.full((2, 3, 4), (255, 255, 255, 0), np.uint8), False),  # transparent white
        (np.full((2, 3), 255, np.uint8), True),
        (np.full((2, 3, 3), (0, 0, 1), np.uint8), True),
    ],
)
def test_masks_of_one_value(tmp_path, pixels, marked):
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", pixels)), np.full((2, 3), marked))


@pytest.mark.parametrize(
    ("pixels", "cause"),
    [
        (np.array([[0, 128, 255]], np.uint8), r"not a binary mask \(3 grey values: 0, 128, 255\)"),
        (np.arange(6, dtype=np.uint8)[None] * 9, r"not a binary mask \(6 grey values\)"),
        (np.arange(18, dtype=np.uint8)[None], r"not a binary mask \(18 grey values\)"),  # a map of the brain
        (np.array([[1, 2, 3]], np.uint8), r"not a binary mask \(3 grey values: 1, 2, 3\)"),  # without background
        (np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0]]], np.uint8), "3 different kinds of pixels"),
        (np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8), r"nothing says which .* \(255; \(255, 0, 0\)\)"),
        (np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8), "nothing says"),  # the channels contradict each other
        (np.array([[[0, 0, 0, 255], [255, 0, 0, 0]]], np.uint8), None),  # hidden colours: opaque black is drawn
        (np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [9, 9, 9, 255]]], np.uint8), "3 different kinds of pixels"),
        (np.array([[[0, 0, 0, 128], [0, 0, 0, 255]]], np.uint8), "nothing says"),
    ],
)
def test_what_cannot_be_known_is_refused(tmp_path, pixels, cause):
    path = save(tmp_path / "m.png", pixels)
    if cause is None:
        np.testing.assert_array_equal(read_mask(path), [[True, False]])
        return
    with pytest.raises(DataError, match=rf"m\.png: .*{cause}.*save masks as PNG with 0 for background"):
        read_mask(path)


def test_palette_that_contradicts_its_index_is_refused(tmp_path):
    path = save_palette(tmp_path / "m.png", TUMOUR, [255, 255, 255, 0, 0, 0])
    with pytest.raises(DataError, match=r"disagree on which of two classes is tumour .255 at palette index 0; 0 at"):
        read_mask(path)
    path = save_palette(tmp_path / "m.png", np.ones((2, 3)), [255, 255, 255, 0, 0, 0])
    with pytest.raises(DataError, match=r"disagree on whether all or nothing is tumour .0 at palette index 1"):
        read_mask(path)


@pytest.mark.parametrize(
    "palette",
    [[0, 0, 0, 99, 99, 99, 255, 255, 255], [0, 0, 9, 255, 0, 0, 0, 255, 0], [0, 0, 0, 0, 0, 0, 255, 0, 0]],
    ids=["a soft edge", "no black", "two blacks"],
)
def test_palette_classes_that_may_be_no_labels_are_refused(tmp_path, palette):
    path = save_palette(tmp_path / "m.png", np.array([[0, 1, 2]]), palette)
    with pytest.raises(DataError, match="not a binary mask"):
        read_mask(path)


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_lossy_masks_are_refused_even_where_they_survived(tmp_path, suffix, empty):
    mask = np.zeros((32, 40), np.uint8)
    if not empty:
        mask[8:16, 8:24] = 255  # whole blocks of 8 x 8, which JPEG keeps
    options = {"compression": "jpeg"} if suffix == ".tif" else {}
    with pytest.raises(DataError, match=r"a mask under lossy compression, which blurs the outline; save masks as PNG"):
        read_mask(save(tmp_path / f"m{suffix}", mask, "L", **options))


def test_lossless_webp_is_read(tmp_path):
    path = save(tmp_path / "m.webp", TUMOUR.astype(np.uint8) * 255, lossless=True)
    np.testing.assert_array_equal(read_mask(path), TUMOUR)


@settings(max_examples=60, deadline=None)
@given(
    mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    mode=st.sampled_from(["1", "L", "I;16", "P", "LA", "RGB", "RGBA"]),
    suffix=st.sampled_from(["png", "tiff"]),
)
def test_a_mask_comes_back_whatever_it_is_stored_as(tmp_path_factory, mask, mode, suffix):
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    deep = Image.fromarray(mask.astype(np.uint16) * np.uint16(65535))
    file = io.BytesIO()
    (deep if mode == "I;16" else grey.convert(mode)).save(file, suffix)
    path = tmp_path_factory.mktemp("loose") / f"hypothesis.{suffix}"
    path.write_bytes(file.getvalue())
    np.testing.assert_array_equal(read_mask(path), mask)


WIDE = [("float32", 1), ("float64", 255), ("int16", 1), ("uint32", 65535), ("int8", 1)]


@pytest.mark.parametrize(("dtype", "tumour"), WIDE)
def test_whole_numbers_of_a_wide_type_are_a_mask(tmp_path, dtype, tumour):
    tifffile.imwrite(tmp_path / "m.tif", np.array([[0, 0, 1], [1, 0, 0]], dtype) * np.array(tumour, dtype))
    assert read_mask(tmp_path / "m.tif").tolist() == [[False, False, True], [True, False, False]]


UNKNOWN = [([0.0, 0.5], "float32"), ([0.0, -1.0], "float32"), ([0.0, 70_000.0], "float32"), ([0, 70_000], "uint32")]


@pytest.mark.parametrize(("values", "dtype"), UNKNOWN)
def test_a_mask_whose_black_is_unknown_is_refused(tmp_path, values, dtype):
    tifffile.imwrite(tmp_path / "m.tif", np.array([values], dtype))
    with pytest.raises(DataError, match=r"m\.tif: a mask of values with a sign, a fraction or above 65,535"):
        read_mask(tmp_path / "m.tif")


LABELS = np.array([[0, 1, 3, 0], [2, 1, 3, 0], [0, 0, 0, 0]], np.uint8)


STORED = ["grey", "sixteen bits", "equal channels", "palette", "grey palette"]


def save_labels(path: Path, stored: str) -> Path:
    """The map of ``LABELS``, stored in one of several ways."""
    if stored == "palette":
        return save_palette(path, LABELS, [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    if stored == "grey palette":
        return save_palette(path, LABELS, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    grey = LABELS.astype(np.uint16) if stored == "sixteen bits" else LABELS
    return save(path, np.stack([grey] * 3, axis=2) if stored == "equal channels" else grey)


@pytest.mark.parametrize("stored", STORED)
def test_labels_of_a_map_are_united_however_it_is_stored(tmp_path, stored):
    mask, labels = read_united(save_labels(tmp_path / "m.png", stored))
    np.testing.assert_array_equal(mask, LABELS > 0)
    assert labels == (1, 2, 3)
    assert read_united(save(tmp_path / "n.png", (LABELS == 3) * np.uint8(3)))[1] == ()


@pytest.mark.parametrize("stored", STORED)
def test_one_label_of_a_map_is_chosen_however_it_is_stored(tmp_path, stored):
    path = save_labels(tmp_path / "m.png", stored)
    mask, others = read_label(path, 3)
    np.testing.assert_array_equal(mask, LABELS == 3)
    assert others == (1, 2)
    mask, others = read_label(path, 4)
    assert (mask.any(), others) == (False, (1, 2, 3))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (TUMOUR * np.uint8(255), "no label 1, but 255; correct --label, or omit it for masks of two classes"),
        (paint((255, 0, 0), (0, 0, 0)), "colours, of which none is label 1; save label maps as grey values"),
    ],
)
def test_a_mask_that_is_no_map_of_labels_has_none_to_choose(tmp_path, pixels, reason):
    with pytest.raises(DataError, match=reason):
        read_label(save(tmp_path / "m.png", pixels), 1)

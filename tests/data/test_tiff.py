"""TIFF files: strips, tiles, depths and photometric interpretations are read; pages and channels are never dropped."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tumortrace.data.pictures import read_picture
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError

GREY = (np.arange(33 * 50).reshape(33, 50) % 251).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 250 + 7
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: stored[::-1].T,
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: stored.T[::-1],
}
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **options})
    return path


@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), ("<", True), (">", False)])
@pytest.mark.parametrize("tile", [None, (16, 16), (32, 64)])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("pixels", [GREY, DEEP])
def test_grey_in_strips_and_tiles(tmp_path, pixels, compression, tile, byteorder, bigtiff):
    options = {"compression": compression, "tile": tile, "byteorder": byteorder, "bigtiff": bigtiff}
    samples = read_picture(write(tmp_path / "a.tif", pixels, **options))
    assert samples.colour.dtype == pixels.dtype
    np.testing.assert_array_equal(samples.colour, pixels)


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize(("scale", "planar"), [(1, "contig"), (1, "separate"), (250, "contig")])
def test_colour_keeps_all_its_bits(tmp_path, scale, planar, tile):
    pixels = COLOUR if scale == 1 else COLOUR.astype(np.uint16) * np.uint16(scale) + np.uint16(3)
    stored = pixels if planar == "contig" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    path = write(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, tile=tile)
    np.testing.assert_array_equal(read_picture(path).colour, pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd"])
@pytest.mark.parametrize("mode", ["L", "I;16", "P", "LA", "RGBA"])
def test_usual_compressions(tmp_path, mode, compression):
    image = Image.fromarray(DEEP) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    expected = DEEP if mode == "I;16" else GREY
    np.testing.assert_array_equal(read_slice(tmp_path / "a.tif").pixels, expected)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_zero_is_white(tmp_path, tile, compression, dtype, byteorder):
    """0, 10 and the largest value are stored; white, nearly white and black are meant."""
    top = np.iinfo(dtype).max
    options = {"tile": tile, "compression": compression, "byteorder": byteorder}
    path = write(tmp_path / "a.tif", np.array([[0, 10, top]], dtype), photometric="miniswhite", **options)
    np.testing.assert_array_equal(read_slice(path).pixels, [[top, top - 10, 0]])


def test_opacity_is_not_applied_twice(tmp_path):
    """Half-transparent 200 on black is 100; libtiff's own conversion would have made 50 of it."""
    pixels = np.full((2, 3, 4), (200, 200, 200, 128), np.uint8)
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_slice(path).pixels, np.full((2, 3), 100))


def test_sixteen_bits_with_opacity(tmp_path):
    pixels = np.full((2, 3, 4), (20000, 20000, 20000, 65535), np.uint16)
    pixels[0, 0, 3] = 0
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_slice(path).pixels, [[0, 20000, 20000], [20000] * 3])


def test_premultiplied_opacity_is_not_applied_twice(tmp_path):
    pixels = np.full((1, 1, 4), (100, 100, 100, 128), np.uint8)
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    assert abs(int(read_slice(path).pixels[0, 0]) - 100) <= 1


def test_grey_with_opacity(tmp_path):
    pixels = np.array([[[200, 255], [200, 0]]], np.uint8)
    path = write(tmp_path / "a.tif", pixels, planarconfig="contig", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_slice(path).pixels, [[200, 0]])


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("pages", [2, 3])
def test_several_pages_are_refused_with_their_number(tmp_path, pages, bigtiff):
    path = write(tmp_path / "a.tif", np.stack([GREY] * pages), bigtiff=bigtiff)
    with pytest.raises(DataError, match=rf"a\.tif: a TIFF with {pages} pages; save each as a picture of its own"):
        read_picture(path)


def test_a_stack_of_imagej_in_one_directory_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", GREY, description="ImageJ=1.54f\nimages=7\nslices=7\n", metadata=None)
    with pytest.raises(DataError, match="a TIFF with 7 pages"):
        read_picture(path)


def test_a_circle_of_directories_ends(tmp_path):
    path = write(tmp_path / "a.tif", GREY, metadata=None)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    link = first + 2 + 12 * entries
    data[link : link + 4] = data[4:8]  # the next directory is the first one
    path.write_bytes(data)
    np.testing.assert_array_equal(read_picture(path).colour, GREY)


@pytest.mark.parametrize(
    ("pixels", "options", "cause"),
    [
        (np.dstack([GREY] * 2), {"extrasamples": ["unspecified"]}, "2 channels, 1 of them neither colour nor opacity"),
        (np.dstack([GREY] * 4), {"photometric": "rgb", "extrasamples": ["unspecified"]}, "4 channels, 1 of them"),
        (np.dstack([GREY] * 5), {}, "5 channels, 4 of them"),
        (np.dstack([GREY] * 3), {}, "3 channels, 2 of them"),
        (
            COLOUR.astype(np.uint16).transpose(2, 0, 1),
            {"photometric": "rgb"},
            "16-bit channels in separate planes",
        ),
        (GREY, {"bigtiff": True, "byteorder": ">"}, "a BigTIFF with the highest byte first, which is not read"),
        (np.dstack([DEEP] * 2), {"extrasamples": ["unassalpha"]}, "of grey with opacity"),
        (np.dstack([DEEP] * 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, "premultiplied"),
        (np.dstack([DEEP] * 2), {"extrasamples": ["unspecified"]}, "2 channels, 1 of them"),
        (GREY.astype(np.int16), {"photometric": "miniswhite"}, "pixels of type int16, 1 a pixel, .* 0; store grey"),
        (COLOUR.astype(np.float32), {"photometric": "rgb"}, "pixels of type float32, 3 a pixel"),
        (GREY.astype(np.int64), {}, "pixels of type int64"),
        (GREY.astype(np.float16), {}, "pixels of type float16"),
        (np.where(GREY == 3, np.nan, GREY), {}, "holds NaN or infinity; replace them"),
        (np.where(GREY == 3, np.inf, GREY).astype(np.float32), {}, "holds NaN or infinity; replace them"),
    ],
)
def test_what_is_no_known_grey_or_colour_is_refused(tmp_path, pixels, options, cause):
    planar = None if pixels.ndim == 2 else "separate" if pixels.shape[0] == 3 else "contig"
    path = write(tmp_path / "a.tif", pixels, **{"planarconfig": planar, **options})
    with pytest.raises(DataError, match=rf"a\.tif: .*{cause}"):
        read_picture(path)


@pytest.mark.parametrize(("byteorder", "tile"), [("<", None), (">", None), ("<", (16, 16))])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "float32", "float64"])
def test_grey_values_with_sign_fraction_or_32_bits(tmp_path, dtype, compression, byteorder, tile):
    pixels = (GREY.astype(np.float64) * 119.25 - (0 if dtype == "uint32" else 9000)).astype(dtype)
    path = write(tmp_path / "a.tif", pixels, compression=compression, byteorder=byteorder, tile=tile)
    read = read_slice(path).pixels
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [GREY, DEEP, GREY.astype(np.float32) - 7.5])
def test_orientation(tmp_path, pixels, orientation):
    path = write(tmp_path / "a.tif", pixels, extratags=[(274, "H", 1, orientation, True)])
    samples = read_picture(path)
    np.testing.assert_array_equal(samples.colour, UPRIGHT[orientation](pixels))
    assert samples.turned == (orientation != 1)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "jpeg"])
def test_a_damaged_file_is_refused_or_read_and_nothing_is_printed(tmp_path, compression, capfd):
    path = tmp_path / "a.tif"
    Image.fromarray(GREY).save(path, compression=compression)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 4):
            data[at] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            read_picture(path)
        except DataError as error:
            refused += str(error).startswith(f"{path}: ")
    assert refused
    assert capfd.readouterr().err == ""


def test_missing_strips_are_not_filled_with_black(tmp_path):
    path = write(tmp_path / "a.tif", GREY, rowsperstrip=8, metadata=None)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little") + 2
    entry = next(at for at in range(first, len(data), 12) if data[at : at + 2] == (273).to_bytes(2, "little"))
    assert int.from_bytes(data[entry + 4 : entry + 8], "little") == 5
    data[entry + 4] = 4  # one place of a strip less
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be decoded \(some of its pixels are missing\)"):
        read_picture(path)


@pytest.mark.parametrize("scale", [1, 257])
def test_palettes_of_8_and_of_16_bits(tmp_path, scale):
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 1] = np.array([255, 0, 7]) * scale
    path = write(tmp_path / "a.tif", np.array([[0, 1]], np.uint8), photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read_picture(path).colour, [[[0, 0, 0], [255, 0, 7]]])


def test_twelve_bits(tmp_path):
    """0xABC and 0xDEF lie in three bytes."""
    path = write(tmp_path / "a.tif", np.array([[0xAB, 0xCD, 0xEF]], np.uint8), metadata=None)
    data = bytearray(path.read_bytes())
    for tag, value in {256: 2, 258: 12}.items():
        entry = data.index(struct.pack("<H", tag), 8)
        data[entry + 8 : entry + 10] = struct.pack("<H", value)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_picture(path).colour, [[0xABC, 0xDEF]])

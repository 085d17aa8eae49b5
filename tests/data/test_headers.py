"""Headers of BMP, GIF and WebP files: sizes, frames and orientations, by hand and as Pillow sees them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tumortrace.data import bmp, gif, webp
from tumortrace.data.pictures import read_picture
from tumortrace.data.samples import Header
from tumortrace.errors import DataError


def old_bmp(index: np.ndarray, palette: np.ndarray) -> bytes:
    """A BMP of OS/2: a header of 12 bytes, entries of three, four bits a pixel, rows from the bottom."""
    height, width = index.shape
    rows = np.zeros((height, (width * 4 + 31) // 32 * 8), np.uint8)
    rows[:, :width] = index[::-1]
    entries = palette[:, ::-1].astype(np.uint8).tobytes()
    start = 14 + 12 + len(entries)
    info = struct.pack("<IHHHH", 12, width, height, 1, 4)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + info + entries + (rows[:, ::2] << 4 | rows[:, 1::2]).tobytes()


def new_bmp(width: int, height: int) -> bytes:
    """The head of a BMP with a header of 40 bytes."""
    return b"BM" + bytes(12) + struct.pack("<Iii", 40, width, height) + bytes(28)


@pytest.mark.parametrize(("height", "shown"), [(3, 3), (-3, 3), (70_001, 70_001), (-70_001, 70_001)])
def test_a_bmp_whose_first_row_is_the_top_one_has_a_negative_height(height: int, shown: int):
    assert bmp.read_header(new_bmp(65_537, height)) == Header("a BMP", (65_537, shown))


def test_an_old_bmp(tmp_path):
    palette = np.arange(48).reshape(16, 3) * 5
    index = np.array([[0, 1, 2, 15, 9], [3, 4, 5, 6, 7], [8, 10, 11, 12, 13]])
    data = old_bmp(index, palette)
    assert bmp.read_header(data) == Header("a BMP", (5, 3))
    (tmp_path / "a.bmp").write_bytes(data)
    samples = read_picture(tmp_path / "a.bmp")
    np.testing.assert_array_equal(samples.index, index)
    np.testing.assert_array_equal(samples.colour, palette[index])
    np.testing.assert_array_equal(samples.colour, Image.open(tmp_path / "a.bmp").convert("RGB"))


def test_an_old_bmp_of_more_than_256_columns():
    assert bmp.read_header(b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 300, 513, 1, 8)).size_wh == (300, 513)


def encode_webp(size_wh: tuple[int, int], **settings: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "WEBP", **settings)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """An EXIF block with nothing but the orientation."""
    return b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 5), (5, 300), (513, 2)])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_size_of_a_webp(size_wh: tuple[int, int], *, lossless: bool):
    data = encode_webp(size_wh, lossless=lossless)
    assert webp.read_header(data) == Header("a WebP", size_wh)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_extended_header_of_a_webp_and_its_orientation(tmp_path, orientation: int, *, lossless: bool):
    data = encode_webp((300, 70), lossless=lossless, exif=exif(orientation))
    assert b"VP8X" in data
    header = webp.read_header(data)
    assert header == Header("a WebP", (300, 70), orientation=orientation)
    (tmp_path / "a.webp").write_bytes(data)
    samples = read_picture(tmp_path / "a.webp")
    assert samples.colour.shape[:2] == header.size_hw
    assert samples.lossy is not lossless


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks, each padded to an even length."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def test_the_canvas_of_a_webp_goes_before_the_size_of_its_picture():
    canvas = (b"VP8X", bytes(4) + (69_999).to_bytes(3, "little") + (4).to_bytes(3, "little"))
    still = (b"VP8L", b"\x2f" + (6 | 2 << 14).to_bytes(4, "little"))
    assert webp.read_header(riff(canvas, (b"ODD ", b"123"), still)) == Header("a WebP", (70_000, 5))
    assert webp.read_header(riff((b"ODD ", b"1"), still)) == Header("a WebP", (7, 3))
    assert webp.read_header(riff(canvas, (b"ANMF", b""), (b"ANMF", b""), (b"EXIF", exif(5)))) == Header(
        "a WebP", (70_000, 5), 2, orientation=5
    )


def test_a_webp_without_a_picture_states_no_size():
    with pytest.raises(DataError, match="states no size"):
        webp.read_header(riff((b"EXIF", exif(6))))


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"RIFF\0\0\0\0WEBP", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"RIFX\0\0\0\0WEBP", False),
    ],
)
def test_what_begins_as_a_webp(data: bytes, *, verdict: bool):
    assert webp.is_webp(data) is verdict


def screen(width: int, height: int, flags: int = 0) -> bytes:
    """The head of a GIF; of the flags, the lowest three bits are the size of a colour table that 0x80 announces."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0)


def frame(left: int, top: int, width: int, height: int) -> bytes:
    """One frame of a GIF, with one sub-block of two bytes."""
    return b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02\x02ab\x00"


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (screen(3, 300), Header("a GIF", (3, 300))),
        (screen(9, 8) + frame(0, 0, 9, 8) + b"\x3b", Header("a GIF", (9, 8), 1)),
        (screen(9, 8) + frame(4, 1, 300, 2) + frame(0, 5, 2, 600) + b"\x3b", Header("a GIF", (304, 605), 2)),
        (screen(9, 8, 0x80 | 1) + bytes(12) + frame(1, 2, 9, 8) + b"\x3b", Header("a GIF", (10, 10))),
        (screen(9, 8, 1) + frame(1, 2, 9, 8) + b"\x3b", Header("a GIF", (10, 10))),
        (screen(9, 8) + b"\x21\xf9\x04abcd\x00" + frame(0, 0, 10, 8) + b"\x3b", Header("a GIF", (10, 8))),
        (screen(9, 8) + b"\x00" + frame(0, 0, 10, 9), Header("a GIF", (9, 8))),
    ],
)
def test_the_header_of_a_gif_by_hand(data: bytes, header: Header):
    assert gif.read_header(data) == header


@pytest.mark.parametrize("length", [0, 6, 12])
def test_a_gif_that_ends_within_its_header(length: int):
    with pytest.raises(DataError, match="cut off"):
        gif.read_header(screen(3, 4)[:length])

"""Headers of each format: sizes, frames and orientations, by hand and as other libraries see them."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tumortrace.data import bmp, gif, jpeg, png, webp
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


@pytest.mark.parametrize("palette", [np.arange(48).reshape(16, 3) * 5, np.arange(16)[:, None].repeat(3, axis=1)])
def test_an_old_bmp(tmp_path, palette: np.ndarray):
    """Pillow alone does not read the second palette, all greys in order."""
    index = np.array([[0, 1, 2, 15, 9], [3, 4, 5, 6, 7], [8, 10, 11, 12, 13]])
    data = old_bmp(index, palette)
    assert bmp.read_header(data) == Header("a BMP", (5, 3))
    (tmp_path / "a.bmp").write_bytes(data)
    samples = read_picture(tmp_path / "a.bmp")
    np.testing.assert_array_equal(samples.index, index)
    np.testing.assert_array_equal(samples.colour, palette[index])
    np.testing.assert_array_equal(samples.colour[:, :, ::-1], cv2.imread(str(tmp_path / "a.bmp"), cv2.IMREAD_COLOR))


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
    assert samples.lossy is (not lossless)


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
    with pytest.raises(DataError, match=r"^it states no size$"):
        webp.read_header(riff((b"EXIF", exif(6))))


@pytest.mark.parametrize("missing", [1, 300])
def test_a_webp_that_is_cut_off(tmp_path, missing: int):
    data = encode_webp((40, 40), lossless=True)
    assert len(data) > 2000
    (tmp_path / "a.webp").write_bytes(data[:-missing])
    with pytest.raises(DataError, match=r"a\.webp: the picture is truncated \(\d+ bytes\); copy it again"):
        read_picture(tmp_path / "a.webp")


def test_a_chunk_at_the_last_byte_of_a_webp_counts():
    canvas = (b"VP8X", bytes(4) + b"\4\0\0" + b"\6\0\0")
    assert webp.read_header(riff(canvas, (b"ANMF", b"123"), (b"ANMF", b""))) == Header("a WebP", (5, 7), 2)


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
        (screen(9, 8) + frame(1, 2, 9, 8)[:10], Header("a GIF", (9, 8))),  # the frame is cut off
        (screen(9, 8) + frame(1, 2, 9, 8)[:11], Header("a GIF", (10, 10))),
        (screen(9, 8) + frame(1, 2, 9, 8)[:13] + frame(300, 2, 9, 8), Header("a GIF", (10, 10))),
        (screen(9, 8) + frame(0, 0, 1, 1) * 10_000 + frame(0, 0, 99, 1), Header("a GIF", (9, 8), 10_000)),
    ],
)
def test_the_header_of_a_gif_by_hand(data: bytes, header: Header):
    assert gif.read_header(data) == header


@pytest.mark.parametrize("length", [0, 6, 12])
def test_a_gif_that_ends_within_its_header(length: int):
    with pytest.raises(DataError, match=r"^its header is cut off$"):
        gif.read_header(screen(3, 4)[:length])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_head(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


IEND = chunk(b"IEND", b"")
TWO_FRAMES = chunk(b"acTL", struct.pack(">II", 2, 7))


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (png_head(0x01020304, 0x05060708), Header("an animated PNG", (0x01020304, 0x05060708))),
        (
            png_head(5, 3) + TWO_FRAMES + chunk(b"eXIf", exif(6)) + IEND,
            Header("an animated PNG", (5, 3), 2, orientation=6),
        ),
        (
            png_head(5, 3) + chunk(b"tEXt", b"odd") + chunk(b"eXIf", exif(5)[6:]),
            Header("an animated PNG", (5, 3), 1, "frames", 5),
        ),
        (png_head(5, 3) + IEND + TWO_FRAMES + chunk(b"eXIf", exif(6)), Header("an animated PNG", (5, 3))),
    ],
)
def test_the_header_of_a_png_by_hand(data: bytes, header: Header):
    assert png.read_header(data) == header


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (png_head(5, 3)[:32], "its header is missing"),
        (b"\x89PNG\r\n\x1a\n" + TWO_FRAMES + png_head(5, 3)[8:], "its header is missing"),
        (png_head(5, 3)[:23] + b"\4" + png_head(5, 3)[24:], "a checksum in it is wrong"),
        (png_head(5, 3)[:32] + b"\0", "a checksum in it is wrong"),
    ],
)
def test_the_header_of_a_png_that_is_damaged(data: bytes, cause: str):
    with pytest.raises(DataError, match=f"^{cause}$"):
        png.read_header(data)


def test_a_png_has_200_000_chunks_and_no_more():
    others = chunk(b"teSt", b"") * 199_998  # the header is one, and the end is looked at
    assert png.read_header(png_head(5, 3) + others + IEND).size_wh == (5, 3)
    with pytest.raises(DataError, match=r"^it has more than 200,000 chunks$"):
        png.read_header(png_head(5, 3) + others + chunk(b"teSt", b"") + IEND)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def mpf(order: str, tag: int, pictures: int) -> bytes:
    """The list of a multi-picture file with one tag, which is the number of pictures if it is 0xB001."""
    head = b"MPF\0" + {"<": b"II*\0", ">": b"MM\0*"}[order]
    return segment(0xE2, head + struct.pack(f"{order}IHHHIII", 8, 1, tag, 4, 1, pictures, 0))


SOI, SIZE = b"\xff\xd8", segment(0xC0, struct.pack(">BHHB", 8, 513, 770, 1) + b"\1\x11\0")
XMP = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.mark.parametrize(
    ("before", "frames", "orientation"),
    [
        (b"", 1, 1),
        (b"\xff", 1, 1),  # fill
        (b"\xff" * 4, 1, 1),
        (b"\xff\x01", 1, 1),  # markers without a length
        (b"\xff\xd0\xff\xd7\xff\x01", 1, 1),
        (segment(0xFE, b""), 1, 1),
        (b"\xff\xfe\0\0", 1, 1),  # a length of less than its own two bytes
        (b"\xff\xfe\0\1", 1, 1),
        (segment(0xFE, bytes(300)), 1, 1),
        (segment(0xC4, bytes(9)) + segment(0xC8, bytes(9)) + segment(0xCC, bytes(9)), 1, 1),  # these state no size
        (segment(0xE1, exif(6)), 1, 6),
        (segment(0xE1, XMP) + segment(0xE1, exif(7)) + segment(0xE1, exif(3)), 1, 7),
        (segment(0xE2, exif(6)), 1, 1),
        (mpf("<", 0xB001, 3), 3, 1),
        (mpf(">", 0xB001, 3) + segment(0xE1, exif(8)), 3, 8),
        (mpf(">", 0xB000, 3), 1, 1),
        (mpf("<", 0xB001, 0), 1, 1),
        (segment(0xE2, b"MPF\0II*\0") + mpf("<", 0xB001, 2), 2, 1),  # the first is damaged
        (mpf("<", 0xB001, 2) + segment(0xE1, XMP + b'<x hdrgm:Version="1.0"/>'), 1, 1),
        (mpf("<", 0xB001, 2) + segment(0xE1, XMP + b'<x hdrgm:version="1.0"/>'), 2, 1),
    ],
)
def test_the_header_of_a_jpeg_by_hand(before: bytes, frames: int, orientation: int):
    assert jpeg.read_header(SOI + before + SIZE) == Header("a JPEG", (770, 513), frames, "pictures", orientation)


@pytest.mark.parametrize("data", [SOI, SOI + b"\xff\xc0\0", SOI + b"\0" + SIZE, SOI + segment(0xDA, b"") + SIZE])
def test_a_jpeg_that_states_no_size(data: bytes):
    with pytest.raises(DataError, match=r"^it states no size$"):
        jpeg.read_header(data)


def test_a_jpeg_that_ends_where_its_size_should_stand_has_no_pixels():
    assert jpeg.read_header(SOI + b"\xff\xc2\0\x0b").size_wh == (0, 0)

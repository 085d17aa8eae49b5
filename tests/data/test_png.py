"""PNG files of every type give what they store, and nothing behind or beside the picture matters."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tumortrace.data.pictures import read_picture
from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path: Path, header: tuple[int, int, int, int], rows: bytes, *more: bytes) -> Path:
    """A PNG by hand: width, height, bits, colour type; rows, each with its filter first; chunks before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + pixels + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    ("bits", "row", "key", "alpha"),
    [
        (1, b"\x50", 1, [255, 0, 255, 0]),  # 0 1 0 1
        (2, b"\x1b", 1, [255, 0, 255, 255]),  # 0 1 2 3
        (4, b"\x0f\x70", 7, [255, 255, 0, 255]),  # 0 15 7 0
        (8, b"\x00\xff\x07\x00", 255, [255, 0, 255, 255]),
    ],
)
def test_transparent_grey_value_of_any_depth(tmp_path, bits, row, key, alpha):
    path = write_png(tmp_path / "a.png", (4, 1, bits, GREY), b"\0" + row, chunk(b"tRNS", struct.pack(">H", key)))
    np.testing.assert_array_equal(read_picture(path).alpha, [alpha])


def test_transparent_grey_ground_is_laid_on_black(tmp_path):
    path = write_png(tmp_path / "a.png", (3, 1, 8, GREY), b"\0\xff\x28\xff", chunk(b"tRNS", b"\x00\xff"))
    np.testing.assert_array_equal(read_slice(path).pixels, [[0, 40, 0]])


def test_transparent_colour_of_sixteen_bits(tmp_path):
    rows = b"\0" + struct.pack(">6H", 65535, 65535, 65535, 300, 300, 300)
    path = write_png(tmp_path / "a.png", (2, 1, 16, COLOUR), rows, chunk(b"tRNS", b"\xff" * 6))
    samples = read_picture(path)
    np.testing.assert_array_equal(samples.colour[0], [[65535] * 3, [300] * 3])
    np.testing.assert_array_equal(samples.alpha, [[0, 65535]])


def test_sixteen_bits_of_grey_with_alpha(tmp_path):
    path = write_png(tmp_path / "a.png", (2, 1, 16, GREY_ALPHA), b"\0" + struct.pack(">4H", 40000, 65535, 700, 0))
    samples = read_picture(path)
    np.testing.assert_array_equal(samples.colour, [[40000, 700]])
    np.testing.assert_array_equal(samples.alpha, [[65535, 0]])


@pytest.mark.parametrize("tail", [bytes(9000), b"IEND", b"more of the disk" * 1000])
def test_bytes_behind_the_end_are_ignored(tmp_path, tail):
    path = write_png(tmp_path / "a.png", (3, 1, 8, GREY), b"\0\x01\x02\x03")
    path.write_bytes(path.read_bytes() + tail)
    np.testing.assert_array_equal(read_picture(path).colour, [[1, 2, 3]])


@pytest.mark.parametrize("tail", [b"", b"IEND", bytes(5000)])
def test_a_png_without_its_end_is_truncated(tmp_path, tail):
    path = write_png(tmp_path / "a.png", (3, 1, 8, GREY), b"\0\x01\x02\x03")
    path.write_bytes(path.read_bytes()[:-12] + tail)
    with pytest.raises(DataError, match=r"a\.png: the picture is truncated"):
        read_picture(path)


def test_rows_that_are_not_there_are_not_made_up(tmp_path):
    path = write_png(tmp_path / "a.png", (3, 2, 8, GREY), b"\0\x01\x02\x03")
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded \(its pixels are damaged\)"):
        read_picture(path)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_wrong_checksum_within_the_pixels_is_damage_and_nothing_is_printed(tmp_path, capfd, bits):
    path = write_png(tmp_path / "a.png", (1, 1, bits, COLOUR), b"\0" + bytes(3 * bits // 8))
    data = path.read_bytes()
    stream = zlib.compress(b"\0" + bytes(3 * bits // 8))
    wrong = stream[:-1] + bytes([stream[-1] ^ 1])
    path.write_bytes(data.replace(chunk(b"IDAT", stream), chunk(b"IDAT", wrong)))
    with pytest.raises(DataError, match=r"cannot be decoded \(.*incorrect data check"):
        read_picture(path)
    assert capfd.readouterr().err == ""


def test_a_palette_that_is_not_there(tmp_path):
    path = write_png(tmp_path / "a.png", (3, 1, 8, PALETTE), b"\0\x00\x01\x00")
    with pytest.raises(DataError, match=r"cannot be decoded \(it lacks its palette\)"):
        read_picture(path)


def test_a_damaged_key_is_damage_and_a_damaged_comment_is_not(tmp_path):
    wrong = bytearray(chunk(b"tRNS", b"\x00\xff"))
    wrong[-1] ^= 1
    path = write_png(tmp_path / "a.png", (1, 1, 8, GREY), b"\0\xff", bytes(wrong))
    with pytest.raises(DataError, match=r"the PNG is damaged \(a checksum in it is wrong\)"):
        read_picture(path)
    wrong = bytearray(chunk(b"tEXt", b"Comment\0none"))
    wrong[-1] ^= 1
    path = write_png(tmp_path / "b.png", (1, 1, 8, GREY), b"\0\xff", bytes(wrong))
    np.testing.assert_array_equal(read_picture(path).colour, [[255]])


def test_a_compressed_comment_is_not_unpacked(tmp_path):
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 1))
    path = write_png(tmp_path / "a.png", (1, 1, 8, GREY), b"\0\x09", bomb)
    np.testing.assert_array_equal(read_picture(path).colour, [[9]])


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_an_animation_is_refused_with_its_frames(tmp_path, frames):
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    path = write_png(tmp_path / "a.png", (1, 1, 8, GREY), b"\0\x09", control)
    if frames == 1:
        np.testing.assert_array_equal(read_picture(path).colour, [[9]])
        return
    with pytest.raises(DataError, match=rf"a\.png: an animated PNG with {frames} frames; save each as a picture"):
        read_picture(path)


def test_an_animation_as_pillow_writes_it(tmp_path):
    first, second = (Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (1, 2))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="an animated PNG with 2 frames"):
        read_picture(tmp_path / "a.png")


@settings(max_examples=60, deadline=None)
@given(
    size_hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    mode=st.sampled_from(["1", "L", "P", "RGB", "I;16", "RGBA"]),
    seed=st.integers(0, 99),
)
def test_pixels_are_those_of_opencv(tmp_path_factory, size_hw, mode, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, size_hw).astype(np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    image.save(file, "png")
    path = tmp_path_factory.mktemp("loose") / "hypothesis.png"
    path.write_bytes(file.getvalue())
    expected = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    assert expected is not None
    colour = read_picture(path).colour
    np.testing.assert_array_equal(colour, expected if colour.ndim == 2 else expected[:, :, ::-1])


def test_a_transparent_colour_matches_in_every_channel(tmp_path):
    rows = b"\0" + bytes([1, 2, 3, 1, 1, 1, 1, 2, 4])
    path = write_png(tmp_path / "a.png", (3, 1, 8, COLOUR), rows, chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    np.testing.assert_array_equal(read_picture(path).alpha, [[0, 255, 255]])


def test_opacity_of_a_palette(tmp_path):
    more = chunk(b"PLTE", bytes([9, 8, 7, 200, 0, 90, 1, 2, 3])), chunk(b"tRNS", bytes([0, 70]))
    samples = read_picture(write_png(tmp_path / "a.png", (3, 1, 8, PALETTE), b"\0\x02\x01\x00", *more))
    np.testing.assert_array_equal(samples.index, [[2, 1, 0]])
    np.testing.assert_array_equal(samples.colour, [[[1, 2, 3], [200, 0, 90], [9, 8, 7]]])
    np.testing.assert_array_equal(samples.alpha, [[255, 70, 0]])


def test_sixteen_bits_of_colour_with_alpha(tmp_path):
    rows = b"\0" + struct.pack(">8H", 1, 300, 65535, 4, 5, 6, 7, 60000)
    samples = read_picture(write_png(tmp_path / "a.png", (2, 1, 16, COLOUR_ALPHA), rows))
    np.testing.assert_array_equal(samples.colour, [[[1, 300, 65535], [5, 6, 7]]])
    np.testing.assert_array_equal(samples.alpha, [[4, 60000]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_png(tmp_path, orientation):
    tag = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    path = write_png(tmp_path / "a.png", (3, 2, 8, GREY), b"\0\x01\x02\x03\0\x04\x05\x06", chunk(b"eXIf", tag))
    samples = read_picture(path)
    np.testing.assert_array_equal(samples.colour, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert samples.turned == (orientation != 1)


SMALL = struct.pack(">IIBBBBB", 3, 2, 8, GREY, 0, 0, 1)


def write_interlaced(path: Path, stream: bytes, head: bytes = SMALL) -> Path:
    """A PNG of 3 x 2 pixels whose passes are (0, 0); (2, 0); (1, 0); and the second row; four have no pixel."""
    pixels = chunk(b"IDAT", zlib.compress(stream))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b""))
    return path


def test_an_interlaced_picture_is_whole_with_its_last_byte(tmp_path):
    stream = bytes([0, 10, 0, 30, 0, 20, 0, 40, 50, 60])
    path = write_interlaced(tmp_path / "a.png", stream)
    np.testing.assert_array_equal(read_picture(path).colour, [[10, 20, 30], [40, 50, 60]])
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), [[10, 20, 30], [40, 50, 60]])
    with pytest.raises(DataError, match=r"\(its pixels are damaged\)"):
        read_picture(write_interlaced(tmp_path / "b.png", stream[:-1]))


@pytest.mark.parametrize("row", range(4))
def test_a_wrong_filter_in_any_pass_is_damage_and_nothing_is_printed(tmp_path, capfd, row):
    """The same four rows in 16 bits of colour, 6 bytes a pixel, of which OpenCV's libpng would complain."""
    rows = [b"\0" + bytes(6 * width) for width in (1, 1, 1, 3)]
    head = struct.pack(">IIBBBBB", 3, 2, 16, COLOUR, 0, 0, 1)
    whole = write_interlaced(tmp_path / "a.png", b"".join(rows), head)
    np.testing.assert_array_equal(read_picture(whole).colour, np.zeros((2, 3, 3)))
    rows[row] = b"\5" + rows[row][1:]
    with pytest.raises(DataError, match=r"b\.png: cannot be decoded \(its pixels are damaged\)"):
        read_picture(write_interlaced(tmp_path / "b.png", b"".join(rows), head))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ((3, 2, 8, GREY), b"\0\x01\x02\x03\x05\x04\x05\x06"),  # there are five filters, 0 to 4
        ((3, 1, 8, GREY), b""),
        ((1, 1, 16, COLOUR), b"\0" + bytes(7)),  # a byte too many, of which OpenCV's libpng would complain
        ((1, 2, 16, COLOUR), b"\0" + bytes(6) + b"\5" + bytes(6)),
    ],
)
def test_pixels_that_are_damaged(tmp_path, capfd, header, rows):
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded \(its pixels are damaged\)"):
        read_picture(write_png(tmp_path / "a.png", header, rows))
    assert capfd.readouterr().err == ""


def test_filters_up_to_the_last_and_bytes_behind_the_pixels(tmp_path):
    """The second row is filtered by Paeth's predictor, which takes the pixel above where it is nearest."""
    path = write_png(tmp_path / "a.png", (3, 2, 8, GREY), b"\0\x01\x02\x03\x04\x04\x05\x06" + b"\x63\x63")
    np.testing.assert_array_equal(read_picture(path).colour, [[1, 2, 3], [5, 10, 16]])


def test_pixels_in_several_chunks(tmp_path):
    path = write_png(tmp_path / "a.png", (3, 1, 8, GREY), b"\0\x01\x02\x03")
    stream = zlib.compress(b"\0\x01\x02\x03")
    parts = chunk(b"IDAT", stream[:4]) + chunk(b"IDAT", b"") + chunk(b"IDAT", stream[4:])
    path.write_bytes(path.read_bytes().replace(chunk(b"IDAT", stream), parts))
    np.testing.assert_array_equal(read_picture(path).colour, [[1, 2, 3]])


@pytest.mark.parametrize(("kind", "is_read"), [(b"ABCD", False), (b"AbCD", False), (b"aBCD", True)])
def test_damage_in_an_unknown_chunk_counts_if_no_decoder_may_pass_over_it(tmp_path, kind, is_read):
    wrong = chunk(kind, b"content")[:-1] + b"?"
    path = write_png(tmp_path / "a.png", (1, 1, 8, GREY), b"\0\x09", wrong)
    if is_read:
        np.testing.assert_array_equal(read_picture(path).colour, [[9]])
        return
    with pytest.raises(DataError, match=r"a\.png: the PNG is damaged \(a checksum in it is wrong\)"):
        read_picture(path)


def test_pixels_beyond_the_picture_are_not_unpacked(tmp_path):
    path = write_png(tmp_path / "a.png", (1, 1, 8, GREY), b"\0\x09" + bytes(20_000_000))
    tracemalloc.start()
    colour = read_picture(path).colour
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(colour, [[9]])
    assert peak < 5_000_000

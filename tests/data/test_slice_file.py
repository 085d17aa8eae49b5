"""Pictures of every kind come in as upright grey pixels; broken files are named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumortrace.data.slice_file import read_slice
from tumortrace.errors import DataError

GREY = np.array([[0, 10, 20, 30, 40], [50, 60, 70, 80, 90], [100, 150, 200, 250, 255]], dtype=np.uint8)
EXIF_ORIENTATION = 0x0112


def save(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_grey_of_8_bits_is_kept(tmp_path, suffix):
    image = read_slice(save(tmp_path / f"a{suffix}", GREY))
    assert image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.size_hw == (3, 5)
    assert image.case_id == f"a{suffix}"
    assert image.spacing_mm is None
    assert not image.turned


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_grey_of_16_bits_is_kept(tmp_path, suffix):
    deep = GREY.astype(np.uint16) * 257 - 3 * (GREY > 0)
    image = read_slice(save(tmp_path / f"a{suffix}", deep.astype(np.uint16)))
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, deep)


def test_colour_becomes_luma(tmp_path):
    blue_green_red = np.zeros((2, 3, 3), np.uint8)
    blue_green_red[0, 0] = (0, 0, 255)
    blue_green_red[0, 1] = (0, 255, 0)
    blue_green_red[0, 2] = (255, 0, 0)
    image = read_slice(save(tmp_path / "a.png", blue_green_red))
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B of 255
    np.testing.assert_array_equal(image.pixels, [[76, 150, 29], [0, 0, 0]])


def test_colour_of_16_bits_becomes_16_bit_luma(tmp_path):
    pixels = np.full((2, 3, 3), 40000, np.uint16)
    np.testing.assert_array_equal(
        read_slice(save(tmp_path / "a.png", pixels)).pixels, np.full((2, 3), 40000, np.uint16)
    )


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_transparent_pixels_lie_on_black(tmp_path, suffix):
    pixels = np.full((2, 3, 4), 200, np.uint8)
    pixels[:, :, 3] = [[255, 0, 51], [255, 255, 255]]
    image = read_slice(save(tmp_path / f"a{suffix}", pixels))
    np.testing.assert_array_equal(image.pixels, [[200, 0, 40], [200, 200, 200]])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_picture_that_is_transparent_all_over_is_shown(tmp_path, suffix):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0, :, :3] = 200
    np.testing.assert_array_equal(read_slice(save(tmp_path / f"a{suffix}", pixels)).pixels, [[200] * 3, [0] * 3])


def test_spacing_that_the_caller_knows(tmp_path):
    path = save(tmp_path / "a.png", GREY)
    assert read_slice(path, spacing_mm=(0.5, 0.75)).spacing_mm == (0.5, 0.75)
    with pytest.raises(DataError, match=r"a\.png: spacing_mm \(0\.5, 0\.0\); give two positive numbers"):
        read_slice(path, spacing_mm=(0.5, 0.0))


def test_jpeg_is_turned_upright_by_its_exif_tag(tmp_path):
    stored = np.zeros((16, 32), np.uint8)
    stored[:8, :8] = 255  # top left as stored
    ok, encoded = cv2.imencode(".jpg", stored)
    assert ok
    # Orientation 6: turn clockwise to display; top left goes to top right.
    entry = struct.pack(">HHIHH", EXIF_ORIENTATION, 3, 1, 6, 0)
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path = tmp_path / "turned.jpg"
    path.write_bytes(encoded.tobytes()[:2] + segment + encoded.tobytes()[2:])
    image = read_slice(path)
    pixels = image.pixels
    assert image.turned
    assert pixels.shape == (32, 16)
    assert pixels[:8, 8:].mean() > 250
    assert pixels[:8, :8].mean() < 5
    assert pixels[8:].mean() < 5


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone.png: cannot be read \(No such file or directory\)"):
        read_slice(tmp_path / "gone.png")


def test_a_dead_link_is_called_so(tmp_path):
    (tmp_path / "dead.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"dead.png: cannot be read \(a link to a file that does not exist\)"):
        read_slice(tmp_path / "dead.png")


def test_empty_file(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    with pytest.raises(DataError, match=r"a.png: the file is empty"):
        read_slice(path)


def test_file_that_is_no_picture(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"a.jpg: not a picture that can be decoded"):
        read_slice(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.png", bytes(128) + b"DICM" + bytes(60)), ("IM0001", bytes(128) + b"DICM"), ("old.DCM", b"\x08\x00" * 90)],
)
def test_dicom_is_told_as_dicom_by_its_mark_or_its_name(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: (no pixels|not DICOM)"):
        read_slice(path)


def test_a_picture_is_read_whatever_it_is_called(tmp_path):
    save(tmp_path / "a.png", GREY).rename(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_slice(tmp_path / "a.dcm").pixels, GREY)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_picture_is_refused_not_half_read(tmp_path, suffix, kept):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48)).astype(np.uint8)
    path = save(tmp_path / f"a{suffix}", pixels)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match="the picture is truncated"):
        read_slice(path)


def test_truncated_jpeg_with_a_whole_thumbnail_is_refused(tmp_path):
    ok, encoded = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 48)).astype(np.uint8))
    assert ok
    data = encoded.tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data  # a whole JPEG inside, with its own end marker
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + segment + data[2 : len(data) * 2 // 3])
    with pytest.raises(DataError, match="the picture is truncated"):
        read_slice(path)


def test_jpeg_with_bytes_after_its_end_is_read(tmp_path):
    path = save(tmp_path / "a.jpg", GREY)
    path.write_bytes(path.read_bytes() + b"\x00" * 100)
    assert read_slice(path).size_hw == (3, 5)


def test_floating_point_tiff_keeps_its_values(tmp_path):
    path = save(tmp_path / "a.tiff", GREY.astype(np.float32) / 8)
    assert np.array_equal(read_slice(path).pixels, GREY.astype(np.float32) / 8)


def test_tiff_of_several_pages_is_refused(tmp_path):
    path = tmp_path / "stack.tiff"
    assert cv2.imwritemulti(str(path), [GREY, GREY])
    with pytest.raises(DataError, match=r"stack.tiff: a TIFF with 2 pages"):
        read_slice(path)


def test_every_real_picture_passes_the_truncation_check(br35h):
    paths = sorted(br35h.rglob("*.jpg"))[::5]
    assert len(paths) > 100
    for path in paths:
        read_slice(path)


@pytest.mark.parametrize("place", [8 + 8, 33 + 8 + 20, -17, -13])  # IHDR, pixels, last of IDAT and its checksum
def test_a_damaged_png_is_told_in_one_line(tmp_path: Path, place: int, capfd: pytest.CaptureFixture[str]):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48)).astype(np.uint8)
    path = save(tmp_path / "a.png", pixels)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: .*\(a checksum in it is wrong\)"):
        read_slice(path)
    assert capfd.readouterr().err == ""


def test_a_png_with_a_damaged_comment_is_read(tmp_path: Path):
    data = save(tmp_path / "a.png", GREY).read_bytes()
    comment = struct.pack(">I", 5) + b"tEXt" + b"a\0bcd" + b"\0\0\0\0"
    (tmp_path / "a.png").write_bytes(data[:33] + comment + data[33:])
    np.testing.assert_array_equal(read_slice(tmp_path / "a.png").pixels, GREY)


def test_transparent_png_is_turned_upright_too(tmp_path: Path):
    stored = np.full((2, 3, 4), 255, np.uint8)
    stored[:, :, :3] = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)[:, :, None]
    stored[0, 0, 3] = 0
    ok, encoded = cv2.imencode(".png", stored)
    assert ok
    # Orientation 6, in an eXIf chunk behind the header chunk (8 bytes of signature, 25 of IHDR).
    exif = b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHH", EXIF_ORIENTATION, 3, 1, 6, 0) + b"\x00" * 4
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    data = encoded.tobytes()
    path = tmp_path / "turned.png"
    path.write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_array_equal(read_slice(path).pixels, [[40, 0], [50, 20], [60, 30]])


def test_a_broken_picture_puts_nothing_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = save(tmp_path / "a.tiff", np.random.default_rng(0).integers(0, 256, (64, 48)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a.tiff: cannot be decoded .its list of tags is cut off or damaged."):
        read_slice(path)
    assert capfd.readouterr().err == ""

"""JPEG files give the pixels that OpenCV gives, and damage inside them is found."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from tests.conftest import real_data

from tumortrace.data import jpeg
from tumortrace.data.pictures import read_picture
from tumortrace.errors import DataError


def draw_grey(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture on a black ground, as a head lies in its frame."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (height, width)).astype(np.float32), (0, 0), 2)
    inside = np.hypot(*np.meshgrid(np.linspace(-1.3, 1.3, height), np.linspace(-1.3, 1.3, width), indexing="ij")) < 1
    return np.where(inside, np.clip((noise - 100) * 3, 0, 255), 0).astype(np.uint8)


def encode(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", **options)
    return file.getvalue()


def decode_by_opencv(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None
    return image if image.ndim == 2 else image[:, :, ::-1]


def find_pixels(data: bytes) -> tuple[int, int]:
    """Where the compressed pixels of the only scan begin and end."""
    scan = data.rfind(b"\xff\xda")
    return scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big"), data.rfind(b"\xff\xd9")


def count_found(path: Path, damage: str, number: int = 60) -> int:
    rng = np.random.default_rng(7)
    found = 0
    for seed in range(number):
        data = bytearray(encode(draw_grey(240, 200, seed), quality=80))
        start, stop = find_pixels(bytes(data))
        at = int(rng.integers(start, stop - 313))
        if damage == "random":
            data[at : at + 97] = rng.integers(0, 255, 97).astype(np.uint8).tobytes()
        elif damage == "zeros":
            data[at : at + 313] = bytes(313)
        else:
            del data[at : at + 100]
        path.write_bytes(data)
        try:
            read_picture(path)
        except DataError:
            found += 1
    return found


@settings(max_examples=80, deadline=None)
@given(
    size_hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    colour=st.booleans(),
    flat=st.booleans(),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    optimize=st.booleans(),
    restart=st.integers(0, 5),
)
def test_whole_files_of_every_make_are_read_as_opencv_reads_them(  # noqa: PLR0913, PLR0917 - one argument a setting
    tmp_path_factory, size_hw, colour, flat, quality, subsampling, progressive, optimize, restart
):
    rng = np.random.default_rng(quality)
    shape = (*size_hw, 3) if colour else size_hw
    pixels = np.full(shape, quality, np.uint8) if flat else rng.integers(0, 256, shape).astype(np.uint8)
    options = {"quality": quality, "progressive": progressive, "optimize": optimize, "restart_marker_blocks": restart}
    data = encode(pixels, subsampling=subsampling, **options)
    path = tmp_path_factory.mktemp("loose") / "hypothesis.jpg"
    path.write_bytes(data)
    samples = read_picture(path)
    np.testing.assert_array_equal(samples.colour, decode_by_opencv(data))
    assert samples.lossy


@pytest.mark.parametrize(("damage", "at_least"), [("zeros", 60), ("removed", 60), ("random", 45)])
def test_damage_inside_is_found(tmp_path, capfd, damage, at_least):
    """The rest of the files with random bytes decode to a valid picture of the right size: nothing tells them."""
    assert count_found(tmp_path / "a.jpg", damage) >= at_least
    assert capfd.readouterr().err == ""


def test_the_message_names_the_file_and_what_libjpeg_says(tmp_path):
    data = bytearray(encode(draw_grey(240, 200)))
    start, stop = find_pixels(bytes(data))
    del data[(start + stop) // 2 : (start + stop) // 2 + 40]
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.jpg: the JPEG is damaged inside \(.+\); copy it again from its source"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("comment", [b"", b"\xff\xd9"])
def test_a_picture_that_ends_before_its_data_do_is_damaged(tmp_path, comment):
    """libjpeg reads ahead and passes over eight bytes that no pixel needs."""
    data = encode(draw_grey(64, 48), comment=comment)
    (tmp_path / "a.jpg").write_bytes(data[:-2] + b"\x2a" + data[-2:])
    with pytest.raises(DataError, match=r"\(the picture ends before its data do\)"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "tail",
    [
        b"\x00" * 9000,
        b"junk",
        b"\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x08 another \xff\xd9",
        b"a film \xff\xda",
        b"\xff\xda" * 101,
    ],
)
def test_bytes_behind_the_end_are_ignored(tmp_path, tail):
    data = encode(draw_grey(64, 48))
    (tmp_path / "a.jpg").write_bytes(data + tail)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").colour, decode_by_opencv(data))


@pytest.mark.parametrize("padding", [b"\xff", b"\xff" * 5])
def test_fill_bytes_before_the_end_marker_are_no_damage(tmp_path, padding):
    data = encode(draw_grey(64, 48))
    (tmp_path / "a.jpg").write_bytes(data[:-2] + padding + data[-2:])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").colour, decode_by_opencv(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(draw_grey(40, 64), exif=exif)
    (tmp_path / "a.jpg").write_bytes(data)
    samples = read_picture(tmp_path / "a.jpg")
    turned = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(samples.colour, turned)
    assert samples.turned == (orientation != 1)


def test_cmyk_is_read_as_colour(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = (255, 0, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(file, "jpeg", quality=100)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    colour = read_picture(tmp_path / "a.jpg").colour.astype(int)
    assert np.abs(colour[:, 10:] - (255, 0, 0)).max() <= 3
    assert colour[:, :6].max() <= 3


def test_a_jpeg_of_several_pictures_is_refused(tmp_path):
    first, second = (Image.fromarray(draw_grey(64, 48, seed)).filter(ImageFilter.BLUR) for seed in (0, 1))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    with pytest.raises(DataError, match=r"a\.jpg: a JPEG with 2 pictures; save each as a picture of its own"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["br35h", "figshare", "brisc", "lgg", "no_tumour", "head_ct"])
def test_every_real_jpeg_is_whole(name):
    """No good file is called damaged; some of them are PNG by content."""
    paths = sorted(real_data(name).rglob("*.jpg"))[::20]
    assert paths
    for path in paths:
        read_picture(path)


def write_odd_subsampling(data: bytes) -> bytes:
    """Of 4:2:2, the two blocks of brightness become one of each of two colours: the third colour has two blocks."""
    changed = bytearray(data)
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    changed[frame + 11], changed[frame + 14], changed[frame + 17] = 0x11, 0x11, 0x21
    changed[scan + 6], changed[scan + 8], changed[scan + 10] = 0x00, 0x00, 0x11  # their tables
    return bytes(changed)


def test_subsampling_that_turbojpeg_does_not_read_is_decoded_without_the_tags(tmp_path, monkeypatch):
    plain = write_odd_subsampling(
        encode(np.dstack([draw_grey(24, 40, seed) for seed in range(3)]), subsampling="4:2:2")
    )
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 3, 0, 0)
    tags = [bytes([0xFF, kind]) + struct.pack(">H", 2 + len(text)) + text for kind, text in (
        (0xE1, exif), (0xED, b"Photoshop 3.0\0"), (0xFE, b"a comment"), (0xE2, b"MPF\0II*\0"))]  # fmt: skip
    (tmp_path / "a.jpg").write_bytes(plain[:2] + b"".join(tags) + plain[2:])
    decoded, factory = [], jpeg.jpeg_factory
    monkeypatch.setattr(jpeg, "jpeg_factory", lambda file: decoded.append(file.getvalue()) or factory(file))
    colour = read_picture(tmp_path / "a.jpg").colour
    assert decoded == [plain[:2] + tags[2] + plain[2:]]
    np.testing.assert_array_equal(colour, decode_by_opencv(plain)[::-1, ::-1])


def test_a_jpeg_has_a_hundred_scans_and_no_more(tmp_path):
    """Scans are counted by their marker, wherever it stands before the end."""
    data = encode(draw_grey(16, 24), comment=b"\xff\xda" * 99)
    (tmp_path / "a.jpg").write_bytes(data)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").colour, decode_by_opencv(data))
    (tmp_path / "a.jpg").write_bytes(encode(draw_grey(16, 24), comment=b"\xff\xda" * 100))
    with pytest.raises(DataError, match=r"a\.jpg: a JPEG of 101 scans, more than the limit of 100; save it as PNG"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("comment", [b"", b"\xff\xd9"])
def test_a_jpeg_without_its_end_is_truncated(tmp_path, comment):
    """The end marker of a picture within a comment is none of this one."""
    (tmp_path / "a.jpg").write_bytes(encode(draw_grey(16, 24), comment=comment)[:-2])
    with pytest.raises(DataError, match=r"a\.jpg: the picture is truncated \(\d+ bytes\); copy it again"):
        read_picture(tmp_path / "a.jpg")


def test_a_jpeg_without_a_scan_is_truncated(tmp_path):
    data = encode(draw_grey(16, 24))
    (tmp_path / "a.jpg").write_bytes(data[: data.index(b"\xff\xda")] + b"\xff\xd9")
    with pytest.raises(DataError, match=r"a\.jpg: the picture is truncated"):
        read_picture(tmp_path / "a.jpg")


def encode_with_last_byte_255() -> bytes:
    """A picture whose pixels end in 255 and the 0 that belongs to it."""
    made = (encode(draw_grey(16, 24, seed), quality=95) for seed in range(2000))
    return next(data for data in made if data[-4:-2] == b"\xff\x00")


@pytest.mark.parametrize(
    ("extra", "is_whole"),
    [
        (b"", True),
        (b"\xff" * 3, True),
        (b"\x2a", False),
        (b"\xff\x00", False),
        (b"\x2a\xff", False),
        (b"\x2a\xff\xff", False),
    ],
)
def test_pixels_whose_last_byte_is_255(tmp_path, extra, is_whole):
    data = encode_with_last_byte_255()
    (tmp_path / "a.jpg").write_bytes(data[:-2] + extra + data[-2:])
    if is_whole:
        np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").colour, decode_by_opencv(data))
        return
    with pytest.raises(DataError, match="the picture ends before its data do"):
        read_picture(tmp_path / "a.jpg")

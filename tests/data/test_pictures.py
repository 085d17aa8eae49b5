"""Any file is read as a picture or refused in one line that names it, whatever it is and however large."""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumortrace.data import pictures
from tumortrace.data.pictures import read_picture
from tumortrace.errors import DataError

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def write_header_alone(path: Path, width: int, height: int) -> Path:
    """A PNG of any size that takes no room: its pixels are not there."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    head = struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + b"\x00\x00\x00\x00IEND\xaeB`\x82")
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".bmp"])
def test_other_containers(tmp_path, suffix):
    Image.fromarray(GREY).save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    samples = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(samples.colour if samples.colour.ndim == 2 else samples.colour[:, :, 1], GREY)
    assert not samples.lossy


def test_transparent_gif(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.gif", transparency=0)
    samples = read_picture(tmp_path / "a.gif")
    np.testing.assert_array_equal(samples.alpha, [[0, 255, 255]])
    np.testing.assert_array_equal(samples.colour[0, 1:], [[255, 0, 0], [0, 255, 0]])


@pytest.mark.parametrize(("suffix", "kind"), [(".gif", "a GIF"), (".webp", "a WebP")])
def test_an_animation_is_refused_with_its_frames(tmp_path, suffix, kind):
    frames = [Image.fromarray(np.roll(GREY, step)) for step in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=rf"a\{suffix}: {kind} with 3 frames; save each as a picture of its own"):
        read_picture(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_truncated_containers(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=rf"a\{suffix}: "):
        read_picture(path)


@pytest.mark.parametrize(
    ("size_wh", "cause"),
    [
        ((20_000, 20_000), "20000 x 20000 pixels, more than the limit of 64,000,000; save a smaller picture"),
        ((2**31 - 1, 2**31 - 1), "more than the limit of 64,000,000"),
        ((200_000, 4), "200000 x 4 pixels, a side longer than the limit of 32,767; crop it"),
        ((0, 4), "0 x 4 pixels; copy it again from its source"),
    ],
)
def test_a_size_is_refused_from_its_header(tmp_path, size_wh, cause):
    path = write_header_alone(tmp_path / "a.png", *size_wh)
    with pytest.raises(DataError, match=rf"a\.png: .*{cause}"):
        read_picture(path)


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    os.truncate(path, 2**40)  # takes no room on the disk
    with pytest.raises(DataError, match=r"a\.png: 1,099,511,627,776 bytes, more than the limit of 1,073,741,824"):
        read_picture(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket.png"))
    started = time.monotonic()
    for name, kind in {"pipe": "a named pipe", "folder": "a folder", "zero": "a device", "socket": "a socket"}.items():
        with pytest.raises(DataError, match=rf"{name}\.png: {kind}, not a file; only regular files are read"):
            read_picture(tmp_path / f"{name}.png")
    listening.close()
    assert time.monotonic() - started < 5


def test_names_and_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    (tmp_path / "b.png").symlink_to("gone.png")
    for name, cause in {
        "a.png": r"Too many levels of symbolic links\); remove the link, which leads back to itself",
        "b.png": r"a link to a file that does not exist\); check the path",
        "x" * 300 + ".png": r"File name too long\); give it a shorter name",
        "a\0b.png": r"null byte\); no file has such a name",
        "\ud800.png": r"\); no file has such a name",
    }.items():
        with pytest.raises(DataError, match=rf"cannot be read \(.*{cause}"):
            read_picture(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(DataError, match=r"Permission denied\); check the permissions of the file and its folders"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a\n9 of 9 segmented.png", "\x1b[2Ja.png", os.fsdecode(b"\xe9.png"), "a\u2028b.png"])
def test_any_name_is_one_printable_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="not a picture that can be decoded") as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.encode().decode().isprintable()
    assert name not in message


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        (MemoryError(), "there is too little memory for it"),
        (RuntimeError("bad\nfilter"), r"bad\\nfilter"),
        (KeyError(256), "256"),
    ],
)
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, raised, cause):
    def fail(*_: object) -> None:
        raise raised

    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures.png, "read_png", fail)
    with pytest.raises(DataError, match=rf"a\.png: cannot be decoded \({cause}\); copy it again from its source, or"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("suffix", "mode", "options"),
    [
        (".png", "L", {}),
        (".png", "P", {}),
        (".png", "I;16", {}),
        (".tif", "RGB", {"compression": "tiff_lzw"}),
        (".bmp", "P", {}),
        (".bmp", "RGB", {}),
        (".gif", "P", {}),
        (".webp", "RGB", {}),
        (".webp", "RGBA", {"lossless": True}),
        (".jpg", "RGB", {"progressive": True}),
    ],
)
def test_any_damage_is_read_or_refused_in_one_line_of_ours(tmp_path, capfd, suffix, mode, options):
    """Three bytes are other ones, or the end is missing; checksums are right again in half of the PNG."""
    grey = np.random.default_rng(1).integers(0, 256, (24, 31)).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 99) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = tmp_path / f"a{suffix}"
    image.save(path, **options)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for number in range(60):
        data = bytearray(whole[: int(rng.integers(1, len(whole)))] if number % 5 == 0 else whole)
        for at in rng.integers(0, min(len(data), 200 if number % 2 else len(data)), 3):
            data[at] = int(rng.integers(0, 256))
        path.write_bytes(repair_checksums(bytes(data)) if number % 4 == 0 else data)
        try:
            read_picture(path)
        except DataError as error:
            if not str(error).startswith(f"{path}: "):
                raise
    assert capfd.readouterr().err == ""


def repair_checksums(data: bytes) -> bytes:
    """A PNG whose damage its checksums do not show; anything else, and a PNG of wrong lengths, as it is."""
    out, at = data[:8], 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        out += data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return out + data[len(out) :]

"""Reading of PNG files, each needed chunk checked."""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import PngImagePlugin

from tumortrace.data.samples import Header, Samples, apply_orientation, hide_colour, read_orientation, take_samples
from tumortrace.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB\x60\x82"
_USED = {b"IHDR", b"PLTE", b"tRNS", b"acTL", b"eXIf", b"IDAT"}
_GREY, _COLOUR, _PALETTE = 0, 2, 3  # colour types
_CHANNELS = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, 4: 2, 6: 4}  # 4 and 6: grey and colour with opacity
_INTERLACED = (  # first column and row, and the steps, of the seven passes
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_LAST_FILTER = 4
_MOST_CHUNKS = 200_000  # of 8 kB, as libpng writes them, these are more than the largest file


class _Layout(NamedTuple):
    """The fields of IHDR that matter here."""

    size_wh: tuple[int, int]
    bits: int
    colour_type: int
    is_interlaced: bool


def read_header(data: bytes) -> Header:
    """Read the size, the number of frames and the orientation.

    Raises:
        DataError: It begins without its header, or has more chunks than any picture; the message lacks the file.
    """
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise DataError("its header is missing")
    if zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise DataError("a checksum in it is wrong")
    frames, orientation = 1, 1
    for kind, start, end in _walk(data):
        if kind == b"acTL":
            frames = int.from_bytes(data[start : start + 4], "big")
        elif kind == b"eXIf":
            orientation = read_orientation(data[start:end])
    size_wh = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return Header("an animated PNG", size_wh, frames, orientation=orientation)


def _walk(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first and last place of the content of each chunk, unchecked."""
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        kind = bytes(data[at + 4 : at + 8])
        if len(kind) < 4 or kind == _END[4:8]:
            return
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        yield kind, at + 8, end
        at = end + 4
    raise DataError(f"it has more than {_MOST_CHUNKS:,} chunks")


def read_png(data: bytes, path: Path) -> Samples:
    """Read a PNG of any type; comments are passed over, and so is what lies behind the end.

    Raises:
        DataError: The file is truncated, or has a wrong checksum in a chunk that is used.
    """
    chunks = _split(data, path)
    header = _read_layout(chunks)
    if header.colour_type == _PALETTE and b"PLTE" not in chunks:
        raise DataError("it lacks its palette")
    samples = _decode(chunks, header)
    if b"tRNS" in chunks and header.colour_type in {_GREY, _COLOUR}:
        samples = Samples(samples.colour, hide_colour(samples.colour, _read_key(chunks[b"tRNS"], header)))
    return apply_orientation(samples, read_orientation(chunks.get(b"eXIf")))


def _split(data: bytes, path: Path) -> dict[bytes, bytes]:
    """Contents of the chunks that are used, by kind, checked; those of one kind joined."""
    if _END not in data:
        raise DataError(f"{path}: the picture is truncated ({len(data)} bytes); copy it again from its source")
    view, at = memoryview(data), len(SIGNATURE)
    chunks: dict[bytes, list[memoryview]] = {}
    while (kind := data[at + 4 : at + 8]) != _END[4:8]:
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        used = kind in _USED or kind[:1].isupper()  # a decoder may not pass over a kind that begins with a capital
        if end > len(data) or (used and zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big")):
            raise DataError(f"{path}: the PNG is damaged (a checksum in it is wrong); copy it again from its source")
        if kind in _USED:
            chunks.setdefault(kind, []).append(view[at + 8 : end])
        at = end + 4
    return {kind: b"".join(parts) for kind, parts in chunks.items()}


def _read_layout(chunks: dict[bytes, bytes]) -> _Layout:
    head = chunks[b"IHDR"]
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    return _Layout((width, height), bits=head[8], colour_type=head[9], is_interlaced=head[12] != 0)


def _decode(chunks: dict[bytes, bytes], header: _Layout) -> Samples:
    _check_stream(chunks[b"IDAT"], header)
    kinds = [b"IHDR", b"PLTE", *([b"tRNS"] if header.colour_type == _PALETTE else []), b"IDAT"]
    png = SIGNATURE + b"".join(_join(kind, chunks[kind]) for kind in kinds if kind in chunks) + _END
    if header.bits == 16 and header.colour_type != _GREY:
        return _decode_deep_colour(png, has_alpha=header.colour_type in {4, 6}, is_grey=header.colour_type == 4)
    return take_samples(PngImagePlugin.PngImageFile(io.BytesIO(png)))


def _check_stream(stream: bytes, header: _Layout) -> None:
    """Refuse pixels that end early, which Pillow fills with black, or that libpng would complain of on the terminal."""
    width, height = header.size_wh
    passes = _INTERLACED if header.is_interlaced else ((0, 0, 1, 1),)
    sizes = [(len(range(left, width, step)), len(range(top, height, row))) for left, top, step, row in passes]
    bits = header.bits * _CHANNELS[header.colour_type]
    row_bytes = [1 + (columns * bits + 7) // 8 for columns, _ in sizes]  # the number of its filter first
    lengths = [rows * length if columns else 0 for (columns, rows), length in zip(sizes, row_bytes, strict=True)]
    expected = sum(lengths)
    pixels = zlib.decompressobj().decompress(stream, expected + 1)  # one more, so that it sees its own checksum
    ends = itertools.accumulate(lengths)
    filters = (pixels[end - size : end : row] for end, size, row in zip(ends, lengths, row_bytes, strict=True))
    has_wrong_filter = any(max(numbers, default=0) > _LAST_FILTER for numbers in filters)
    is_longer = header.bits == 16 and len(pixels) > expected  # common and harmless, but OpenCV's libpng prints a line
    if len(pixels) < expected or has_wrong_filter or is_longer:
        raise DataError("its pixels are damaged")


def _decode_deep_colour(png: bytes, *, has_alpha: bool, is_grey: bool) -> Samples:
    """Decode 16 bits a channel by OpenCV, since Pillow keeps 8 of them."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError("its pixels are damaged")
    colour = image[:, :, 0] if is_grey else image[:, :, 2::-1]
    return Samples(np.ascontiguousarray(colour), np.ascontiguousarray(image[:, :, 3]) if has_alpha else None)


def _join(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def _read_key(content: bytes, header: _Layout) -> int | tuple[int, ...]:
    """The transparent grey value or colour, on the scale of the decoded samples."""
    scale = 255 // (2**header.bits - 1) if header.bits < 8 else 1
    values = tuple(int.from_bytes(content[at : at + 2], "big") * scale for at in range(0, len(content), 2))
    return values if len(values) > 1 else values[0]

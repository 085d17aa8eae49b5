"""Run lengths of masks as COCO, CVAT and Label Studio store them.

The decoders are our own: they check every length before they mark a pixel, and a huge declared size costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.shapes import ShapeError, excerpt
from tumortrace.data.bitmap import draw_runs
from tumortrace.data.samples import most_pixels
from tumortrace.wording import counted

_OPAQUE = 128  # Label Studio: opacity from which a brush counts
_WORD_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)


def decode_runs(counts: object, size_hw: tuple[int, int], *, by_columns: bool) -> NDArray[np.bool_]:
    """Decode run lengths, the first of unmarked pixels, then in turns.

    Args:
        counts: The lengths; their sum is the number of pixels.
        size_hw: Height and width of the mask.
        by_columns: Whether the pixels are counted column by column, as COCO does, or row by row.

    Returns:
        Shape (H, W), bool.

    Raises:
        ShapeError: The lengths are no whole numbers from 0, or do not fill the mask.
    """
    (height, width), most = size_hw, most_pixels()
    if height < 1 or width < 1 or height * width > most:
        raise ShapeError("empty-region", f"its mask is {width} x {height} pixels")
    if not isinstance(counts, list) or not all(type(each) is int and 0 <= each <= most for each in counts):
        raise ShapeError("empty-region", f"its run lengths are {excerpt(counts)}, not a list of whole numbers")
    ends = np.cumsum(np.array(counts, np.int64))
    if not len(ends) or ends[-1] != height * width:
        total = int(ends[-1]) if len(ends) else 0
        raise ShapeError("empty-region", f"its run lengths add up to {counted(total, 'pixel')}, not {width} x {height}")
    edges = ends if len(ends) % 2 == 0 else ends[:-1]
    flat = draw_runs(edges.reshape(-1, 2), height * width)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def encode_runs(mask: NDArray[np.bool_], *, by_columns: bool) -> list[int]:
    """Encode a mask as run lengths, first of background, then in turns; ``decode_runs`` gives it back.

    Args:
        mask: Shape (H, W).
        by_columns: Whether runs go down the columns, as in COCO, rather than along the rows.

    Returns:
        Lengths in pixels; their sum is H W. The first is 0 where the first pixel is marked.
    """
    flat = mask.ravel(order="F" if by_columns else "C")
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
    return [int(length) for length in np.diff(np.concatenate([[0], changes, [len(flat)]]))]


def unpack_counts(text: str) -> list[int]:
    """Unpack the run lengths of COCO's compressed text.

    Each number is written in groups of five bits, the lowest first, as characters from ``0`` on; bit 5 says that more
    follow, and the last group holds the sign. From the fourth on, a number is the difference to the last but one.

    Raises:
        ShapeError: The text holds other characters, or ends within a number.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            raise ShapeError("empty-region", "its compressed run lengths are damaged")
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        number -= (1 << shift) if code & 16 else 0
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ShapeError("empty-region", "its compressed run lengths are cut short")
    return counts


def pack_counts(counts: Sequence[int]) -> str:
    """Pack run lengths as COCO's compressed text; ``unpack_counts`` gives them back."""
    characters = []
    for index, count in enumerate(counts):
        number = count - (counts[index - 2] if index > 2 else 0)
        more = True
        while more:
            code, number = number & 31, number >> 5
            more = number != (-1 if code & 16 else 0)
            characters.append(chr(48 + code + (32 if more else 0)))
    return "".join(characters)


def decode_brush(data: object, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode a brush of Label Studio: four channels a pixel, or one, packed by ``rle-pack``.

    A header of 32 bits holds the number of values, 5 bits the length of a value, and four times 4 bits the possible
    lengths of a run's length. Each run begins with one bit, which is set if the run repeats one value.

    Args:
        data: The bytes as numbers from 0 to 255.
        size_hw: Height and width of the image.

    Returns:
        True where the last channel is at least half opaque; shape (H, W), bool.

    Raises:
        ShapeError: The bytes are damaged, or the number of values does not fit the image.
    """
    height, width = size_hw
    if not isinstance(data, list) or not all(type(each) is int and 0 <= each < 256 for each in data):
        raise ShapeError("empty-region", f"its run lengths are {excerpt(data)}, not a list of bytes")
    if not 0 < height * width <= most_pixels():
        raise ShapeError("empty-region", f"its image is {width} x {height} pixels")
    bits = _Bits(bytes(data))
    count = bits.take(32)
    channels = 4 if count == 4 * height * width else 1
    if count != channels * height * width:
        raise ShapeError("empty-region", f"its brush has {count} values, which does not fit {width} x {height} pixels")
    values = _decode_values(bits, count)[channels - 1 :: channels]
    return np.asarray(values >= _OPAQUE).reshape(height, width)


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask as a brush of Label Studio, four equal channels a pixel.

    Args:
        mask: Shape (H, W).

    Returns:
        Bytes, 0 to 255: the runs of the mask, row by row, each with its length.
    """
    lengths = encode_runs(np.repeat(mask.ravel(), 4)[np.newaxis], by_columns=False)
    words = [(4 * mask.size, 32), (_WORD_BITS - 1, 5), *((bits - 1, 4) for bits in _LENGTH_BITS)]
    for index, length in enumerate(lengths):
        for start in range(0, length, 2**16):
            rest = min(length - start, 2**16) - 1
            choice = next(number for number, bits in enumerate(_LENGTH_BITS) if rest < 2**bits)
            words += [(1, 1), (choice, 2), (rest, _LENGTH_BITS[choice]), (255 * (index % 2), _WORD_BITS)]
    text = "".join(f"{value:0{bits}b}" for value, bits in words)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


class _Bits:
    """Bytes read bit by bit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        """Return the next bits, at most 32, as a number."""
        first, last = self._at // 8, (self._at + count + 7) // 8
        if last > len(self._data):
            raise ShapeError("empty-region", "its brush is cut short")
        self._at += count
        window = int.from_bytes(self._data[first:last], "big") >> (8 * last - self._at)
        return window & ((1 << count) - 1)


def _decode_values(bits: _Bits, count: int) -> NDArray[np.uint8]:
    word = bits.take(5) + 1
    lengths = [bits.take(4) + 1 for _ in range(4)]
    if word != _WORD_BITS:
        raise ShapeError("empty-region", f"its brush has values of {word} bits instead of 8")
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        repeats = bits.take(1)
        end = min(at + 1 + bits.take(lengths[bits.take(2)]), count)
        if repeats:
            values[at:end] = bits.take(word)
        else:
            values[at:end] = [bits.take(word) for _ in range(at, end)]
        at = end
    return values

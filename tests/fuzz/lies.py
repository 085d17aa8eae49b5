"""One lie in a valid file: a length, an offset, a count, a type, a truncation or a swapped chunk."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element, fromstring, tostring

from hypothesis import strategies as st
from tests.fuzz.seeds import seeds_of

Place = tuple[int, int, str]
"""Offset and length of a number in a file, and its byte order."""

BINARY = (
    "png",
    "jpeg",
    "tiff",
    "other",
    "dicom",
    "pydicom",
    "seg",
    "nifti",
    "nifti_gz",
    "onnx",
    "mask",
    "voc_mask",
    "scan_mask",
)

ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e-320, 1e308, float("nan"), float("inf"), "", "x", "0", "../../a",
    "a" * 300, "\ud800", "\0", [], [[]], [1], [[1, 2]], [None], {}, {"a": {}}, {"name": "polygon"}, "polygon",
    "9" * 5000, "-1",
]  # fmt: skip


def _png(data: bytes) -> Iterator[Place]:
    at = 8
    while at + 12 <= len(data):
        yield at, 4, ">"
        yield at + 4, 4, ">"
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IHDR":
            yield from ((at + 8, 4, ">"), (at + 12, 4, ">"), *((at + 16 + i, 1, ">") for i in range(5)))
        at += 12 + length


def _jpeg(data: bytes) -> Iterator[Place]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        yield at + 1, 1, ">"
        yield at + 2, 2, ">"
        yield from ((at + 4 + i, 1, ">") for i in range(8))
        if 0xC0 <= data[at + 1] <= 0xCF:
            yield from ((at + 5, 2, ">"), (at + 7, 2, ">"))
        if data[at + 1] == 0xDA:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _tiff(data: bytes) -> Iterator[Place]:
    order, big = ("<" if data[:2] == b"II" else ">"), 43 in data[2:4]
    size, head, entry = (8, 8, 20) if big else (4, 2, 12)
    name = "little" if order == "<" else "big"
    start = 8 if big else 4
    yield start, size, order
    at = int.from_bytes(data[start : start + size], name)
    yield at, head, order
    count = int.from_bytes(data[at : at + head], name)
    for place in range(at + head, at + head + count * entry, entry):
        yield from ((place, 2, order), (place + 2, 2, order), (place + 4, size, order), (place + 4 + size, size, order))
        yield place + 4 + size, 2, order
    yield at + head + count * entry, size, order


def _other(data: bytes) -> Iterator[Place]:
    if data[:2] == b"BM":
        yield from ((at, 4, "<") for at in (2, 10, 14, 18, 22, 30, 34, 46))
        yield from ((at, 2, "<") for at in (26, 28))
    elif data[:3] == b"GIF":
        yield from ((at, 2, "<") for at in (6, 8))
        yield 10, 1, "<"
        place = data.find(b",")
        yield from ((place + at, 2, "<") for at in (1, 3, 5, 7))
        yield from ((place + at, 1, "<") for at in (0, 9, 10, 11))
    else:
        at = 12
        while at + 8 <= len(data):
            yield from (
                (at - 8, 4, "<"),
                (at, 4, "<"),
                (at + 4, 4, "<"),
                (at + 8, 1, "<"),
                (at + 12, 3, "<"),
                (at + 14, 2, "<"),
            )
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little") // 2 * 2


def _dicom(data: bytes) -> Iterator[Place]:
    """Heads of explicit elements, wherever two capital letters follow a tag; and the rest as 16-bit numbers."""
    for at in range(132, min(len(data) - 8, 4000)):
        if (
            data[at + 4 : at + 6].isalpha()
            and data[at + 4 : at + 6].isupper()
            and data[at] < 0x60
            and data[at + 1] < 0x80
        ):
            long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT")
            yield from (
                (at, 2, "<"),
                (at + 2, 2, "<"),
                (at + 4, 2, ">"),
                (at + (8 if long else 6), 4 if long else 2, "<"),
            )
            yield at + (12 if long else 8), 2, "<"
    yield from ((at, 4, "<") for at in range(132, min(len(data), 1200), 2))


def _nifti(_data: bytes) -> Iterator[Place]:
    yield from ((at, 2, "<") for at in (40, 42, 44, 46, 48, 68, 70, 72, 252, 254))
    yield from ((at, 4, "<") for at in (0, 76, 80, 84, 88, 108, 112, 116, 256, 268, 280, 296, 344))
    yield from ((at, 8, "<") for at in (16, 24, 32, 40, 104, 112, 168, 176, 184))
    yield from ((at, 1, "<") for at in (39, 123, 344, 345))


def _onnx(data: bytes) -> Iterator[Place]:
    yield from ((at, size, "<") for at in range(len(data)) for size in (1, 2))


_CHECKED = frozenset(("png", "mask", "voc_mask"))
"""Kinds of PNG. Their checksums are usually computed again after a lie, because a wrong one ends the reading."""

_PLACES: dict[str, Callable[[bytes], Iterator[Place]]] = {
    "png": _png, "jpeg": _jpeg, "tiff": _tiff, "other": _other, "dicom": _dicom, "pydicom": _dicom, "seg": _dicom,
    "nifti": _nifti, "nifti_gz": _nifti, "onnx": _onnx, "mask": _png, "voc_mask": _png, "scan_mask": _nifti,
}  # fmt: skip


@st.composite
def hostile_files(draw: st.DrawFn, kind: str) -> bytes:
    """Draw a valid file of a kind with one lie in it."""
    seeds = seeds_of(kind)
    data = seeds[draw(st.integers(0, len(seeds) - 1))]
    if kind not in BINARY:
        return draw(_text_lies(data))
    if kind == "nifti_gz":
        changed = draw(_binary_lies(kind, gzip.decompress(data)))
        return draw(_cuts(gzip.compress(changed, 1)))
    changed = draw(_binary_lies(kind, data))
    return _renew_checksums(changed) if kind in _CHECKED and draw(st.integers(0, 4)) else changed


@st.composite
def _binary_lies(draw: st.DrawFn, kind: str, data: bytes) -> bytes:
    choice = draw(st.integers(0, 9))
    if choice < 6:
        places = [place for place in _PLACES[kind](data) if place[0] >= 0 and place[0] + place[1] <= len(data)]
        return draw(_number_lies(data, places))
    if choice == 6:
        return draw(_cuts(data))
    start, length = draw(st.integers(0, max(len(data) - 1, 0))), draw(st.sampled_from((1, 2, 4, 12, 40)))
    if choice == 7:  # two parts change places
        other = draw(st.integers(0, max(len(data) - 1, 0)))
        first, second = sorted((start, other))
        middle = data[first + length : second]
        return (
            data[:first]
            + data[second : second + length]
            + middle
            + data[first : first + length]
            + data[second + length :]
        )
    if choice == 8:  # a part comes twice, or not at all
        return data[: start + length] + data[start * draw(st.integers(0, 1)) :]
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    return data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]


@st.composite
def _number_lies(draw: st.DrawFn, data: bytes, places: list[Place]) -> bytes:
    at, size, order = places[draw(st.integers(0, len(places) - 1))]
    name = "little" if order == "<" else "big"
    now, top = int.from_bytes(data[at : at + size], name), 256**size
    value = draw(
        st.sampled_from(
            (0, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 127, 128, 255, top - 1, top // 2, top // 2 - 1, now + 1, now - 1)
        )
        | st.sampled_from((now * 2, now // 2, len(data), len(data) - at, at, 65_500, 40_000, now ^ 0x80))
        | st.integers(0, top - 1)
    )
    return data[:at] + (value % top).to_bytes(size, name) + data[at + size :]


@st.composite
def _cuts(draw: st.DrawFn, data: bytes) -> bytes:
    """Truncate data, or leave it."""
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def _renew_checksums(data: bytes) -> bytes:
    """Set the checksums of a PNG right, so that the lie gets further."""
    made, at = data[:8], 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        made += data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return made


@st.composite
def _text_lies(draw: st.DrawFn, data: bytes) -> bytes:
    if draw(st.integers(0, 7)) == 0:
        return draw(_cuts(data))
    text = data.decode("utf-8-sig")
    if text.lstrip().startswith("<"):
        return draw(_xml_lies(text))
    try:
        document = json.loads(text)
    except ValueError:
        return draw(_cell_lies(text))
    return draw(_json_lies(document))


@st.composite
def _json_lies(draw: st.DrawFn, document: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Replace, remove or repeat a value somewhere in a document."""
    holder: Any = [document]
    key: Any = 0
    while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 5)):
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = draw(st.sampled_from(keys))
    choice = draw(st.integers(0, 6))
    if choice == 0 and holder is not document:
        del holder[key]
    elif choice == 1 and isinstance(holder, list):
        holder.append(holder[key])
    elif choice == 2 and isinstance(holder, dict):
        holder[draw(st.sampled_from(("x", "name", "points", "size", "counts", "rle", "segmentation")))] = holder[key]
    else:
        holder[key] = draw(st.sampled_from(ODD_VALUES))
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def _xml_lies(draw: st.DrawFn, text: str) -> bytes:
    root = fromstring(text)  # noqa: S314 - our own seed
    elements: list[Element] = list(root.iter())
    element = draw(st.sampled_from(elements))
    value = draw(
        st.sampled_from(("", "-1", "0", "nan", "1e308", "9" * 5000, "x", "1,2;3", "1,2;3,4;5,6", "../a", "0, 0"))
    )
    choice = draw(st.integers(0, 4))
    if choice == 0:
        element.tag = draw(st.sampled_from(("box", "mask", "polygon", "image", "track", "x", "annotations", "points")))
    elif choice == 1 and len(element):
        element.remove(draw(st.sampled_from(list(element))))
    elif choice == 2:
        other = draw(st.sampled_from(elements))
        element.append(Element(other.tag, dict(other.attrib)))
    elif element.attrib:
        element.set(draw(st.sampled_from(sorted(element.attrib))), value)
    else:
        element.text = value
    return tostring(root)


@st.composite
def _cell_lies(draw: st.DrawFn, text: str) -> bytes:
    """Replace a piece of a table or a list of numbers."""
    marks = [at for at, letter in enumerate(text) if letter in ',;\t \n"{['] or [0]
    at = draw(st.sampled_from(marks))
    odd = draw(
        st.sampled_from(
            ("", ",", ";", "\n", '"', "nan", "-1", "1e999", "9" * 5000, "\0", "[[", "../a.png", "\ufeff", "x,y,z")
        )
    )
    end = at + draw(st.integers(0, 12))
    data = (text[: at + 1] + odd + text[end:]).encode()
    return data if draw(st.integers(0, 6)) else data.decode().encode("utf-16")

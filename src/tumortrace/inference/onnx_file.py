"""ONNX files read without ONNX: metadata, operator sets, and what is refused.

Only the fields that matter are followed in the file's protobuf; weights are passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tumortrace.errors import ModelError

MOST_BYTES = 2**30
"""Largest model that is read."""

RECIPE, CARD = "tumortrace.recipe", "tumortrace.card"
"""Metadata that hold the recipe and the card of a model, as JSON."""

FEATURE_RANGES = "tumortrace.familiar"
"""Metadata that hold the usual values among the training slices, as JSON."""

SEAL = "tumortrace.sha256"
"""Metadata that holds the SHA-256 of the rest of the file."""

_DOMAINS = frozenset({"", "ai.onnx"})
_RUNTIME_DOMAINS = ("ai.onnx.", "com.microsoft", "com.ms.internal.", "org.pytorch.aten")
"""Beginnings of the operator sets of ONNX Runtime itself, which its quantisation lists without using them."""

_MOST_FIELDS = 5_000_000
_DEEPEST = 16
_EXTERNAL = 1
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # wire types
_KINDS = {
    b"\x80": "a pickle, which may hold code and is never opened",
    b"PK": "a zip, as torch saves checkpoints, which may hold code and is never opened",
}


class _Field(NamedTuple):
    """A field: its number, the places of its content, and its value if it is a whole number."""

    number: int
    start: int
    end: int
    value: int


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says of itself.

    Attributes:
        opsets: Version of each operator set, by its domain.
        metadata: Texts by their keys.
    """

    opsets: dict[str, int]
    metadata: dict[str, str]


def read_onnx(data: bytes) -> OnnxFile:
    """Read the metadata of an ONNX file, and check that it can be run safely.

    Raises:
        ModelError: It is no ONNX file; it refers to other files, to operators of others or to functions of its own; it
            names no operator set, or carries no recipe; or it was changed since it was exported. The message lacks the
            file.
    """
    if kind := _name_other(data):
        raise ModelError(f"not an ONNX model but {kind}; give a file that tumortrace exported")
    try:
        found = _Reader(data).read()
    except (IndexError, ValueError) as error:
        raise ModelError(f"not an ONNX model ({error}); give a file that tumortrace exported") from None
    if "" not in found.opsets:
        raise ModelError("not an ONNX model (it names no operator set); give a file that tumortrace exported")
    if RECIPE not in found.metadata:
        raise ModelError(f"no recipe of tumortrace in its metadata ({RECIPE!r} is missing); export it with tumortrace")
    return found


def seal(data: bytes) -> bytes:
    """Append the SHA-256 of an ONNX file to its metadata, so that a byte that changes later is noticed.

    Args:
        data: The file, without a seal.
    """
    entry = _encode(1, SEAL.encode()) + _encode(2, hashlib.sha256(data).hexdigest().encode())
    return data + _encode(14, entry)


def _encode(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    rest, low = value >> 7, value & 0x7F
    return bytes([low | 0x80]) + _encode_varint(rest) if rest else bytes([low])


def _name_other(data: bytes) -> str:
    """Return the kind of a file that is no ONNX; empty if it is not recognised."""
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return "a safetensors file"
    return next((kind for head, kind in _KINDS.items() if data.startswith(head)), "")


class _Reader:
    """One pass over a file; fields have the numbers of onnx.proto."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_FIELDS
        self._opsets: dict[str, int] = {}
        self._metadata: dict[str, str] = {}

    def read(self) -> OnnxFile:
        has_graph = False
        for field in self._fields(0, len(self._data)):
            if field.number == 7:
                has_graph = True
                self._check_graph(field, depth=0)
            elif field.number == 8:
                self._read_opset(field)
            elif field.number == 14:
                self._read_entry(field)
            elif field.number == 25:
                raise ModelError("it defines functions of its own, which are not run; export it with tumortrace")
        if not has_graph:
            raise ValueError("it holds no graph")
        return OnnxFile(self._opsets, self._metadata)

    def _fields(self, at: int, end: int) -> Iterator[_Field]:
        """Yield the fields of a message; ``ValueError`` or ``IndexError`` where it is damaged."""
        data = self._data
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise ValueError("it has more parts than any network")
            tag, at = self._varint(at)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                start = at
                value, at = self._varint(at)
                yield _Field(number, start, at, value)
                continue
            if wire == _BYTES:
                length, at = self._varint(at)
            elif wire in (_FIXED_64, _FIXED_32):
                length = 8 if wire == _FIXED_64 else 4
            else:
                raise ValueError("its bytes are of another format, or damaged")
            if number == 0 or length > end - at:
                raise ValueError("it is cut off or damaged")
            yield _Field(number, at, at + length, 0)
            at += length
        if at != end or len(data) < end:
            raise ValueError("it is cut off or damaged")

    def _varint(self, at: int) -> tuple[int, int]:
        byte = self._data[at]
        if byte < 0x80:
            return byte, at + 1
        value = shift = 0
        for at in range(at, at + 10):  # noqa: B020, PLR1704 - goes on from there
            byte = self._data[at]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, at + 1
        raise ValueError("its bytes are of another format, or damaged")

    def _text(self, field: _Field) -> str:
        return self._data[field.start : field.end].decode()

    def _read_opset(self, field: _Field) -> None:
        domain, version = "", 0
        for part in self._fields(field.start, field.end):
            if part.number == 1:
                domain = self._text(part)
            elif part.number == 2:
                version = part.value
        if not domain.startswith(_RUNTIME_DOMAINS):
            self._check_domain(domain)
        self._opsets[domain if domain != "ai.onnx" else ""] = version

    def _read_entry(self, field: _Field) -> None:
        parts = {
            part.number: self._text(part) for part in self._fields(field.start, field.end) if part.number in (1, 2)
        }
        self._metadata[parts.get(1, "")] = parts.get(2, "")
        if parts.get(1) == SEAL:
            head = field.start - len(_encode_varint(field.end - field.start)) - 1
            digest = hashlib.sha256(memoryview(self._data)[:head])
            digest.update(memoryview(self._data)[field.end :])
            if digest.hexdigest() != parts.get(2):
                raise ModelError("its bytes have changed since it was exported; copy it again, or export it again")

    def _check_graph(self, field: _Field, *, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError("its graphs are nested too deeply")
        for part in self._fields(field.start, field.end):
            if part.number == 1:
                self._check_node(part, depth=depth)
            elif part.number == 5:
                self._check_tensor(part)
            elif part.number == 15:
                self._check_sparse(part)

    def _check_node(self, field: _Field, *, depth: int) -> None:
        for part in self._fields(field.start, field.end):
            if part.number == 7:
                self._check_domain(self._text(part))
            elif part.number == 5:
                self._check_attribute(part, depth=depth)

    def _check_attribute(self, field: _Field, *, depth: int) -> None:
        for part in self._fields(field.start, field.end):
            if part.number in (5, 10):
                self._check_tensor(part)
            elif part.number in (6, 11):
                self._check_graph(part, depth=depth + 1)
            elif part.number in (22, 23):
                self._check_sparse(part)

    def _check_sparse(self, field: _Field) -> None:
        for part in self._fields(field.start, field.end):
            if part.number in (1, 2):
                self._check_tensor(part)

    def _check_tensor(self, field: _Field) -> None:
        for part in self._fields(field.start, field.end):
            if part.number == 13 or (part.number == 14 and part.value == _EXTERNAL):
                raise ModelError("its weights lie in another file (external data), which is not read; export it again")

    def _check_domain(self, domain: str) -> None:
        if domain not in _DOMAINS:
            raise ModelError(f"it needs operators of {domain!r}, which are not run; export it with tumortrace")

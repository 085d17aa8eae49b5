"""Parsing of DICOM data sets: named tags, up to the pixels.

pydicom logs what it finds odd, with the value; a value may be a person's name, so its logger is silenced.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tumortrace.data import bmp, jpeg, png, tiff
from tumortrace.errors import DataError, printable
from tumortrace.regular_files import open_regular

warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

MARK_AT = 128
"""Place of the four letters that mark a DICOM file."""

MOST_BYTES = 2**31
"""Largest data set that a deflated file may unpack to."""

MOST_HEADER_BYTES = 2**26
"""Bytes of tags that are read of one file: its pixels, and what is passed over, do not count."""

MOST_READS = 1_000_000
"""Steps in which they are read; 5,000 frames with 40 tags each take six hundred thousand."""

MOST_ELEMENTS = 20_000
"""Largest number of elements of a data set, those within its sequences not counted."""

LONGEST_VALUE = 2**22
"""Bytes of one value: tables of grey values and of offsets are shorter."""

LIKELY_BYTES, MOST_FOLD = 2**26, 400
"""Size that a deflated file may unpack to whatever its own size, and how often it may unpack to its own beyond that."""

UNDEFINED = 0xFFFFFFFF
"""Length of an element that ends with a delimiter, as encapsulated pixels do."""

_MARK = b"DICM"
_PIXEL_TAGS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_GROUPS = {0x52009229, 0x52009230}  # functional groups, whose length is that of all frames
_CHUNK = 2**20
_PACKED_CHUNK = 2**15  # so small that how far it unpacks shows soon


@dataclass(frozen=True)
class PixelElement:
    """The place of the pixels in a data set.

    Attributes:
        keyword: Name of the element: PixelData, FloatPixelData or DoubleFloatPixelData.
        offset: Place of its value in the file; in the unpacked data set where the file is deflated.
        length: Length of its value in bytes, ``UNDEFINED`` if encapsulated.
        held: Bytes from the value to the end of the file.
    """

    keyword: str
    offset: int
    length: int
    held: int


@dataclass(frozen=True)
class Parsed:
    """The named tags of one file.

    Attributes:
        dataset: The tags that were asked for.
        syntax: Transfer syntax.
        pixels: Place of the pixels; None if there are none.
    """

    dataset: Dataset
    syntax: UID
    pixels: PixelElement | None


class _Bounded(io.RawIOBase):
    """A file that is never asked for more bytes than it holds: a reader allocates what it is asked for.

    A parser may also read so many bytes, and so often, and no more.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._bytes_left = MOST_HEADER_BYTES
        self._reads_left = MOST_READS

    def read(self, count: int = -1, /) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        count = left if count < 0 else min(count, left)
        self._bytes_left -= count
        self._reads_left -= 1
        if self._bytes_left < 0 or self._reads_left < 0:
            raise DataError("its header is larger than any that is read; export it again without private tags")
        return self._file.read(count)

    def seek(self, place: int, whence: int = 0, /) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a DICOM file, with its mark or, as old files, without."""
    if head[MARK_AT : MARK_AT + len(_MARK)] == _MARK:
        return True
    group, element = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little")
    if len(head) < 8 or group not in {2, 8} or element > 0x70:
        return False
    return (head[4:6].isalpha() and head[4:6].isupper()) or int.from_bytes(head[4:8], "little") < 256


def parse(path: Path, tags: Sequence[str]) -> Parsed:
    """Read named tags of a DICOM file, and where its pixels are.

    Args:
        path: The file.
        tags: Keywords of the tags to read; all others are passed over.

    Raises:
        DataError: No DICOM file, a damaged one, or one without transfer syntax.
    """
    with reading_header(path), open_regular(path) as file:
        return _parse(file, path, [Tag(keyword) for keyword in tags])


@contextmanager
def reading_header(path: Path) -> Iterator[None]:
    """Turn whatever the reading of a header raises into a ``DataError`` that names the file.

    On damaged bytes a parser may raise anything. Its text may hold values of the header, so it is not quoted.
    """
    try:
        yield
    except DataError as error:
        if str(error).startswith(printable(str(path))):
            raise
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - see above
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path}: cannot be read ({error.strerror}); check the file") from None
        kind = type(error).__name__
        raise DataError(f"{path}: the DICOM header is damaged ({kind}); copy it again from its source") from None


def open_dataset(path: Path, syntax: UID) -> BinaryIO:
    """Open a file for its pixels: as it is, or unpacked where it is deflated."""
    file = open_regular(path)
    if syntax != DeflatedExplicitVRLittleEndian:
        return file
    with file:
        _read_meta(file)
        return BytesIO(_inflate(file, path))


def inflates_beyond(path: Path, limit_bytes: int) -> bool:
    """Whether a file is deflated and unpacks to more bytes than a limit; at most so many are unpacked, none is kept.

    Args:
        path: The file; one that is no DICOM file, or damaged, does not.
        limit_bytes: Largest size of the unpacked data set.
    """
    try:
        with open_regular(path) as file:
            source = cast("BinaryIO", _Bounded(file, path.stat().st_size))
            if _read_meta(source).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
                return False
            unpacked = 0
            for piece in _unpack(file, zlib.decompressobj(-zlib.MAX_WBITS)):
                unpacked += len(piece)
                if unpacked > limit_bytes:
                    return True
    except Exception:  # noqa: BLE001 - on damaged bytes a parser may raise anything; who reads the file says what is wrong
        return False
    return False


def _parse(file: BinaryIO, path: Path, tags: list[BaseTag]) -> Parsed:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(MARK_AT + len(_MARK))
    if not looks_like_dicom(head):
        raise DataError(f"{path}: {_describe(head)}; give a DICOM file")
    source = cast("BinaryIO", _Bounded(file, size))
    meta = _read_meta(source)
    syntax = _find_syntax(meta, source, path)
    if syntax == DeflatedExplicitVRLittleEndian:
        whole = _inflate(file, path)
        size = len(whole)
        source = cast("BinaryIO", _Bounded(BytesIO(whole), size))
    elements = count()
    dataset = read_dataset(
        source,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
        stop_when=lambda tag, _vr, length: _is_end(next(elements), tag, length, tags),
        specific_tags=cast("list[BaseTag | int]", tags),
    )
    if Tag("SOPClassUID") in tags and "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" in meta:
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    return Parsed(dataset, syntax, _find_pixels(source, size, little=syntax != ExplicitVRBigEndian))


def _is_end(number: int, tag: BaseTag, length: int, wanted: Sequence[BaseTag]) -> bool:
    """Whether an element is that of the pixels; refuses one whose value no reader should hold."""
    if number > MOST_ELEMENTS:
        raise DataError(f"more than {MOST_ELEMENTS:,} elements in its header; export it again without private tags")
    if LONGEST_VALUE < length < UNDEFINED and tag in wanted and tag not in _GROUPS:
        raise DataError(f"a value of {length:,} bytes in its header; export it again")
    return tag in _PIXEL_TAGS


def _describe(head: bytes) -> str:
    """What a file is that is not DICOM."""
    names = {jpeg.SIGNATURE: "JPEG", png.SIGNATURE: "PNG", bmp.SIGNATURE: "BMP"}
    names |= dict.fromkeys(tiff.SIGNATURES, "TIFF")
    kind = next((name for signature, name in names.items() if head.startswith(signature)), None)
    if kind:
        return f"not DICOM but a {kind} picture"
    return "not DICOM" if head else "the file is empty"


def _read_meta(file: BinaryIO) -> Dataset:
    """Read the file meta group, whatever length it claims, and stop at the data set."""
    file.seek(MARK_AT)
    if file.read(len(_MARK)) != _MARK:
        file.seek(0)
    return read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2
    )


def _find_syntax(meta: Dataset, file: BinaryIO, path: Path) -> UID:
    if "TransferSyntaxUID" in meta:
        return UID(str(meta.TransferSyntaxUID))
    if len(meta):
        raise DataError(f"{path}: its header names no transfer syntax; export it again as DICOM Part 10")
    place = file.tell()
    first = file.read(6)
    file.seek(place)
    return ExplicitVRLittleEndian if first[4:6].isalpha() and first[4:6].isupper() else ImplicitVRLittleEndian


def _inflate(file: BinaryIO, path: Path) -> bytes:
    """Unpack the rest of a file, up to ``MOST_BYTES``."""
    unpacker, first = zlib.decompressobj(-zlib.MAX_WBITS), file.tell()
    whole = bytearray()
    for piece in _unpack(file, unpacker):
        whole += piece
        if len(whole) > max(LIKELY_BYTES, MOST_FOLD * (file.tell() - first)):
            raise DataError(
                f"{path}: unpacks to more than {MOST_FOLD} times its size, as no scan does; give the original"
            )
        if len(whole) > MOST_BYTES:
            raise DataError(f"{path}: unpacks to more than the limit of {MOST_BYTES:,} bytes; give a smaller file")
    if not unpacker.eof:
        raise DataError(f"{path}: truncated (its deflated data has no end); copy it again from its source")
    return bytes(whole)


def _unpack(file: BinaryIO, unpacker: zlib._Decompress) -> Iterator[bytes]:
    """Yield the unpacked rest of a file in pieces."""
    while (piece := file.read(_PACKED_CHUNK)) and not unpacker.eof:
        while piece:
            yield unpacker.decompress(piece, _CHUNK)
            piece = unpacker.unconsumed_tail


def _find_pixels(file: BinaryIO, size: int, *, little: bool) -> PixelElement | None:
    """Read the head of the element at which parsing stopped."""
    order = "little" if little else "big"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, element = (int.from_bytes(part, order) for part in (head[:2], head[2:4]))  # type: ignore[arg-type]
    keyword = _PIXEL_TAGS.get(group << 16 | element)
    if keyword is None:
        return None
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[8:12] if explicit else head[4:8], order)  # type: ignore[arg-type]
    offset = file.tell() - (0 if explicit else len(head) - 8)
    return PixelElement(keyword, offset, length, max(size - offset, 0))

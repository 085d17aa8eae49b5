"""Reading of TIFF and BigTIFF files: one page, or a refusal."""

from __future__ import annotations

import ctypes
import io
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import _imaging
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from tumortrace.data.ifd import Directories, read_whole, walk
from tumortrace.data.samples import ORIENTATION, Header, Samples, most_pixels, take_samples
from tumortrace.errors import DataError

_BIG_ENDIAN_BIGTIFF = b"MM\x00+"
SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", _BIG_ENDIAN_BIGTIFF)
_BIG = 43  # version of BigTIFF in its header

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # photometric interpretations
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples that the photometric interpretation explains
_PREMULTIPLIED = 1
_ALPHA = {_PREMULTIPLIED, 2}  # kinds of extra samples that are an opacity
_SAMPLE_TYPES = {1: "uint", 2: "int", 3: "float"}
_WIDE = {"int8", "int16", "int32", "uint32", "float32", "float64"}
"""Types beyond 8 and 16 bits that are read; their grey values have no white, and only their order and steps count."""
_SEPARATE_PLANES = 2
_USED = {256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 320, 322, 323, 324, 325, 338, 339}
_MOST_VALUES = 2**20  # strips or tiles of 64 pixels each are fewer
_LOSSY = {6, 7, 34892, 50001}  # JPEG, and WebP


@dataclass(frozen=True)
class _Page:
    """What the tags of a page say of its pixels."""

    size_wh: tuple[int, int]
    bits: int
    samples: int
    sample_type: str
    photometric: int
    extra: tuple[int, ...]
    compression: int
    orientation: int
    has_planes: bool

    @property
    def stored_type(self) -> str:
        """Name of the NumPy dtype of the stored samples, such as ``"uint8"``; there are others than NumPy knows."""
        return f"{self.sample_type}{self.bits}"

    @property
    def is_wide(self) -> bool:
        """Whether the samples are other than unsigned integers of at most 16 bits."""
        return self.sample_type != "uint" or self.bits > 16


def read_header(data: bytes) -> Header:
    """Read the size, the number of pages and the orientation.

    Raises:
        DataError: Its list of tags is damaged, or states no size; the message lacks the file.
    """
    if data[:4] == _BIG_ENDIAN_BIGTIFF:  # Pillow takes it for a plain TIFF
        raise DataError("a BigTIFF with the highest byte first, which is not read")
    directories = walk(data)
    width, height, turn = (_read_one(data, directories, tag) for tag in (256, 257, ORIENTATION))
    if width is None or height is None:
        raise DataError("its list of tags is cut off or damaged")
    orientation = turn if turn is not None and 1 <= turn <= 8 else 1
    return Header("a TIFF", (width, height), _count_pages(data, directories), "pages", orientation)


def read_tiff(data: bytes, path: Path) -> Samples:
    """Read a TIFF of one page in strips or tiles, upright; where 0 is white, the values are inverted.

    Raises:
        DataError: Samples that are neither colour nor opacity, a type or compression of samples that is not read, or
            NaN or infinity among them.
    """
    tags = _read_tags(data)
    page = _describe(tags)
    _refuse_unknown(page, path)
    _check_blocks(tags, page)
    decoded = _decode_wide(data, page, path) if page.is_wide else _decode(data, tags, page)
    if page.photometric == _WHITE_IS_ZERO and page.bits > 8:  # with fewer bits the decoders invert it themselves
        decoded = replace(decoded, colour=(2**page.bits - 1 - decoded.colour).astype(np.uint16))
    return replace(decoded, lossy=page.compression in _LOSSY, turned=page.orientation in range(2, 9))


def _read_one(data: bytes, directories: Directories, tag: int) -> int | None:
    return read_whole(data, directories.entries.get(tag), directories.order)


def _count_pages(data: bytes, directories: Directories) -> int:
    """The number of pages; ImageJ writes one directory for a whole stack, and says so in its description."""
    entry = directories.entries.get(270)
    text = bytes(data[entry.offset : entry.offset + min(entry.number, 2**16)]) if entry else b""
    stack = re.search(rb"^images=(\d{1,9})\b", text, re.MULTILINE)
    return int(stack[1]) if stack and text.startswith(b"ImageJ=") else directories.pages


def _read_tags(data: bytes) -> dict[int, Any]:
    """Tags of the first page that say how its pixels are stored."""
    counts = {tag: entry.number for tag, entry in walk(data).entries.items() if tag in _USED}
    if max(counts.values(), default=0) > _MOST_VALUES:
        raise DataError(f"a tag of {max(counts.values()):,} values, more than any picture needs")
    directory, file = ImageFileDirectory_v2(data[:16] if _BIG in data[2:4] else data[:8]), io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    return {tag: directory[tag] for tag in _USED if tag in directory}


def _describe(tags: dict[int, Any]) -> _Page:
    if 256 not in tags or 257 not in tags:
        raise DataError("its list of tags is cut off or damaged")
    bits = tags.get(258, (1,))
    if len(set(bits)) > 1:
        raise DataError(f"channels of different depths {bits}")
    return _Page(
        size_wh=(tags[256], tags[257]),
        bits=bits[0],
        samples=tags.get(277, 1),
        sample_type=_SAMPLE_TYPES.get(tags.get(339, (1,))[0], "void"),
        photometric=tags.get(262, 1),
        extra=tuple(tags.get(338, ())),
        compression=tags.get(259, 1),
        orientation=tags.get(274, 1),
        has_planes=tags.get(284) == _SEPARATE_PLANES and tags.get(277, 1) > 1,
    )


def _refuse_unknown(page: _Page, path: Path) -> None:
    if page.is_wide and (page.stored_type not in _WIDE or page.samples > 1 or page.photometric != _BLACK_IS_ZERO):
        raise DataError(
            f"{path}: pixels of type {page.stored_type}, {page.samples} a pixel, of photometric interpretation "
            f"{page.photometric}; store grey values with 8 or 16 bits"
        )
    more = page.samples - _COLOURS.get(page.photometric, page.samples)
    untagged = not page.extra and page.photometric == _RGB  # some writers add the opacity without saying so
    if more > 1 or (more == 1 and not untagged and page.extra[:1] not in {(kind,) for kind in _ALPHA}):
        raise DataError(
            f"{path}: a TIFF with {page.samples} channels, {more} of them neither colour nor opacity; save each "
            "channel as a picture of its own"
        )
    if page.bits == 16 and (page.has_planes or page.samples == 2 or page.extra == (_PREMULTIPLIED,)):
        # OpenCV mixes the planes up, drops the opacity of grey, and takes every colour as if nothing were multiplied.
        raise DataError("16-bit channels in separate planes, of grey with opacity, or premultiplied, are not read")


def _check_blocks(tags: dict[int, Any], page: _Page) -> None:
    """Refuse a page without all of its strips or tiles, which decoders fill with black."""
    width, height = page.size_wh
    rows, columns = min(tags.get(278, height), height), width  # strips
    if 323 in tags:
        rows, columns = tags[323], tags[322]  # tiles
    if rows * columns > most_pixels():  # a decoder takes memory for a whole one
        raise DataError(f"its tiles have {columns} x {rows} pixels")
    planes = page.samples if page.has_planes else 1
    places = tags.get(324 if 323 in tags else 273, ())
    if len(places) < math.ceil(height / rows) * math.ceil(width / columns) * planes or not all(places):
        raise DataError("some of its pixels are missing")


def _decode(data: bytes, tags: dict[int, Any], page: _Page) -> Samples:
    """Decode by Pillow, or by OpenCV where Pillow keeps 8 of 16 bits or knows no inverted ones."""
    if page.bits == 16 and page.photometric in {_WHITE_IS_ZERO, _RGB}:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise DataError("damaged, or of a compression that is not read; LZW and deflate are")
        return _from_opencv(image)
    samples = take_samples(TiffImageFile(io.BytesIO(data)))
    if samples.index is not None and max(tags[320]) < 256:  # palettes of 8 bits, which Pillow cuts to 0
        palette = np.reshape(tags[320], (3, -1)).T.astype(np.uint8)
        return replace(samples, colour=palette[samples.index])
    return samples


def _decode_wide(data: bytes, page: _Page, path: Path) -> Samples:
    """Decode grey values with a sign, a fraction or 32 bits by OpenCV; Pillow mixes up their bytes."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2 or image.dtype != page.stored_type:
        raise DataError(f"damaged, or {page.stored_type} under a compression that is not read; LZW and deflate are")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise DataError(f"{path}: holds NaN or infinity; replace them by the value of the background")
    return Samples(image)


def _from_opencv(image: NDArray[Any]) -> Samples:
    if image.ndim == 2:
        return Samples(image)
    alpha = np.ascontiguousarray(image[:, :, 3]) if image.shape[2] == 4 else None
    return Samples(np.ascontiguousarray(image[:, :, 2::-1]), alpha)


def _silence_libtiff() -> None:
    """Keep Pillow's libtiff from printing what Pillow raises as well; where it is linked in (Windows) it still does."""
    try:
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    except (AttributeError, OSError):
        return


_silence_libtiff()

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

from tumortrace.data.samples import Samples, check_header, take_samples
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


def read_tiff(data: bytes, path: Path) -> Samples:
    """Read a TIFF of one page in strips or tiles, upright; where 0 is white, the values are inverted.

    Raises:
        DataError: Several pages, samples that are neither colour nor opacity, a type or compression of samples that is
            not read, too many pixels, or NaN or infinity among them.
    """
    tags, pages = _read_tags(data)
    page = _describe(tags)
    check_header(path, kind="a TIFF", size_wh=page.size_wh, frames=pages, unit="pages")
    _refuse_unknown(page, path)
    _check_blocks(tags, page)
    decoded = _decode_wide(data, page, path) if page.is_wide else _decode(data, tags, page)
    if page.photometric == _WHITE_IS_ZERO and page.bits > 8:  # with fewer bits the decoders invert it themselves
        decoded = replace(decoded, colour=(2**page.bits - 1 - decoded.colour).astype(np.uint16))
    return replace(decoded, lossy=page.compression in _LOSSY, turned=page.orientation in range(2, 9))


def _read_tags(data: bytes) -> tuple[dict[int, Any], int]:
    """Tags of the first page, and the number of pages."""
    if data.startswith(_BIG_ENDIAN_BIGTIFF):  # Pillow takes it for a plain TIFF
        raise DataError("a BigTIFF with the highest byte first, which is not read")
    head = data[:16] if _BIG in data[2:4] else data[:8]
    directory, file = ImageFileDirectory_v2(head), io.BytesIO(data)
    first: dict[int, Any] = {}
    seen: set[int] = set()
    while directory.next and directory.next not in seen:
        seen.add(directory.next)
        file.seek(directory.next)
        directory.load(file)
        first = first or dict(directory)
    stack = re.search(r"^images=(\d+)", str(first.get(270, "")), re.MULTILINE)  # one directory for a whole ImageJ stack
    is_stack = stack is not None and str(first[270]).startswith("ImageJ=")
    return first, int(stack[1]) if stack and is_stack else len(seen)


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

"""A slice: the grey pixels of one picture on their own grid, read from JPEG, PNG or TIFF, or taken from an array."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.errors import DataError
from tumortrace.files import write_atomically

COLOURED = 0.12
"""Spread of a pixel's channels, as a share of white, from which it is called coloured."""

COLOUR_STEP = 4
"""Every so many rows and columns are looked at for colour: a sixteenth of the pixels says enough."""

NO_CONTRAST = 1e-6
"""Contrast below this fraction of the brightest value is float32 rounding; it must not be scaled up to 1."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})

# What is wrong with a picture is said once, in our own words; OpenCV would print its own on stderr as well.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND"
_TIFF_STARTS = (b"II*\x00", b"MM\x00*")
_DICOM_MARK = b"DICM"
_DICOM_HEAD = 132  # bytes that say whether a file is DICOM: 128 of anything, then the mark


@dataclass(frozen=True, eq=False)
class Slice:
    """One 2D picture.

    Attributes:
        pixels: Grey values, shape (H, W), as stored (not rescaled): uint8 or uint16 from a file, any real dtype from
            an array.
        case_id: What the picture is called in tables and messages; for a file in a dataset its path within it.
        spacing_mm: Distance between pixel centres along rows and columns (axis 0, axis 1) in millimetres, or None if
            the file does not say.
        colour_share: Share of the pixels that were visibly coloured before they became grey, 0 to 1.
    """

    pixels: NDArray[Any]
    case_id: str
    spacing_mm: tuple[float, float] | None = None
    colour_share: float = 0.0

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape
        return height, width


def read_slice(path: PathLike[str] | str, case_id: str | None = None) -> Slice:
    """Read a JPEG, PNG or TIFF file of 8 or 16 bits as grey pixels.

    Colour becomes luma (ITU-R BT.601, as OpenCV computes it), transparent pixels are laid on black, and the picture is
    turned upright as its EXIF tag says. 16-bit values are kept.

    Args:
        path: The file.
        case_id: Name of the slice; the file's name if None.

    Raises:
        DataError: The file is missing, empty, truncated, damaged, DICOM, or not a picture of 8 or 16 bits.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    pixels, colour_share = _decode(data, path=path)
    return Slice(pixels, case_id or path.name, colour_share=colour_share)


def hint_at_dicom(files: Iterable[PathLike[str] | str]) -> str:
    """The end of a message on a folder without pictures: how to come by some, if one of the first files is DICOM."""
    for path in map(Path, islice(files, 20)):
        try:
            with path.open("rb") as file:
                head = file.read(_DICOM_HEAD)
        except OSError:  # what cannot be opened says nothing
            continue
        if _is_dicom(head, path=path):
            return f"; {path.name} is DICOM: export its slices as PNG or TIFF"
    return ""


def slice_from_array(pixels: NDArray[Any], *, case_id: str = "array") -> Slice:
    """Take an array for a slice.

    Args:
        pixels: Grey values (H, W) of any real dtype, finite; or red-green-blue (H, W, 3), uint8 or uint16, which
            becomes luma as a file's colours do.
        case_id: What the slice is called in messages.

    Raises:
        DataError: Another shape or dtype, no pixel at all, or a value that is not finite.
    """
    if pixels.size and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype in (np.uint8, np.uint16):
        image = np.ascontiguousarray(pixels[:, :, ::-1])
        return Slice(_grey(image), case_id, colour_share=_colour_share(image))
    if not pixels.size or pixels.ndim != 2 or pixels.dtype.kind not in "uif":
        raise DataError(
            f"{case_id}: an array of shape {pixels.shape} and type {pixels.dtype}; give grey values (height, width), "
            "or red-green-blue (height, width, 3) of uint8 or uint16"
        )
    if not np.isfinite(pixels).all():
        raise DataError(f"{case_id}: holds NaN or infinity; replace them before segmenting")
    return Slice(pixels, case_id)


def with_spacing(image: Slice, spacing_mm: tuple[float, float]) -> Slice:
    """The same slice with its pixels' distances as somebody else knows them.

    Args:
        image: The slice.
        spacing_mm: Distance between pixel centres along rows and columns, in millimetres.

    Raises:
        DataError: Not two positive numbers.
    """
    if not (len(spacing_mm) == 2 and all(0 < step < math.inf for step in spacing_mm)):
        raise DataError(f"{image.case_id}: spacing_mm {spacing_mm}; give two positive numbers, along rows and columns")
    return replace(image, spacing_mm=spacing_mm)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask picture of at most two values: tumour wherever it is not black, so 0 and 1 do as well as 0 and 255.

    Returns:
        Shape (H, W), bool.

    Raises:
        DataError: As ``read_slice``; or the picture holds values between black and white, as a mask that went through
            JPEG or a smooth resize does, because no rule can give such a mask its outline back.
    """
    pixels = read_slice(path).pixels
    highest = int(pixels.max())
    if highest > 0 and not np.isin(pixels, (0, highest)).all():
        values = len(np.unique(pixels))
        raise DataError(f"{path}: not a binary mask ({values} grey values); store masks as PNG with 0 and 255 only")
    return np.asarray(pixels > 0)


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture atomically: a killed program leaves the old file or the new one.

    Args:
        path: Where to; its folder is made if need be.
        pixels: Shape (H, W) grey or (H, W, 3) red-green-blue, uint8.
    """
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    ok, encoded = cv2.imencode(".png", ordered)
    if not ok:
        raise DataError(f"{path}: a picture of shape {pixels.shape} cannot be written as PNG")
    write_atomically(path, encoded.tobytes())


def _decode(data: bytes, *, path: Path) -> tuple[NDArray[Any], float]:
    """Grey pixels, and the share of them that were coloured."""
    if not data:
        raise DataError(f"{path}: the file is empty; copy it again from its source")
    if _is_truncated(data):
        raise DataError(f"{path}: the picture is truncated ({len(data)} bytes); copy it again from its source")
    if data.startswith(_PNG_START) and _has_wrong_checksum(data):
        raise DataError(f"{path}: the PNG is damaged (a checksum in it is wrong); copy it again from its source")
    buffer = np.frombuffer(data, dtype=np.uint8)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
        # JPEG has no transparency; the other two are decoded once more to learn whether they have.
        raw = None if data.startswith(_JPEG_START) else cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        pages = cv2.imcount(str(path)) if data.startswith(_TIFF_STARTS) else 1
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded ({error.err}); give a JPEG, PNG or TIFF picture") from None
    if image is None and _is_dicom(data[:_DICOM_HEAD], path=path):
        raise DataError(f"{path}: a DICOM file, which cannot be read; export its slices as PNG or TIFF")
    if image is None:
        raise DataError(f"{path}: not a picture that can be decoded; give a JPEG, PNG or TIFF file")
    if pages > 1:
        raise DataError(f"{path}: a TIFF with {pages} pages; save each page as a picture of its own")
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: pixels of type {image.dtype}; store the picture with 8 or 16 bits a channel")
    if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
        return _grey_on_black(_turn_upright(raw, image)), _colour_share(image)
    return _grey(image), _colour_share(image)


def _is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG stops before its end marker, which decoders pass over with grey pixels and a warning."""
    if data.startswith(_JPEG_START):
        return data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN) or _JPEG_SCAN not in data
    if data.startswith(_PNG_START):
        return _PNG_END not in data[-4096:]
    return False


def _has_wrong_checksum(png: bytes) -> bool:
    """Whether a chunk that the picture needs is damaged; the decoder refuses it too, but prints lines of its own."""
    view, at = memoryview(png), len(_PNG_START)
    while at + 8 <= len(png):
        kind = png[at + 4 : at + 8]
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        if kind == _PNG_END:
            break
        needed = kind[:1].isupper()
        if needed and zlib.crc32(view[at + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            return True
        at = end + 4
    return False


def _is_dicom(head: bytes, *, path: Path) -> bool:
    """Whether a file is DICOM by its mark, or by its name, since old files have none."""
    return head.endswith(_DICOM_MARK, _DICOM_HEAD - len(_DICOM_MARK)) or path.suffix.lower() in {".dcm", ".dicom"}


def _grey(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _turn_upright(raw: NDArray[Any], upright: NDArray[Any]) -> NDArray[Any]:
    """Turn a picture with transparency, which OpenCV gives as stored, the way that it turns the one without."""
    for flipped in (raw, raw[:, ::-1]):
        for turns in range(4):
            turned = np.rot90(flipped, turns)
            if turned.shape[:2] == upright.shape[:2] and np.array_equal(turned[:, :, :3], upright):
                return turned
    return raw


def _colour_share(image: NDArray[Any]) -> float:
    """Share of pixels whose channels lie further apart than JPEG makes the channels of a grey picture."""
    if image.ndim == 2:
        return 0.0
    sample = image[::COLOUR_STEP, ::COLOUR_STEP, :3].astype(np.int32)
    spread = sample.max(axis=2) - sample.min(axis=2)
    return float((spread > COLOURED * np.iinfo(image.dtype).max).mean())


def _grey_on_black(image: NDArray[Any]) -> NDArray[Any]:
    opaque = float(np.iinfo(image.dtype).max)
    grey = _grey(np.ascontiguousarray(image[:, :, :3])).astype(np.float64)
    return np.rint(grey * (image[:, :, 3] / opaque)).astype(image.dtype)

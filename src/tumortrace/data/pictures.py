"""Reading of picture files: every stored sample, or a refusal."""

from __future__ import annotations

import base64
import io
import json
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tumortrace.data import bmp, jpeg, png, tiff
from tumortrace.data.samples import (
    ORIENTATION,
    QUARTER_TURNED,
    Samples,
    apply_orientation,
    check_header,
    read_orientation,
    take_samples,
)
from tumortrace.errors import DataError, printable
from tumortrace.files import read_regular_file

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"})
"""Endings of the files that are taken for pictures in a folder, in lower case."""

READABLE = "JPEG, PNG, TIFF, BMP, GIF or WebP"
"""Names of the formats, for messages."""

MOST_BYTES = 2**30
"""Largest file that is read; the largest picture that is decoded takes half of it."""

# What is wrong with a picture is said once, in our own words, with the file's name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")

_IMAGE_DATA = b'"imageData"'
_DICOM_MARK = b"DICM"
DICOM_HEAD = 132
"""Bytes that say whether a file is DICOM: 128 of anything, then the mark."""


class DicomFileError(DataError):
    """A DICOM file where a picture is needed."""


def read_picture(path: Path) -> Samples:
    """Read a picture file, whatever its name ends in.

    Raises:
        DataError: The file cannot be read, is no picture, is damaged, holds several frames or unknown channels, or is
            too large.
    """
    data = read_regular_file(path, most_bytes=MOST_BYTES)
    return read_picture_bytes(data, path)


def read_picture_bytes(data: bytes, path: Path) -> Samples:
    """Read the content of a picture file.

    Args:
        data: The content.
        path: Name of the file, for messages.

    Raises:
        DataError: It is no picture, is damaged, holds several frames or unknown channels, or is too large.
    """
    if not data:
        raise DataError(f"{path}: the file is empty; copy it again from its source")
    try:
        return decode_picture(data, path)
    except DataError as error:
        if str(error).startswith(printable(str(path))):
            raise
        cause = str(error)
    except MemoryError:
        cause = "there is too little memory for it"
    except Exception as error:  # noqa: BLE001 - on a damaged file a decoder may raise anything
        cause = str(error) or type(error).__name__
    raise DataError(f"{path}: cannot be decoded ({cause}); copy it again from its source, or save it as PNG")


def read_image_data(data: bytes) -> bytes:
    """Return the picture file in an annotation file of labelme, which holds it as ``imageData``.

    Raises:
        DataError: There is none; the message lacks the file.
    """
    try:
        return base64.b64decode(json.loads(data)["imageData"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError("it holds no picture that can be read (imageData); add the image file") from None


def read_size_hw(path: Path) -> tuple[int, int]:
    """Read height and width of a picture, once its orientation tag has turned it, from its header alone.

    Raises:
        DataError: The file cannot be read, or is no picture.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) in QUARTER_TURNED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: its size cannot be read ({error}); copy it again from its source") from None
    return (width, height) if turned else (height, width)


def is_dicom(head: bytes, *, path: Path) -> bool:
    """Whether a file is DICOM by its mark, or by its name, since old files have none."""
    return head.endswith(_DICOM_MARK, DICOM_HEAD - len(_DICOM_MARK)) or path.suffix.lower() in {".dcm", ".dicom"}


def decode_picture(data: bytes, path: Path) -> Samples:
    """Decode the content of a picture file, or the picture in an annotation file of labelme.

    Raises:
        DataError: It is no picture, is damaged, holds several frames or unknown channels, or is too large.
        Exception: A decoder failed on a damaged file.
    """
    is_annotation = _IMAGE_DATA in data and data.lstrip().startswith(b"{")
    return _decode(read_image_data(data) if is_annotation else data, path)


def _decode(data: bytes, path: Path) -> Samples:
    if is_dicom(data[:DICOM_HEAD], path=Path()):  # first: the bytes before its mark may be those of a TIFF
        raise DicomFileError(f"{path}: a DICOM file, which cannot be read here; export its slices as PNG or TIFF")
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.read_jpeg(data, path)
    if data.startswith(png.SIGNATURE):
        return png.read_png(data, path)
    if data.startswith(tiff.SIGNATURES):
        return tiff.read_tiff(data, path)
    if data.startswith(bmp.SIGNATURE):
        return bmp.read_bmp(data, path)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _read_frame(GifImageFile(io.BytesIO(data)), path, kind="a GIF")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            raise DataError(f"{path}: the picture is truncated ({len(data)} bytes); copy it again from its source")
        samples = _read_frame(WebPImageFile(io.BytesIO(data)), path, kind="a WebP")
        return replace(samples, lossy=_is_lossy_webp(data))
    if is_dicom(data[:DICOM_HEAD], path=path):
        raise DicomFileError(f"{path}: a DICOM file, which cannot be read here; export its slices as PNG or TIFF")
    raise DataError(f"{path}: not a picture that can be decoded; give a {READABLE} file")


def _read_frame(image: ImageFile, path: Path, *, kind: str) -> Samples:
    check_header(path, kind=kind, size_wh=image.size, frames=getattr(image, "n_frames", 1))
    return apply_orientation(take_samples(image), read_orientation(image.info.get("exif")))


def _is_lossy_webp(data: bytes) -> bool:
    at = 12  # behind RIFF, the file's length and WEBP
    while at + 8 <= len(data):
        if data[at : at + 4] == b"VP8L":
            return False
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return True

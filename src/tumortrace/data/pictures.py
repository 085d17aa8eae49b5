"""Reading of picture files: every stored sample, or a refusal."""

from __future__ import annotations

import base64
import mmap
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from tumortrace.data import bmp, gif, jpeg, png, tiff, webp
from tumortrace.data.samples import Header, Samples, check_header
from tumortrace.errors import DataError, printable
from tumortrace.json_csv import parse_json
from tumortrace.regular_files import open_regular, read_regular_file

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"})
"""Endings of the files that are taken for pictures in a folder, in lower case."""

READABLE = "JPEG, PNG, TIFF, BMP, GIF or WebP"
"""Names of the formats, for messages."""

MOST_BYTES = 2**30
"""Largest file that is read; the largest picture that is decoded takes half of it."""

# What is wrong with a picture is said once, in our own words, with the file's name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")

_OBJECT, _IMAGE_DATA = re.compile(rb"\s*\{"), re.compile(rb'"imageData"')
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
        return base64.b64decode(parse_json(data)["imageData"], validate=True)
    except (ValueError, KeyError, TypeError):
        raise DataError("it holds no picture that can be read (imageData); add the image file") from None


def read_size_hw(path: Path) -> tuple[int, int]:
    """Read height and width of a picture, once its orientation tag has turned it, from its header alone.

    Raises:
        DataError: The file cannot be read, or is no picture.
    """
    try:
        with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = read_header(data)
    except (OSError, ValueError, DataError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: its size cannot be read ({cause}); copy it again from its source") from None
    check_header(path, header)
    return header.size_hw


def read_header(data: bytes | mmap.mmap) -> Header:
    """Read what the header of a picture promises, also of one in an annotation file; no pixel is decoded.

    Raises:
        DataError: It is no picture, or its header is damaged; the message lacks the file.
    """
    picture = read_image_data(data[:]) if _holds_picture(data) else data
    reader = _find_reader(picture)
    if reader is None:
        raise DataError("not a picture that can be decoded")
    return reader[0](picture)


def is_dicom(head: bytes, *, path: Path) -> bool:
    """Whether a file is DICOM by its mark, or by its name, since old files have none."""
    return head.endswith(_DICOM_MARK, DICOM_HEAD - len(_DICOM_MARK)) or path.suffix.lower() in {".dcm", ".dicom"}


def decode_picture(data: bytes, path: Path) -> Samples:
    """Decode the content of a picture file, or the picture in an annotation file of labelme.

    Raises:
        DataError: It is no picture, is damaged, holds several frames or unknown channels, or is too large.
        Exception: A decoder failed on a damaged file.
    """
    return _decode(read_image_data(data) if _holds_picture(data) else data, path)


def is_object(data: bytes | mmap.mmap) -> bool:
    """Whether a file begins as a JSON object does."""
    return _OBJECT.match(data) is not None


def _holds_picture(data: bytes | mmap.mmap) -> bool:
    """Whether a file may be an annotation file of labelme that holds its picture."""
    return is_object(data) and _IMAGE_DATA.search(data) is not None


def _decode(data: bytes, path: Path) -> Samples:
    if is_dicom(data[:DICOM_HEAD], path=Path()):  # first: the bytes before its mark may be those of a TIFF
        raise DicomFileError(f"{path}: a DICOM file, which cannot be read here; export its slices as PNG or TIFF")
    reader = _find_reader(data)
    if reader is not None:
        check_header(path, reader[0](data))
        return reader[1](data, path)
    if is_dicom(data[:DICOM_HEAD], path=path):
        raise DicomFileError(f"{path}: a DICOM file, which cannot be read here; export its slices as PNG or TIFF")
    raise DataError(f"{path}: not a picture that can be decoded; give a {READABLE} file")


def _find_reader(data: bytes | mmap.mmap) -> tuple[Callable[[Any], Header], Callable[[bytes, Path], Samples]] | None:
    """The functions that read header and samples of a format, which the first bytes tell."""
    head = bytes(data[:12])
    if head.startswith(jpeg.SIGNATURE):
        return jpeg.read_header, jpeg.read_jpeg
    if head.startswith(png.SIGNATURE):
        return png.read_header, png.read_png
    if head.startswith(tiff.SIGNATURES):
        return tiff.read_header, tiff.read_tiff
    if head.startswith(bmp.SIGNATURE):
        return bmp.read_header, bmp.read_bmp
    if head.startswith(gif.SIGNATURES):
        return gif.read_header, gif.read_gif
    return (webp.read_header, webp.read_webp) if webp.is_webp(head) else None

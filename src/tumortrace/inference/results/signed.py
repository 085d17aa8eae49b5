"""Marks in files that tumortrace writes, by which it recognises its own."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.png_writing import encode_mask, encode_png
from tumortrace.json_csv import read_json
from tumortrace.regular_files import open_regular
from tumortrace.signed_png import is_signed_png, sign_png

_WORD = b"tumortrace "
_LENGTH = len(_WORD) + 8  # and eight digits of a checksum

_DICOM_MARK = slice(0, _LENGTH)
"""Place in the preamble of a DICOM file, which the standard leaves to the program that writes it."""

_NIFTI_MARK = slice(148, 148 + _LENGTH)
"""Place of ``descrip`` in the header of NIfTI-1: a free text of 80 bytes."""

_LONGEST_MASK = 2**29  # bytes, unpacked
_CHUNK = 2**20
_LONGEST_JSON = 1_000_000  # bytes: a sidecar names the files of one series


def encode_signed_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture as a PNG that says that tumortrace drew it.

    Args:
        pixels: Grey values (H, W) or red-green-blue (H, W, 3), uint8.
    """
    return sign_png(encode_png(pixels))


def encode_signed_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask, shape (H, W), bool, as such a PNG with 0 and 255."""
    return sign_png(encode_mask(mask))


def sign_dicom(data: bytes) -> bytes:
    """Mark a DICOM file in its preamble, with a checksum of all that it holds.

    Args:
        data: A whole file with an empty preamble.
    """
    return _sign(data, _DICOM_MARK)


def sign_nifti(data: bytes) -> bytes:
    """Mark a NIfTI-1 file in its ``descrip``, with a checksum of all that it holds.

    Args:
        data: A whole file, not compressed, with an empty ``descrip``.
    """
    return _sign(data, _NIFTI_MARK)


def is_signed(path: Path) -> bool:
    """Return whether tumortrace wrote a PNG, ``.nii.gz`` or ``.dcm`` file and nobody has changed it since.

    A JSON file is ours if it says that tumortrace made it.

    Args:
        path: A file; one that cannot be read is not ours.
    """
    name = path.name.lower()
    try:
        if name.endswith(".json"):
            return bool(read_json(path, most_bytes=_LONGEST_JSON)["GeneratedBy"][0]["Name"] == "tumortrace")
        if name.endswith(".nii.gz"):
            with open_regular(path) as packed, gzip.open(packed) as file:
                return _carries_mark(file, _NIFTI_MARK)
        if name.endswith(".dcm"):
            with open_regular(path) as file:
                return _carries_mark(file, _DICOM_MARK)
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
        return False
    return is_signed_png(path)


def _sign(data: bytes, place: slice) -> bytes:
    empty = _without_mark(data, place)
    return empty[: place.start] + _WORD + b"%08x" % zlib.crc32(empty) + empty[place.stop :]


def _carries_mark(file: IO[bytes] | gzip.GzipFile, place: slice) -> bool:
    """Whether the mark in a file fits all that it holds; of what is longer than any mask no more is read."""
    head = file.read(place.stop)
    if not head[place].startswith(_WORD):
        return False
    checksum, left = zlib.crc32(_without_mark(head, place)), _LONGEST_MASK
    while left > 0 and (piece := file.read(_CHUNK)):
        checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    return left > 0 and head[place] == _WORD + b"%08x" % checksum


def _without_mark(data: bytes, place: slice) -> bytes:
    return data[: place.start] + bytes(_LENGTH) + data[place.stop :]

"""Marks in files that tumortrace writes, by which it recognises its own."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

from tumortrace.signed_png import is_signed_png

_WORD = b"tumortrace "
_LENGTH = len(_WORD) + 8  # and eight digits of a checksum

_DICOM_MARK = slice(0, _LENGTH)
"""Place in the preamble of a DICOM file, which the standard leaves to the program that writes it."""

_NIFTI_MARK = slice(148, 148 + _LENGTH)
"""Place of ``descrip`` in the header of NIfTI-1: a free text of 80 bytes."""

_LONGEST_JSON = 1_000_000  # bytes: a sidecar names the files of one series


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
    if name.endswith(".json"):
        return _is_our_json(path)
    if name.endswith(".nii.gz"):
        return _is_signed_nifti(path)
    if name.endswith(".dcm"):
        return _is_signed_dicom(path)
    return is_signed_png(path)


def _is_signed_nifti(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would keep the reader waiting
            return False
        with gzip.open(path) as file:
            head = file.read(_NIFTI_MARK.stop)
            if not head[_NIFTI_MARK].startswith(_WORD):
                return False
            return _carries_mark(head + file.read(), _NIFTI_MARK)
    except (OSError, EOFError, zlib.error):
        return False


def _is_signed_dicom(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_LENGTH)
            return head.startswith(_WORD) and _carries_mark(head + file.read(), _DICOM_MARK)
    except OSError:
        return False


def _is_our_json(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST_JSON:
            return False
        document = json.loads(path.read_text(encoding="utf-8"))
        return bool(document["GeneratedBy"][0]["Name"] == "tumortrace")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _sign(data: bytes, place: slice) -> bytes:
    empty = _without_mark(data, place)
    return empty[: place.start] + _WORD + b"%08x" % zlib.crc32(empty) + empty[place.stop :]


def _carries_mark(data: bytes, place: slice) -> bool:
    return data[place] == _WORD + b"%08x" % zlib.crc32(_without_mark(data, place))


def _without_mark(data: bytes, place: slice) -> bytes:
    return data[: place.start] + bytes(_LENGTH) + data[place.stop :]

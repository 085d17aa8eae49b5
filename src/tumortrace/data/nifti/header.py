"""The header of a NIfTI file: type, shape, scaling, and where the voxels begin."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from tumortrace.data.findings import Finding, warning
from tumortrace.data.nifti.stream import open_bytes
from tumortrace.errors import DataError, describe_cause

_HEADER = 540  # bytes of a NIfTI-2 header; a NIfTI-1 header has 348

_MAGIC_1, _MAGIC_2 = (b"n+1\0", b"ni1\0"), (b"n+2\0", b"ni2\0")

_FURTHEST = 2**26  # byte at which voxels may begin; extensions are shorter

_CIFTI = range(3000, 3100)  # intent codes of connectivity matrices


def pair(path: Path) -> tuple[Path, Path]:
    """Return the files of header and voxels; the first exists.

    Raises:
        DataError: The file holds voxels, and there is no header beside it.
    """
    for own, other in ((".hdr", ".img"), (".img", ".hdr")):
        for end in (own, f"{own}.gz"):
            if path.name.lower().endswith(end):
                stem = path.name[: -len(end)]
                places = [path.with_name(stem + suffix) for suffix in (other, f"{other}.gz", other.upper())]
                found = next((place for place in places if place.is_file()), places[0])
                if own == ".hdr":
                    return path, found
                if not found.is_file():
                    raise DataError(f"{path}: {found.name} with its header is missing; put it beside the file")
                return found, path
    return path, path


def read_header(path: Path) -> Any:  # noqa: ANN401 - nibabel has no types
    """Return the header of a NIfTI-1 or NIfTI-2 file, unchecked.

    Raises:
        DataError: The file cannot be read, or is no NIfTI file.
    """
    try:
        with open_bytes(path) as file:
            head = file.read(_HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({describe_cause(error)}); copy it again from its source") from None
    if head[4:8] in _MAGIC_2 and len(head) < _HEADER:
        raise DataError(f"{path}: truncated within its header; copy it again from its source")
    length = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if 348 in length and head[344:348] in _MAGIC_1:
        return nibabel.Nifti1Header(head[:348], check=False)
    if 540 in length and head[4:8] in _MAGIC_2:
        return nibabel.Nifti2Header(head, check=False)
    if 348 in length and len(head) >= 348:
        raise DataError(f"{path}: ANALYZE 7.5, whose orientation is unknown; convert it to NIfTI")
    found = "empty" if not head else "not NIfTI"
    raise DataError(f"{path}: {found}; give a NIfTI-1 or NIfTI-2 file")


def read_shape(header: Any, path: Path) -> tuple[tuple[int, int, int], int]:  # noqa: ANN401
    """The shape of the first volume, and the number of volumes.

    Raises:
        DataError: The header is damaged, or that of a matrix (CIFTI).
    """
    intent, dims = int(header["intent_code"]), [int(side) for side in header["dim"]]
    if intent in _CIFTI:
        raise DataError(f"{path}: CIFTI (intent {intent}), a matrix, not a picture; give an image volume")
    rank, sides = dims[0], dims[1:]
    if not 1 <= rank <= 7 or min(sides[:rank]) < 1:
        raise DataError(f"{path}: damaged header (dimensions {in_words(dims)}); copy it again from its source")
    padded = sides[:rank] + [1] * (7 - rank)
    return (padded[0], padded[1], padded[2]), math.prod(padded[3:])


def read_type(header: Any, path: Path) -> np.dtype[Any]:  # noqa: ANN401
    """Return the stored type of a voxel.

    Raises:
        DataError: The type is unknown or holds no grey values.
    """
    try:
        stored_type: np.dtype[Any] = np.dtype(header.get_data_dtype())
    except Exception:  # noqa: BLE001 - nibabel raises several types of error
        raise DataError(f"{path}: unknown type of voxels ({int(header['datatype'])}); save it as int16") from None
    if stored_type.kind not in "iufV" or (stored_type.kind == "V" and not stored_type.names):
        raise DataError(f"{path}: voxels of type {stored_type}, not grey values; save the magnitude as float32")
    return stored_type


def read_offset(header: Any, path: Path, *, single: bool) -> int:  # noqa: ANN401
    """Return the place of the first voxel in the uncompressed file, in bytes.

    Args:
        header: The NIfTI header.
        path: Its file, for messages.
        single: Whether header and voxels are in one file.

    Raises:
        DataError: The place lies within the header or is no whole number.
    """
    value = float(header["vox_offset"])
    least = (int(header["sizeof_hdr"]) + 4) if single else 0
    if not math.isfinite(value) or not least <= value <= _FURTHEST or value != int(value):
        raise DataError(f"{path}: damaged header (voxels begin at byte {value:g}); copy it again from its source")
    return int(value)


def read_scaling(header: Any, path: Path) -> tuple[float, float, list[Finding]]:  # noqa: ANN401
    """Slope and intercept; NIfTI says that a slope of 0 means that values are not scaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0, []
    if not math.isfinite(intercept):
        cause = f"the slope is {slope:g} and the intercept {intercept:g}, which is taken as 0"
        return slope, 0.0, [warning("nifti-intercept", str(path), cause, "check the values")]
    return slope, intercept, []


def in_words(numbers: Any) -> str:  # noqa: ANN401 - any sequence of numbers
    """Return numbers as text, with an x between them."""
    return " x ".join(f"{float(number):g}" for number in numbers)

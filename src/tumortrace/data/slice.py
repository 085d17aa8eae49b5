"""A slice: grey pixels of one picture on their own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.pictures import DicomFileError, read_picture, read_picture_bytes
from tumortrace.errors import DataError
from tumortrace.files import write_atomically

COLOURED = 0.12
"""Spread of a pixel's channels, as a fraction of white, from which it is called coloured."""

COLOUR_STEP = 4
"""Distance of the rows and columns that are sampled for colour: a sixteenth of the pixels is enough."""

NO_CONTRAST = 1e-6
"""Contrast below this fraction of the brightest value is float32 rounding; it must not be scaled up to 1."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One 2D picture.

    Attributes:
        pixels: Grey values, shape (H, W), any real dtype, as stored (not rescaled).
        case_id: Name of the picture in tables and messages; for a file of a dataset, its path within it.
        spacing_mm: Distance between pixel centres along rows and columns (axis 0, axis 1) in millimetres, or None if
            unknown.
        colour_share: Fraction of the pixels that were visibly coloured before they became grey, 0 to 1.
        turned: Whether an orientation tag (EXIF) turned or mirrored the stored grid; a mask drawn on the stored grid
            does not fit.
        index: Number of the slice in its volume, from 0; None for a picture of its own.
        position_mm: Place (x, y, z) of the first pixel's centre in DICOM's patient coordinates (LPS); None if unknown.
        window: Lowest and highest grey value that the file wants shown as black and white; None if it does not say.
    """

    pixels: NDArray[Any]
    case_id: str
    spacing_mm: tuple[float, float] | None = None
    colour_share: float = 0.0
    turned: bool = False
    index: int | None = None
    position_mm: tuple[float, ...] | None = None
    window: tuple[float, float] | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape
        return height, width


def read_slice(
    path: PathLike[str] | str,
    case_id: str | None = None,
    *,
    spacing_mm: tuple[float, float] | None = None,
    data: bytes | None = None,
) -> Slice:
    """Read a picture file, or a DICOM or NIfTI file of one slice, as grey pixels.

    Colour becomes luma (ITU-R BT.601, as OpenCV computes it), transparent pixels are laid on black, and the picture is
    turned upright as its EXIF tag says. Values of more than 8 bits are kept.

    Args:
        path: A JPEG, PNG, TIFF, BMP, GIF, WebP, DICOM or NIfTI file.
        case_id: Name of the slice; the file's name if None.
        spacing_mm: Distance between pixel centres along rows and columns in millimetres; None takes what the file says.
        data: Content of the file, where it has been read; None reads it. DICOM and NIfTI files are read again.

    Raises:
        DataError: The file is missing, empty, truncated, damaged, too large, of several slices or unknown channels, or
            not a picture; or the spacing is not two positive numbers.
        TumortraceError: It is DICOM or NIfTI, and the library for it is not installed.
    """
    path = Path(path)
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return _read_scan(path, case_id, spacing_mm)
        samples = read_picture(path) if data is None else read_picture_bytes(data, path)
    except DicomFileError:
        return _read_scan(path, case_id, spacing_mm)
    grey = _grey(samples.colour)
    if samples.alpha is not None and samples.alpha.any():  # transparent all over, it would show nothing
        grey = _lay_on_black(grey, samples.alpha)
    image = Slice(grey, case_id or path.name, colour_share=_colour_share(samples.colour), turned=samples.turned)
    return image if spacing_mm is None else with_spacing(image, spacing_mm)


def slice_from_array(pixels: NDArray[Any], *, case_id: str = "array") -> Slice:
    """Make a slice of an array.

    Args:
        pixels: Grey values (H, W) of any real dtype, finite; or red-green-blue (H, W, 3), uint8 or uint16, which
            becomes luma as a file's colours do.
        case_id: Name of the slice in messages.

    Raises:
        DataError: Another shape or dtype, no pixel at all, or a value that is not finite.
    """
    if pixels.size and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype in (np.uint8, np.uint16):
        return Slice(_grey(np.ascontiguousarray(pixels)), case_id, colour_share=_colour_share(pixels))
    if not pixels.size or pixels.ndim != 2 or pixels.dtype.kind not in "uif":
        raise DataError(
            f"{case_id}: an array of shape {pixels.shape} and type {pixels.dtype}; give grey values (height, width), "
            "or red-green-blue (height, width, 3) of uint8 or uint16"
        )
    if not np.isfinite(pixels).all():
        raise DataError(f"{case_id}: holds NaN or infinity; replace them before segmenting")
    return Slice(pixels, case_id)


def fill_gaps(values: NDArray[Any]) -> NDArray[Any]:
    """Replace NaN and minus infinity by the smallest finite value, and infinity by the largest; 0 if none is finite.

    Args:
        values: Any shape and real dtype; integers are returned as they are.
    """
    if values.dtype.kind != "f" or (finite := np.isfinite(values)).all():
        return values
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    return np.asarray(np.nan_to_num(values, nan=low, posinf=high, neginf=low))


def with_spacing(image: Slice, spacing_mm: tuple[float, float]) -> Slice:
    """Return the same slice with another pixel spacing.

    Args:
        image: The slice.
        spacing_mm: Distance between pixel centres along rows and columns, in millimetres.

    Raises:
        DataError: Not two positive numbers.
    """
    if not (len(spacing_mm) == 2 and all(0 < step < math.inf for step in spacing_mm)):
        raise DataError(f"{image.case_id}: spacing_mm {spacing_mm}; give two positive numbers, along rows and columns")
    return replace(image, spacing_mm=spacing_mm)


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture atomically: a killed program leaves the old file or the new one.

    Args:
        path: File to write; its folder is made if need be.
        pixels: Shape (H, W) grey or (H, W, 3) red-green-blue, uint8.
    """
    write_atomically(path, encode_png(pixels))


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask, shape (H, W), bool, as PNG with 0 and 255."""
    return encode_png(mask.astype(np.uint8) * np.uint8(255))


def encode_png(pixels: NDArray[np.unsignedinteger[Any]]) -> bytes:
    """Return a picture as PNG, without loss.

    Args:
        pixels: Shape (H, W) grey or (H, W, 3) red-green-blue, uint8 or uint16.

    Raises:
        DataError: It has no pixel, or another shape.
    """
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    ok, encoded = cv2.imencode(".png", ordered)
    if not ok:
        raise DataError(f"a picture of shape {pixels.shape} cannot be written as PNG")
    return encoded.tobytes()


def _read_scan(path: Path, case_id: str | None, spacing_mm: tuple[float, float] | None) -> Slice:
    from tumortrace.data.scans import read_single_slice

    image = replace(read_single_slice(path), case_id=case_id or path.name)
    return image if spacing_mm is None else with_spacing(image, spacing_mm)


def _grey(colour: NDArray[Any]) -> NDArray[Any]:
    return colour if colour.ndim == 2 else np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY))


def _lay_on_black(grey: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    opaque = float(np.iinfo(alpha.dtype).max)
    return np.rint(grey.astype(np.float64) * (alpha / opaque)).astype(grey.dtype)


def _colour_share(colour: NDArray[Any]) -> float:
    """Fraction of pixels whose channels lie further apart than JPEG makes the channels of a grey picture."""
    if colour.ndim == 2:
        return 0.0
    sample = colour[::COLOUR_STEP, ::COLOUR_STEP].astype(np.int32)
    spread = sample.max(axis=2) - sample.min(axis=2)
    return float((spread > COLOURED * np.iinfo(colour.dtype).max).mean())

"""A slice: grey pixels of one picture on their own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.samples import Samples
from tumortrace.errors import DataError

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


def slice_from_array(pixels: NDArray[Any], *, case_id: str = "array") -> Slice:
    """Make a slice of an array.

    Args:
        pixels: Grey values (H, W) of any real dtype, finite; or red-green-blue (H, W, 3), uint8 or uint16, which
            becomes luma as a file's colours do.
        case_id: Name of the slice in messages.

    Raises:
        DataError: Another shape or dtype, no pixel at all, a masked pixel, or a value that is not finite.
    """
    if np.ma.is_masked(pixels):
        raise DataError(f"{case_id}: holds masked pixels; fill them before segmenting, for example with .filled(0)")
    pixels = np.asarray(pixels)  # not a np.matrix, whose rows stay two-dimensional
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
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


def slice_from_samples(samples: Samples, case_id: str) -> Slice:
    """Make a slice of the samples of a picture file.

    Colour becomes luma (ITU-R BT.601, as OpenCV computes it), and transparent pixels are laid on black.

    Args:
        samples: Samples, upright.
        case_id: Name of the slice.
    """
    grey = _grey(samples.colour)
    if samples.alpha is not None and samples.alpha.any():  # transparent all over, it would show nothing
        grey = _lay_on_black(grey, samples.alpha)
    return Slice(grey, case_id, colour_share=_colour_share(samples.colour), turned=samples.turned)


def fill_gaps(values: NDArray[Any]) -> NDArray[Any]:
    """Replace NaN and minus infinity by the smallest finite value, and infinity by the largest; 0 if none is finite.

    Args:
        values: Any shape and real dtype; integers are returned as they are.
    """
    if values.dtype.kind != "f" or (finite := np.isfinite(values)).all():
        return values
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    return np.asarray(np.nan_to_num(values, nan=low, posinf=high, neginf=low))


def rescale(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """Return stored values times a slope plus an intercept, in floating point unless these change nothing."""
    if slope == 1 and intercept == 0:
        return stored
    wide = stored.astype(np.result_type(stored.dtype, np.float32))
    return np.asarray(wide * wide.dtype.type(slope) + wide.dtype.type(intercept))


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

"""Grey values on one scale, whatever the file's type, offset, padding or defects."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

TAIL = 0.005
"""Fraction of the pixels beyond each end of the grey range: a few hot or dead pixels cannot move it."""

DARKEST, BRIGHTEST = -0.25, 3.0
"""Scaled values beyond these are defects. Of 2,900 slices of seven sources one exceeds the second, at 3.5."""

ROUNDING = 1e-6
"""Contrast below this fraction of the largest value is rounding of float32: such a picture is constant."""

_SAMPLE_SIDE = 128  # rows and columns that are enough to measure the range of a picture
_TINY_RANGE = 1e-30  # a range below it needs float64
_USUAL_EXPONENT = 60  # values up to two to this, or down to its inverse, are safe in float32
_LEVELS = 16  # a picture of fewer grey values is a drawing or a mask: no value in it is padding
_GAP = 0.25  # least distance of a padding value below the air, as a fraction of the range of the rest
_WIDE_GAP = 3.0  # distance at which a value cannot be a grey value of the same picture, air or not
_BRIGHT_GAP = 1.0  # least distance of a padding value above the rest
_AIR_LEVEL, _AIR = 0.15, 0.2  # air: at least this fraction of the rest lies in so much of its range

Grey = NDArray[np.float32]


class _Range(NamedTuple):
    """Both ends of the grey values, and a bright value that is padding (None without)."""

    low: Any
    high: Any
    padding: Any


def scale_grey(pixels: NDArray[Any]) -> Grey:
    """Scale grey values so that half a per cent of them lie below 0 and half a per cent above 1.

    A padding value far outside the range of the picture, such as -2000 or 65535, becomes 0. A hot or dead pixel gets
    the median of its neighbourhood. Type, offset and unit of the values make no difference.

    Args:
        pixels: Shape (H, W), any real dtype, finite.

    Returns:
        Shape (H, W), float32, a new array, from ``DARKEST`` to ``BRIGHTEST``; zeros if the picture is constant.
    """
    grey = scale_unrepaired(pixels)
    repair_defects(grey)
    return grey


def scale_unrepaired(pixels: NDArray[Any]) -> Grey:
    """Scale grey values (H, W) like ``scale_grey``, but leave hot and dead pixels as they are, from -8 to 9."""
    values = _near_one(pixels)
    low, high, padding = _find_range(values)
    if high <= low:  # a few pixels are all that there is
        low, high = (end.astype(low.dtype) for end in (values.min(), values.max()))
    if high - low <= ROUNDING * max(abs(high), abs(low)) * (pixels.dtype.kind == "f"):
        return np.zeros(pixels.shape, dtype=np.float32)
    grey = _scale_between(values, low, high)
    if padding is not None:
        grey[values == padding] = 0
    return np.asarray(np.clip(grey, -8, 9, out=grey), dtype=np.float32)


def _scale_between(values: NDArray[Any], low: Any, high: Any) -> Grey:  # noqa: ANN401 - NumPy numbers
    if values.dtype == np.uint8:
        table = (np.arange(256) - low) / (high - low)
        return np.asarray(cv2.LUT(values, table.astype(np.float32)))
    if values.dtype.itemsize <= 2:
        grey = values.astype(np.float32)
        grey -= low
        grey /= high - low
        return grey
    if high - low < _TINY_RANGE:
        values = values.astype(np.result_type(values.dtype, np.float64))
    with np.errstate(over="ignore"):
        return np.asarray((values - low) / (high - low), dtype=np.float32)


def _near_one(pixels: NDArray[Any]) -> NDArray[Any]:
    """Bring huge and tiny values near 1 by a power of two, so that no difference of two overflows."""
    if pixels.dtype.kind != "f":
        return pixels
    exponent = int(np.frexp(max(abs(pixels.min()), abs(pixels.max())))[1])
    if abs(exponent) <= _USUAL_EXPONENT:
        return pixels
    return np.asarray(np.ldexp(pixels.astype(np.result_type(pixels.dtype, np.float64)), -exponent))


def _find_range(pixels: NDArray[Any]) -> _Range:
    """Measure the range on an even sample of the pixels, without what is padding."""
    step_y, step_x = (max(side // _SAMPLE_SIDE, 1) for side in pixels.shape)
    sample = pixels[::step_y, ::step_x]
    values = np.sort(sample.astype(np.result_type(sample.dtype, np.float32)), axis=None)
    without_dark = values[np.searchsorted(values, values[0], side="right") :]
    if _is_dark_padding(values, without_dark):
        values = without_dark
    without_bright = values[: np.searchsorted(values, values[-1], side="left")]
    if _is_bright_padding(values, without_bright):
        return _Range(*_ends(without_bright), values[-1])
    return _Range(*_ends(values), None)


def _ends(values: NDArray[Any]) -> tuple[Any, Any]:
    """Both ends of sorted values, a tail cut off each: the very ends of fewer than 200."""
    cut = int(TAIL * len(values))
    return values[cut], values[-1 - cut]


def _is_dark_padding(values: NDArray[Any], rest: NDArray[Any]) -> bool:
    if not _is_separate(values, rest):
        return False
    low, high = _ends(rest)
    gap = low - values[0]
    air = np.searchsorted(rest, low + _AIR_LEVEL * (high - low), side="right") / len(rest)
    return bool(gap > _WIDE_GAP * (high - low) or (gap > _GAP * (high - low) and air > _AIR))


def _is_bright_padding(values: NDArray[Any], rest: NDArray[Any]) -> bool:
    if not _is_separate(values, rest):
        return False
    low, high = _ends(rest)
    return bool(values[-1] - high > _BRIGHT_GAP * (high - low))


def _is_separate(values: NDArray[Any], rest: NDArray[Any]) -> bool:
    """Whether one value covers more than the tail, and the others are many."""
    covered = len(values) - len(rest)
    return bool(covered > TAIL * len(values) and np.count_nonzero(np.diff(rest)) >= _LEVELS)


def repair_defects(grey: Grey) -> bool:
    """Give defects the median of their neighbourhood, in place; what stays one gets the nearer end of the range.

    Args:
        grey: Shape (H, W), float32, air dark.

    Returns:
        Whether there were any.
    """
    if grey.min() >= DARKEST and grey.max() <= BRIGHTEST:
        return False
    defects = (grey < DARKEST) | (grey > BRIGHTEST)
    grey[defects] = np.asarray(cv2.medianBlur(grey, 3))[defects]
    grey[grey < DARKEST] = 0
    grey[grey > BRIGHTEST] = 1
    return True

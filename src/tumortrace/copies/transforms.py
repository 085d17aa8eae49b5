"""Names for how one picture was made from another."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.registration import Matrix, lay_pixels, window_matrix
from tumortrace.copies.similarity import SIDE_PX, average_to_square
from tumortrace.data.grey import scale_grey
from tumortrace.wording import percent

Thumbnail = NDArray[np.uint8]
"""A picture's whole frame brought to SIDE_PX x SIDE_PX by averaging; 16-bit grey values divided by 257."""

# By where the axes of the first picture point in the second: rows of the rounded linear part of the map.
_ORIENTATIONS = {
    (1, 0, 0, 1): "",
    (-1, 0, 0, 1): "mirrored left-right",
    (1, 0, 0, -1): "mirrored up-down",
    (-1, 0, 0, -1): "turned 180°",
    (0, -1, 1, 0): "turned 90° left",
    (0, 1, -1, 0): "turned 90° right",
    (0, 1, 1, 0): "mirrored and turned 90° left",
    (0, -1, -1, 0): "mirrored and turned 90° right",
}

_SIZE = 0.03  # changes of size, frame and contrast below these shares are not worth a word
_FRAME = 0.015
_SLOPE = 0.08
_OFFSET = 8.0  # of 255
_GAMMA = 0.1  # of the logarithm
_BRIGHT, _FILLED = 0.995, 2**14  # a quantile beyond hot pixels, and the value there from which 16 bits count as filled
_DETAIL = 1.35  # ratio of fine detail


def make_thumbnail(pixels: NDArray[Any]) -> Thumbnail:
    """Return a picture in small, its grey values from 0 to 255.

    Values of 8 bits, and of 16 that fill their range, keep their share of white. Any others are stretched between their
    quantiles: a slice of 12 bits in a file of 16 would be black.

    Args:
        pixels: Shape (H, W), any real dtype.
    """
    if pixels.dtype == np.uint8:
        grey = pixels.astype(np.float32)
    elif pixels.dtype == np.uint16 and np.quantile(pixels, _BRIGHT) > _FILLED:
        grey = pixels.astype(np.float32) / np.float32(257)
    else:
        grey = np.clip(scale_grey(pixels), 0, 1) * np.float32(255)
    return np.rint(average_to_square(grey)).astype(np.uint8)


def name_transform(
    first: Thumbnail, second: Thumbnail, *, first_hw: tuple[int, int], second_hw: tuple[int, int], to_second: Matrix
) -> str:
    """How the first picture differs from the second, in a few words.

    Args:
        first: Thumbnail of the picture to describe.
        second: Thumbnail of the picture to compare it with.
        first_hw: Height and width of the first in pixels.
        second_hw: The same of the second.
        to_second: Map from pixels of the first to pixels of the second.

    Returns:
        For example ``"mirrored left-right, resized to 80 %, gamma 0.6"``; ``"alike"`` if nothing differs by more than
        recoding does.
    """
    words = [_name_orientation(to_second), _name_size(to_second), _name_frame(to_second, first_hw, second_hw)]
    into_first = window_matrix(np.array([0.0, 0.0, first_hw[1], first_hw[0]]))
    from_second = np.linalg.inv(window_matrix(np.array([0.0, 0.0, second_hw[1], second_hw[0]])))
    small_map = from_second @ to_second @ into_first
    laid = lay_pixels(second.astype(np.float32), small_map, (SIDE_PX, SIDE_PX))
    reached = lay_pixels(np.ones_like(laid), small_map, (SIDE_PX, SIDE_PX)) > 0.99
    if reached.sum() > SIDE_PX:
        grey, other = first.astype(np.float32), laid
        words += [_name_contrast(grey[reached], other[reached]), _name_detail(grey, other, reached)]
    return ", ".join(word for word in words if word) or "alike"


def _name_orientation(to_second: Matrix) -> str:
    axes = to_second[:2, :2] / np.abs(to_second[:2, :2]).max()
    a, b, c, d = (int(value) for value in np.rint(axes).ravel())
    return _ORIENTATIONS.get((a, b, c, d), "turned")


def _name_size(to_second: Matrix) -> str:
    scale = 1 / np.sqrt(abs(np.linalg.det(to_second[:2, :2])))
    return f"resized to {percent(scale)}" if abs(scale - 1) > _SIZE else ""


def _name_frame(to_second: Matrix, first_hw: tuple[int, int], second_hw: tuple[int, int]) -> str:
    """Whether the first shows less of the scene than the second, or more."""
    covered = _box_of(to_second, first_hw)
    whole = np.array([[-0.5, -0.5], [second_hw[1] - 0.5, second_hw[0] - 0.5]])
    size = whole[1] - whole[0]
    beyond = np.concatenate([(whole[0] - covered[0]) / size, (covered[1] - whole[1]) / size])
    lost, added = -float(beyond.min()), float(beyond.max())
    if max(lost, added) < _FRAME:
        return ""
    return f"cropped by up to {percent(lost)}" if lost >= added else f"with a border of up to {percent(added)}"


def _box_of(to_second: Matrix, first_hw: tuple[int, int]) -> NDArray[np.float64]:
    height, width = first_hw
    corners = np.array(
        [[-0.5, -0.5, 1], [width - 0.5, -0.5, 1], [-0.5, height - 0.5, 1], [width - 0.5, height - 0.5, 1]]
    )
    moved = (corners @ to_second.T)[:, :2]
    return np.stack([moved.min(axis=0), moved.max(axis=0)])


def _name_contrast(grey: NDArray[np.float32], other: NDArray[np.float32]) -> str:
    """The change from the other's grey values to these: a power law if that fits clearly better than a line."""
    if other.std() < 1 or grey.std() < 1:
        return ""
    slope, offset = np.polyfit(other, grey, 1)
    if slope < 0:
        return "inverted"
    inner = (grey > 4) & (grey < 245) & (other > 4) & (other < 245)
    if inner.sum() > SIDE_PX:
        x, y = np.log(other[inner] / 255), np.log(grey[inner] / 255)
        gamma = float(np.median(y / x))  # unmoved by edges, where averaging and power do not commute
        error = float(np.square(255 * np.exp(gamma * x) - grey[inner]).mean())
        line = float(np.square(np.polyval([slope, offset], other[inner]) - grey[inner]).mean())
        if gamma > 0 and abs(np.log(gamma)) > _GAMMA and error < 0.7 * line:
            return f"gamma {gamma:.2g}"
    if abs(slope - 1) > _SLOPE:
        return "contrast raised" if slope > 1 else "contrast lowered"
    if abs(offset) > _OFFSET:
        return "brighter" if offset > 0 else "darker"
    return ""


def _name_detail(grey: NDArray[np.float32], other: NDArray[np.float32], reached: NDArray[np.bool_]) -> str:
    """Whether fine detail is stronger or weaker than contrast alone explains."""
    fine = [np.abs(picture - cv2.GaussianBlur(picture, (0, 0), 1.0))[reached].mean() for picture in (grey, other)]
    coarse = [picture[reached].std() for picture in (grey, other)]
    if min(*fine, *coarse) < 0.5:
        return ""
    ratio = float((fine[0] / coarse[0]) / (fine[1] / coarse[1]))
    return "sharpened" if ratio > _DETAIL else "blurred" if ratio < 1 / _DETAIL else ""

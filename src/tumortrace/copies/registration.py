"""Laying one slice onto another: an affine map found from quarter turn, flip and a first guess of the window.

A border or a crop moves everything by a few pixels, which is enough to hide a copy from plain correlation. The map is
found by maximising the enhanced correlation coefficient (Evangelidis and Psarakis 2008), first coarsely, then finely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.similarity import SIDE_PX

Matrix = NDArray[np.float64]
"""An affine map of points (x, y, 1), shape (3, 3); integer coordinates are pixel centres."""

COARSE_PX = 32
"""Side of the squares that the coarse stage registers."""

_PROMISING = 0.7  # of the coarse stage; true copies stay above it, see docs/trust.md
_FITS = 0.96  # from here on a map needs no refinement: it is right to a fraction of a pixel
_OVERLAP = 0.7  # share of the first window that the second must cover
_LARGEST_SCALE = 1.4  # between two windows: beyond it the map has run away
_COARSE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 1e-3)
_FINE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 1e-3)


@dataclass(frozen=True, eq=False)
class Registration:
    """How well one window fits another, and the map that shows it.

    Attributes:
        similarity: Normalised correlation where both overlap, -1 to 1; -1 if they could not be registered.
        warp: From the first window's coordinates to the second's (as it was given), shape (3, 3).
    """

    similarity: float
    warp: Matrix


def register(first: NDArray[np.float32], second: NDArray[np.float32]) -> Registration:
    """Register two windows that lie roughly on each other.

    Args:
        first: A signature, shape (SIDE_PX, SIDE_PX).
        second: Another, already turned and flipped as the first one.

    Returns:
        The registration; of similarity -1 if the coarse stage already fails.
    """
    failed = Registration(-1.0, np.eye(3))
    small_first, small_second = _shrink(first), _shrink(second)
    coarse = _align(small_first, small_second, np.eye(2, 3, dtype=np.float32), _COARSE)
    if coarse is None or _correlate(small_first, small_second, coarse) < _PROMISING:
        return failed
    scale = SIDE_PX / COARSE_PX
    guess = coarse.copy()
    # Pixel centres: u_fine = scale * (u_coarse + 1/2) - 1/2.
    half = (scale - 1) / 2
    guess[:, 2] = scale * coarse[:, 2] + half - coarse[:, :2] @ np.array([half, half], dtype=np.float32)
    if not _plausible(guess):
        return failed
    similarity = _correlate(first, second, guess)
    if similarity >= _FITS:
        return _registered(similarity, guess)
    fine = _align(first, second, guess, _FINE)
    if fine is None or not _plausible(fine):
        return failed
    return _registered(_correlate(first, second, fine), fine)


def orientation_matrix(*, turns: int, flip: bool) -> Matrix:
    """From coordinates in an oriented window (as ``orient`` gives it) to those in the window itself."""
    last = SIDE_PX - 1.0
    turn = np.array([[0.0, -1.0, last], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # np.rot90: out[i, j] = in[j, last - i]
    mirror = np.array([[-1.0, 0.0, last], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    matrix = np.linalg.matrix_power(turn, turns)
    return mirror @ matrix if flip else matrix


def window_matrix(box_xywh: NDArray[np.float64]) -> Matrix:
    """From coordinates in the window of SIDE_PX pixels to those of the slice that it was cut from.

    Args:
        box_xywh: First column, first row, width and height of the window in the slice, in pixels.
    """
    x, y, width, height = box_xywh
    across, down = width / SIDE_PX, height / SIDE_PX
    return np.array([[across, 0.0, x + (across - 1) / 2], [0.0, down, y + (down - 1) / 2], [0.0, 0.0, 1.0]])


def lay_mask(mask: NDArray[np.bool_], to_second: Matrix, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Lay the second slice's mask onto the first slice, by the nearest pixel.

    Args:
        mask: Of the second slice, shape (H, W), bool.
        to_second: From pixels of the first slice to pixels of the second.
        size_hw: Height and width of the first slice.

    Returns:
        Shape ``size_hw``, bool; False where the second slice does not reach.
    """
    laid = _lay(mask.astype(np.uint8), to_second, size_hw, cv2.INTER_NEAREST)
    return np.asarray(laid > 0)


def lay_pixels(pixels: NDArray[np.float32], to_second: Matrix, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Lay the second slice's grey values, shape (H, W), onto the first slice, bilinearly; 0 where it does not reach."""
    return np.asarray(_lay(pixels, to_second, size_hw, cv2.INTER_LINEAR), dtype=np.float32)


def _lay(array: NDArray[np.generic], to_second: Matrix, size_hw: tuple[int, int], how: int) -> cv2.typing.MatLike:
    flags = how | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.asarray(array), to_second[:2], (size_hw[1], size_hw[0]), flags=flags)


def _registered(similarity: float, warp: NDArray[np.float32]) -> Registration:
    return Registration(similarity, np.vstack([warp, [0, 0, 1]]).astype(np.float64))


def _shrink(window: NDArray[np.float32]) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(window, (0, 0), 1.5)
    return np.asarray(cv2.resize(blurred, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _align(
    first: NDArray[np.float32], second: NDArray[np.float32], guess: NDArray[np.float32], until: tuple[int, int, float]
) -> NDArray[np.float32] | None:
    """The affine map (2, 3) from the first to the second; None if the search runs away."""
    everywhere = np.full(first.shape, 255, dtype=np.uint8)
    try:
        _, warp = cv2.findTransformECC(first, second, guess, cv2.MOTION_AFFINE, until, everywhere, 3)
    except cv2.error:  # how OpenCV says that the two do not converge
        return None
    return np.asarray(warp, dtype=np.float32)


def _correlate(first: NDArray[np.float32], second: NDArray[np.float32], warp: NDArray[np.float32]) -> float:
    """Normalised correlation where the second window, laid onto the first, covers it; -1 if that is too little."""
    height, width = first.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(second, warp, (width, height), flags=flags)
    full = np.full(first.shape, 255, dtype=np.uint8)
    covered = cv2.inRange(cv2.warpAffine(full, warp, (width, height), flags=flags), 253, 255)
    if cv2.countNonZero(covered) < _OVERLAP * height * width:
        return -1.0
    # OpenCV's own reductions let the other threads go on, and NumPy's masked ones would not.
    mean, spread = (float(each[0, 0]) for each in cv2.meanStdDev(first, mask=covered))
    laid_mean, laid_spread = (float(each[0, 0]) for each in cv2.meanStdDev(laid, mask=covered))
    together = cv2.mean(cv2.multiply(first, laid), mask=covered)[0] - mean * laid_mean
    norms = spread * laid_spread
    # Single-precision products of equal pictures may add up to a hair more than 1.
    return min(together / norms, 1.0) if norms > 0 else -1.0


def _plausible(warp: NDArray[np.float32]) -> bool:
    """Whether neither axis is stretched or shrunk beyond what two windows of one slice can differ by."""
    (a, b), (c, d) = warp[:, :2].tolist()
    # Of the singular values: their product is the determinant, the sum of their squares the sum of all squares.
    product, squares = abs(a * d - b * c), a * a + b * b + c * c + d * d
    root = math.sqrt(max(squares**2 - 4 * product**2, 0))
    largest, smallest = math.sqrt((squares + root) / 2), math.sqrt(max(squares - root, 0) / 2)
    return largest < _LARGEST_SCALE and smallest > 1 / _LARGEST_SCALE

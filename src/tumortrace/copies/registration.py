"""Affine registration of one slice onto another.

A border or a crop moves everything by a few pixels, which is enough to hide a copy from plain correlation. The map is
found by maximising the enhanced correlation coefficient (Evangelidis and Psarakis 2008), first coarsely, then finely.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.candidates import Cut
from tumortrace.copies.similarity import SIDE_PX

Matrix = NDArray[np.float64]
"""An affine map of points (x, y, 1), shape (3, 3); integer coordinates are pixel centres."""

_Laid = tuple[cv2.typing.MatLike, cv2.typing.MatLike]

COARSE_PX = 32
"""Side of the squares that the coarse stage registers."""

_PROMISING = 0.7  # least correlation of the coarse stage
_FITS = 0.96  # from here on a map needs no refinement: it is right to a fraction of a pixel
_OVERLAP = 0.7  # least fraction of the first window that the second must cover to be registered
_HOPEFUL = 0.4  # similarity of fine detail after the coarse stage below which refining is in vain
_COMMON = 0.5  # least fraction of the first head that the second must show to be compared
_DETAIL_SIGMA_PX = 3.0
_DETAIL_FLOOR = 0.5  # of a signature's own spread: weaker detail is noise
_LARGEST_SCALE = 1.4  # between two windows: beyond it the map has run away
_SCALE = SIDE_PX / COARSE_PX
_TO_FINE = np.array([[_SCALE, 0.0, (_SCALE - 1) / 2], [0.0, _SCALE, (_SCALE - 1) / 2], [0.0, 0.0, 1.0]])
_TO_COARSE = np.linalg.inv(_TO_FINE)
_COARSE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 1e-3)
_FINE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 1e-3)


def register(first: NDArray[np.float32], second: NDArray[np.float32], *, guess: Matrix) -> Matrix | None:
    """Register two windows that lie roughly on each other.

    Args:
        first: A signature, shape (SIDE_PX, SIDE_PX).
        second: Another, already turned and flipped as the first one.
        guess: A map from the first window's coordinates to the second's that is right to a tenth of the window.

    Returns:
        The map itself; None if the windows do not fit.
    """
    small_first, small_second = _shrink(first), _shrink(second)
    coarse = _align(small_first, small_second, _TO_COARSE @ guess @ _TO_FINE, _COARSE)
    if coarse is None or _correlate(small_first, small_second, coarse) < _PROMISING:
        return None
    warp = _TO_FINE @ coarse @ _TO_COARSE
    if not _plausible(warp, guess):
        return None
    if _correlate(first, second, warp) >= _FITS or compare_detail(first, second, warp) < _HOPEFUL:
        return warp
    fine = _align(first, second, warp, _FINE)
    if fine is None or not _plausible(fine, guess) or _correlate(first, second, fine) < 0:
        return None
    return fine


def compare_detail(first: NDArray[np.float32], second: NDArray[np.float32], warp: Matrix) -> float:
    """Correlate the fine detail of two heads, one laid onto the other.

    What two heads have in common, such as the ring of the skull, is coarse. Only copies share the fine detail.

    Args:
        first: A signature of a head, shape (SIDE_PX, SIDE_PX), with a spread of about 1.
        second: Another, as it was measured.
        warp: Map from coordinates in the first to those in the second.

    Returns:
        Normalised correlation, -1 to 1; -1 if the second shows less than half of the first.
    """
    laid, covered = _lay_window(second, warp, first.shape)
    covered = cv2.erode(covered, np.ones((3, 3), np.uint8))
    if cv2.countNonZero(covered) < _COMMON * first.size:
        return -1.0
    return _normalised(_keep_detail(first), _keep_detail(laid), covered)


def orientation_matrix(*, turns: int, flip: bool) -> Matrix:
    """From coordinates in an oriented window (as ``orient`` gives it) to those in the window itself."""
    last = SIDE_PX - 1.0
    turn = np.array([[0.0, -1.0, last], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # np.rot90: out[i, j] = in[j, last - i]
    mirror = np.array([[-1.0, 0.0, last], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    matrix = np.linalg.matrix_power(turn, turns)
    return mirror @ matrix if flip else matrix


def cut_matrix(cut: Cut) -> Matrix:
    """From coordinates in a window that shows a part of another one to those in the other.

    Args:
        cut: Fractions of the other window that are cut off at its left, top, right and bottom.
    """
    left, top, right, bottom = (each * SIDE_PX for each in cut)
    return window_matrix(np.array([left, top, SIDE_PX - left - right, SIDE_PX - top - bottom]))


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse of an affine map."""
    return np.vstack([cv2.invertAffineTransform(matrix[:2]), [0, 0, 1]])


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
        mask: Mask of the second slice, shape (H, W), bool.
        to_second: Map from pixels of the first slice to pixels of the second.
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


def _shrink(window: NDArray[np.float32]) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(window, (0, 0), 1.5)
    return np.asarray(cv2.resize(blurred, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _align(
    first: NDArray[np.float32], second: NDArray[np.float32], guess: Matrix, until: tuple[int, int, float]
) -> Matrix | None:
    """The affine map from the first to the second; None if the search runs away."""
    everywhere = np.full(first.shape, 255, dtype=np.uint8)
    start = guess[:2].astype(np.float32)
    try:
        _, warp = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, until, everywhere, 3)
    except cv2.error:  # how OpenCV says that the two do not converge
        return None
    return np.vstack([warp, [0, 0, 1]]).astype(np.float64)


def _correlate(first: NDArray[np.float32], second: NDArray[np.float32], warp: Matrix) -> float:
    """Normalised correlation where the second window, laid onto the first, covers it; -1 if that is too little."""
    laid, covered = _lay_window(second, warp, first.shape)
    if cv2.countNonZero(covered) < _OVERLAP * first.size:
        return -1.0
    return _normalised(first, laid, covered)


def _lay_window(second: NDArray[np.float32], warp: Matrix, size_hw: tuple[int, ...]) -> _Laid:
    """The second window on the first one's grid, and where it covers it (255, elsewhere 0)."""
    size_wh, flags = (size_hw[1], size_hw[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(second, warp[:2], size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    full = np.full(second.shape, 255, dtype=np.uint8)
    return laid, cv2.inRange(cv2.warpAffine(full, warp[:2], size_wh, flags=flags), 253, 255)


def _keep_detail(window: cv2.typing.MatLike) -> cv2.typing.MatLike:
    deviation = window - cv2.GaussianBlur(window, (0, 0), _DETAIL_SIGMA_PX)
    contrast = cv2.sqrt(cv2.GaussianBlur(deviation * deviation, (0, 0), _DETAIL_SIGMA_PX))
    return deviation / (contrast + _DETAIL_FLOOR)


def _normalised(first: cv2.typing.MatLike, second: cv2.typing.MatLike, mask: cv2.typing.MatLike) -> float:
    # OpenCV's own reductions let the other threads go on, and NumPy's masked ones would not.
    (mean, spread), (other_mean, other_spread) = (
        [float(each[0, 0]) for each in cv2.meanStdDev(values, mask=mask)] for values in (first, second)
    )
    together = cv2.mean(cv2.multiply(first, second), mask=mask)[0] - mean * other_mean
    norms = spread * other_spread
    # Single-precision products of equal pictures may add up to a hair more than 1.
    return min(together / norms, 1.0) if norms > 0 else -1.0


def _plausible(warp: Matrix, guess: Matrix) -> bool:
    """Whether the map stretches or shrinks neither axis much more than the guess does."""
    (a, b), (c, d) = (invert(guess) @ warp)[:2, :2].tolist()
    # Of the singular values: their product is the determinant, the sum of their squares the sum of all squares.
    product, squares = abs(a * d - b * c), a * a + b * b + c * c + d * d
    root = math.sqrt(max(squares**2 - 4 * product**2, 0))
    largest, smallest = math.sqrt((squares + root) / 2), math.sqrt(max(squares - root, 0) / 2)
    return largest < _LARGEST_SCALE and smallest > 1 / _LARGEST_SCALE

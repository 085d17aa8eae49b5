"""Affine registration of one slice onto another.

A border or a crop moves everything by a few pixels, which is enough to hide a copy from plain correlation. The map is
found by maximising the enhanced correlation coefficient (Evangelidis and Psarakis 2008), first coarsely, then finely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.candidates import Cut
from tumortrace.copies.similarity import SIDE_PX, orient

Matrix = NDArray[np.float64]
"""An affine map of points (x, y, 1), shape (3, 3); integer coordinates are pixel centres."""

COARSE_PX, FINE_PX = 32, 80
"""Sides of the squares that the coarse and the fine stage register."""

_PROMISING = 0.7  # least correlation of the coarse stage
_OVERLAP = 0.7  # least fraction of the first window that the second must cover to be registered
_COMMON = 0.5  # least fraction of the first window that the second must show to be compared
_NOISE_SIGMA_PX, _DETAIL_SIGMA_PX = 0.6, 2.0  # what is finer is noise, what is coarser all heads have in common
_DETAIL_FLOOR = 0.2  # of a signature's own spread: weaker detail is noise
_LARGEST_SCALE = 1.4  # between two windows: beyond it the map has run away
_UNTIL = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 1e-3)


@dataclass(frozen=True, eq=False)
class View:
    """A window of a slice, as registration needs it. Most pairs fail at the small one, so the others wait.

    Attributes:
        window: A signature with a spread of about 1, shape (SIDE_PX, SIDE_PX), float16.
        small: The same as ``shrink_window`` makes it, shape (COARSE_PX, COARSE_PX), float32.
    """

    window: NDArray[np.float16]
    small: NDArray[np.float32]

    @cached_property
    def full(self) -> NDArray[np.float32]:
        """The window in single precision."""
        return self.window.astype(np.float32)

    @cached_property
    def middle(self) -> NDArray[np.float32]:
        """The window, shape (FINE_PX, FINE_PX)."""
        return _resize(self.full, FINE_PX)

    @cached_property
    def detail(self) -> cv2.typing.MatLike:
        """Fine detail of the window: copies share it, slices that are only similar do not."""
        return _keep_detail(self.full)

    def turn(self, *, turns: int, flip: bool, negative: bool) -> View:
        """Return the view of the slice turned, and with dark and bright exchanged or not."""
        window, small = (orient(each, turns=turns, flip=flip) for each in (self.window, self.small))
        return View(-window if negative else window, np.ascontiguousarray(-small if negative else small))


def shrink_window(window: NDArray[np.float16]) -> NDArray[np.float32]:
    """Blur and shrink a signature, shape (SIDE_PX, SIDE_PX), to what the coarse stage registers."""
    return _resize(cv2.GaussianBlur(window.astype(np.float32), (0, 0), 1.5), COARSE_PX)


def register(first: View, second: View, *, guess: Matrix) -> Matrix | None:
    """Register two windows that lie roughly on each other, coarsely.

    Args:
        first: One window.
        second: Another, already turned as the first one.
        guess: A map from the first window's coordinates to the second's that is right to a tenth of the window.

    Returns:
        The map, right to a pixel or so; None if the windows do not fit even roughly.
    """
    warp = _align(first.small, second.small, guess)
    if warp is None or not _plausible(warp, guess) or _correlate(first.small, second.small, warp) < _PROMISING:
        return None
    return warp


def refine(first: View, second: View, *, guess: Matrix) -> Matrix | None:
    """Register two windows finely.

    Args:
        first: One window.
        second: Another, already turned as the first one.
        guess: Result of ``register``.

    Returns:
        The map, right to a fraction of a pixel; None if the search runs away.
    """
    warp = _align(first.middle, second.middle, guess)
    return warp if warp is not None and _plausible(warp, guess) else None


def compare_detail(first: View, second: NDArray[np.float32], warp: Matrix) -> float:
    """Correlate the fine detail of two windows, one laid onto the other.

    What two heads have in common, such as the ring of the skull, is coarse. Only copies share the fine detail.

    Args:
        first: One window.
        second: The signature of another.
        warp: Map from coordinates in the first to those in the second.

    Returns:
        Normalised correlation, -1 to 1; -1 if the second shows less than half of the first.
    """
    covered = _find_covered(warp, first.full.shape[0])
    if cv2.countNonZero(covered) < _COMMON * first.full.size:
        return -1.0
    return _normalised(first.detail, _keep_detail(_lay_window(second, warp)), covered)


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
    (a, b, x), (c, d, y) = matrix[:2].tolist()
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y], [0.0, 0.0, 1.0]])


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


def _resize(window: cv2.typing.MatLike, side_px: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(window, (side_px, side_px), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _align(first: NDArray[np.float32], second: NDArray[np.float32], guess: Matrix) -> Matrix | None:
    """The affine map from the first to the second, between windows of SIDE_PX; None if the search runs away."""
    everywhere = np.full(first.shape, 255, dtype=np.uint8)
    start = rescale(guess, first.shape[0])[:2].astype(np.float32)
    try:
        _, warp = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, _UNTIL, everywhere, 3)
    except cv2.error:  # how OpenCV says that the two do not converge
        return None
    return rescale(np.vstack([warp, [0, 0, 1]]), SIDE_PX, from_px=first.shape[0])


def rescale(matrix: Matrix, side_px: int, *, from_px: int = SIDE_PX) -> Matrix:
    """Return a map between two windows as a map between the same windows of another side."""
    (a, b, x), (c, d, y) = matrix[:2].tolist()
    scale = side_px / from_px
    half = (scale - 1) / 2  # integer coordinates are pixel centres
    return np.array([[a, b, scale * x + half * (1 - a - b)], [c, d, scale * y + half * (1 - c - d)], [0.0, 0.0, 1.0]])


def _correlate(first: NDArray[np.float32], second: NDArray[np.float32], warp: Matrix) -> float:
    """Normalised correlation where the second window, laid onto the first, covers it; -1 if that is too little."""
    warp = rescale(warp, first.shape[0])
    covered = _find_covered(warp, first.shape[0])
    if cv2.countNonZero(covered) < _OVERLAP * first.size:
        return -1.0
    return _normalised(first, _lay_window(second, warp), covered)


def _lay_window(second: NDArray[np.float32], warp: Matrix) -> cv2.typing.MatLike:
    """The second window on the first one's grid."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(second, warp[:2], second.shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _find_covered(warp: Matrix, side_px: int) -> NDArray[np.uint8]:
    """Where the second window covers the first, but for its outermost pixels: 1, elsewhere 0."""
    (a, b, x), (c, d, y) = invert(warp)[:2].tolist()
    near, far = 0.5, side_px - 1.5
    corners = ((near, near), (far, near), (far, far), (near, far))
    places = np.array([(round(a * u + b * v + x), round(c * u + d * v + y)) for u, v in corners], dtype=np.int32)
    return np.asarray(cv2.fillConvexPoly(np.zeros((side_px, side_px), np.uint8), places, 1))


def _keep_detail(window: cv2.typing.MatLike) -> cv2.typing.MatLike:
    smooth = _blur(window, _NOISE_SIGMA_PX)
    deviation = smooth - _blur(smooth, _DETAIL_SIGMA_PX)
    contrast = cv2.sqrt(_blur(deviation * deviation, _DETAIL_SIGMA_PX))
    return deviation / (contrast + _DETAIL_FLOOR)


def _blur(window: cv2.typing.MatLike, sigma_px: float) -> cv2.typing.MatLike:
    side = 2 * math.ceil(2 * sigma_px) + 1
    return cv2.GaussianBlur(window, (side, side), sigma_px)


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

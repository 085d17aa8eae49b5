"""How alike two slices are, once one is laid onto the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.candidates import Candidate
from tumortrace.copies.registration import (
    COARSE_PX,
    Matrix,
    View,
    compare_detail,
    cut_matrix,
    invert,
    orientation_matrix,
    refine,
    register,
    shrink_window,
    window_matrix,
)
from tumortrace.copies.signatures import HEAD, Signatures
from tumortrace.copies.similarity import ORIENTATIONS

SAME_SLICE = 0.75
"""Pairs at least this similar are copies. In the valley between two modes; docs/trust.md shows where it comes from."""

_HOPEFUL, _FITS = 0.4, 0.9  # similarities between which a rough map is refined: below in vain, above it is fine
_VIEWS = 512  # kept in memory
_TURNS_BACK = [orientation_matrix(turns=turns, flip=flip) for turns, flip in ORIENTATIONS]


@dataclass(frozen=True, eq=False, slots=True)
class CopyPair:
    """Two slices that are the same picture.

    Attributes:
        first: Index of one.
        second: Index of the other.
        similarity: Normalised correlation of the heads' fine detail after registration, 0 to 1.
        to_second: Map from pixel coordinates in the first to those in the second, shape (3, 3).
    """

    first: int
    second: int
    similarity: float
    to_second: Matrix

    def turned(self) -> CopyPair:
        """Return the same pair, seen from its other end."""
        return CopyPair(self.second, self.first, self.similarity, invert(self.to_second))


@dataclass(frozen=True, eq=False)
class Views:
    """The windows of N slices, as registration needs them.

    Attributes:
        windows: Windows as in ``Signatures``, shape (N, 2, SIDE_PX, SIDE_PX), float16.
        small: The windows in small (``shrink_window``), shape (N, 2, COARSE_PX, COARSE_PX), float32.
        boxes_xywh: Boxes as in ``Signatures``, shape (N, 2, 4).
    """

    windows: NDArray[np.float16]
    small: NDArray[np.float32]
    boxes_xywh: NDArray[np.float64]

    @classmethod
    def of(cls, signatures: Signatures) -> Views:
        """Prepare the windows of slices."""
        windows = signatures.windows
        small = np.empty((*windows.shape[:2], COARSE_PX, COARSE_PX), dtype=np.float32)
        for place in np.ndindex(windows.shape[:2]):
            small[place] = shrink_window(windows[place])
        return cls(windows, small, signatures.boxes_xywh)

    def select(self, indices: NDArray[np.intp]) -> Views:
        """Return the windows of some slices."""
        return Views(self.windows[indices], self.small[indices], self.boxes_xywh[indices])

    @cached_property
    def get(self) -> Callable[[int, int], View]:
        """One window of one slice; the last few are kept, since a slice has several candidates."""
        windows, small = self.windows, self.small  # not self: in a circle, each batch would wait for the collector
        return lru_cache(_VIEWS)(lambda index, window: View(windows[index, window], small[index, window]))

    def to_slice(self, index: int, window: int) -> Matrix:
        """From coordinates in a window to pixels of its slice."""
        return window_matrix(self.boxes_xywh[index, window])

    def from_slice(self, index: int, window: int) -> Matrix:
        """From pixels of a slice to coordinates in one of its windows."""
        return invert(self.to_slice(index, window))


def compare_pair(hypotheses: Sequence[Candidate], views: Views, others: Views) -> CopyPair | None:
    """Register two slices and compare their heads.

    Args:
        hypotheses: Ways in which they may lie on each other.
        views: Windows of the slices among which the first is.
        others: The same of the second; the very same object where both are of one set.

    Returns:
        The first hypothesis that makes the pair a copy, or else the best one; None if none can be registered.
    """
    best: CopyPair | None = None
    for likely in hypotheses:
        pair = _register(likely, views, others)
        if pair is not None and (best is None or pair.similarity > best.similarity):
            best = pair
        if best is not None and best.similarity >= SAME_SLICE:
            break
    if best is not None and views is others and best.first > best.second:
        return best.turned()
    return best


def _register(likely: Candidate, views: Views, others: Views) -> CopyPair | None:
    turns, flip = ORIENTATIONS[likely.orientation]
    first = views.get(likely.first, likely.window)
    second = others.get(likely.second, likely.window).turn(turns=turns, flip=flip, negative=likely.negative)
    warp = register(first, second, guess=cut_matrix(likely.cut))
    if warp is None:
        return None
    pair = _compare(likely, warp, views, others)
    if _HOPEFUL <= pair.similarity < _FITS:
        warp = refine(first, second, guess=warp)
        if warp is not None:
            pair = max(pair, _compare(likely, warp, views, others), key=attrgetter("similarity"))
    return pair if pair.similarity > 0 else None


def _compare(likely: Candidate, warp: Matrix, views: Views, others: Views) -> CopyPair:
    """Compare the heads alone: the background around them is noise, or what JPEG made of it."""
    into_second = others.to_slice(likely.second, likely.window) @ _TURNS_BACK[likely.orientation]
    to_second = into_second @ warp @ views.from_slice(likely.first, likely.window)
    between_heads = others.from_slice(likely.second, HEAD) @ to_second @ views.to_slice(likely.first, HEAD)
    second = others.get(likely.second, HEAD).full
    similarity = compare_detail(views.get(likely.first, HEAD), -second if likely.negative else second, between_heads)
    return CopyPair(likely.first, likely.second, similarity, to_second)

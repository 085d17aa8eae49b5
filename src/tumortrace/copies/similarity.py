"""Similarity of two slices in any orientation and contrast.

A slice is brought to one small size and freed of its local mean and contrast; what is left is compared by normalised
correlation in all eight orientations. This is done twice: for the whole frame, which no change of contrast can move,
and for the head alone, which an added border does not move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import NO_CONTRAST
from tumortrace.data.upright import UprightSlice, turn_upright

SIDE_PX = 96
"""Side of the square that slices are compared on."""

ORIENTATIONS = tuple((turns, flip) for flip in (False, True) for turns in range(4))
"""Quarter turns (counter-clockwise), after a left-right flip or none."""

_AVERAGED_PX = 2  # side of the squares over which the first comparison with many slices averages
_SHORTLIST = 32  # nearest by that comparison, which are compared pixel by pixel
_QUERIES = 256  # that are compared at a time: in all orientations they take eight times their memory
_LOCAL_SIGMA_PX = 6.0
_STRONGEST = 3.0  # local deviations beyond this are cut, so that one bright edge does not outweigh the brain


@dataclass(frozen=True, eq=False)
class Match:
    """The nearest of several slices to one slice.

    Attributes:
        index: Index of the nearest.
        turns: Quarter turns that bring the nearest onto the one, after the flip.
        flip: Whether it is flipped left-right first.
        similarity: Normalised correlation in that orientation, -1 to 1.
    """

    index: int
    turns: int
    flip: bool
    similarity: float


def orient(array: NDArray[Any], *, turns: int, flip: bool) -> NDArray[Any]:
    """Flip a picture left-right, or not, and then turn it by quarters counter-clockwise; shape (H, W)."""
    return np.rot90(array[:, ::-1] if flip else array, turns)


def head_box(pixels: NDArray[Any]) -> tuple[slice, slice]:
    """Return rows and columns of the head in a slice; the whole picture if no head stands out.

    Args:
        pixels: Grey values, shape (H, W), any real dtype.
    """
    return rows_and_columns(turn_upright(pixels))


def rows_and_columns(upright: UprightSlice) -> tuple[slice, slice]:
    """Return rows and columns of the head in a slice whose head was sought; the whole picture if none stands out."""
    height, width = upright.size_hw
    top, bottom, left, right = upright.head.box if upright.head else (0, height, 0, width)
    return slice(top, bottom), slice(left, right)


def signature(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return what of a slice's head survives a change of size, contrast and brightness.

    Args:
        pixels: Grey values, shape (H, W), any real dtype.

    Returns:
        Shape (SIDE_PX, SIDE_PX), float32, of mean 0 and norm 1 (zeros for a constant picture), so that the sum of the
        product of two is their normalised correlation.
    """
    upright = turn_upright(pixels)
    return frame_signature(upright.grey[rows_and_columns(upright)])


def average_to_square(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a picture (H, W) to SIDE_PX x SIDE_PX by averaging."""
    # One axis at a time: where one shrinks and the other grows, OpenCV would average over neither.
    narrow = cv2.resize(grey, (SIDE_PX, grey.shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(narrow, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.float32)


def frame_signature(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """The same of the whole frame: a change of contrast cannot move its box, but a border does."""
    grey = pixels.astype(np.float32) - np.float32(pixels.min())
    small = average_to_square(grey)
    spread = float(small.std())
    if spread <= NO_CONTRAST * float(small.max()):
        return np.zeros((SIDE_PX, SIDE_PX), dtype=np.float32)
    deviation = small - cv2.GaussianBlur(small, (0, 0), _LOCAL_SIGMA_PX)
    contrast = np.sqrt(cv2.GaussianBlur(deviation**2, (0, 0), _LOCAL_SIGMA_PX))
    flat = np.clip(deviation / (contrast + 0.05 * spread), -_STRONGEST, _STRONGEST)
    flat -= flat.mean()
    return np.asarray(flat / np.linalg.norm(flat), dtype=np.float32)


class References:
    """Slices among which the nearest ones are sought, prepared once."""

    def __init__(self, signatures: NDArray[np.float32]) -> None:
        """Prepare slices.

        Args:
            signatures: Their signatures, shape (R, SIDE_PX, SIDE_PX), float32; R is at least 1.
        """
        self._signatures = signatures
        self._averages = _average(signatures).T if len(signatures) > _SHORTLIST else None

    def find_nearest(self, queries: NDArray[np.float32]) -> list[Match]:
        """Find the nearest reference of each query, over all eight orientations.

        Averages over squares of _AVERAGED_PX pixels pick the _SHORTLIST nearest references, and all pixels decide.

        Args:
            queries: Signatures, shape (Q, SIDE_PX, SIDE_PX), float32.

        Returns:
            One match for each query.
        """
        starts = range(0, len(queries), _QUERIES)
        return [match for start in starts for match in self._match(queries[start : start + _QUERIES])]

    def _match(self, queries: NDArray[np.float32]) -> list[Match]:
        # Turning the queries back is cheaper than turning the references.
        turned_back = np.stack([
            [_orient_back(query, turns=turns, flip=flip) for query in queries] for turns, flip in ORIENTATIONS
        ])  # fmt: skip
        if self._averages is None:
            shortlists = np.tile(np.arange(len(self._signatures)), (len(queries), 1))
        else:
            alike = np.full((len(queries), len(self._signatures)), -np.inf, dtype=np.float32)
            for each in turned_back:
                np.maximum(alike, _average(each) @ self._averages, out=alike)
            shortlists = np.sort(np.argpartition(-alike, _SHORTLIST, axis=1)[:, :_SHORTLIST], axis=1)
        return [_choose_nearest(turned_back[:, q], self._signatures, those) for q, those in enumerate(shortlists)]


def _choose_nearest(
    turned_back: NDArray[np.float32], references: NDArray[np.float32], shortlist: NDArray[np.intp]
) -> Match:
    chosen = references[shortlist]
    similarities = turned_back.reshape(len(turned_back), -1) @ chosen.reshape(len(chosen), -1).T
    orientation, nearest = np.unravel_index(int(similarities.argmax()), similarities.shape)
    turns, flip = ORIENTATIONS[int(orientation)]
    return Match(int(shortlist[nearest]), turns, flip, float(similarities[orientation, nearest]))


def _average(signatures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Averages over squares, shape (N, squares)."""
    squares = SIDE_PX // _AVERAGED_PX
    shape = len(signatures), squares, _AVERAGED_PX, squares, _AVERAGED_PX
    return np.asarray(signatures.reshape(shape).mean(axis=(2, 4)).reshape(len(signatures), -1))


def _orient_back(array: NDArray[Any], *, turns: int, flip: bool) -> NDArray[Any]:
    """Undo ``orient``."""
    turned = np.rot90(array, -turns)
    return turned[:, ::-1] if flip else turned

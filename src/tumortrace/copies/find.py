"""Finding slices that are the same picture, among thousands: a coarse look at all pairs, a fine one at the likely ones.

Every slice is reduced to 24 x 24 numbers that barely notice a shift of a few percent. Blocks of matrix products compare
all slices in all eight orientations; each slice's nearest few go on to registration, which decides. In a large group
the nearest few are all of its own, so its members then look once more, for the nearest outside, until nothing is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.groups import link
from tumortrace.copies.registration import Matrix, Registration, orientation_matrix, register, window_matrix
from tumortrace.copies.similarity import ORIENTATIONS, SIDE_PX, frame_signature, head_box, orient
from tumortrace.machine import usable_cores
from tumortrace.progress import track

SAME_SLICE = 0.85
"""Pairs at least this similar are copies. In the valley between two modes; docs/trust.md shows where it comes from."""

WINDOWS = ("frame", "head")

_COARSE_PX = 24
_COARSE_SIGMA_PX = 3.0
_NEAREST = 8  # of each slice go on to registration
_MOST = 64  # however many are alike
_ALIKE = 0.9  # coarse similarity from which more than the nearest few go on: a group may be large
_UNLIKE = 0.5  # below it nothing goes on
_BETWEEN = 3  # pairs of two groups that go on to registration
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Signatures:
    """What N slices look like, as the search for copies sees them.

    Attributes:
        windows: Signatures of frame and head, shape (N, 2, SIDE_PX, SIDE_PX), float16 to save memory.
        boxes_xywh: First column, first row, width, height of both windows in the slice, shape (N, 2, 4), in pixels.
    """

    windows: NDArray[np.float16]
    boxes_xywh: NDArray[np.float64]
    _coarse: dict[int, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.windows)

    def coarse(self, window: int) -> NDArray[np.float32]:
        """Of one window: vectors of norm 1 that barely notice a small shift, shape (N, _COARSE_PX, _COARSE_PX)."""
        if window not in self._coarse:
            self._coarse[window] = _coarsen(self.windows[:, window])
        return self._coarse[window]

    def head_box_xywh(self, index: int) -> tuple[int, int, int, int]:
        """First column, first row, width and height of the head in one slice."""
        x, y, width, height = (int(value) for value in self.boxes_xywh[index, WINDOWS.index("head")])
        return x, y, width, height


@dataclass(frozen=True, eq=False)
class CopyPair:
    """Two slices that are the same picture.

    Attributes:
        first: Index of one.
        second: Index of the other.
        similarity: Normalised correlation after registration, SAME_SLICE to 1.
        to_second: From pixel coordinates in the first to those in the second, shape (3, 3).
    """

    first: int
    second: int
    similarity: float
    to_second: Matrix

    def turned(self) -> CopyPair:
        """The same pair, seen from its other end."""
        return CopyPair(self.second, self.first, self.similarity, _invert(self.to_second))


@dataclass(frozen=True)
class _Candidate:
    coarse: float
    first: int
    second: int
    window: int
    orientation: int


def measure_signature(pixels: NDArray[Any]) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """What one slice looks like: its windows (2, SIDE_PX, SIDE_PX) and boxes (2, 4).

    Args:
        pixels: Grey values, shape (H, W), any real dtype.
    """
    height, width = pixels.shape
    rows, columns = head_box(pixels)
    windows = np.stack([frame_signature(pixels), frame_signature(pixels[rows, columns])])
    head_xywh = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    # Times SIDE_PX the values have a spread of 1, where half precision is at its best.
    return (windows * SIDE_PX).astype(np.float16), np.array([(0, 0, width, height), head_xywh], dtype=np.float64)


def stack_signatures(signatures: Iterable[tuple[NDArray[np.float16], NDArray[np.float64]]]) -> Signatures:
    """Many slices' looks as one."""
    listed = list(signatures)
    windows = np.empty((len(listed), len(WINDOWS), SIDE_PX, SIDE_PX), dtype=np.float16)
    boxes = np.empty((len(listed), len(WINDOWS), 4))
    for index, (window, box) in enumerate(listed):
        windows[index], boxes[index] = window, box
    return Signatures(windows, boxes)


def find_copies(signatures: Signatures, others: Signatures | None = None) -> list[CopyPair]:
    """All pairs of slices that are the same picture.

    Args:
        signatures: Of N slices.
        others: Of M slices to compare them with; None compares the N with each other, each pair once.

    Returns:
        Pairs (index in ``looks``, index in ``others`` or ``looks``) of at least SAME_SLICE, by indices.
    """
    return [pair for pair in score_pairs(signatures, others) if pair.similarity >= SAME_SLICE]


def score_pairs(signatures: Signatures, others: Signatures | None = None) -> list[CopyPair]:
    """The likely pairs with their similarity after registration, whether or not they are copies."""
    if others is not None:
        pairs = _register_all(_candidates(signatures, others, rows=np.arange(len(signatures))), signatures, others)
        return sorted(pairs, key=lambda pair: (pair.first, pair.second))
    scored: dict[tuple[int, int], CopyPair] = {}
    tried: set[tuple[int, int]] = set()
    rows, own = np.arange(len(signatures)), np.arange(len(signatures))
    while len(rows):
        found = _best_between(_candidates(signatures, signatures, rows=rows, own=own), own)
        fresh = {pair: hypotheses for pair, hypotheses in found.items() if pair not in tried}
        tried |= fresh.keys()
        scored |= {(pair.first, pair.second): pair for pair in _register_all(fresh, signatures, signatures)}
        before = own
        own = np.array(link(len(signatures), [key for key, pair in scored.items() if pair.similarity >= SAME_SLICE]))
        sizes = np.bincount(own, minlength=len(signatures))[own]
        # Those who looked among strangers in vain need not look again, nor those whose own left them places.
        grown = sizes > np.bincount(before, minlength=len(signatures))[before]
        rows = np.flatnonzero((sizes > _NEAREST / 2) & grown)
    return [scored[key] for key in sorted(scored)]


def _register_all(
    candidates: dict[tuple[int, int], list[_Candidate]], signatures: Signatures, others: Signatures
) -> list[CopyPair]:
    with ThreadPoolExecutor(usable_cores()) as pool:
        registered = pool.map(lambda hypotheses: _register_best(hypotheses, signatures, others), candidates.values())
        return [pair for pair in track(registered, "Comparing closely", total=len(candidates)) if pair is not None]


def _candidates(
    signatures: Signatures, others: Signatures, *, rows: NDArray[np.intp], own: NDArray[np.intp] | None = None
) -> dict[tuple[int, int], list[_Candidate]]:
    """Hypotheses of each likely pair, the likeliest first.

    Args:
        signatures: What is compared.
        others: With these.
        rows: Indices of those in ``looks`` that are compared now.
        own: If both are the same: the group of each, to whose members a slice is not compared.
    """
    found: dict[tuple[int, int], list[_Candidate]] = {}
    for window in range(len(WINDOWS)):
        references = others.coarse(window)
        queries = signatures.coarse(window)
        for likely in _search(queries, references, window=window, rows=rows, own=own):
            first, second = likely.first, likely.second
            key = (first, second) if own is None else (min(first, second), max(first, second))
            found.setdefault(key, []).append(likely)
    return {key: _distinct(found[key]) for key in sorted(found)}


def _best_between(
    candidates: dict[tuple[int, int], list[_Candidate]], own: NDArray[np.intp]
) -> dict[tuple[int, int], list[_Candidate]]:
    """Of each two groups the pairs that look most alike: if these are no copies, no others are."""
    between: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for first, second in candidates:
        groups = sorted((int(own[first]), int(own[second])))
        between.setdefault((groups[0], groups[1]), []).append((first, second))
    chosen = []
    for pairs in between.values():
        chosen += sorted(pairs, key=lambda pair: -candidates[pair][0].coarse)[:_BETWEEN]
    return {pair: candidates[pair] for pair in sorted(chosen)}


def _distinct(hypotheses: list[_Candidate]) -> list[_Candidate]:
    """One hypothesis a window: the pair may have been found from both of its ends."""
    best = {h.window: h for h in sorted(hypotheses, key=lambda h: h.coarse)}
    return sorted(best.values(), key=lambda h: -h.coarse)


def _coarsen(windows: NDArray[np.float16]) -> NDArray[np.float32]:
    vectors = np.empty((len(windows), _COARSE_PX, _COARSE_PX), dtype=np.float32)
    for index, signature in enumerate(windows):
        blurred = cv2.GaussianBlur(signature.astype(np.float32), (0, 0), _COARSE_SIGMA_PX)
        vectors[index] = cv2.resize(blurred, (_COARSE_PX, _COARSE_PX), interpolation=cv2.INTER_AREA)
    vectors -= vectors.mean(axis=(1, 2), keepdims=True)
    norms = np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1))


def _search(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    *,
    window: int,
    rows: NDArray[np.intp],
    own: NDArray[np.intp] | None,
) -> Iterator[_Candidate]:
    """Each query's likely references: ``queries[first]`` looks like ``references[second]`` in that orientation."""
    oriented = [
        np.ascontiguousarray(np.rot90(references[:, :, ::-1] if flip else references, turns, axes=(1, 2)))
        for turns, flip in ORIENTATIONS
    ]
    flat = [vectors.reshape(len(references), -1).T for vectors in oriented]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        best, which = _best_orientation(queries[block].reshape(-1, _COARSE_PX**2), flat)
        if own is not None:
            best[own[block][:, None] == own[None, :]] = -1.0
        places, columns = np.nonzero(best >= _cut(best)[:, None])
        for place, column in zip(places.tolist(), columns.tolist(), strict=True):
            coarse, orientation = float(best[place, column]), int(which[place, column])
            yield _Candidate(coarse, int(block[place]), column, window, orientation)


def _best_orientation(
    block: NDArray[np.float32], flat: list[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    best = block @ flat[0]
    which = np.zeros(best.shape, dtype=np.int8)
    for orientation, references in enumerate(flat[1:], start=1):
        similarity = block @ references
        np.putmask(which, similarity > best, np.int8(orientation))
        np.maximum(best, similarity, out=best)
    return best, which


def _cut(best: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each row the similarity from which its pairs go on: the nearest few, and all that are very alike."""
    count = best.shape[1]
    if count <= _NEAREST:
        return np.full(len(best), _UNLIKE, dtype=np.float32)
    places = [count - _NEAREST, max(count - _MOST, 0)]
    ordered = np.partition(best, places, axis=1)
    nearest, most = ordered[:, places[0]], ordered[:, places[1]]
    return np.maximum(np.maximum(np.minimum(nearest, _ALIKE), most), np.float32(_UNLIKE))


def _register_best(hypotheses: list[_Candidate], signatures: Signatures, others: Signatures) -> CopyPair | None:
    """The first hypothesis that makes the pair a copy, or else the best one; None if none can be registered."""
    best: CopyPair | None = None
    for likely in hypotheses:
        pair = _register(likely, signatures, others)
        if pair is not None and (best is None or pair.similarity > best.similarity):
            best = pair
        if best is not None and best.similarity >= SAME_SLICE:
            break
    if best is not None and signatures is others and best.first > best.second:
        return best.turned()
    return best


def _register(likely: _Candidate, signatures: Signatures, others: Signatures) -> CopyPair | None:
    turns, flip = ORIENTATIONS[likely.orientation]
    first = signatures.windows[likely.first, likely.window].astype(np.float32)
    second = others.windows[likely.second, likely.window].astype(np.float32)
    found: Registration = register(first, np.ascontiguousarray(orient(second, turns=turns, flip=flip)))
    if found.similarity < 0:
        return None
    from_first = _invert(window_matrix(signatures.boxes_xywh[likely.first, likely.window]))
    into_second = window_matrix(others.boxes_xywh[likely.second, likely.window])
    to_second = into_second @ orientation_matrix(turns=turns, flip=flip) @ found.warp @ from_first
    return CopyPair(likely.first, likely.second, found.similarity, to_second)


def _invert(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)

"""Finding slices that show the same picture, among thousands.

Every slice is reduced to a few numbers that barely notice a shift of a few per cent. Blocks of matrix products compare
all slices in all eight orientations. Each slice's nearest few are registered, which decides. In a large group the
nearest few are all of its own, so its members are compared once more with strangers, until nothing is added.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tumortrace.copies.candidates import NEAREST, Candidate, Candidates, best_between, find_candidates
from tumortrace.copies.groups import link
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
from tumortrace.machine import usable_cores
from tumortrace.progress import track

SAME_SLICE = 0.75
"""Pairs at least this similar are copies. In the valley between two modes; docs/trust.md shows where it comes from."""

_HOPEFUL, _FITS = 0.4, 0.9  # similarities between which a rough map is refined: below in vain, above it is fine
_VIEWS = 512  # kept in memory
_TURNS_BACK = [orientation_matrix(turns=turns, flip=flip) for turns, flip in ORIENTATIONS]


@dataclass(frozen=True, eq=False)
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


def find_copies(signatures: Signatures, others: Signatures | None = None) -> list[CopyPair]:
    """Find all pairs of slices that show the same picture.

    Args:
        signatures: N slices.
        others: M slices to compare them with; None compares the N with each other, each pair once.

    Returns:
        Pairs (index in ``signatures``, index in ``others`` or ``signatures``) of at least SAME_SLICE, by indices.
    """
    return [pair for pair in score_pairs(signatures, others) if pair.similarity >= SAME_SLICE]


def score_pairs(signatures: Signatures, others: Signatures | None = None) -> list[CopyPair]:
    """Return the likely pairs with their similarity after registration, whether or not they are copies."""
    if others is not None:
        candidates = find_candidates(signatures, others, rows=np.arange(len(signatures)))
        return sorted(_register_all(candidates, signatures, others), key=lambda pair: (pair.first, pair.second))
    scored: dict[tuple[int, int], CopyPair] = {}
    tried: set[tuple[int, int]] = set()
    rows, own = np.arange(len(signatures)), np.arange(len(signatures))
    while len(rows):
        candidates = best_between(find_candidates(signatures, signatures, rows=rows, own=own), own)
        fresh = {pair: hypotheses for pair, hypotheses in candidates.items() if pair not in tried}
        tried |= fresh.keys()
        scored |= {(pair.first, pair.second): pair for pair in _register_all(fresh, signatures, signatures)}
        before = own
        own = np.array(link(len(signatures), [key for key, pair in scored.items() if pair.similarity >= SAME_SLICE]))
        sizes = np.bincount(own, minlength=len(signatures))[own]
        # Those that found nothing among strangers need no second search, nor those whose own left them places.
        grown = sizes > np.bincount(before, minlength=len(signatures))[before]
        rows = np.flatnonzero((sizes > NEAREST / 2) & grown)
    return [scored[key] for key in sorted(scored)]


class _Views:
    """The views of N slices, the last few of them kept, since a slice has several candidates; and their places."""

    def __init__(self, signatures: Signatures) -> None:
        windows = signatures.windows
        small = np.empty((*windows.shape[:2], COARSE_PX, COARSE_PX), dtype=np.float32)
        for place in np.ndindex(windows.shape[:2]):
            small[place] = shrink_window(windows[place])
        self.get = lru_cache(_VIEWS)(lambda index, window: View(windows[index, window], small[index, window]))
        self.to_slice = [[window_matrix(box) for box in boxes] for boxes in signatures.boxes_xywh]
        self.from_slice = [[invert(matrix) for matrix in matrices] for matrices in self.to_slice]


def _register_all(candidates: Candidates, signatures: Signatures, others: Signatures) -> list[CopyPair]:
    views = _Views(signatures)
    other_views = views if signatures is others else _Views(others)
    with ThreadPoolExecutor(usable_cores()) as pool:
        registered = pool.map(lambda hypotheses: _register_best(hypotheses, views, other_views), candidates.values())
        return [pair for pair in track(registered, "Comparing closely", total=len(candidates)) if pair is not None]


def _register_best(hypotheses: list[Candidate], views: _Views, others: _Views) -> CopyPair | None:
    """The first hypothesis that makes the pair a copy, or else the best one; None if none can be registered."""
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


def _register(likely: Candidate, views: _Views, others: _Views) -> CopyPair | None:
    turns, flip = ORIENTATIONS[likely.orientation]
    first = views.get(likely.first, likely.window)
    second = others.get(likely.second, likely.window).turn(turns=turns, flip=flip, negative=likely.negative)
    warp = register(first, second, guess=cut_matrix(likely.cut))
    if warp is None:
        return None
    pair = _compare(likely, warp, views, others)
    if _HOPEFUL <= pair.similarity < _FITS:
        warp = refine(first, second, guess=warp)
        pair = max(pair, _compare(likely, warp, views, others), key=_similarity) if warp is not None else pair
    return pair if pair.similarity > 0 else None


def _compare(likely: Candidate, warp: Matrix, views: _Views, others: _Views) -> CopyPair:
    """Compare the heads alone: the background around them is noise, or what JPEG made of it."""
    into_second = others.to_slice[likely.second][likely.window] @ _TURNS_BACK[likely.orientation]
    to_second = into_second @ warp @ views.from_slice[likely.first][likely.window]
    between_heads = others.from_slice[likely.second][HEAD] @ to_second @ views.to_slice[likely.first][HEAD]
    second = others.get(likely.second, HEAD).full
    similarity = compare_detail(views.get(likely.first, HEAD), -second if likely.negative else second, between_heads)
    return CopyPair(likely.first, likely.second, similarity, to_second)


def _similarity(pair: CopyPair) -> float:
    return pair.similarity

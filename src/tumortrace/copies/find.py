"""Finding slices that show the same picture, among thousands.

Every slice is reduced to a few numbers that barely notice a shift of a few per cent. Blocks of matrix products compare
all slices in all eight orientations. Each slice's nearest few are registered, which decides. In a large group the
nearest few are all of its own, so its members are compared once more with strangers, until nothing is added.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tumortrace.copies.candidates import NEAREST, Candidate, Candidates, best_between, find_candidates
from tumortrace.copies.groups import link
from tumortrace.copies.registration import (
    Matrix,
    compare_detail,
    cut_matrix,
    invert,
    orientation_matrix,
    register,
    window_matrix,
)
from tumortrace.copies.signatures import HEAD, Signatures
from tumortrace.copies.similarity import ORIENTATIONS, orient
from tumortrace.machine import usable_cores
from tumortrace.progress import track

SAME_SLICE = 0.75
"""Pairs at least this similar are copies. In the valley between two modes; docs/trust.md shows where it comes from."""


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


def _register_all(candidates: Candidates, signatures: Signatures, others: Signatures) -> list[CopyPair]:
    with ThreadPoolExecutor(usable_cores()) as pool:
        registered = pool.map(lambda hypotheses: _register_best(hypotheses, signatures, others), candidates.values())
        return [pair for pair in track(registered, "Comparing closely", total=len(candidates)) if pair is not None]


def _register_best(hypotheses: list[Candidate], signatures: Signatures, others: Signatures) -> CopyPair | None:
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


def _register(likely: Candidate, signatures: Signatures, others: Signatures) -> CopyPair | None:
    turns, flip = ORIENTATIONS[likely.orientation]
    first = signatures.windows[likely.first, likely.window].astype(np.float32)
    second = others.windows[likely.second, likely.window].astype(np.float32)
    oriented = np.ascontiguousarray(orient(-second if likely.negative else second, turns=turns, flip=flip))
    warp = register(first, oriented, guess=cut_matrix(likely.cut))
    if warp is None:
        return None
    from_first = invert(window_matrix(signatures.boxes_xywh[likely.first, likely.window]))
    into_second = window_matrix(others.boxes_xywh[likely.second, likely.window])
    to_second = into_second @ orientation_matrix(turns=turns, flip=flip) @ warp @ from_first
    similarity = _compare_heads(likely, signatures, others, to_second)
    return CopyPair(likely.first, likely.second, similarity, to_second) if similarity > 0 else None


def _compare_heads(likely: Candidate, signatures: Signatures, others: Signatures, to_second: Matrix) -> float:
    """Compare the heads alone: the background around them is noise, or what JPEG made of it."""
    from_head = window_matrix(signatures.boxes_xywh[likely.first, HEAD])
    into_head = invert(window_matrix(others.boxes_xywh[likely.second, HEAD]))
    first = signatures.windows[likely.first, HEAD].astype(np.float32)
    second = others.windows[likely.second, HEAD].astype(np.float32)
    return compare_detail(first, -second if likely.negative else second, into_head @ to_second @ from_head)

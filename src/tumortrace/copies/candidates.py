"""The coarse search for pairs of slices that may be copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.signatures import COARSE_PX, HEAD, WINDOWS, Signatures, unit_vectors
from tumortrace.copies.similarity import ORIENTATIONS, orient

Cut = tuple[float, float, float, float]
"""Fractions of a window that are cut off at its left, top, right and bottom."""

WHOLE: Cut = (0.0, 0.0, 0.0, 0.0)

NEAREST = 8
"""Number of each slice's most similar others that are registered."""

_NEAREST_CUT = 4  # likewise, of those that it may be cut out of
_MOST = 64  # however many are similar
_ALIKE = 0.9  # coarse similarity from which more than the nearest few are registered: a group may be large
_UNLIKE = 0.5  # below it nothing is registered
_BETWEEN = 3  # pairs of two groups that are registered
_BLOCK = 512
_CUTS = (0.1, 0.2, 0.3)  # tried at one edge
_TWO_CUTS = (0.12, 0.25)  # tried at each of several


@dataclass(frozen=True)
class Candidate:
    """A pair of slices that may be copies, and how one would lie on the other.

    Attributes:
        coarse: Similarity of the small signatures, 0 to 1.
        first: Index of the one.
        second: Index of the other.
        window: The part of both that was compared, index in ``WINDOWS``.
        orientation: Index in ``ORIENTATIONS``: how the second must be turned.
        cut: The part of the second's window, once it is turned, that the first shows.
        negative: Whether dark and bright are exchanged.
    """

    coarse: float
    first: int
    second: int
    window: int
    orientation: int
    cut: Cut = WHOLE
    negative: bool = False


Candidates = dict[tuple[int, int], list[Candidate]]
"""By pair of slices, the most similar candidate first."""


@dataclass(frozen=True)
class _Variant:
    """One way in which the second slice of a pair may be turned and cut."""

    orientation: int
    cut: Cut = WHOLE


_TURNED = [_Variant(orientation) for orientation in range(len(ORIENTATIONS))]


def find_candidates(
    signatures: Signatures, others: Signatures, *, rows: NDArray[np.intp], own: NDArray[np.intp] | None = None
) -> Candidates:
    """Find the pairs that are worth a close comparison.

    Args:
        signatures: Slices to compare.
        others: Slices to compare them with.
        rows: Indices of the signatures that are compared now.
        own: Group of each slice where both are the same; its members are not compared.
    """
    found: Candidates = {}
    for likely in _search_all(signatures, others, rows, own):
        first, second = likely.first, likely.second
        key = (first, second) if own is None else (min(first, second), max(first, second))
        found.setdefault(key, []).append(likely)
    return {key: _distinct(found[key]) for key in sorted(found)}


def best_between(candidates: Candidates, own: NDArray[np.intp]) -> Candidates:
    """Keep the most similar pairs of each two groups: if these are no copies, no others are."""
    between: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for first, second in candidates:
        groups = sorted((int(own[first]), int(own[second])))
        between.setdefault((groups[0], groups[1]), []).append((first, second))
    chosen = []
    for pairs in between.values():
        chosen += sorted(pairs, key=lambda pair: -candidates[pair][0].coarse)[:_BETWEEN]
    return {pair: candidates[pair] for pair in sorted(chosen)}


def _search_all(
    signatures: Signatures, others: Signatures, rows: NDArray[np.intp], own: NDArray[np.intp] | None
) -> Iterator[Candidate]:
    for window in range(len(WINDOWS)):
        references = others.coarse(window)
        for block, queries in _blocks(signatures.coarse(window), rows):
            best = _Best.among(_TURNED, queries, references)
            for number, variant in enumerate(_TURNED):
                best.update(slice(None), number, queries[variant.orientation], references)
            yield from best.choose(block, own, window=window, nearest=NEAREST)
    cut_off = rows[signatures.cut_ltrb[rows].any(axis=1)]
    for block, queries in _blocks(signatures.coarse(HEAD), cut_off):
        best = _search_cut(queries, signatures.cut_ltrb[block], others.coarse(HEAD))
        yield from best.choose(block, own, window=HEAD, nearest=_NEAREST_CUT)


def _blocks(
    vectors: NDArray[np.float32], rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Some rows after the other, turned as a reference would have to be turned back, shape (8, n, side, side)."""
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        turned = [np.rot90(vectors[block], -turns, axes=(1, 2)) for turns, _ in ORIENTATIONS]
        yield block, np.stack([t[:, :, ::-1] if flip else t for t, (_, flip) in zip(turned, ORIENTATIONS, strict=True)])


def _search_cut(queries: NDArray[np.float32], cut_ltrb: NDArray[np.bool_], references: NDArray[np.float32]) -> _Best:
    """Compare heads that are cut off with the parts of the others that they may show."""
    variants: list[_Variant] = []
    tasks: dict[Cut, list[tuple[int, NDArray[np.intp]]]] = {}  # by the part of the references
    for edges in np.unique(cut_ltrb, axis=0):
        those = np.flatnonzero((cut_ltrb == edges).all(axis=1))
        for cut, orientation in product(_plan_cuts(edges), range(len(ORIENTATIONS))):
            tasks.setdefault(_turn_back(cut, orientation), []).append((len(variants), those))
            variants.append(_Variant(orientation, cut))
    best = _Best.among(variants, queries, references)
    for cut, those_with_it in tasks.items():
        part = _cut_out(references, cut)
        for number, those in those_with_it:
            best.update(those, number, queries[variants[number].orientation][those], part)
    return best


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Keep one candidate a window, whole or cut: the pair may have been found from both of its ends."""
    best = {(c.window, c.cut == WHOLE): c for c in sorted(candidates, key=lambda c: c.coarse)}
    return sorted(best.values(), key=lambda c: -c.coarse)


def _plan_cuts(edges: NDArray[np.bool_]) -> list[Cut]:
    steps = _CUTS if edges.sum() == 1 else _TWO_CUTS
    choices = [steps if edge else (0.0,) for edge in edges.tolist()]
    return [(left, top, right, bottom) for left, top, right, bottom in product(*choices)]


def _turn_back(cut: Cut, orientation: int) -> Cut:
    """The cut of a slice as it is that is this cut of the slice once it is turned."""
    turns, flip = ORIENTATIONS[orientation]
    turned = orient(np.array([[-1, 1, -1], [0, -1, 2], [-1, 3, -1]]), turns=turns, flip=flip)
    of_edge = dict(zip((turned[1, 0], turned[0, 1], turned[1, 2], turned[2, 1]), cut, strict=True))
    return of_edge[0], of_edge[1], of_edge[2], of_edge[3]


def _cut_out(vectors: NDArray[np.float32], cut: Cut) -> NDArray[np.float32]:
    """The part of each small signature within a cut, stretched to the whole, shape (N, side, side)."""
    left, top, right, bottom = cut
    across, down = _resampling(left, right), _resampling(top, bottom)
    # Each axis in one product: NumPy multiplies stacks of small matrices one by one.
    narrow = (vectors.reshape(-1, COARSE_PX) @ across.T).reshape(vectors.shape).swapaxes(1, 2)
    part = (narrow.reshape(-1, COARSE_PX) @ down.T).reshape(vectors.shape).swapaxes(1, 2)
    return unit_vectors(np.asarray(part, dtype=np.float32))


def _resampling(before: float, behind: float) -> NDArray[np.float32]:
    """The matrix that stretches the part of a line between two cuts over the whole line, linearly."""
    places = np.clip(before * COARSE_PX + (1 - before - behind) * (np.arange(COARSE_PX) + 0.5) - 0.5, 0, COARSE_PX - 1)
    matrix = np.maximum(1 - np.abs(places[:, None] - np.arange(COARSE_PX)), 0)
    return np.asarray(matrix, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Best:
    """The best variant of each pair of Q queries and N references.

    Attributes:
        variants: Variants that were tried.
        similarity: The highest similarity, shape (Q, N).
        code: Twice the index of the variant, plus 1 where dark and bright are exchanged, shape (Q, N).
    """

    variants: list[_Variant]
    similarity: NDArray[np.float32]
    code: NDArray[np.int16]

    @classmethod
    def among(cls, variants: list[_Variant], queries: NDArray[np.float32], references: NDArray[np.float32]) -> _Best:
        """Begin with nothing tried."""
        size_qn = queries.shape[1], len(references)
        return cls(variants, np.full(size_qn, -1.0, dtype=np.float32), np.zeros(size_qn, dtype=np.int16))

    def update(
        self,
        those: NDArray[np.intp] | slice,
        number: int,
        queries: NDArray[np.float32],
        references: NDArray[np.float32],
    ) -> None:
        """Try a variant for some of the queries."""
        product_ = queries.reshape(len(queries), -1) @ references.reshape(len(references), -1).T
        size = np.abs(product_)
        better = size > self.similarity[those]
        self.code[those] = np.where(better, 2 * number + (product_ < 0), self.code[those])
        self.similarity[those] = np.maximum(self.similarity[those], size)

    def choose(
        self, block: NDArray[np.intp], own: NDArray[np.intp] | None, *, window: int, nearest: int
    ) -> Iterator[Candidate]:
        """Choose the most similar references of each query, strangers alone if groups are given."""
        if own is not None:
            self.similarity[own[block][:, None] == own[None, :]] = -1.0
        places, columns = np.nonzero(self.similarity >= _least(self.similarity, nearest)[:, None])
        for place, column in zip(places.tolist(), columns.tolist(), strict=True):
            number, negative = divmod(int(self.code[place, column]), 2)
            variant, coarse = self.variants[number], float(self.similarity[place, column])
            yield Candidate(coarse, int(block[place]), column, window, variant.orientation, variant.cut, bool(negative))


def _least(best: NDArray[np.float32], nearest: int) -> NDArray[np.float32]:
    """For each row the similarity from which its pairs go on: the nearest few, and all that are very similar."""
    count = best.shape[1]
    if count <= nearest:
        return np.full(len(best), _UNLIKE, dtype=np.float32)
    places = [count - nearest, max(count - _MOST, 0)]
    ordered = np.partition(best, places, axis=1)
    lowest, most = ordered[:, places[0]], ordered[:, places[1]]
    return np.maximum(np.maximum(np.minimum(lowest, _ALIKE), most), np.float32(_UNLIKE))

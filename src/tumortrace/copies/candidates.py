"""The coarse search for pairs of slices that may be copies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.signatures import COARSE_PX, HEAD, WINDOWS, Signatures
from tumortrace.copies.similarity import ORIENTATIONS, orient
from tumortrace.machine import usable_cores
from tumortrace.progress import track

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
_NEGATIVE = 0.15  # by which a negative must be more similar: few of them are not turned upright beforehand
_PART_PX = 12  # side of the signatures of windows and of their parts that are compared
_ROWS, _REFERENCES = 1024, 512  # slices that are compared at a time: what they need fits into the cache
_PARTS = 8  # times that many references are searched before what was found is thinned out
_SLIGHT, _CLEAR = 0.08, 0.33  # fraction with which a head ends at an edge where little, or more, of it may be cut off
_SLIGHT_CUTS = (0.0, 0.07, 0.14, 0.22)  # tried where little is cut off; nothing is where a neck ends, for one
_CLEAR_CUTS = (0.0, 0.08, 0.16, 0.24, 0.32)  # tried where more is
_FEWER_CUTS = (0.0, 0.11, 0.22)  # tried instead where three edges or all are cut


@dataclass(frozen=True, slots=True)
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
    return {key: _distinct(found.pop(key)) for key in sorted(found)}


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
    if not len(rows) or not len(others):
        return
    none = np.zeros((len(rows), 4), dtype=np.intp)
    for window in range(len(WINDOWS)):
        query = _Query.of(signatures.coarse(window), rows, none, plan=lambda _edges: [WHOLE])
        yield from _search(query, others.coarse(window), own, window=window, nearest=NEAREST)
    kinds = np.searchsorted((_SLIGHT, _CLEAR), signatures.cut_ltrb)
    cut_off = rows[kinds[rows].any(axis=1)]
    cut_off = cut_off[np.lexsort(kinds[cut_off].T)]  # those that are cut alike in a row
    if not len(cut_off):
        return
    query = _Query.of(signatures.coarse(HEAD), cut_off, kinds[cut_off], plan=_plan_cuts)
    yield from _search(query, others.coarse(HEAD), own, window=HEAD, nearest=_NEAREST_CUT)


class _Task(NamedTuple):
    """One variant that is tried for some of the slices that are searched for.

    Attributes:
        part: The part of each reference, as it is, that is compared.
        number: Index of the variant.
        those: The slices, a range of the query's rows.
    """

    part: Cut
    number: int
    those: slice


@dataclass(frozen=True, eq=False)
class _Query:
    """Slices that are searched for, and the ways in which they may lie on others.

    Attributes:
        rows: Indices of the slices, shape (Q,).
        vectors: Small signatures, turned as references would be turned back, shape (8, Q, _PART_PX squared).
        variants: All ways that are tried.
        blocks: Variants that are tried, a list for each _ROWS slices.
    """

    rows: NDArray[np.intp]
    vectors: NDArray[np.float32]
    variants: list[_Variant]
    blocks: list[list[_Task]]

    @classmethod
    def of(
        cls,
        coarse: NDArray[np.float32],
        rows: NDArray[np.intp],
        kinds: NDArray[np.intp],
        *,
        plan: Callable[[list[int]], list[Cut]],
    ) -> _Query:
        """Plan a search.

        Args:
            coarse: Small signatures of all slices, shape (N, COARSE_PX, COARSE_PX).
            rows: Indices of those that are searched for.
            kinds: Kind of each of their edges: 0 (whole), 1 (slightly cut) or 2, shape (Q, 4); equal rows in a row.
            plan: Gives the cuts that are tried for one kind.
        """
        vectors = np.empty((len(ORIENTATIONS), len(rows), _PART_PX**2), dtype=np.float32)
        for number, (turns, flip) in enumerate(ORIENTATIONS):
            turned = np.rot90(coarse[rows], -turns, axes=(1, 2))
            vectors[number] = _cut_out(np.ascontiguousarray(turned[:, :, ::-1] if flip else turned), WHOLE)
        numbers: dict[_Variant, int] = {}
        blocks = [_list_tasks(kinds, start, plan, numbers) for start in range(0, len(rows), _ROWS)]
        return cls(rows, vectors, list(numbers), blocks)


def _list_tasks(
    kinds: NDArray[np.intp], start: int, plan: Callable[[list[int]], list[Cut]], numbers: dict[_Variant, int]
) -> list[_Task]:
    """List what is tried for the _ROWS slices from ``start`` on, and number the variants that are new."""
    tasks = []
    edges = kinds[start : start + _ROWS]
    changes = 1 + np.flatnonzero((edges[1:] != edges[:-1]).any(axis=1))
    for first, last in itertools.pairwise([0, *changes.tolist(), len(edges)]):
        for cut, orientation in itertools.product(plan(edges[first].tolist()), range(len(ORIENTATIONS))):
            number = numbers.setdefault(_Variant(orientation, cut), len(numbers))
            tasks.append(_Task(_turn_back(cut, orientation), number, slice(start + first, start + last)))
    return tasks


def _search(
    query: _Query, references: NDArray[np.float32], own: NDArray[np.intp] | None, *, window: int, nearest: int
) -> Iterator[Candidate]:
    """Find the most similar references of each slice, strangers alone if groups are given.

    Args:
        query: Slices that are searched for.
        references: Small signatures, shape (N, COARSE_PX, COARSE_PX).
        own: Group of each reference, as for ``find_candidates``.
        window: Index of the window, for the candidates.
        nearest: Number of references that each slice gets at least.
    """
    starts = range(0, len(references), _REFERENCES)
    with ThreadPoolExecutor(usable_cores()) as pool:
        searched = pool.map(lambda start: _search_part(query, references, start, own, nearest), starts)
        found = _gather(track(searched, "Searching", total=len(starts)), nearest)
    columns = (each.tolist() for each in (*found, _find_variants(query, references, found)))
    for row, column, similarity, negative, number in zip(*columns, strict=True):
        variant, first = query.variants[number], int(query.rows[row])
        yield Candidate(similarity, first, column, window, variant.orientation, variant.cut, negative)


class _Found(NamedTuple):
    """Pairs of a slice and a reference, in arrays of one length.

    Attributes:
        row: Index of the slice in the query.
        column: Index of the reference.
        similarity: Similarity in the best variant.
        negative: Whether dark and bright are exchanged in it.
    """

    row: NDArray[np.intp]
    column: NDArray[np.intp]
    similarity: NDArray[np.float32]
    negative: NDArray[np.bool_]

    def keep_nearest(self, nearest: int) -> _Found:
        """Keep of each slice the nearest few, and all that are very similar."""
        order = np.lexsort((self.column, -self.similarity, self.row))
        row, similarity = self.row[order], self.similarity[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        kept = order[(rank < nearest) | ((rank < _MOST) & (similarity >= _ALIKE))]
        return _Found(self.row[kept], self.column[kept], self.similarity[kept], self.negative[kept])


def _gather(parts: Iterable[_Found], nearest: int) -> _Found:
    """Join what was found among all references, and keep the nearest of it.

    All parts at once would need memory in proportion to the square of the slices.
    """
    kept: list[_Found] = []
    for part in parts:
        kept.append(part)
        if len(kept) >= _PARTS:
            kept = [_join(kept).keep_nearest(nearest)]
    return _join(kept).keep_nearest(nearest)


def _join(parts: Sequence[_Found]) -> _Found:
    return _Found(*map(np.concatenate, zip(*parts, strict=True)))


def _search_part(
    query: _Query, references: NDArray[np.float32], start: int, own: NDArray[np.intp] | None, nearest: int
) -> _Found:
    """Search some of the references."""
    some = references[start : start + _REFERENCES]
    parts: dict[Cut, NDArray[np.float32]] = {}
    found = []
    for number, tasks in enumerate(query.blocks):
        first_row = number * _ROWS
        rows = query.rows[first_row : first_row + _ROWS]
        best = _Best.among(len(rows), len(some))
        for task in tasks:
            if task.part not in parts:
                parts[task.part] = _cut_out(some, task.part)
            asking = query.vectors[query.variants[task.number].orientation, task.those]
            those = slice(task.those.start - first_row, task.those.stop - first_row)
            best.update(those, asking @ parts[task.part].T)
        strangers = None if own is None else own[rows][:, None] != own[None, start : start + len(some)]
        found.append(best.choose(strangers, nearest, first_row=first_row, first_column=start))
    return _join(found)


def _find_variants(query: _Query, references: NDArray[np.float32], found: _Found) -> NDArray[np.int16]:
    """Find the best variant of each pair; to note it for all pairs while they are searched would take most of the time.

    Returns:
        Indices of variants, shape (pairs,).
    """
    best = np.full(len(found.row), -np.inf, dtype=np.float32)
    number = np.zeros(len(found.row), dtype=np.int16)
    sign = np.where(found.negative, np.float32(-1), np.float32(1))
    tasks = sorted(itertools.chain(*query.blocks), key=lambda task: task.part)
    for part, those in itertools.groupby(tasks, key=lambda task: task.part):
        vectors = _cut_out(references, part)
        for task in those:
            pairs = slice(*np.searchsorted(found.row, (task.those.start, task.those.stop)))
            asking = query.vectors[query.variants[task.number].orientation][found.row[pairs]]
            similarity = sign[pairs] * np.einsum("ij,ij->i", asking, vectors[found.column[pairs]])
            better = similarity > best[pairs]
            best[pairs][better], number[pairs][better] = similarity[better], task.number
    return number


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Keep one candidate a window, whole or cut: the pair may have been found from both of its ends."""
    best = {(c.window, c.cut == WHOLE): c for c in sorted(candidates, key=lambda c: c.coarse)}
    return sorted(best.values(), key=lambda c: -c.coarse)


def _plan_cuts(edges: list[int]) -> list[Cut]:
    few = sum(edge > 0 for edge in edges) < 3
    steps = ((0.0,), _SLIGHT_CUTS, _CLEAR_CUTS) if few else ((0.0,), _FEWER_CUTS, _FEWER_CUTS)
    cuts = itertools.product(*(steps[edge] for edge in edges))
    return [(left, top, right, bottom) for left, top, right, bottom in cuts if left or top or right or bottom]


def _turn_back(cut: Cut, orientation: int) -> Cut:
    """The cut of a slice as it is that is this cut of the slice once it is turned."""
    turns, flip = ORIENTATIONS[orientation]
    turned = orient(np.array([[-1, 1, -1], [0, -1, 2], [-1, 3, -1]]), turns=turns, flip=flip)
    of_edge = dict(zip((turned[1, 0], turned[0, 1], turned[1, 2], turned[2, 1]), cut, strict=True))
    return of_edge[0], of_edge[1], of_edge[2], of_edge[3]


def _cut_out(vectors: NDArray[np.float32], cut: Cut) -> NDArray[np.float32]:
    """The part of each small signature within a cut, stretched or shrunk to a square.

    Returns:
        The parts, shape (N, _PART_PX squared), of mean 0 and norm 1, and of norm 0 where they are constant.
    """
    left, top, right, bottom = cut
    across, down = _resampling(left, right), _resampling(top, bottom)
    # Each axis in one product: NumPy multiplies stacks of small matrices one by one.
    narrow = (vectors.reshape(-1, COARSE_PX) @ across.T).reshape(-1, COARSE_PX, _PART_PX).swapaxes(1, 2)
    part = (narrow.reshape(-1, COARSE_PX) @ down.T).reshape(-1, _PART_PX, _PART_PX).swapaxes(1, 2)
    flat = np.ascontiguousarray(part).reshape(-1, _PART_PX**2)
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(norms > 0, norms, 1), dtype=np.float32)


def _resampling(before: float, behind: float) -> NDArray[np.float32]:
    """The matrix that brings the part of a line between two cuts to _PART_PX places, linearly."""
    step = (1 - before - behind) * COARSE_PX / _PART_PX
    places = np.clip(before * COARSE_PX + step * (np.arange(_PART_PX) + 0.5) - 0.5, 0, COARSE_PX - 1)
    matrix = np.maximum(1 - np.abs(places[:, None] - np.arange(COARSE_PX)), 0)
    return np.asarray(matrix, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Best:
    """The similarity of Q slices and N references in the best variant, as they are and with dark and bright exchanged.

    Attributes:
        highest: The highest similarity, shape (Q, N).
        lowest: The lowest, which is the highest of the negatives with its sign changed.
    """

    highest: NDArray[np.float32]
    lowest: NDArray[np.float32]

    @classmethod
    def among(cls, slices: int, references: int) -> _Best:
        """Begin with nothing tried."""
        highest, lowest = (np.full((slices, references), start, dtype=np.float32) for start in (-1, 1))
        return cls(highest, lowest)

    def update(self, those: slice, similarity: NDArray[np.float32]) -> None:
        """Note the similarity of some slices to all references in one variant."""
        np.maximum(self.highest[those], similarity, out=self.highest[those])
        np.minimum(self.lowest[those], similarity, out=self.lowest[those])

    def choose(self, strangers: NDArray[np.bool_] | None, nearest: int, *, first_row: int, first_column: int) -> _Found:
        """Choose the most similar references of each slice: ``nearest`` of them, and all that are very similar."""
        best = np.maximum(self.highest, -self.lowest - _NEGATIVE)
        if strangers is not None:
            best[~strangers] = -1.0
        kth = np.partition(best, -nearest, axis=1)[:, -nearest] if best.shape[1] > nearest else np.full(len(best), -1.0)
        rows, columns = np.nonzero(best >= np.clip(kth, _UNLIKE, _ALIKE)[:, None])
        similarity = best[rows, columns]
        negative = similarity > self.highest[rows, columns]
        return _Found(rows + first_row, columns + first_column, similarity, negative)

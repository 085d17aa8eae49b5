"""Finding slices that show the same picture, among thousands.

Every slice is reduced to a few numbers that barely notice a shift of a few per cent. Blocks of matrix products compare
all slices in all eight orientations. Each slice's nearest few are registered, which decides. In a large group the
nearest few are all of its own, so its members are compared once more with strangers, until nothing is added.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np

from tumortrace.copies.apart import FEWEST_PAIRS, open_helpers
from tumortrace.copies.candidates import NEAREST, Candidates, best_between, find_candidates
from tumortrace.copies.compare import SAME_SLICE, CopyPair, Views
from tumortrace.copies.signatures import Signatures
from tumortrace.data.components import link
from tumortrace.progress import track

_BATCH = 128  # pairs that a process compares at a time


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
    views = Views.of(signatures)
    other_views = views if signatures is others else Views.of(others)
    pairs = list(candidates.values())
    batches = [pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH)]
    with (
        open_helpers(worth=len(pairs) >= FEWEST_PAIRS) as helpers,
        ThreadPoolExecutor(helpers.threads) as pool,
    ):
        compared = chain.from_iterable(pool.map(lambda batch: helpers.compare(batch, views, other_views), batches))
        return [pair for pair in track(compared, "Comparing closely", total=len(pairs)) if pair is not None]

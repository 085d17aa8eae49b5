"""Agreement of annotators, measured on copies of one slice.

Two outlines of one slice are two opinions about one tumour. How well they agree is the yardstick of a score against
one of them, not a limit: a model midway between the two differs from each about half as much as they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.compare import CopyPair
from tumortrace.copies.registration import lay_mask
from tumortrace.copies.survey import Survey
from tumortrace.json_csv import Document
from tumortrace.machine import usable_cores
from tumortrace.metrics.aggregate import DISTANCES, LENGTHS, describe_values
from tumortrace.metrics.intervals import count_effective_groups
from tumortrace.metrics.overlap import PixelCounts, count_pixels
from tumortrace.metrics.surface import SurfaceScores, compare_surfaces
from tumortrace.progress import track

COPIED = 0.998
"""Outlines that agree to this Dice were copied along with the picture: they say nothing about annotators."""

SAME_PICTURE = 0.96
"""Similarity below which two pictures of one patient may be neighbouring slices, which differ.

Neighbours with a tumour reach 0.89 in lgg, 0.91 in brats2013 and 0.95 in figshare.
"""

ABOVE_THE_ANNOTATORS = (
    "A model midway between two outlines is above that; one far above may imitate one annotator, or know the slices."
)
"""What a score above the annotators' agreement means; stands behind a sentence that gives the agreement."""


@dataclass(frozen=True)
class OutlinePair:
    """Two outlines of one slice, compared on the first one's grid.

    Attributes:
        first: Case id of the one.
        second: Case id of the other.
        group: Group of copies that both belong to.
        block: Block of the first (``Survey.blocks``), over which intervals are.
        counts: The second's pixels against the first's.
        surface: Distances between both borders.
        in_mm: Whether distances are in millimetres, as they are where the first belongs to a scan with a pixel spacing.
    """

    first: str
    second: str
    group: str
    block: str
    counts: PixelCounts
    surface: SurfaceScores
    in_mm: bool = False


@dataclass(frozen=True)
class Agreement:
    """The annotators' agreement with each other.

    Attributes:
        pairs: Outlines drawn independently.
        copied: Number of pairs omitted because one outline is a copy of the other.
    """

    pairs: tuple[OutlinePair, ...]
    copied: int


def measure_agreement(survey: Survey) -> Agreement | None:
    """Compare each outline with that of one of its copies, drawn at random.

    One copy each, and not all pairs, so that every outline counts about the same, however large its group.

    Args:
        survey: Survey of an annotated dataset.

    Returns:
        None if no slice was outlined twice.
    """
    compared = compare_outlines(_draw_pairs(survey, np.random.default_rng(0)), survey)
    independent = tuple(pair for pair in compared if pair.counts.dice < COPIED)
    copied = sum(pair.counts.dice >= COPIED for pair in compared)  # not those whose common part holds no outline
    return Agreement(independent, copied) if independent else None


def describe_agreement(agreement: Agreement | None) -> Document | None:
    """The annotators' agreement, each metric with its interval over blocks; None where nothing was outlined twice."""
    if agreement is None:
        return None
    blocks = [pair.block for pair in agreement.pairs]
    values = {
        metric: [
            float(getattr(pair.surface if metric in DISTANCES else pair.counts, metric)) for pair in agreement.pairs
        ]
        for metric in ("dice", "iou", *DISTANCES)
    }
    return {
        "pairs": len(agreement.pairs),
        "copied": agreement.copied,
        "groups": len({pair.group for pair in agreement.pairs}),
        "independent_groups": len(set(blocks)),
        "effective_groups": round(count_effective_groups(blocks), 1),
        "distance_unit": " or ".join(sorted({"mm" if pair.in_mm else "px" for pair in agreement.pairs})),
        **{metric: describe_values(listed, blocks, shares=metric not in LENGTHS) for metric, listed in values.items()},
    }


def agree_on_masks(survey: Survey) -> dict[str, NDArray[np.bool_]]:
    """The consensus of the outlines of each slice that has at least two copies: what most of them call tumour.

    Each copy votes where its picture reaches; a tie is decided by the slice's own outline.

    Args:
        survey: Survey of the training cases alone: no other outline may influence the training.

    Returns:
        By case id: the mask, shape (H, W) of the slice, bool.
    """
    voters: dict[int, list[CopyPair]] = {}
    for pair in _pairs_of_one_slice(survey):
        voters.setdefault(pair.first, []).append(pair)
        voters.setdefault(pair.second, []).append(pair.turned())
    agreed = {}
    for index, pairs in track(sorted(voters.items()), "Finding the consensus", total=len(voters)):
        if len(pairs) >= 2:
            agreed[survey.cases[index].record.case_id] = _vote(index, pairs, survey)
    return agreed


def _pairs_of_one_slice(survey: Survey) -> list[CopyPair]:
    """The pairs of copies without those that may be neighbouring slices of one patient."""
    return [
        pair
        for pair in survey.pairs
        for first, second in [survey.cases_of(pair)]
        if pair.similarity >= SAME_PICTURE or not first.record.patient or first.record.patient != second.record.patient
    ]


def _draw_pairs(survey: Survey, rng: np.random.Generator) -> list[CopyPair]:
    partners: dict[int, list[CopyPair]] = {}
    for pair in _pairs_of_one_slice(survey):
        if all(case.tumour_px for case in survey.cases_of(pair)):
            partners.setdefault(pair.first, []).append(pair)
            partners.setdefault(pair.second, []).append(pair)
    drawn = [pairs[rng.integers(len(pairs))] for _, pairs in sorted(partners.items())]
    return list({(pair.first, pair.second): pair for pair in drawn}.values())


def compare_outlines(pairs: Sequence[CopyPair], survey: Survey) -> list[OutlinePair]:
    """Compare the outlines of each two copies, in threads."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        compared = pool.map(lambda pair: _compare_pair(pair, survey), pairs)
        return list(track(compared, "Comparing outlines", total=len(pairs)))


def _compare_pair(pair: CopyPair, survey: Survey) -> OutlinePair:
    """Compare two outlines on the first one's grid, as far as the second's picture reaches."""
    first, second = survey.cases_of(pair)
    # What the second picture does not show, its annotator could not outline.
    truth = first.truth() & _reach(second.size_hw, pair, first.size_hw)
    laid = lay_mask(second.truth(), pair.to_second, first.size_hw)
    scan = first.record.volume
    spacing_mm = None if scan is None else scan.spacing_mm
    return OutlinePair(
        first=first.record.case_id,
        second=second.record.case_id,
        group=survey.groups[pair.first],
        block=survey.blocks[pair.first],
        counts=count_pixels(laid, truth),
        surface=compare_surfaces(laid, truth, spacing=spacing_mm or (1.0, 1.0)),
        in_mm=spacing_mm is not None,
    )


def _vote(index: int, pairs: Sequence[CopyPair], survey: Survey) -> NDArray[np.bool_]:
    case = survey.cases[index]
    own = case.truth()
    votes, voters = own.astype(np.int16), np.ones(case.size_hw, dtype=np.int16)
    for pair in pairs:
        other = survey.cases[pair.second]
        votes += lay_mask(other.truth(), pair.to_second, case.size_hw)
        voters += _reach(other.size_hw, pair, case.size_hw)
    return np.asarray((2 * votes > voters) | ((2 * votes == voters) & own))


def _reach(size_hw: tuple[int, int], pair: CopyPair, onto_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the second picture, of ``size_hw``, covers the first."""
    return lay_mask(np.ones(size_hw, dtype=np.bool_), pair.to_second, onto_hw)

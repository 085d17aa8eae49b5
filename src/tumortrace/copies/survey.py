"""The survey of a dataset: each case read once, copies found and grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tumortrace.copies.compare import SAME_SLICE, CopyPair
from tumortrace.copies.contradictions import find_contradictions
from tumortrace.copies.described import DescribedCases, OnCase, SurveyedCase, describe_cases
from tumortrace.copies.find import score_pairs
from tumortrace.copies.groups import join_patients, name_groups
from tumortrace.data.cases import CaseRecord
from tumortrace.data.components import link


@dataclass(frozen=True, eq=False)
class Survey(DescribedCases):
    """Cases compared with each other.

    Attributes:
        scored: Likely pairs with their similarity, copies or not.
        groups: Name of each case's group; a case without a copy has one of its own.
    """

    scored: tuple[CopyPair, ...]
    groups: tuple[str, ...]

    @property
    def pairs(self) -> tuple[CopyPair, ...]:
        """The pairs that are copies."""
        return tuple(pair for pair in self.scored if pair.similarity >= SAME_SLICE)

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """For each case the name of its block: its copies and the slices of its patient, which are not independent."""
        return join_patients(self.groups, [case.record.patient for case in self.cases])

    def cases_of(self, pair: CopyPair) -> tuple[SurveyedCase, SurveyedCase]:
        """Return the two cases of a pair."""
        return self.cases[pair.first], self.cases[pair.second]


def survey_cases(
    records: Sequence[CaseRecord],
    *,
    on_case: OnCase = lambda _index, _case: None,
    as_pictures: bool = False,
) -> Survey:
    """Read all cases, in threads, and find the copies among them.

    Args:
        records: Annotated or not.
        on_case: Function that is given each annotated case while its pixels are in memory.
        as_pictures: Whether a case whose annotation cannot be used is compared as a picture all the same.

    Raises:
        DataError: None of the cases can be read, or one was changed since it was hashed.
    """
    described = describe_cases(records, on_case=on_case, as_pictures=as_pictures)
    cases = described.cases
    scored = _add_identical(cases, score_pairs(described.signatures))
    linked = [(pair.first, pair.second) for pair in scored if pair.similarity >= SAME_SLICE]
    groups = name_groups(link(len(cases), linked))
    findings = (*described.findings, *find_contradictions(cases, scored))
    return Survey(cases, described.signatures, findings, tuple(scored), groups)


def _add_identical(cases: Sequence[SurveyedCase], scored: list[CopyPair]) -> list[CopyPair]:
    """Add pairs of pictures that are the same pixel for pixel where the search left them out."""
    by_pair = {(pair.first, pair.second): pair for pair in scored}
    last: dict[tuple[tuple[int, int], bytes], int] = {}
    for index, case in enumerate(cases):
        key = (case.size_hw, case.thumbnail.tobytes())
        if not case.is_blank and key in last:
            pair = by_pair.get((last[key], index))
            if pair is None or pair.similarity < SAME_SLICE:
                by_pair[last[key], index] = CopyPair(last[key], index, 1.0, np.eye(3))
        last[key] = index
    return [by_pair[key] for key in sorted(by_pair)]

"""Faults that a comparison of slices shows: opposite truths, classes, patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tumortrace.copies.compare import CopyPair
from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.registration import lay_mask
from tumortrace.data.findings import Finding, warning

SAME_PICTURE = 0.95
"""Similarity from which two pictures show one slice, and not its neighbour: in lgg, neighbours reach 0.89."""

SAME_HEAD = 0.7
"""Similarity from which two slices show one person: different patients of lgg reach 0.59."""


def find_contradictions(cases: Sequence[SurveyedCase], scored: Sequence[CopyPair]) -> list[Finding]:
    """Find what two slices contradict each other in.

    Args:
        cases: The cases that were compared.
        scored: Pairs of them with their similarity.
    """
    findings = []
    for pair in scored:
        if pair.similarity >= SAME_PICTURE:
            findings += _compare_truths(cases, pair) or _compare_truths(cases, pair.turned())
            findings += _compare_classes(cases, pair)
    return findings + _find_similar_patients(cases, scored)


def _compare_truths(cases: Sequence[SurveyedCase], pair: CopyPair) -> list[Finding]:
    """A warning if the first slice has a tumour within what the second shows, and the second has none."""
    first, second = cases[pair.first], cases[pair.second]
    if not first.tumour_px or second.packed_truth is None or second.tumour_px:
        return []
    shown = lay_mask(np.ones(second.size_hw, dtype=np.bool_), pair.to_second, first.size_hw)
    if 2 * (first.truth() & shown).sum() < first.tumour_px:
        return []
    name = first.record.case_id
    cause = f"has no tumour, but {name}, which shows the same slice, has one"
    remedy = "check both: one of the truths is wrong"
    return [warning("truths-disagree", second.record.case_id, cause, remedy)]


def _compare_classes(cases: Sequence[SurveyedCase], pair: CopyPair) -> list[Finding]:
    """A warning if both slices name the class of the tumour, and not the same one."""
    first, second = cases[pair.first].record, cases[pair.second].record
    one, other = first.tumour_class, second.tumour_class
    if not one or not other or one.casefold() == other.casefold():
        return []
    cause = f"is called {other}, but {first.case_id}, which shows the same slice, {one}"
    return [warning("classes-disagree", second.case_id, cause, "check both: one of the classes is wrong")]


def _find_similar_patients(cases: Sequence[SurveyedCase], scored: Sequence[CopyPair]) -> list[Finding]:
    """One warning for each two patients with slices that are as similar as only one person's are."""
    most: dict[tuple[str, str], CopyPair] = {}
    for pair in scored:
        one, other = cases[pair.first].record.patient, cases[pair.second].record.patient
        if pair.similarity < SAME_HEAD or not one or not other or one == other:
            continue
        names = (min(one, other), max(one, other))
        if names not in most or pair.similarity > most[names].similarity:
            most[names] = pair
    return [_name_similar(cases, pair) for pair in most.values()]


def _name_similar(cases: Sequence[SurveyedCase], pair: CopyPair) -> Finding:
    first, second = cases[pair.first].record, cases[pair.second].record
    cause = (
        f"of patient {first.patient}, shows the same head as {second.case_id} of patient {second.patient} "
        f"(similarity {pair.similarity:.2f})"
    )
    remedy = "check whether they are one patient; if so, give them the same name"
    return warning("patients-similar", first.case_id, cause, remedy)

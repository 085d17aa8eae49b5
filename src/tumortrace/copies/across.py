"""Slices that several datasets share, and how their annotators agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from tumortrace.copies.agreement import COPIED, OutlinePair, compare_outlines
from tumortrace.copies.compare import CopyPair
from tumortrace.copies.described import LARGE, SMALL
from tumortrace.copies.survey import Survey
from tumortrace.data.parts import PARTS
from tumortrace.json_csv import Document
from tumortrace.metrics.aggregate import describe_values
from tumortrace.metrics.intervals import count_effective_groups

DISAGREE = 0.5
"""Dice below which two outlines of one slice disagree: most of them then mean another structure."""

_EXAMPLES = 8


def describe_datasets(survey: Survey) -> list[Document]:
    """Describe each dataset by its number of images, of different slices and of images in each part."""
    described = []
    for source in _list_datasets(survey):
        own = [index for index, case in enumerate(survey.cases) if case.record.source == source]
        parts = [survey.cases[index].record.part for index in own]
        described.append(
            {
                "name": source,
                "n": len(own),
                "groups": len({survey.groups[index] for index in own if not survey.cases[index].is_blank}),
                "parts": {part.upper(): parts.count(part) for part in (*PARTS, "") if part in parts},
            }
        )
    return described


def compare_datasets(survey: Survey) -> list[Document]:
    """Compare each two of several datasets; empty for a single one.

    Args:
        survey: Survey of all cases together.
    """
    return [_compare(survey, first, second) for first, second in combinations(_list_datasets(survey), 2)]


def _list_datasets(survey: Survey) -> list[str]:
    """The datasets that the cases come from, in order."""
    return list(dict.fromkeys(case.record.source for case in survey.cases))


def _compare(survey: Survey, first: str, second: str) -> Document:
    across = [_sort(survey, pair, first) for pair in survey.pairs if _sources(survey, pair) == {first, second}]
    outlined = _draw_outlines(survey, across, np.random.default_rng(0))
    independent = [(pair, outlines) for pair, outlines in outlined if outlines.counts.dice < COPIED]
    groups = {name: _groups_of(survey, name) for name in (first, second)}
    labelled = [pair for pair in across if all(case.record.tumour_class for case in survey.cases_of(pair))]
    return {
        "first": first,
        "second": second,
        "slices": len(groups[first] & groups[second]),
        "pairs": len(across),
        "shared": [*_count(survey, first, second), *_count(survey, second, first)],
        "agreement": _describe_agreement(survey, independent),
        "copied": sum(outlines.counts.dice >= COPIED for _, outlines in outlined),
        "classes": {
            "compared": len(labelled),
            "conflicts": [_name_conflict(survey, pair) for pair in labelled if _in_conflict(survey, pair)],
        },
    }


def _count(survey: Survey, source: str, other: str) -> list[Document]:
    """Count the images of each part of one dataset that show a slice of a part of the other."""
    sides = {name: _by_side(survey, name) for name in (source, other)}
    known = {other_side: set(groups) for other_side, groups in sides[other].items()}
    return [
        {
            "part": side,
            "with": other_side,
            "images": sum(group in known[other_side] for group in own),
            "of": len(own),
        }
        for side, own in sides[source].items()
        for other_side in known
    ]


def _by_side(survey: Survey, source: str) -> dict[str, list[str]]:
    """The group of each image of a dataset, by the dataset and the image's part."""
    sides: dict[str, list[str]] = {}
    for case, group in zip(survey.cases, survey.groups, strict=True):
        if case.record.source == source:
            sides.setdefault(f"{source} {case.record.part.upper()}".strip(), []).append(group)
    return sides


def _draw_outlines(
    survey: Survey, across: Sequence[CopyPair], rng: np.random.Generator
) -> list[tuple[CopyPair, OutlinePair]]:
    """Compare each outline of the first dataset with that of one of its copies in the second, drawn at random."""
    copies: dict[int, list[CopyPair]] = {}
    for pair in across:
        if all(case.tumour_px for case in survey.cases_of(pair)):
            copies.setdefault(pair.first, []).append(pair)
    drawn = [pairs[rng.integers(len(pairs))] for _, pairs in sorted(copies.items())]
    return list(zip(drawn, compare_outlines(drawn, survey), strict=True))


def _describe_agreement(survey: Survey, compared: Sequence[tuple[CopyPair, OutlinePair]]) -> Document | None:
    """Describe the Dice of both datasets' outlines; None if no shared slice was outlined independently in both."""
    if not compared:
        return None
    outlines = [outline for _, outline in compared]
    by: Document = {}
    for name, kind in _KINDS.items():
        kinds = [kind(survey, pair) for pair, _ in compared]
        rows = {each: [o for o, k in zip(outlines, kinds, strict=True) if k == each] for each in sorted(set(kinds))}
        by[name] = {each: _describe_dice(some) for each, some in rows.items()} if len(rows) > 1 else {}
    return {**_describe_dice(outlines), "by": by, "examples": _choose_examples(outlines)}


def _describe_dice(outlines: Sequence[OutlinePair]) -> Document:
    dices, blocks = [pair.counts.dice for pair in outlines], [pair.block for pair in outlines]
    disagree = [float(dice < DISAGREE) for dice in dices]
    return {
        "pairs": len(outlines),
        "groups": len({pair.group for pair in outlines}),
        "independent_groups": len(set(blocks)),
        "effective_groups": round(count_effective_groups(blocks), 1),
        "dice": describe_values(dices, blocks),
        "below_half": describe_values(disagree, blocks)["mean"],
    }


def _choose_examples(outlines: Sequence[OutlinePair]) -> list[Document]:
    """Choose pairs from the worst to the best agreement, in even steps."""
    ordered = sorted(outlines, key=lambda pair: (pair.counts.dice, pair.first))
    places = np.unique(np.linspace(0, len(ordered) - 1, min(_EXAMPLES, len(ordered))).round().astype(int))
    return [
        {"first": ordered[at].first, "second": ordered[at].second, "dice": round(ordered[at].counts.dice, 4)}
        for at in places.tolist()
    ]


def _class_of(survey: Survey, pair: CopyPair) -> str:
    named = {case.record.tumour_class for case in survey.cases_of(pair)} - {""}
    return "named differently" if _in_conflict(survey, pair) else min(named, default="unnamed")


def _plane_of(survey: Survey, pair: CopyPair) -> str:
    named = {case.record.plane for case in survey.cases_of(pair)} - {""}
    return min(named, default="unnamed") if len(named) < 2 else "named differently"


def _size_of(survey: Survey, pair: CopyPair) -> str:
    share = survey.cases[pair.first].tumour_share
    return "small" if share < SMALL else "large" if share > LARGE else "medium"


_KINDS: dict[str, Callable[[Survey, CopyPair], str]] = {"class": _class_of, "plane": _plane_of, "size": _size_of}


def _in_conflict(survey: Survey, pair: CopyPair) -> bool:
    one, other = (case.record.tumour_class.casefold() for case in survey.cases_of(pair))
    return bool(one and other and one != other)


def _name_conflict(survey: Survey, pair: CopyPair) -> Document:
    one, other = (case.record for case in survey.cases_of(pair))
    return {
        "first": one.case_id,
        "second": other.case_id,
        "first_class": one.tumour_class,
        "second_class": other.tumour_class,
    }


def _sort(survey: Survey, pair: CopyPair, first: str) -> CopyPair:
    """The pair with the case of the first dataset first."""
    return pair if survey.cases[pair.first].record.source == first else pair.turned()


def _sources(survey: Survey, pair: CopyPair) -> set[str]:
    return {case.record.source for case in survey.cases_of(pair)}


def _groups_of(survey: Survey, source: str) -> set[str]:
    return {group for case, group in zip(survey.cases, survey.groups, strict=True) if case.record.source == source}

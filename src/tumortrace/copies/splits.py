"""Splits without leaks, checked when they are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.find import SAME_SLICE
from tumortrace.copies.groups import link, link_patients
from tumortrace.copies.survey import Survey
from tumortrace.data.dataset import Dataset
from tumortrace.errors import DataError
from tumortrace.files import write_json

FORMAT = "tumortrace-split-1"
ALWAYS_TRAIN = "0"
"""The side of cases that are learnt from in every fold: sources without any tumour, when sources are left out."""
PARTS_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Of a split without folds."""


@dataclass(frozen=True)
class SplitCase:
    """Where one case goes.

    Attributes:
        file: Its case_id.
        sha256: SHA-256 of its content, so that a changed image is noticed.
        side: The number of its fold, or its part; ``ALWAYS_TRAIN`` for none of the folds.
        group: Group of its copies.
    """

    file: str
    sha256: str
    side: str
    group: str


@dataclass(frozen=True)
class Split:
    """Folds ``"1"`` to ``"K"``, or the parts ``"train"``, ``"val"`` and ``"test"``.

    Attributes:
        cases: Each in one place.
        by: Unit that is kept together: ``"groups"`` (copies and patients), or ``"source"`` (whole datasets).
        left_out: Cases that fit on no side, with the reason.
    """

    cases: tuple[SplitCase, ...]
    by: str
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def sides(self) -> list[str]:
        """Names of the sides: folds in order, or train, val, test."""
        names = {case.side for case in self.cases} - {ALWAYS_TRAIN}
        return sorted(names, key=lambda name: (int(name), name)) if _are_folds(names) else sorted(names, key=_part)


def make_folds(survey: Survey, *, folds: int, seed: int = 0) -> Split:
    """K folds, balanced in number of cases, tumour size, number of lesions and source.

    Args:
        survey: Survey of all cases.
        folds: Number of folds, at least 2.
        seed: Decides among equals.

    Raises:
        DataError: Fewer blocks (groups joined by patients) than folds.
    """
    return _assign(survey, {str(number): 1 / folds for number in range(1, folds + 1)}, seed=seed)


def make_parts(survey: Survey, *, seed: int = 0) -> Split:
    """The parts train, val and test of about 70, 15 and 15 % of the cases, balanced likewise.

    Raises:
        DataError: Fewer than three blocks.
    """
    return _assign(survey, PARTS_SHARES, seed=seed)


def leave_sources_out(survey: Survey) -> Split:
    """One fold a source, in the order of the names: each is scored by a model that never saw its hospital.

    A source without any tumour is no fold: it is learnt from in all of them.
    A case that is a copy of one in another source would leak; all members of such a block are left out and named.

    Raises:
        DataError: Fewer than two sources.
    """
    sources = sorted({case.record.source for case in survey.cases if case.tumour_px})
    if len(sources) < 2:
        raise DataError(f"only one source ({sources[0] or 'unnamed'}); name at least two datasets to leave one out")
    blocks = _blocks(survey)
    of_block: dict[int, set[str]] = {}
    for case, block in zip(survey.cases, blocks, strict=True):
        of_block.setdefault(block, set()).add(case.record.source)
    kept, left_out = [], []
    for case, block, group in zip(survey.cases, blocks, survey.groups, strict=True):
        if len(of_block[block]) > 1:
            left_out.append((case.record.case_id, f"has a copy in another source ({group})"))
        else:
            source = case.record.source
            side = str(sources.index(source) + 1) if source in sources else ALWAYS_TRAIN
            kept.append(SplitCase(case.record.case_id, case.sha256, side, group))
    return Split(tuple(kept), "source", tuple(left_out))


def check_split(split: Split, survey: Survey) -> None:
    """Prove that no pair of copies and no patient is on two sides.

    Raises:
        DataError: Names the first pair that is.
    """
    side_of = {case.file: case.side for case in split.cases}
    names = [case.record.case_id for case in survey.cases]
    crossing = [(pair.first, pair.second, f"similarity {pair.similarity:.3f}") for pair in survey.pairs]
    patients = [case.record.patient for case in survey.cases]
    crossing += [(first, second, f"patient {patients[first]}") for first, second in link_patients(patients)]
    for first, second, why in crossing:
        here, there = side_of.get(names[first]), side_of.get(names[second])
        if here and there and here != there:
            raise DataError(f"{names[first]} and {names[second]} are on sides {here} and {there} ({why}); split again")


def split_document(split: Split, survey: Survey) -> dict[str, Any]:
    """What the split's JSON file holds: the sides, what they hold, and the cases."""
    by_name = {case.record.case_id: case for case in survey.cases}
    return {
        "format": FORMAT,
        "by": split.by,
        "same_slice": SAME_SLICE,
        "checked": {"copies_across_sides": 0, "patients_across_sides": 0},
        "sides": {side: _describe_side(split, side, by_name) for side in split.sides},
        "left_out": [{"file": file, "reason": reason} for file, reason in split.left_out],
        "cases": [case.__dict__ for case in split.cases],
    }


def write_split(split: Split, survey: Survey, path: Path) -> dict[str, Any]:
    """Check a split and write it; returns the document.

    Raises:
        DataError: A pair of copies or a patient is on two sides.
    """
    check_split(split, survey)
    document = split_document(split, survey)
    write_json(path, document)
    return document


def read_split(path: Path) -> Split:
    """Read what ``write_split`` wrote.

    Raises:
        DataError: The file is missing, or no split of tumortrace.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise DataError(f"{path}: a split of format {document['format']!r}, not {FORMAT!r}; split again")
        cases = tuple(SplitCase(**case) for case in document["cases"])
        left_out = tuple((entry["file"], entry["reason"]) for entry in document["left_out"])
        return Split(cases, str(document["by"]), left_out)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it with: tumortrace split") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a split ({error}); make it with: tumortrace split DATA --out FILE") from None


def apply_split(dataset: Dataset, split: Split, *, fold: int | None = None, selecting: bool = False) -> Dataset:
    """A dataset with the parts of a split in place of its own.

    Args:
        dataset: Holds all cases of the split; those that it has besides are left out.
        split: Result of ``read_split``.
        fold: Held out as ``"test"``; the others are ``"train"``. None for a split into parts.
        selecting: The training will choose something (its epoch, say), for which the next fold is set aside as
            ``"val"``: what is reported must not choose.

    Raises:
        DataError: The split's cases are not in the dataset or it has none, or it has folds and none is named, or no
            such fold.
    """
    records = {record.case_id: record for record in dataset.records}
    missing = [case.file for case in split.cases if case.file not in records]
    if missing:
        raise DataError(f"{dataset.root}: lacks {len(missing)} cases of the split, first {missing[0]}; split it again")
    part_of = _parts_of_folds(split, fold, selecting=selecting)
    kept = tuple(replace(records[case.file], part=part_of[case.side]) for case in split.cases)
    return replace(dataset, records=kept)


def _parts_of_folds(split: Split, fold: int | None, *, selecting: bool) -> dict[str, str]:
    sides = split.sides
    if not sides:
        raise DataError("the split holds no case; split the data again")
    if not _are_folds(set(sides)):
        if fold is not None:
            raise DataError(f"the split has the parts {', '.join(sides)} and no folds; leave --fold away")
        return {side: side for side in sides}
    if fold is None or str(fold) not in sides:
        given = "" if fold is None else f", not {fold}"
        raise DataError(f"the split has {_name_folds(sides)}; choose one with --fold{given}")
    parts = dict.fromkeys([*sides, ALWAYS_TRAIN], "train")
    if selecting:
        parts[sides[sides.index(str(fold)) - len(sides) + 1]] = "val"
    return parts | {str(fold): "test"}


def _name_folds(sides: Sequence[str]) -> str:
    """The folds by their first and last number, or each one where some are missing: a source may be left out whole."""
    complete = int(sides[-1]) - int(sides[0]) + 1 == len(sides)
    return f"folds {sides[0]} to {sides[-1]}" if complete else f"the folds {', '.join(sides)}"


def _assign(survey: Survey, shares: dict[str, float], *, seed: int) -> Split:
    blocks = np.array(_blocks(survey))
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    if len(members) < len(shares):
        raise DataError(
            f"{len(survey.cases)} cases are only {len(members)} different slices or patients, too few for "
            f"{len(shares)} sides; ask for fewer"
        )
    traits = _traits(survey)
    weights = 1 / np.maximum(traits.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(members))
    order = order[np.argsort([-len(members[index]) for index in order], kind="stable")]
    sides = list(shares)
    targets = np.outer(list(shares.values()), traits.sum(axis=0))
    filled = np.zeros_like(targets)
    side_of = np.empty(len(blocks), dtype=np.intp)
    for index in order:
        added = traits[members[index]].sum(axis=0)
        # How far from its target each side would be, in shares of the whole: the largest blocks choose first.
        missing = ((targets - filled) * weights * added).sum(axis=1)
        side = int(missing.argmax())
        filled[side] += added
        side_of[members[index]] = side
    cases = (
        SplitCase(case.record.case_id, case.sha256, sides[side], group)
        for case, side, group in zip(survey.cases, side_of.tolist(), survey.groups, strict=True)
    )
    return Split(tuple(cases), "groups")


def _blocks(survey: Survey) -> list[int]:
    """What must stay together: copies, and slices of one patient."""
    links = [(pair.first, pair.second) for pair in survey.pairs]
    links += link_patients([case.record.patient for case in survey.cases])
    return link(len(survey.cases), links)


def _traits(survey: Survey) -> NDArray[np.float64]:
    """What sides should have equal shares of: cases, tumour-free ones, thirds of tumour size, several lesions, sources.

    Returns:
        One row a case, of ones and zeros.
    """
    shares = np.array([case.tumour_share for case in survey.cases])
    lesions = np.array([case.lesions for case in survey.cases])
    with_tumour = shares > 0
    thirds = np.quantile(shares[with_tumour], [1 / 3, 2 / 3]) if with_tumour.any() else [0.0, 0.0]
    third = np.searchsorted(thirds, shares)
    sources = [case.record.source for case in survey.cases]
    columns = [np.ones(len(shares)), ~with_tumour, lesions > 1]
    columns += [with_tumour & (third == index) for index in range(3)]
    columns += [np.array([source == name for source in sources]) for name in sorted(set(sources))]
    return np.stack(columns, axis=1).astype(np.float64)


def _describe_side(split: Split, side: str, by_name: dict[str, Any]) -> dict[str, Any]:
    members = [case for case in split.cases if case.side == side]
    surveyed = [by_name[case.file] for case in members]
    shares = [case.tumour_share for case in surveyed if case.tumour_px]
    return {
        "cases": len(members),
        "groups": len({case.group for case in members}),
        "patients": len({case.record.patient for case in surveyed if case.record.patient}),
        "tumour_free": sum(case.tumour_px == 0 for case in surveyed),
        "several_lesions": sum(case.lesions > 1 for case in surveyed),
        "median_tumour_share": round(float(np.median(shares)), 4) if shares else None,
        "sources": dict(Counter(case.record.source for case in surveyed)),
    }


def _are_folds(names: Sequence[str] | set[str]) -> bool:
    return all(name.isdecimal() for name in names)


def _part(name: str) -> int:
    return list(PARTS_SHARES).index(name)

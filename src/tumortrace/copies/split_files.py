"""Split files: written, checked, and applied to a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tumortrace.copies.compare import SAME_SLICE
from tumortrace.copies.groups import link_patients
from tumortrace.copies.splits import ALWAYS_TRAIN, PARTS_SHARES, Split, SplitCase, are_folds
from tumortrace.copies.survey import Survey
from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.fingerprint import check_unchanged, hash_case
from tumortrace.errors import DataError
from tumortrace.json_csv import read_json, write_json
from tumortrace.machine import usable_cores
from tumortrace.progress import track
from tumortrace.wording import counted, listed

FORMAT = "tumortrace-split-1"
"""What a split file says that it is."""


def check_split(split: Split, survey: Survey) -> None:
    """Prove that no pair of copies and no patient is on two sides.

    Raises:
        DataError: Names the first pair that is.
    """
    side_of = {case.file: case.side for case in split.cases}
    names = [case.record.case_id for case in survey.cases]
    crossing = [(pair.first, pair.second, f"similarity {pair.similarity:.3f}") for pair in survey.pairs]
    patients = [case.record.patient if case.record.case_id in side_of else None for case in survey.cases]
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
        "checked": _describe_checked(split, survey),
        "sides": {side: _describe_side(split, side, by_name) for side in split.sides},
        "left_out": [{"file": file, "reason": reason} for file, reason in split.left_out],
        "cases": [case.__dict__ for case in split.cases],
    }


def _describe_checked(split: Split, survey: Survey) -> dict[str, int | None]:
    """What ``check_split`` found; patients are counted only where the dataset names any."""
    divided = {case.file for case in split.cases}
    patients = [case.record.patient for case in survey.cases if case.record.case_id in divided]
    known = sum(bool(patient) for patient in patients)
    return {
        "cases": len(patients),
        "cases_with_patient": known,
        "patients": len({patient for patient in patients if patient}),
        "copies_across_sides": 0,
        "patients_across_sides": 0 if known else None,
    }


def describe_check(document: dict[str, Any]) -> str:
    """Say in one sentence what was checked of a split, and what could not be.

    Args:
        document: Content of the split's file.
    """
    checked = document["checked"]
    cases, known = checked["cases"], checked["cases_with_patient"]
    if not known:
        checked_cases = counted(cases, "case")
        return (
            f"checked: no copy is on two sides. Patients were not checked: none is known for the {checked_cases}; "
            "name them in a pairs.csv with the columns image and patient"
        )
    patients = counted(checked["patients"], "patient")
    unknown = f". {cases - known} of {cases} cases name no patient and were checked for copies only"
    return f"checked: no copy and none of {patients} is on two sides{unknown if known < cases else ''}"


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
        document = read_json(path)
        if document["format"] != FORMAT:
            raise DataError(f"{path}: a split of format {document['format']!r}, not {FORMAT!r}; split again")
        cases = tuple(SplitCase(**case) for case in document["cases"])
        _check_cases(cases)
        left_out = tuple((str(entry["file"]), str(entry["reason"])) for entry in document["left_out"])
        return Split(cases, str(document["by"]), left_out)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it with: tumortrace split") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a split ({error}); make it with: tumortrace split DATA --out FILE") from None


def _check_cases(cases: Sequence[SplitCase]) -> None:
    """Raise ``ValueError`` for what a file edited by hand may have: no text, an unknown side, a case listed twice."""
    if not all(isinstance(value, str) for case in cases for value in vars(case).values()):
        raise ValueError("a file, sha256, side or group is no text")
    sides = {case.side for case in cases}
    if not (are_folds(sides) or sides <= PARTS_SHARES.keys()):
        raise ValueError(
            f"its sides {listed(sorted(map(repr, sides)))} are neither folds nor {listed([*PARTS_SHARES])}"
        )
    for file, times in Counter(case.file for case in cases).most_common(1):
        if times > 1:
            raise ValueError(f"{file} is listed {times} times")


def refuse_foreign(path: Path) -> None:
    """Refuse to replace a file that is no split; one of an older format may be replaced.

    Raises:
        DataError: There is such a file.
    """
    if not path.exists():
        return
    try:
        document = read_json(path)
    except (OSError, ValueError, DataError):
        document = None
    if not isinstance(document, dict) or not str(document.get("format")).startswith(FORMAT.rstrip("0123456789")):
        raise DataError(f"--out {path}: exists and is no split of tumortrace; choose another file")


def apply_split(dataset: Dataset, split: Split, *, fold: int | None = None, selecting: bool = False) -> Dataset:
    """A dataset with the parts of a split in place of its own.

    Args:
        dataset: Holds all cases of the split; those that it has besides are left out, each with a finding.
        split: Split from ``read_split``.
        fold: Number of the fold that is held out as ``"test"``; the others are ``"train"``. None for a split into
            parts.
        selecting: Whether the training chooses something (its epoch, say), for which the next fold is set aside as
            ``"val"``: what is reported must not choose.

    Returns:
        The dataset; each record carries the hash that the split states for it.

    Raises:
        DataError: The split's cases are not in the dataset or it has none, or it has folds and none is named, or no
            such fold.
    """
    records = {record.case_id: record for record in dataset.records}
    missing = [case.file for case in split.cases if case.file not in records]
    if missing:
        raise DataError(
            f"{dataset.given}: lacks {counted(len(missing), 'case')} of the split, first {missing[0]}; split it again"
        )
    part_of = _parts_of_folds(split, fold, selecting=selecting)
    divided = tuple(
        replace(records[case.file], part=part_of[case.side], expected_sha256=case.sha256) for case in split.cases
    )
    return replace(dataset, records=divided, findings=(*dataset.findings, *_find_undivided(dataset, split)))


def check_files(records: Sequence[CaseRecord]) -> None:
    """Check that the cases of a split are what they were when it was made.

    Args:
        records: Records of the dataset that ``apply_split`` returned.

    Raises:
        DataError: A case cannot be read any more, or changed.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        for record, (case, _) in zip(
            records, track(pool.map(read_case, records), "Checking", total=len(records)), strict=True
        ):
            check_unchanged(record, hash_case(case))


def _find_undivided(dataset: Dataset, split: Split) -> list[Finding]:
    """Name the cases that no side of the split holds; a TEST part stays out of folds on purpose."""
    reasons = dict(split.left_out)
    folds = are_folds(split.sides)
    divided = {case.file for case in split.cases}
    return [
        left_out(
            "not-in-split",
            record.case_id,
            reasons.get(record.case_id, "the split was made without it"),
            "nothing to do" if record.case_id in reasons else "split the data again to use it",
        )
        for record in dataset.records
        if record.case_id not in divided and not (folds and record.part == "test")
    ]


def _parts_of_folds(split: Split, fold: int | None, *, selecting: bool) -> dict[str, str]:
    sides = split.sides
    if not sides:
        raise DataError("the split holds no case; split the data again")
    if not are_folds(set(sides)):
        if fold is not None:
            raise DataError(f"the split has the parts {', '.join(sides)} and no folds; leave --fold away")
        return {side: side for side in sides}
    if fold is None or str(fold) not in sides:
        given = "" if fold is None else f", not {fold}"
        raise DataError(f"the split has {_name_folds(sides)}; choose one with --fold{given}")
    parts = dict.fromkeys([*sides, ALWAYS_TRAIN], "train")
    if selecting and len(sides) == 2:
        raise DataError(
            "the split has 2 folds: one is held out, and the other would choose the epoch, so that none is left to "
            "train on; make more folds, or set training.keep=last"
        )
    if selecting:
        parts[sides[sides.index(str(fold)) - len(sides) + 1]] = "val"
    return parts | {str(fold): "test"}


def _name_folds(sides: Sequence[str]) -> str:
    """The folds by their first and last number, or each one where some are missing: a source may be left out whole."""
    complete = int(sides[-1]) - int(sides[0]) + 1 == len(sides)
    return f"folds {sides[0]} to {sides[-1]}" if complete else f"the folds {', '.join(sides)}"


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

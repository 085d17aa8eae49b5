"""Leakage between the parts of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from tumortrace.copies.survey import Survey
from tumortrace.data.findings import Finding
from tumortrace.data.parts import PARTS, part_of
from tumortrace.json_csv import Document
from tumortrace.wording import counted

_NAMED = 3  # patients and files that a sentence names


def count_shared(survey: Survey) -> list[Document]:
    """Count, for each two parts of a dataset, the images of the later one that show a slice of the earlier one as well.

    Where there are several datasets, the names of the parts are preceded by theirs.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for case, group in zip(survey.cases, survey.groups, strict=True):
        groups.setdefault(case.record.source, {}).setdefault(case.record.part, []).append(group)
    shared = []
    for source, parts in groups.items():
        before = f"{source} " if len(groups) > 1 else ""
        for earlier, later in combinations([part for part in PARTS if part in parts], 2):
            known = set(parts[earlier])
            images = sum(group in known for group in parts[later])
            names = {"part": f"{before}{later.upper()}", "with": f"{before}{earlier.upper()}"}
            shared.append({**names, "images": images, "of": len(parts[later])})
    return shared


def count_leaks(shared: Iterable[Document]) -> dict[str, Document]:
    """Count the images of VAL and of TEST that show a slice of TRAIN as well, by part."""
    return {
        pair["part"]: {"images": pair["images"], "of": pair["of"], "into": pair["with"]}
        for pair in shared
        if pair["with"].rpartition(" ")[2] == "TRAIN"
    }


def describe_patients(survey: Survey) -> Document:
    """Count the patients that the dataset names, and list those with slices in several parts.

    Pictures outside the parts are in none: nothing is trained on them, and nothing is scored.
    """
    parts: dict[str, set[str]] = {}
    for case in survey.cases:
        if case.record.patient:
            parts.setdefault(case.record.patient, set()).add(case.record.part)
    return {
        "patients": len(parts),
        "images": sum(bool(case.record.patient) for case in survey.cases),
        "across_parts": sorted(patient for patient, where in parts.items() if len(where - {""}) > 1),
    }


def list_uncompared(survey: Survey, findings: Iterable[Finding]) -> list[Document]:
    """List the files and parts that no picture could be compared of, with the reason.

    Args:
        survey: The cases that were compared.
        findings: The faults of the dataset and of the survey.
    """
    compared = {case.record.case_id for case in survey.cases}
    parts = {case.record.part for case in survey.cases}
    return [
        {"file": finding.file, "reason": finding.cause}
        for finding in findings
        if (finding.kind == "unreadable" and finding.file not in compared)
        or (finding.kind == "part-unusable" and part_of(f"{finding.file}/x") not in parts)
    ]


def describe_leakage(document: Document) -> list[str]:
    """Say what leaks from part to part, one sentence each; nothing where no leak was found and all was compared.

    Several datasets leak as one does, since they may be used together: images of a later part of one show a slice of an
    earlier part of another. One that is not divided counts as TRAIN, as in a training.

    Args:
        document: Content of ``audit.json``.
    """
    across = [shared for pair in document["across"] for shared in pair["shared"]]
    leaks = [*document["shared"], *(each for each in across if _place(each["part"]) > _place(each["with"]))]
    sentences = [
        f"{counted(leak['images'], 'image')} of {leak['of']} in {leak['part']} "
        f"{'shows' if leak['images'] == 1 else 'show'} a slice that is in {leak['with']} too"
        for leak in leaks
        if leak["images"]
    ]
    if patients := document["patients_across_parts"]:
        verb = "patient has" if len(patients) == 1 else "patients have"
        sentences.append(f"{len(patients)} {verb} slices in several parts: {_name_few(patients)}")
    if uncompared := document["not_compared"]:
        files = _name_few([entry["file"] for entry in uncompared])
        sentences.append(f"{len(uncompared)} could not be compared: {files} ({uncompared[0]['reason']})")
    return sentences


def _place(side: str) -> int:
    """The place of a part, which its dataset may precede, in the order of a study."""
    part = side.rpartition(" ")[2].lower()
    return PARTS.index(part) if part in PARTS else 0


def _name_few(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")

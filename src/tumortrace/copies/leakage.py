"""Leaks: cases that share a slice or a patient with what a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from tumortrace.copies.find import find_copies
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex
from tumortrace.data.cases import CaseRecord


@dataclass(frozen=True)
class Leak:
    """What a case shares with the training slices.

    Attributes:
        nearest: The training slice that the case is a copy of; empty if it is a copy of none itself.
        similarity: Similarity to that slice, SAME_SLICE to 1; NaN without one.
        why: ``"copy"``, ``"copy of a copy"`` (another case of its group is a copy) or ``"patient"`` (a slice of its
            patient, or a copy of one, is a training slice).
    """

    nearest: str
    similarity: float
    why: str


def find_leaks(survey: Survey, training: TrainingIndex) -> dict[str, Leak]:
    """Find the cases that are not clean.

    Args:
        survey: The cases to be scored, and any others.
        training: The training slices of the model.

    Returns:
        Leaks by case id; a case that is missing shares neither a slice nor its patient with the training slices.
    """
    copies = _find_copies(survey, training)
    patients = {patient.casefold() for patient in training.patients if patient}
    named = {index for index, case in enumerate(survey.cases) if _name_patient(case.record) & patients}
    leaked_groups = {survey.groups[index] for index in copies}
    leaked_blocks = {survey.blocks[index] for index in copies.keys() | named}
    leaks = {}
    for index, case in enumerate(survey.cases):
        if index in copies:
            leaks[case.record.case_id] = copies[index]
        elif survey.groups[index] in leaked_groups:
            leaks[case.record.case_id] = Leak("", float("nan"), "copy of a copy")
        elif survey.blocks[index] in leaked_blocks:
            leaks[case.record.case_id] = Leak("", float("nan"), "patient")
    return leaks


def _name_patient(record: CaseRecord) -> set[str]:
    """The names of a case's patient in lower case: that of its dataset precedes it where several were opened as one."""
    if not record.patient:
        return set()
    alone = record.patient.removeprefix(f"{record.source}/")
    return {name.casefold() for name in (record.patient, alone, f"{record.source}/{alone}")}


def _find_copies(survey: Survey, training: TrainingIndex) -> dict[int, Leak]:
    """Find the cases that are training slices, by their hashes, or copies of one, by their looks.

    The same picture with another outline is a training slice as well.
    """
    by_hash = dict(zip(training.pictures, training.names, strict=True)) | dict(
        zip(training.hashes, training.names, strict=True)
    )
    copies = {}
    others = []
    for index, case in enumerate(survey.cases):
        nearest = by_hash.get(case.sha256) or (by_hash.get(case.picture_sha256) if case.picture_sha256 else None)
        if nearest:
            copies[index] = Leak(nearest, 1.0, "copy")
        else:
            others.append(index)
    for pair in find_copies(survey.signatures.select(others), training.signatures) if others else []:
        index = others[pair.first]
        if index not in copies or pair.similarity > copies[index].similarity:
            copies[index] = Leak(training.names[pair.second], pair.similarity, "copy")
    return copies

"""Cases that leak from a model's training set."""

from __future__ import annotations

from dataclasses import dataclass

from tumortrace.copies.find import CopyPair, find_copies
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex


@dataclass(frozen=True)
class Leak:
    """What a case shares with the training slices.

    Attributes:
        nearest: The training slice that it is a copy of; empty if it is of none itself.
        similarity: Similarity to that slice, SAME_SLICE to 1; NaN without one.
        why: ``"copy"``, ``"copy of a copy"`` (another case of its group is one) or ``"patient"``.
    """

    nearest: str
    similarity: float
    why: str


def find_leaks(survey: Survey, memory: TrainingIndex) -> dict[str, Leak]:
    """The cases that are not clean.

    Args:
        survey: Survey of the cases to be scored, and of any others.
        memory: Index of the model's training slices.

    Returns:
        By case id; a case that is not in it has neither a copy nor its patient among the training slices.
    """
    nearest: dict[int, CopyPair] = {}
    for pair in find_copies(survey.signatures, memory.signatures):
        if pair.first not in nearest or pair.similarity > nearest[pair.first].similarity:
            nearest[pair.first] = pair
    leaked_groups = {survey.groups[index] for index in nearest}
    patients = {patient for patient in memory.patients if patient}
    leaks = {}
    for index, case in enumerate(survey.cases):
        if index in nearest:
            pair = nearest[index]
            leaks[case.record.case_id] = Leak(memory.names[pair.second], pair.similarity, "copy")
        elif survey.groups[index] in leaked_groups:
            leaks[case.record.case_id] = Leak("", float("nan"), "copy of a copy")
        elif case.record.patient in patients:
            leaks[case.record.case_id] = Leak("", float("nan"), "patient")
    return leaks

"""What cases share with training slices: copies, copies of copies, patients, by whatever names they were opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.compare import SAME_SLICE
from tumortrace.copies.leakage import Leak, find_leaks
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.copies.training_index import TrainingIndex, build_training_index
from tumortrace.data.cases import CaseRecord

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


@pytest.fixture
def survey(draw_head: DrawHead, write_case: WriteCase) -> Callable[..., Survey]:
    """Survey slices by name, each with its head's number and its patient."""

    def survey(source: str = "", **cases: tuple[int, str]) -> Survey:
        empty = np.zeros((170, 140), dtype=np.bool_)
        return survey_cases(
            [
                write_case(name, draw_head(head), empty, source=source, patient=patient)
                for name, (head, patient) in cases.items()
            ]
        )

    return survey


def index(survey: Survey) -> TrainingIndex:
    return build_training_index(survey)


def why(survey: Survey, memory: TrainingIndex) -> dict[str, str]:
    return {file.removesuffix(".png"): leak.why for file, leak in find_leaks(survey, memory).items()}


@pytest.mark.parametrize(("trained", "scored"), [("here/p1", "P1"), ("p1", "here/p1"), ("here/p1", "here/p1")])
def test_a_patient_is_known_whether_its_dataset_was_opened_alone_or_with_others(
    survey: Callable[..., Survey], trained: str, scored: str
):
    memory = index(survey("here", a=(1, trained)))
    assert why(survey("here", b=(2, scored), c=(3, "p2"), d=(4, "")), memory) == {"b": "patient"}


def test_a_patient_of_another_dataset_is_another_one(survey: Callable[..., Survey]):
    memory = index(survey("here", a=(1, "here/p1")))
    assert why(survey("there", b=(2, "p1"), c=(3, "there/p1")), memory) == {}


def test_the_patient_of_a_copy_and_the_copies_of_a_patient_are_not_clean(survey: Callable[..., Survey]):
    unnamed = index(survey("here", a=(1, "")))
    scored = survey("there", b=(1, "p7"), c=(2, "p7"), d=(2, ""), e=(3, "p8"))
    assert why(scored, unnamed) == {"b": "copy", "c": "patient", "d": "patient"}
    named = index(survey("there", f=(4, "p7")))
    assert why(survey("there", c=(2, "p7"), d=(2, ""), e=(3, "")), named) == {"c": "patient", "d": "patient"}


def test_a_turned_copy_names_the_most_similar_training_slice(draw_head: DrawHead, write_case: WriteCase):
    pictures = {"t1": draw_head(1), "t2": draw_head(2)[:-9, 7:], "t3": draw_head(2), "t4": draw_head(2)[9:, 7:]}
    cases = [write_case(name, picture, np.zeros(picture.shape, np.bool_)) for name, picture in pictures.items()]
    turned = write_case("x", draw_head(2)[:, ::-1], np.zeros((170, 140), np.bool_))
    leaks = find_leaks(survey_cases([turned]), index(survey_cases(cases)))
    assert (leaks["x.png"].nearest, leaks["x.png"].why) == ("t3.png", "copy")
    assert SAME_SLICE <= leaks["x.png"].similarity < 1


def test_a_picture_that_resembles_nothing_is_known_by_its_hash(write_case: WriteCase):
    """A blank slice is compared with no other; its outline may differ, or the run may remember no hash of pictures."""
    blank, empty = np.full((170, 140), 9, dtype=np.uint8), np.zeros((170, 140), dtype=np.bool_)
    marked = empty.copy()
    marked[60:80, 50:60] = True
    memory = index(survey_cases([write_case("a", blank, empty)]))
    scored = survey_cases([write_case("b", blank, empty), write_case("c", blank, marked)])
    known = Leak("a.png", 1.0, "copy")
    assert find_leaks(scored, memory) == {"b.png": known, "c.png": known}
    assert find_leaks(scored, replace(memory, pictures=("",))) == {"b.png": known}

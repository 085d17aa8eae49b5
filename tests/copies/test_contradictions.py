"""Copies with opposite truths, and two patients who are one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.compare import CopyPair
from tumortrace.copies.contradictions import find_contradictions
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]
MakeSurvey = Callable[..., Survey]

OUTLINE = np.zeros((170, 140), dtype=np.bool_)
OUTLINE[60:80, 50:60] = True
EMPTY = np.zeros_like(OUTLINE)


def findings_of(*records: CaseRecord) -> list[tuple[str, str]]:
    return [(finding.kind, finding.file) for finding in survey_cases(records).findings]


@pytest.mark.parametrize("turned", [False, True])
def test_the_copy_without_tumour_is_named(draw_head: DrawHead, write_case: WriteCase, turned: bool):  # noqa: FBT001
    pixels = draw_head(1)
    again = np.ascontiguousarray(pixels[:, ::-1]) if turned else pixels
    records = write_case("a", again, EMPTY), write_case("b", pixels, OUTLINE), write_case("c", draw_head(2), EMPTY)
    assert findings_of(*records) == [("truths-disagree", "a.png")]
    assert survey_cases(records).findings[0].cause == "has no tumour, but b.png, which shows the same slice, has one"


def test_truths_that_do_not_contradict_each_other(draw_head: DrawHead, write_case: WriteCase):
    both_with = write_case("a", draw_head(1), OUTLINE), write_case("b", draw_head(1), OUTLINE)
    both_without = write_case("c", draw_head(2), EMPTY), write_case("d", draw_head(2), EMPTY)
    not_annotated = write_case("e", draw_head(3), OUTLINE), write_case("f", draw_head(3))
    assert findings_of(*both_with, *both_without, *not_annotated) == []


def test_a_crop_without_the_tumour_is_no_contradiction(draw_head: DrawHead, write_case: WriteCase):
    low = np.zeros_like(OUTLINE)
    low[139:149, 60:70] = True
    whole, crop = write_case("a", draw_head(1), low), write_case("b", draw_head(1)[:135], EMPTY[:135])
    survey = survey_cases([whole, crop])
    assert len(survey.pairs) == 1
    assert survey.findings == ()


def test_two_patients_who_show_one_head(draw_head: DrawHead, write_case: WriteCase):
    records = [
        write_case("a", draw_head(1), OUTLINE, patient="p"),
        write_case("b", draw_head(1)[::-1], OUTLINE[::-1], patient="q"),
        write_case("c", draw_head(2), OUTLINE, patient="p"),
        write_case("d", draw_head(2), OUTLINE, patient="q"),
        write_case("e", draw_head(3), OUTLINE, patient="r"),
        write_case("f", draw_head(1), OUTLINE),
    ]
    survey = survey_cases(records)
    (finding,) = survey.findings  # one for each two patients, however many slices
    assert (finding.kind, finding.severity) == ("patients-similar", "warning")
    assert "patient p, shows the same head as" in finding.cause


@pytest.mark.parametrize(
    ("similarity", "first_column", "kinds"),
    [
        (0.95, 65, ["truths-disagree"]),  # the second picture shows half of the tumour
        (0.95, 66, []),  # and less than half
        (0.94, 65, []),  # it may be a neighbouring slice
    ],
)
def test_truths_are_compared_where_one_picture_shows_half_of_the_tumour(
    make_survey: MakeSurvey, similarity: float, first_column: int, kinds: list[str]
):
    tumour = np.zeros((100, 100), dtype=np.bool_)
    tumour[20:30, 60:70] = True
    ill, free = make_survey(links=[], patients=["", ""], areas=[100, 0]).cases
    cases = [replace(ill, packed_truth=np.packbits(tumour)), replace(free, packed_truth=np.packbits(~tumour & tumour))]
    to_second = np.array([[1.0, 0.0, -first_column], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    findings = find_contradictions(cases, [CopyPair(0, 1, similarity, to_second)])
    assert [finding.kind for finding in findings] == kinds


@pytest.mark.parametrize("similarities", [(0.9, 0.75), (0.75, 0.9)])
def test_the_most_similar_slices_of_two_patients_are_named(make_survey: MakeSurvey, similarities: tuple[float, float]):
    cases = make_survey(links=[], patients=["p", "q", "q", "p"]).cases
    pairs = [
        CopyPair(first, first + 1, similarity, np.eye(3))
        for first, similarity in zip((0, 2), similarities, strict=True)
    ]
    (finding,) = find_contradictions(cases, pairs)
    assert "(similarity 0.90)" in finding.cause

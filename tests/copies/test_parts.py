"""Leakage between parts: shared slices, shared patients, and what could not be compared."""

from __future__ import annotations

from collections.abc import Callable

from tumortrace.copies.parts import count_leaks, count_shared, describe_leakage, describe_patients, list_uncompared
from tumortrace.copies.survey import Survey
from tumortrace.data.findings import Finding

MakeSurvey = Callable[..., Survey]


def test_slices_shared_by_each_two_parts(make_survey: MakeSurvey):
    # c0 and c2 are copies, and c3 and c4, c5; c1 is alone.
    parts = ["train", "train", "val", "val", "test", "test"]
    survey = make_survey(links=[(0, 2), (3, 4), (4, 5)], patients=[""] * 6, parts=parts)
    shared = count_shared(survey)
    assert shared == [
        {"part": "VAL", "with": "TRAIN", "images": 1, "of": 2},
        {"part": "TEST", "with": "TRAIN", "images": 0, "of": 2},
        {"part": "TEST", "with": "VAL", "images": 2, "of": 2},
    ]
    assert count_leaks(shared) == {
        "VAL": {"images": 1, "of": 2, "into": "TRAIN"},
        "TEST": {"images": 0, "of": 2, "into": "TRAIN"},
    }
    assert count_shared(make_survey(links=[(0, 1)], patients=["", ""])) == []  # not divided


def test_patients_with_slices_in_several_parts(make_survey: MakeSurvey):
    parts = ["train", "val", "val", "test", "train", ""]
    survey = make_survey(links=[], patients=["p", "p", "q", "", "r", "r"], parts=parts)
    assert describe_patients(survey) == {"patients": 3, "images": 5, "across_parts": ["p"]}


def test_what_could_not_be_compared(make_survey: MakeSurvey):
    survey = make_survey(links=[], patients=["", ""], parts=["train", "val"])
    findings = [
        Finding("unreadable", "left out", "gone.png", "truncated", "remove it"),
        Finding("unreadable", "left out", "c1", "its mask is damaged", "remove it"),  # compared as a picture
        Finding("part-unusable", "left out", "valid", "no annotations", "add them"),  # likewise
        Finding("part-unusable", "left out", "TEST", "no annotations", "add them"),
        Finding("annotation-missing", "left out", "extra.png", "no annotation", "annotate it"),
    ]
    assert list_uncompared(survey, findings) == [
        {"file": "gone.png", "reason": "truncated"},
        {"file": "TEST", "reason": "no annotations"},
    ]


def test_leakage_in_sentences():
    document = {
        "shared": [
            {"part": "VAL", "with": "TRAIN", "images": 0, "of": 4},
            {"part": "TEST", "with": "VAL", "images": 3, "of": 5},
        ],
        "across": [],
        "patients_across_parts": ["a", "b", "c", "d"],
        "not_compared": [{"file": "TEST/x.png", "reason": "truncated"}],
    }
    assert describe_leakage(document) == [
        "3 images of 5 in TEST show a slice that is in VAL too",
        "4 patients have slices in several parts: a, b, c, ...",
        "1 could not be compared: TEST/x.png (truncated)",
    ]
    clean = {"shared": document["shared"][:1], "across": [], "patients_across_parts": [], "not_compared": []}
    assert describe_leakage(clean) == []


def test_a_later_part_of_one_dataset_leaks_into_an_earlier_part_of_another():
    pairs = [
        ("A TEST", "B TRAIN", 1),
        ("B TRAIN", "A TEST", 2),  # the same slices, seen from B
        ("A TRAIN", "B TRAIN", 3),
        ("A TEST", "B TEST", 4),
        ("B VAL", "A TRAIN", 0),
        ("B TEST", "A VAL", 5),
        ("A VAL", "C", 6),  # not divided: trained on
        ("C", "A TRAIN", 7),
    ]
    shared = [{"part": part, "with": other, "images": images, "of": 9} for part, other, images in pairs]
    document = {"shared": [], "across": [{"shared": shared}], "patients_across_parts": [], "not_compared": []}
    assert describe_leakage(document) == [
        "1 image of 9 in A TEST shows a slice that is in B TRAIN too",
        "5 images of 9 in B TEST show a slice that is in A VAL too",
        "6 images of 9 in A VAL show a slice that is in C too",
    ]

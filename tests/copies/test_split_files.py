"""Split files: what they say was checked, and that they are tied to the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.described import describe_cases
from tumortrace.copies.split_files import (
    apply_split,
    check_files,
    describe_check,
    read_split,
    split_document,
    write_split,
)
from tumortrace.copies.splits import Split, SplitCase, make_folds, make_parts
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError

MakeSurvey = Callable[..., Survey]


def dataset_of(survey: Survey) -> Dataset:
    return Dataset(Path("data"), tuple(case.record for case in survey.cases), ())


def sides_of(split: Split) -> dict[str, str]:
    return {case.file: case.side for case in split.cases}


def test_a_leak_is_refused_when_the_split_is_written(make_survey: MakeSurvey, tmp_path: Path):
    survey = make_survey(links=[(0, 3)], patients=["", "p", "p", "", "", ""])
    split = make_folds(survey, folds=2)
    for file, words in (("c3", "similarity 0.950"), ("c2", "patient p")):
        side = sides_of(split)[file]
        moved = tuple(replace(c, side="1" if side == "2" else "2") if c.file == file else c for c in split.cases)
        with pytest.raises(DataError, match=words):
            write_split(replace(split, cases=moved), survey, tmp_path / "split.json")
    assert not (tmp_path / "split.json").exists()


def test_a_split_comes_back_from_its_file(make_survey: MakeSurvey, tmp_path: Path):
    survey = make_survey(links=[(0, 3)], patients=["p", "p", "", "", "", ""], areas=[0, 10, 10, 10, 10, 900])
    split = make_folds(survey, folds=3)
    document = write_split(split, survey, tmp_path / "out" / "split.json")
    assert read_split(tmp_path / "out" / "split.json") == split
    assert json.loads((tmp_path / "out" / "split.json").read_text()) == document
    counted = {"cases": 6, "cases_with_patient": 2, "patients": 1}
    assert document["checked"] == {**counted, "copies_across_sides": 0, "patients_across_sides": 0}
    assert sum(side["cases"] for side in document["sides"].values()) == 6
    assert sum(side["tumour_free"] for side in document["sides"].values()) == 1


def test_the_sides_are_described_and_what_is_left_out_crosses_none(make_survey: MakeSurvey, tmp_path: Path):
    # c0 and c6 are left out; each is a copy of a case that is not.
    survey = make_survey(
        links=[(0, 1), (1, 2), (5, 6)],
        patients=["", "p", "", "q", "q", "", ""],
        sources=["b", "a", "a", "b", "b", "a", "a"],
        areas=[700, 300, 100, 0, 500, 900, 700],
    )
    survey = replace(survey, cases=tuple(replace(c, lesions=2 if c.tumour_px == 900 else 1) for c in survey.cases))
    sides = {"c1": "1", "c2": "1", "c3": "2", "c4": "2", "c5": "2"}
    groups = {"c1": "g1", "c2": "g1", "c3": "g3", "c4": "g4", "c5": "g5"}
    cases = tuple(SplitCase(file, "", side, groups[file]) for file, side in sides.items())
    split = Split(cases, "groups", (("c0", "a copy"), ("c6", "a copy")))
    document = write_split(split, survey, tmp_path / "split.json")
    assert document["checked"]["cases"] == 5
    assert document["sides"] == {
        "1": {
            "cases": 2,
            "groups": 1,
            "patients": 1,
            "tumour_free": 0,
            "several_lesions": 0,
            "median_tumour_share": 0.02,  # of 300 and 100 of 10,000 pixels
            "sources": {"a": 2},
        },
        "2": {
            "cases": 3,
            "groups": 3,
            "patients": 1,
            "tumour_free": 1,
            "several_lesions": 1,
            "median_tumour_share": 0.07,  # of 500 and 900
            "sources": {"b": 2, "a": 1},
        },
    }


@pytest.mark.parametrize("text", ["", "[]", '{"format": "tumortrace-split-1"}', '{"format": "other"}'])
def test_files_that_are_no_split(tmp_path: Path, text: str):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match="split"):
        read_split(tmp_path / "split.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_split(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ([("a", "1"), ("b", "train")], "its sides '1' and 'train' are neither folds nor train, val and test"),
        ([("a", 1), ("b", 2)], "a file, sha256, side or group is no text"),
        ([("a", "train"), ("b", "test"), ("a", "test")], "a is listed 2 times"),
    ],
)
def test_a_split_that_was_edited_by_hand(tmp_path: Path, cases: list[tuple[str, object]], words: str):
    rows = [{"file": file, "sha256": "", "side": side, "group": "g"} for file, side in cases]
    document = {"format": "tumortrace-split-1", "by": "groups", "cases": rows, "left_out": []}
    (tmp_path / "split.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=f"split.json: not a split .{words}"):
        read_split(tmp_path / "split.json")


def test_a_split_whose_group_is_no_text(tmp_path: Path):
    document = {"format": "tumortrace-split-1", "by": "groups", "left_out": []}
    document["cases"] = [{"file": "a", "sha256": "", "side": "1", "group": ["g"]}]
    (tmp_path / "split.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="a file, sha256, side or group is no text"):
        read_split(tmp_path / "split.json")


def test_a_fold_is_held_out_and_the_next_one_chooses_if_anything_is_chosen(make_survey: MakeSurvey):
    survey = make_survey(links=[], patients=[""] * 12)
    split, dataset = make_folds(survey, folds=3), dataset_of(survey)
    plain = apply_split(dataset, split, fold=3)
    assert plain.parts() == {"train": 8, "test": 4}
    choosing = apply_split(dataset, split, fold=3, selecting=True)
    assert choosing.parts() == {"train": 4, "val": 4, "test": 4}
    first = {case.file for case in split.cases if case.side == "1"}
    assert {record.case_id for record in choosing.select("val")} == first
    two = make_folds(survey, folds=2)
    assert apply_split(dataset, two, fold=1).parts() == {"train": 6, "test": 6}
    with pytest.raises(DataError, match=r"none is left to train on; make more folds, or set training\.keep=last"):
        apply_split(dataset, two, fold=1, selecting=True)
    parts = apply_split(dataset, make_parts(survey))
    assert set(parts.parts()) == {"train", "val", "test"}


def test_what_a_split_cannot_be_asked(make_survey: MakeSurvey):
    survey = make_survey(links=[], patients=[""] * 12)
    dataset, folds, parts = dataset_of(survey), make_folds(survey, folds=3), make_parts(survey)
    for fold, end in ((None, "--fold"), (0, "--fold, not 0"), (4, "--fold, not 4")):
        with pytest.raises(DataError, match=f"the split has folds 1 to 3; choose one with {end}$"):
            apply_split(dataset, folds, fold=fold)
    gap = replace(folds, cases=tuple(case for case in folds.cases if case.side != "2"))
    with pytest.raises(DataError, match="the split has the folds 1, 3; choose one with --fold, not 2"):
        apply_split(dataset, gap, fold=2)
    with pytest.raises(DataError, match="the split holds no case"):
        apply_split(dataset, Split((), "groups"), fold=1)
    with pytest.raises(DataError, match="parts train, val, test and no folds"):
        apply_split(dataset, parts, fold=1)
    with pytest.raises(DataError, match="lacks 1 case of the split, first c0"):
        apply_split(replace(dataset, records=dataset.records[1:]), folds, fold=1)


@pytest.mark.parametrize(
    ("patients", "across", "sentence"),
    [
        (
            ["", "", "", ""],
            None,
            (
                "no copy is on two sides. Patients were not checked: none is known for the 4 cases; "
                "name them in a pairs.csv with the columns image and patient"
            ),
        ),
        (["p", "p", "q", "q"], 0, "no copy and none of 2 patients is on two sides"),
        (["p", "p", "", ""], 0, "no copy and none of 1 patient is on two sides. 2 of 4 cases name no patient and were"),
    ],
)
def test_what_was_checked_is_said_and_no_more(
    make_survey: MakeSurvey, patients: list[str], across: int | None, sentence: str
):
    survey = make_survey(links=[], patients=patients)
    document = split_document(make_folds(survey, folds=2), survey)
    assert document["checked"]["patients_across_sides"] == across
    assert describe_check(document).removesuffix(" checked for copies only") == f"checked: {sentence}"


def test_cases_that_the_split_lacks_are_named(make_survey: MakeSurvey):
    survey = make_survey(links=[], patients=[""] * 4)
    split = make_folds(survey, folds=2)
    fewer = replace(split, cases=split.cases[2:], left_out=(("c0", "has a copy in another source"),))
    dataset = dataset_of(survey)
    findings = apply_split(dataset, fewer, fold=1).findings
    assert [(f.kind, f.file, f.cause, f.remedy) for f in findings] == [
        ("not-in-split", "c0", "has a copy in another source", "nothing to do"),
        ("not-in-split", "c1", "the split was made without it", "split the data again to use it"),
    ]
    kept_apart = tuple(replace(record, part="test") for record in dataset.records)  # no fold holds a TEST part
    assert apply_split(replace(dataset, records=kept_apart), fewer, fold=1).findings == ()


def test_a_split_of_changed_pictures_or_truths_is_refused(
    draw_head: Callable[..., NDArray[np.uint8]], write_case: Callable[..., CaseRecord], tmp_path: Path
):
    mask = np.zeros((170, 140), dtype=np.bool_)
    mask[60:80, 50:60] = True
    records = tuple(write_case(f"s{seed}", draw_head(seed), mask) for seed in range(4))
    survey = survey_cases(records)
    divided = apply_split(Dataset(tmp_path, records, ()), make_folds(survey, folds=2), fold=1).records
    check_files(divided)
    assert len(describe_cases(divided).cases) == 4
    write_png(tmp_path / "s2.png", draw_head(1))
    with pytest.raises(DataError, match=r"s2\.png: picture or annotation changed since the split was made"):
        check_files(divided)
    with pytest.raises(DataError, match=r"s2\.png: picture or annotation changed"):
        describe_cases(divided)
    write_png(tmp_path / "s2.png", draw_head(2))
    check_files(divided)
    write_png(tmp_path / "s3_mask.png", 255 * (~mask).astype(np.uint8))
    with pytest.raises(DataError, match=r"s3\.png: picture or annotation changed"):
        check_files(divided)

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.copies.groups import link_patients
from tumortrace.copies.split_files import apply_split, check_split
from tumortrace.copies.splits import Split, SplitCase, find_heads, leave_sources_out, make_folds, make_parts
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.components import link
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import DataError

MakeSurvey = Callable[..., Survey]


def dataset_of(survey: Survey) -> Dataset:
    return Dataset(Path("data"), tuple(case.record for case in survey.cases), ())


def sides_of(split: Split) -> dict[str, str]:
    return {case.file: case.side for case in split.cases}


@st.composite
def surveys(draw: st.DrawFn) -> dict[str, list]:
    count = draw(st.integers(10, 40))
    index = st.integers(0, count - 1)
    links = draw(st.lists(st.tuples(index, index).filter(lambda pair: pair[0] != pair[1]), max_size=12))
    patients = draw(st.lists(st.sampled_from(["", "", "", "p1", "p2", "p3"]), min_size=count, max_size=count))
    areas = draw(st.lists(st.sampled_from([0, 50, 500, 2000]), min_size=count, max_size=count))
    return {"links": links, "patients": patients, "areas": areas}


@settings(max_examples=60)
@given(surveys(), st.integers(2, 4))
def test_no_copy_and_no_patient_is_on_two_sides_and_each_has_a_tumour(
    make_survey: MakeSurvey, made_of: dict[str, list], folds: int
):
    survey = make_survey(**made_of)
    links = made_of["links"] + link_patients(made_of["patients"])
    blocks = link(len(survey.cases), links)
    with_tumour = {block for block, area in zip(blocks, made_of["areas"], strict=True) if area}
    if len(with_tumour) < folds:
        lack = "a tumour, too few for" if len(set(blocks)) >= folds else "too few different slices or patients for"
        with pytest.raises(DataError, match=lack):
            make_folds(survey, folds=folds)
        return
    split = make_folds(survey, folds=folds)
    check_split(split, survey)
    sides = sides_of(split)
    assert set(sides) == {f"c{i}" for i in range(len(survey.cases))}
    assert all(len({sides[f"c{i}"] for i, own in enumerate(blocks) if own == block}) == 1 for block in set(blocks))
    assert {sides[f"c{i}"] for i, area in enumerate(made_of["areas"]) if area} == {str(n + 1) for n in range(folds)}


def test_folds_share_sizes_and_tumour_free_slices_evenly(make_survey: MakeSurvey):
    areas = [0] * 10 + [100] * 20 + [1000] * 20 + [3000] * 20
    split = make_folds(make_survey(links=[], patients=[""] * 70, areas=areas), folds=5)
    for part, count in ((range(10), 2), (range(10, 30), 4), (range(30, 50), 4), (range(50, 70), 4)):
        assert set(Counter(sides_of(split)[f"c{i}"] for i in part).values()) == {count}


def test_parts_have_about_their_shares(make_survey: MakeSurvey):
    split = make_parts(make_survey(links=[], patients=[""] * 100))
    counts = Counter(sides_of(split).values())
    assert (counts["train"], counts["val"], counts["test"]) == (70, 15, 15)
    assert split.sides == ["train", "val", "test"]


def test_the_same_cases_are_divided_alike(make_survey: MakeSurvey):
    survey = make_survey(links=[(0, 1), (2, 3)], patients=[""] * 30)
    assert make_folds(survey, folds=3) == make_folds(survey, folds=3)


def test_every_side_gets_a_patient_however_few_there_are(make_survey: MakeSurvey):
    split = make_parts(make_survey(links=[], patients=[name for name in "abcd" for _ in range(3)]))
    assert Counter(sides_of(split).values()) == {"train": 6, "val": 3, "test": 3}
    singles = make_parts(make_survey(links=[], patients=["", "", ""]))
    assert Counter(sides_of(singles).values()) == {"train": 1, "val": 1, "test": 1}


def test_sides_without_a_tumour_are_refused(make_survey: MakeSurvey):
    one = make_survey(links=[], patients=["p", "p", "", "", ""], areas=[9, 9, 0, 0, 0])
    with pytest.raises(DataError, match=r"1 slice or patient has a tumour, too few .*; add others with tumour$"):
        make_folds(one, folds=3)
    none = make_survey(links=[], patients=["", "", ""], areas=[0, 0, 0])
    with pytest.raises(DataError, match="no slices or patients have a tumour, too few for 2 sides"):
        make_folds(none, folds=2)
    copied = make_survey(links=[(0, 2)], patients=["", "", "", ""], sources=["a", "a", "b", "b"], areas=[9, 0, 9, 9])
    with pytest.raises(DataError, match="source a: every slice with tumour has a copy in another source"):
        leave_sources_out(copied)


def test_too_few_slices_for_the_folds(make_survey: MakeSurvey):
    survey = make_survey(links=[(0, 1), (1, 2)], patients=["", "", "", ""])
    with pytest.raises(DataError, match="for 3 sides: 2 among 4 cases; add others, or ask for at most 2 folds"):
        make_folds(survey, folds=3)


def test_a_patient_on_two_sides_is_found_though_a_slice_of_it_is_on_none(make_survey: MakeSurvey):
    survey = make_survey(links=[], patients=["p", "p", "p"])
    cases = tuple(SplitCase(f"c{i}", f"hash{i}", side, "g") for i, side in [(1, "train"), (2, "test")])
    with pytest.raises(DataError, match=r"c1 and c2 are on sides train and test \(patient p\)"):
        check_split(Split(cases, "groups", (("c0", "omitted"),)), survey)


def test_a_source_is_left_out_whole_without_the_copies_that_it_shares(make_survey: MakeSurvey):
    survey = make_survey(
        links=[(1, 3), (4, 5)], patients=["p", "p", "", "", "", ""], sources=["a", "a", "a", "b", "b", "b"]
    )
    split = leave_sources_out(survey)
    assert sides_of(split) == {"c2": "1", "c4": "2", "c5": "2"}
    assert {file for file, _ in split.left_out} == {"c0", "c1", "c3"}  # c0 is of the patient whose slice is shared
    check_split(split, survey)
    with pytest.raises(DataError, match="only one source"):
        leave_sources_out(make_survey(links=[], patients=["", ""], sources=["a", "a"]))


def test_patients_of_lgg_stay_together(lgg: Path):
    survey = survey_cases(open_datasets([lgg]).records[::12])
    split = make_folds(survey, folds=4)
    sides = sides_of(split)
    of_patient: dict[str, set[str]] = {}
    for case in survey.cases:
        of_patient.setdefault(str(case.record.patient), set()).add(sides[case.record.case_id])
    assert len(of_patient) > 10
    assert all(len(where) == 1 for where in of_patient.values())


def test_a_survey_names_what_cannot_be_read(
    write_case: Callable[..., CaseRecord], draw_head: Callable[..., NDArray[np.uint8]], tmp_path: Path
):
    good = write_case("good", draw_head(1))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    bad = CaseRecord("bad.png", "", tmp_path / "bad.png", None)
    survey = survey_cases([bad, good])
    assert [case.record.case_id for case in survey.cases] == ["good.png"]
    assert [(finding.kind, finding.file) for finding in survey.findings] == [("unreadable", "bad.png")]
    with pytest.raises(DataError, match=r"not one of 1 case can be read; first: bad\.png"):
        survey_cases([bad])


def test_a_source_without_tumour_is_learnt_from_in_every_fold(make_survey: MakeSurvey):
    survey = make_survey(links=[], patients=[""] * 5, sources=["a", "b", "c", "c", "a"], areas=[9, 9, 0, 0, 0])
    split = leave_sources_out(survey)
    assert sides_of(split) == {"c0": "1", "c1": "2", "c2": "0", "c3": "0", "c4": "1"}
    assert split.sides == ["1", "2"]
    parts = {record.case_id: record.part for record in apply_split(dataset_of(survey), split, fold=2).records}
    assert parts == {"c0": "train", "c1": "test", "c2": "train", "c3": "train", "c4": "train"}


def test_a_head_is_a_patient_or_else_a_group_of_copies(make_survey: Callable[..., Survey]):
    survey = make_survey(links=[(0, 1)], patients=["p", "", "p", "q", "", "q"])
    records = [case.record for case in survey.cases]
    heads = find_heads(make_folds(survey, folds=2), records)
    assert list(heads) == [record.case_id for record in records]
    copy, _, patient, other, alone, of_other = heads.values()
    assert copy == heads[records[1].case_id] == patient
    assert other == of_other
    assert len({copy, other, alone}) == 3

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.copies.find import CopyPair
from tumortrace.copies.groups import link, name_groups
from tumortrace.copies.signatures import Signatures
from tumortrace.copies.splits import (
    Split,
    apply_split,
    check_split,
    leave_sources_out,
    make_folds,
    make_parts,
    read_split,
    write_split,
)
from tumortrace.copies.survey import Survey, SurveyedCase, survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import DataError

BLANK = np.zeros((96, 96), dtype=np.uint8)


def surveyed(
    *,
    links: list[tuple[int, int]],
    patients: list[str],
    sources: list[str] | None = None,
    areas: list[int] | None = None,
) -> Survey:
    """A survey of as many cases as patients, of 100 x 100 pixels."""
    count = len(patients)
    cases = tuple(
        SurveyedCase(
            record=CaseRecord(f"c{i}", "", Path(f"c{i}.png"), None, patient or None, (sources or [""] * count)[i]),
            size_hw=(100, 100),
            sha256=f"hash{i}",
            lesions=1,
            tumour_px=(areas or [500] * count)[i],
            packed_truth=None,
            thumbnail=BLANK,
        )
        for i, patient in enumerate(patients)
    )
    pairs = tuple(CopyPair(min(pair), max(pair), 0.95, np.eye(3)) for pair in links)
    signatures = Signatures(np.zeros((0, 2, 96, 96), np.float16), np.zeros((0, 2, 4)), np.zeros((0, 4), np.bool_))
    return Survey(cases, signatures, (), pairs, name_groups(link(count, links)))


def dataset_of(survey: Survey) -> Dataset:
    return Dataset(Path("data"), tuple(case.record for case in survey.cases), ())


def sides_of(split: Split) -> dict[str, str]:
    return {case.file: case.side for case in split.cases}


@st.composite
def surveys(draw: st.DrawFn) -> Survey:
    count = draw(st.integers(10, 40))
    index = st.integers(0, count - 1)
    links = draw(st.lists(st.tuples(index, index).filter(lambda pair: pair[0] != pair[1]), max_size=12))
    patients = draw(st.lists(st.sampled_from(["", "", "", "p1", "p2", "p3"]), min_size=count, max_size=count))
    areas = draw(st.lists(st.sampled_from([0, 50, 500, 2000]), min_size=count, max_size=count))
    return surveyed(links=links, patients=patients, areas=areas)


@settings(max_examples=60)
@given(surveys(), st.integers(2, 4))
def test_no_copy_and_no_patient_is_on_two_sides(survey: Survey, folds: int):
    try:
        split = make_folds(survey, folds=folds)
    except DataError:
        assert len(set(link(len(survey.cases), []))) >= 1
        return
    check_split(split, survey)
    sides = sides_of(split)
    assert len(sides) == len(survey.cases)
    for pair in survey.pairs:
        assert sides[f"c{pair.first}"] == sides[f"c{pair.second}"]
    of_patient: dict[str, set[str]] = {}
    for case in survey.cases:
        if case.record.patient:
            of_patient.setdefault(case.record.patient, set()).add(sides[case.record.case_id])
    assert all(len(where) == 1 for where in of_patient.values())


def test_folds_share_sizes_and_tumour_free_slices_evenly():
    areas = [0] * 10 + [100] * 20 + [1000] * 20 + [3000] * 20
    split = make_folds(surveyed(links=[], patients=[""] * 70, areas=areas), folds=5)
    for part, count in ((range(10), 2), (range(10, 30), 4), (range(30, 50), 4), (range(50, 70), 4)):
        assert set(Counter(sides_of(split)[f"c{i}"] for i in part).values()) == {count}


def test_parts_have_about_their_shares():
    split = make_parts(surveyed(links=[], patients=[""] * 100))
    counts = Counter(sides_of(split).values())
    assert (counts["train"], counts["val"], counts["test"]) == (70, 15, 15)
    assert split.sides == ["train", "val", "test"]


def test_the_seed_decides_and_the_same_seed_decides_alike():
    survey = surveyed(links=[(0, 1), (2, 3)], patients=[""] * 30)
    assert make_folds(survey, folds=3) == make_folds(survey, folds=3)
    assert make_folds(survey, folds=3) != make_folds(survey, folds=3, seed=1)


def test_too_few_slices_for_the_folds():
    survey = surveyed(links=[(0, 1), (1, 2)], patients=["", "", "", ""])
    with pytest.raises(DataError, match="4 cases are only 2 different slices or patients, too few for 3 sides"):
        make_folds(survey, folds=3)


def test_a_leak_is_refused_when_the_split_is_written(tmp_path: Path):
    survey = surveyed(links=[(0, 3)], patients=["", "p", "p", "", "", ""])
    split = make_folds(survey, folds=2)
    for file, words in (("c3", "similarity 0.950"), ("c2", "patient p")):
        side = sides_of(split)[file]
        moved = tuple(replace(c, side="1" if side == "2" else "2") if c.file == file else c for c in split.cases)
        with pytest.raises(DataError, match=words):
            write_split(replace(split, cases=moved), survey, tmp_path / "split.json")
    assert not (tmp_path / "split.json").exists()


def test_a_split_comes_back_from_its_file(tmp_path: Path):
    survey = surveyed(links=[(0, 3)], patients=["p", "p", "", "", "", ""], areas=[0, 10, 10, 10, 10, 900])
    split = make_folds(survey, folds=3)
    document = write_split(split, survey, tmp_path / "out" / "split.json")
    assert read_split(tmp_path / "out" / "split.json") == split
    assert json.loads((tmp_path / "out" / "split.json").read_text()) == document
    assert document["checked"] == {"copies_across_sides": 0, "patients_across_sides": 0}
    assert sum(side["cases"] for side in document["sides"].values()) == 6
    assert sum(side["tumour_free"] for side in document["sides"].values()) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"format": "tumortrace-split-1"}', '{"format": "other"}'])
def test_files_that_are_no_split(tmp_path: Path, text: str):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match="split"):
        read_split(tmp_path / "split.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_split(tmp_path / "none.json")


def test_a_fold_is_held_out_and_the_next_one_chooses_if_anything_is_chosen():
    survey = surveyed(links=[], patients=[""] * 12)
    split, dataset = make_folds(survey, folds=3), dataset_of(survey)
    plain = apply_split(dataset, split, fold=3)
    assert plain.parts() == {"train": 8, "test": 4}
    choosing = apply_split(dataset, split, fold=3, selecting=True)
    assert choosing.parts() == {"train": 4, "val": 4, "test": 4}
    first = {case.file for case in split.cases if case.side == "1"}
    assert {record.case_id for record in choosing.select("val")} == first
    parts = apply_split(dataset, make_parts(survey))
    assert set(parts.parts()) == {"train", "val", "test"}


def test_what_a_split_cannot_be_asked():
    survey = surveyed(links=[], patients=[""] * 12)
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
    with pytest.raises(DataError, match="lacks 1 cases of the split, first c0"):
        apply_split(replace(dataset, records=dataset.records[1:]), folds, fold=1)


def test_a_source_is_left_out_whole_without_the_copies_that_it_shares():
    survey = surveyed(
        links=[(1, 3), (4, 5)], patients=["p", "p", "", "", "", ""], sources=["a", "a", "a", "b", "b", "b"]
    )
    split = leave_sources_out(survey)
    assert sides_of(split) == {"c2": "1", "c4": "2", "c5": "2"}
    assert {file for file, _ in split.left_out} == {"c0", "c1", "c3"}  # c0 is of the patient whose slice is shared
    check_split(split, survey)
    with pytest.raises(DataError, match="only one source"):
        leave_sources_out(surveyed(links=[], patients=["", ""], sources=["a", "a"]))


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
    with pytest.raises(DataError, match=r"not one of 1 cases can be read; first: bad\.png"):
        survey_cases([bad])


def test_a_source_without_tumour_is_learnt_from_in_every_fold():
    survey = surveyed(links=[], patients=[""] * 5, sources=["a", "b", "c", "c", "a"], areas=[9, 9, 0, 0, 0])
    split = leave_sources_out(survey)
    assert sides_of(split) == {"c0": "1", "c1": "2", "c2": "0", "c3": "0", "c4": "1"}
    assert split.sides == ["1", "2"]
    parts = {record.case_id: record.part for record in apply_split(dataset_of(survey), split, fold=2).records}
    assert parts == {"c0": "train", "c1": "test", "c2": "train", "c3": "train", "c4": "train"}

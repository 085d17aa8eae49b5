"""Which cases train and which are held out, on surveys made by hand."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from tumortrace.copies.leakage import Leak
from tumortrace.improvement.sides import Ties, choose_sides

NONE = Ties({}, {})


def same(nearest: str) -> Leak:
    return Leak(nearest, 1.0, "copy")


def sides_of(survey, roles=None, ties=NONE):
    ids = [case.record.case_id for case in survey.cases]
    return choose_sides(survey, dict(zip(ids, roles or ["corrected"] * len(ids), strict=True)), ties)


def count(sides) -> Counter[str]:
    return Counter(sides.of.values())


def kinds(sides) -> dict[str, str]:
    return {finding.file: finding.kind for finding in sides.findings}


@pytest.mark.parametrize(
    ("cases", "held"),
    [(2, 1), (3, 1), (8, 4), (12, 6), (20, 6), (30, 9), (100, 30)],
)
def test_three_tenths_are_held_out_but_six_where_there_are_twelve(make_survey, cases, held):
    sides = sides_of(make_survey(links=[], patients=[""] * cases))
    assert count(sides) == {"test": held, "train": cases - held}
    assert sides.findings == ()


def test_tumour_free_cases_are_divided_by_themselves(make_survey):
    survey = make_survey(links=[], patients=[""] * 40, areas=[500] * 20 + [0] * 20)
    sides = sides_of(survey)
    with_tumour = Counter(sides.of[f"c{i}"] for i in range(20))
    assert with_tumour == Counter(sides.of[f"c{i}"] for i in range(20, 40)) == {"test": 6, "train": 14}


def test_copies_and_patients_stay_together(make_survey):
    # c0 is a copy of c1, and c1 of the patient of c2.
    survey = make_survey(links=[(0, 1)], patients=["", "p", "p", *[f"q{i}" for i in range(9)]])
    of = sides_of(survey).of
    assert of["c0"] == of["c1"] == of["c2"]
    blocks = {name: "c0" if name in {"c1", "c2"} else name for name in of}
    assert len({blocks[name] for name, side in of.items() if side == "test"}) == 5  # half of the ten blocks


def test_one_patient_alone_is_not_divided(make_survey):
    assert count(sides_of(make_survey(links=[], patients=["p"] * 5))) == {"train": 5}


def test_of_two_patients_one_is_held_out(make_survey):
    of = sides_of(make_survey(links=[], patients=["p"] * 3 + ["q"] * 7)).of
    assert [of[f"c{i}"] for i in range(10)] == ["test"] * 3 + ["train"] * 7  # the hash of c0 comes first


def test_of_old_data_no_more_cases_are_held_out_than_the_models_score_in_short(make_survey):
    # Half of the four patients would be held out, but the slices of two are more than 150.
    survey = make_survey(links=[], patients=[f"p{i // 80}" for i in range(320)])
    assert count(sides_of(survey, ["replay"] * 320)) == {"test": 80, "train": 240}
    assert count(sides_of(survey)) == {"test": 160, "train": 160}


def test_patients_count_and_not_their_slices(make_survey):
    of = sides_of(make_survey(links=[], patients=[f"p{i // 3}" for i in range(60)])).of
    assert len({f"p{i // 3}" for i in range(60) if of[f"c{i}"] == "test"}) == 6  # of twenty


@pytest.mark.parametrize(
    ("before", "after", "held_out"),
    [
        (20, 40, 12),  # three tenths of forty
        (12, 20, 6),  # six of the twelve are three tenths of twenty
    ],
)
def test_new_cases_move_no_old_ones(make_survey, before, after, held_out):
    first = sides_of(make_survey(links=[], patients=[""] * before)).of
    held = {name: same(name) for name, side in first.items() if side == "test"}
    trained = {name: same(name) for name, side in first.items() if side == "train"}
    later = sides_of(make_survey(links=[], patients=[""] * after), ties=Ties(held, trained))
    assert {name: later.of[name] for name in first} == first
    assert count(later) == {"test": held_out, "train": after - held_out}
    assert set(kinds(later)) == set(trained)  # they were trained on; held-out ones are as they were


def test_a_new_copy_of_a_held_out_case_joins_it_and_is_named(make_survey):
    survey = make_survey(links=[(0, 1)], patients=[""] * 10)
    ties = Ties({"c0": same("c0"), "c1": Leak("c0", 0.97, "copy")}, {})
    sides = sides_of(survey, ties=ties)
    assert (sides.of["c0"], sides.of["c1"]) == ("test", "test")
    (finding,) = sides.findings
    assert finding.line() == (
        "c1: shows a held-out slice or patient (copy of c0); moved to the held-out side (warning); nothing to do: "
        "held-out slices never train"
    )


def test_a_new_slice_of_a_held_out_patient_joins_it(make_survey):
    ties = Ties({"c1": Leak("", math.nan, "patient")}, {})
    sides = sides_of(make_survey(links=[], patients=["", "p", "", ""]), ties=ties)
    assert sides.of["c1"] == "test"
    assert "(the same patient)" in sides.findings[0].cause


def test_a_case_of_the_model_s_training_trains_and_is_named(make_survey):
    survey = make_survey(links=[(0, 1)], patients=[""] * 12)
    sides = sides_of(survey, ties=Ties({}, {"c0": same("old/a.png"), "c1": Leak("", math.nan, "copy of a copy")}))
    assert (sides.of["c0"], sides.of["c1"]) == ("train", "train")
    assert kinds(sides) == {"c0": "known-to-model", "c1": "known-to-model"}
    assert "one of the models was trained on it (the same as old/a.png); it trains" in sides.findings[0].cause
    assert "one of the models was trained on it (copy or patient of c0); it trains" in sides.findings[1].cause


def test_no_case_is_named_as_its_own_copy(make_survey):
    survey = make_survey(links=[(0, 1)], patients=[""] * 12)
    sides = sides_of(survey, ties=Ties({}, {"c0": Leak("", math.nan, "copy of a copy"), "c1": same("old/a.png")}))
    assert "one of the models was trained on it (copy or patient of c1); it trains" in sides.findings[0].cause
    # c1 is a held-out slice under another name, but a model was trained on it; so c0, its copy, is held out alone.
    ties = Ties({"c0": Leak("", math.nan, "copy of a copy"), "c1": same("gone")}, {"c1": same("x")})
    sides = sides_of(survey, ties=ties)
    assert "shows a held-out slice or patient (copy of a copy); moved" in sides.findings[0].cause


@pytest.mark.parametrize(("role", "named"), [("corrected", {"c2": "known-to-model"}), ("replay", {})])
def test_a_new_case_tied_to_both_sides_is_omitted(make_survey, role, named):
    # c1 is a copy of c0, which is held out, and of c2, which trains.
    survey = make_survey(links=[(0, 1), (1, 2)], patients=[""] * 6)
    roles = ["corrected", "corrected", role] + ["corrected"] * 3
    sides = sides_of(survey, roles, Ties({"c0": same("c0")}, {"c2": same("c2")}))
    assert (sides.of["c0"], sides.of["c1"], sides.of["c2"]) == ("test", "", "train")
    assert kinds(sides) == {"c1": "on-both-sides"} | named


@pytest.mark.parametrize(("role", "named"), [("corrected", {"c0", "c1"}), ("replay", {"c0"})])
def test_a_new_copy_of_a_training_slice_trains(make_survey, role, named):
    survey = make_survey(links=[(0, 1)], patients=[""] * 12)
    sides = sides_of(survey, ["corrected", role] + ["corrected"] * 10, Ties({}, {"c0": same("c0")}))
    assert (sides.of["c0"], sides.of["c1"]) == ("train", "train")
    assert kinds(sides) == dict.fromkeys(named, "known-to-model")


def test_a_held_out_case_that_a_later_model_was_trained_on_proves_nothing_and_trains(make_survey):
    ties = Ties({"c0": same("c0")}, {"c0": same("x")})
    sides = sides_of(make_survey(links=[], patients=[""] * 6), ties=ties)
    assert sides.of["c0"] == "train"
    assert kinds(sides) == {"c0": "known-to-model"}


@pytest.mark.parametrize("role", ["corrected", "replay"])
@pytest.mark.parametrize(
    ("links", "patients", "tie"),
    [([(0, 1)], ["", ""], Leak("c0", 0.95, "copy")), ([], ["p", "p"], Leak("", math.nan, "patient"))],
)
def test_a_training_slice_that_shows_a_held_out_slice_or_patient_is_omitted(make_survey, role, links, patients, tie):
    # c0 was held out before c1, which the shipped model was trained on, came into the data.
    survey = make_survey(links=links, patients=patients + [""] * 6)
    ties = Ties({"c0": same("c0"), "c1": tie}, {"c0": replace(tie, nearest="x" if links else ""), "c1": same("x")})
    sides = sides_of(survey, ["corrected", role] + ["corrected"] * 6, ties)
    assert (sides.of["c0"], sides.of["c1"]) == ("test", "")
    (finding,) = sides.findings
    assert (finding.file, finding.kind) == ("c1", "on-both-sides")
    assert finding.cause.startswith("one of the models was trained on it (the same as x), and it shows the slice or")
    assert finding.cause.endswith("patient of c0, which is held out")


@pytest.mark.parametrize("role", ["corrected", "replay"])
def test_a_training_slice_that_shows_a_held_out_slice_which_is_missing_is_omitted(make_survey, role):
    ties = Ties({"c0": Leak("gone", 0.95, "copy"), "c1": same("here")}, {"c0": same("x")})
    sides = sides_of(make_survey(links=[], patients=[""] * 6), [role] + ["corrected"] * 5, ties)
    assert (sides.of["c0"], sides.of["c1"]) == ("", "test")
    (finding,) = sides.findings
    assert (finding.file, finding.kind) == ("c0", "on-both-sides")
    assert "patient of gone, which is held out" in finding.cause


@pytest.mark.parametrize("role", ["corrected", "replay"])
def test_a_training_slice_of_the_patient_of_a_held_out_slice_which_is_missing_is_omitted(make_survey, role):
    # c0 and c1 are of the patient of a slice that is gone; a model was trained on c0, and so on the patient of c1.
    patient = Leak("", math.nan, "patient")
    ties = Ties({"c0": patient, "c1": patient}, {"c0": same("x"), "c1": patient})
    sides = sides_of(make_survey(links=[], patients=["p", "p"] + [""] * 5), [role] * 2 + ["corrected"] * 5, ties)
    assert [sides.of["c0"], sides.of["c1"]] == ["", ""]
    assert kinds(sides) == {"c0": "on-both-sides", "c1": "on-both-sides"}
    assert "patient of a slice that is not in the data given, which is held out" in sides.findings[0].cause


def test_a_held_out_case_stays_held_out_though_it_resembles_a_training_slice(make_survey):
    ties = Ties({"c0": same("c0")}, {"c0": Leak("c9", 0.76, "copy")})
    assert sides_of(make_survey(links=[], patients=[""] * 4), ties=ties).of["c0"] == "test"


def test_what_shows_a_standard_slice_never_trains(make_survey):
    survey = make_survey(links=[(0, 2), (1, 2)], patients=[""] * 8)
    sides = sides_of(survey, ["corrected", "replay", "standard"] + ["corrected"] * 5)
    assert [sides.of[f"c{i}"] for i in range(3)] == ["test", "", "test"]
    assert kinds(sides) == {"c0": "held-out-copy", "c1": "held-out-copy"}


def test_a_training_slice_that_shows_a_standard_slice_trains_and_that_one_proves_nothing(make_survey):
    survey = make_survey(links=[(0, 1)], patients=[""] * 8)
    sides = sides_of(survey, ["corrected", "standard"] + ["corrected"] * 6, Ties({}, {"c0": same("x")}))
    assert (sides.of["c0"], sides.of["c1"]) == ("train", "")
    assert kinds(sides) == {"c0": "known-to-model", "c1": "known-to-model"}


def test_a_standard_slice_that_the_model_was_trained_on_proves_nothing(make_survey):
    survey = make_survey(links=[], patients=[""] * 4)
    sides = sides_of(survey, ["standard"] * 2 + ["corrected"] * 2, Ties({}, {"c0": same("x")}))
    assert (sides.of["c0"], sides.of["c1"]) == ("", "test")
    assert kinds(sides) == {"c0": "known-to-model"}


def test_old_data_that_the_model_was_trained_on_trains_again_unnamed(make_survey):
    survey = make_survey(links=[], patients=[""] * 6)
    sides = sides_of(survey, ["corrected"] * 2 + ["replay"] * 4, Ties({}, {f"c{i}": same("x") for i in range(2, 6)}))
    assert [sides.of[f"c{i}"] for i in range(2, 6)] == ["train"] * 4
    assert sorted(sides.of[f"c{i}"] for i in range(2)) == ["test", "train"]  # the four do not count as corrected
    assert sides.findings == ()


def test_old_data_that_shows_an_earlier_held_out_corrected_slice_is_omitted(make_survey):
    ties = Ties({"c0": same("c0"), "c1": Leak("c0", 0.97, "copy")}, {})
    sides = sides_of(make_survey(links=[(0, 1)], patients=[""] * 8), ["corrected"] + ["replay"] * 7, ties)
    assert (sides.of["c0"], sides.of["c1"]) == ("test", "")
    (finding,) = sides.findings
    assert (finding.file, finding.kind) == ("c1", "held-out-copy")
    assert finding.cause == "shows a held-out slice or patient (copy of c0)"


def test_old_data_that_shows_a_held_out_corrected_slice_is_omitted(make_survey):
    survey = make_survey(links=[(index, index + 4) for index in range(4)], patients=[""] * 8)
    sides = sides_of(survey, ["corrected"] * 4 + ["replay"] * 4)
    held = [index for index in range(4) if sides.of[f"c{index}"] == "test"]
    assert len(held) == 2
    assert [sides.of[f"c{index + 4}"] for index in range(4)] == ["" if index in held else "train" for index in range(4)]
    assert kinds(sides) == {f"c{index + 4}": "held-out-copy" for index in held}


def test_a_part_of_other_replayed_data_is_held_out_and_stays_so(make_survey):
    survey = make_survey(links=[], patients=[""] * 22)
    roles = ["corrected"] * 2 + ["replay"] * 20
    first = sides_of(survey, roles).of
    held = {name: same(f"replay/{name}") for name in list(first)[2:] if first[name] == "test"}
    assert len(held) == 6
    later = sides_of(survey, roles, Ties(held, {}))
    assert {name: later.of[name] for name in held} == dict.fromkeys(held, "test")
    assert later.findings == ()

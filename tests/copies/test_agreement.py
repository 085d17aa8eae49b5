from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.agreement import agree_on_masks, compare_outlines, describe_agreement, measure_agreement
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.data.volume import Volume
from tumortrace.metrics.intervals import mean_interval

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]
MakeSurvey = Callable[..., Survey]


def block(rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((170, 140), dtype=np.bool_)
    mask[rows, columns] = True
    return mask


def test_two_outlines_of_a_mirrored_slice(draw_head: DrawHead, write_case: WriteCase):
    # 20 x 10 and 20 x 14 pixels, of which 20 x 10 in common: Dice 2 * 200 / 480; borders at most 4 columns apart.
    first, second = block(slice(60, 80), slice(50, 60)), block(slice(60, 80), slice(50, 64))
    records = [
        write_case("a", draw_head(1), first),
        write_case("b", draw_head(1)[:, ::-1], second[:, ::-1]),
        write_case("stranger", draw_head(2), first),
    ]
    agreement = measure_agreement(survey_cases(records))
    assert agreement is not None
    (pair,) = agreement.pairs
    assert (pair.first, pair.second, agreement.copied) == ("a.png", "b.png", 0)
    assert pair.counts.dice == pytest.approx(400 / 480, abs=0.02)
    assert pair.surface.hd95 == pytest.approx(4, abs=1.01)


def test_distances_in_scans_are_in_millimetres_as_those_of_a_model(draw_head: DrawHead, write_case: WriteCase):
    # The right borders are 4 columns of 3 mm apart.
    first, second = block(slice(60, 80), slice(50, 60)), block(slice(60, 80), slice(50, 64))
    survey = survey_cases([write_case("a", draw_head(1), first), write_case("b", draw_head(1), second)])
    (in_px,) = compare_outlines(survey.pairs, survey)
    scans = [Volume("a", "a", "nifti", Mock(), (), case.size_hw, spacing_mm=(1.0, 3.0)) for case in survey.cases]
    cases = [
        replace(case, record=replace(case.record, volume=scan)) for case, scan in zip(survey.cases, scans, strict=True)
    ]
    survey = replace(survey, cases=tuple(cases))
    (in_mm,) = compare_outlines(survey.pairs, survey)
    assert (in_px.surface.hd95, in_px.in_mm) == (4, False)
    assert (in_mm.surface.hd95, in_mm.in_mm) == (12, True)
    told = describe_agreement(measure_agreement(survey))
    assert told is not None
    assert told["distance_unit"] == "mm"


def test_the_interval_is_over_patients_where_they_are_named(draw_head: DrawHead, write_case: WriteCase):
    records = []
    for number, (patient, columns) in enumerate([("p", 10), ("p", 14), ("q", 12), ("", 20)]):
        for name, right in (("a", 60), ("b", 50 + columns)):
            head, outline = draw_head(number), block(slice(60, 80), slice(50, right + (name == "a")))
            records.append(write_case(f"{name}{number}", head, outline, patient=patient if name == "a" else ""))
    survey = survey_cases(records)
    agreement = measure_agreement(survey)
    assert agreement is not None
    told = describe_agreement(agreement)
    assert told is not None
    assert (told["pairs"], told["groups"], told["independent_groups"]) == (4, 4, 3)
    # p joins its two slices, and their copies without a name too
    assert survey.blocks == ("g0001", "g0001", "g0001", "g0001", "g0003", "g0003", "g0004", "g0004")
    dices = [pair.counts.dice for pair in agreement.pairs]
    assert told["dice"]["ci95"] == list(mean_interval(dices, ["a", "a", "b", "c"]))


def test_copied_outlines_say_nothing_about_annotators(draw_head: DrawHead, write_case: WriteCase):
    outline = block(slice(60, 80), slice(50, 60))
    records = [write_case("a", draw_head(1), outline), write_case("b", draw_head(1), outline)]
    assert measure_agreement(survey_cases(records)) is None


@pytest.mark.parametrize(("missing", "copied"), [(1, True), (2, False)])
def test_outlines_that_differ_by_a_pixel_in_400_are_copied(make_survey: MakeSurvey, missing: int, copied: bool):  # noqa: FBT001
    """A Dice of 798 / 799 is 0.9987, and one of 796 / 798 is 0.9975."""
    outline = np.zeros((100, 100), dtype=np.bool_)
    outline[40:60, 30:50] = True
    other = outline.copy()
    other[40, 30 : 30 + missing] = False
    survey = make_survey(links=[(0, 1)], patients=["", ""])
    cases = (
        replace(case, packed_truth=np.packbits(mask)) for case, mask in zip(survey.cases, (outline, other), strict=True)
    )
    assert (measure_agreement(replace(survey, cases=tuple(cases))) is None) == copied


def test_outlines_beyond_what_both_pictures_show_are_not_copied(make_survey: MakeSurvey):
    # The second picture begins at column 60 of the first: neither shows the tumour of the other.
    left, right, wide = (block(slice(60, 80), columns) for columns in (slice(10, 20), slice(90, 99), slice(88, 99)))
    shifted = np.array([[1.0, 0.0, -60.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    survey = make_survey(links=[(0, 1), (2, 3)], patients=[""] * 4)
    truths = [np.packbits(mask[:100, :100]) for mask in (left, right, right, wide)]
    cases = tuple(replace(case, packed_truth=truth) for case, truth in zip(survey.cases, truths, strict=True))
    first, second = survey.scored
    agreement = measure_agreement(replace(survey, cases=cases, scored=(replace(first, to_second=shifted), second)))
    assert agreement is not None
    (pair,) = agreement.pairs
    assert (pair.first, agreement.copied) == ("c2", 0)
    assert pair.counts.dice == pytest.approx(2 * 9 / (9 + 11))


@pytest.mark.parametrize(("patients", "similarity", "pairs"), [
    (("p", "p"), 0.95, 0), (("p", "p"), 0.96, 1), (("p", "q"), 0.8, 1), (("", ""), 0.8, 1),
])  # fmt: skip
def test_neighbouring_slices_of_a_patient_are_no_two_outlines(
    make_survey: MakeSurvey, patients: tuple[str, str], similarity: float, pairs: int
):
    survey = make_survey(links=[(0, 1), (0, 2), (1, 2)], patients=[*patients, patients[0]])
    truths = [np.packbits(block(slice(60, 80), slice(50, right))[:100, :100]) for right in (60, 64, 68)]
    cases = tuple(replace(case, packed_truth=truth) for case, truth in zip(survey.cases, truths, strict=True))
    scored = tuple(replace(pair, similarity=similarity) for pair in survey.scored)
    apart = replace(survey, cases=cases, scored=scored)
    agreement = measure_agreement(replace(apart, scored=scored[:1]))
    assert (len(agreement.pairs) if agreement else 0) == pairs
    assert bool(agree_on_masks(apart)) == bool(pairs)


def test_tumour_free_copies_and_single_slices_are_no_outlines(draw_head: DrawHead, write_case: WriteCase):
    empty = np.zeros((170, 140), dtype=np.bool_)
    outline = block(slice(60, 80), slice(50, 60))
    records = [
        write_case("a", draw_head(1), empty),
        write_case("b", draw_head(1), outline),
        write_case("c", draw_head(2), outline),
    ]
    assert measure_agreement(survey_cases(records)) is None


def test_the_consensus_is_what_most_outlines_say(draw_head: DrawHead, write_case: WriteCase):
    narrow, middle, wide = (block(slice(60, 90), slice(50, right)) for right in (60, 70, 80))
    records = [
        write_case("narrow", draw_head(1), narrow),
        write_case("middle", draw_head(1)[::-1], middle[::-1]),
        write_case("wide", draw_head(1)[:, ::-1], wide[:, ::-1]),
        write_case("pair-1", draw_head(2), narrow),
        write_case("pair-2", draw_head(2), wide),
    ]
    agreed = agree_on_masks(survey_cases(records))
    assert set(agreed) == {"narrow.png", "middle.png", "wide.png"}  # two outlines have no majority
    for name, turned in (("narrow", middle), ("middle", middle[::-1]), ("wide", middle[:, ::-1])):
        mask = agreed[f"{name}.png"]
        assert 2 * (mask & turned).sum() / (mask.sum() + turned.sum()) > 0.95, name


def test_a_tie_is_decided_by_the_own_outline_of_each_slice(draw_head: DrawHead, write_case: WriteCase):
    narrow, wide = block(slice(60, 90), slice(50, 60)), block(slice(60, 90), slice(50, 80))
    head = draw_head(1)
    own = {"a": (head, narrow), "b": (head[::-1], wide[::-1])}
    own |= {"c": (head[:, ::-1], narrow[:, ::-1]), "d": (head[::-1, ::-1], wide[::-1, ::-1])}
    agreed = agree_on_masks(survey_cases([write_case(name, *drawn) for name, drawn in own.items()]))
    for name, (_, outline) in own.items():
        mask = agreed[f"{name}.png"]
        assert 2 * (mask & outline).sum() / (mask.sum() + outline.sum()) > 0.95, name


def test_annotators_of_br35h_agree_at_about_ninety_percent(br35h: Path):
    agreement = measure_agreement(survey_cases(open_dataset(br35h).select("val")))
    assert agreement is not None
    dices = [pair.counts.dice for pair in agreement.pairs]
    assert len(dices) > 100
    assert 0.87 < np.mean(dices) < 0.94

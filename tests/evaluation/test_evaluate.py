"""A model that calls bright pixels tumour, scored on four small cases whose counts are known by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.copies.described import describe_cases
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import build_training_index
from tumortrace.data.cases import Case, CaseRecord, read_case
from tumortrace.data.fingerprint import hash_case
from tumortrace.data.geometry import Polygon
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError
from tumortrace.evaluation.evaluate import CaseScore, Evaluation, evaluate
from tumortrace.evaluation.provenance import known_training, trace_training
from tumortrace.inference.model import Model
from tumortrace.inference.predict import Prediction
from tumortrace.metrics.lesions import LesionCounts
from tumortrace.metrics.overlap import PixelCounts

MakeScore = Callable[..., CaseScore]
DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


class BrightSession:
    """In the place of ONNX Runtime: tumour probability 1 / (1 + exp(-100 x)) of the standardised picture x."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([-50 * images, 50 * images], axis=1)


MODEL = Model("bright", Path("bright.onnx"), "5ha", Recipe((6, 10), threshold=0.55), {}, {}, BrightSession())

SHIFTED, PERFECT, EMPTY, BROKEN = "TEST/shifted.png", "TEST/perfect.png", "TEST/empty.png", "TEST/broken.png"


def lit(size_hw: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[rows, columns] = True
    return mask


def write_case(folder: Path, case_id: str, bright: NDArray[np.bool_], truth: NDArray[np.bool_]) -> CaseRecord:
    """Write a picture that is bright where the model shall see tumour, and its truth."""
    part, name = case_id.split("/")
    image_path, mask_path = folder / name, folder / f"mask_{name}"
    write_png(image_path, np.where(bright, 200, 10).astype(np.uint8))
    write_png(mask_path, truth.astype(np.uint8) * np.uint8(255))
    return CaseRecord(case_id, part.lower(), image_path, mask_path)


@pytest.fixture
def records(tmp_path: Path) -> list[CaseRecord]:
    """One case shifted by a column on the model's grid, a perfect one of twice its size, one without a tumour."""
    here = lit((6, 10), slice(2, 4), slice(3, 6))
    beside = lit((6, 10), slice(2, 4), slice(4, 7))
    twice = here.repeat(2, axis=0).repeat(2, axis=1)
    nothing = np.zeros((3, 5), dtype=np.bool_)
    return [
        write_case(tmp_path, SHIFTED, here, beside),
        write_case(tmp_path, PERFECT, twice, twice),
        write_case(tmp_path, EMPTY, nothing, nothing),
    ]


@pytest.fixture
def broken(tmp_path: Path) -> CaseRecord:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    return CaseRecord(BROKEN, "test", tmp_path / "broken.png", tmp_path / "mask_broken.png")


def evaluate_alone(records: list[CaseRecord]) -> Evaluation:
    survey = survey_cases(records)
    return evaluate(MODEL, records, survey, trace_training(MODEL, survey))


def test_cases_are_scored_at_their_own_resolution(records: list[CaseRecord]):
    evaluation = evaluate_alone(records)
    assert [score.counts for score in evaluation.scores] == [
        PixelCounts(tp=4, fp=2, fn=2, tn=52),
        PixelCounts(tp=24, fp=0, fn=0, tn=216),
        PixelCounts(tp=0, fp=0, fn=0, tn=15),
    ]
    assert [score.file for score in evaluation.scores] == [SHIFTED, PERFECT, EMPTY]
    assert [score.tumour_px for score in evaluation.scores] == [6, 24, 0]
    assert [score.tumour_share for score in evaluation.scores] == [0.1, 0.1, 0.0]
    assert (evaluation.model, evaluation.threshold) == ({"name": "bright", "sha256": "5ha"}, 0.55)


def test_borders_and_lesions_are_scored(records: list[CaseRecord]):
    shifted, perfect, empty = evaluate_alone(records).scores
    # All 6 pixels of each are border; of both, the two columns apart are 1 pixel from the other's.
    assert (shifted.surface.nsd, shifted.surface.hd95) == (1.0, 1.0)
    assert shifted.surface.assd == pytest.approx(4 / 12)
    assert (perfect.surface.nsd, perfect.surface.assd) == (1.0, 0.0)
    assert math.isnan(empty.surface.nsd)
    assert [score.lesions for score in (shifted, empty)] == [LesionCounts(1, 1, 1, 1), LesionCounts(0, 0, 0, 0)]
    assert not shifted.in_mm


def test_baselines_are_scored_on_the_same_cases(records: list[CaseRecord]):
    assert [score.baselines["all_background"] for score in evaluate_alone(records).scores] == [
        PixelCounts(tp=0, fp=0, fn=6, tn=54),
        PixelCounts(tp=0, fp=0, fn=24, tn=216),
        PixelCounts(tp=0, fp=0, fn=0, tn=15),
    ]


def test_what_was_trained_on_decides_what_is_clean(draw_head: DrawHead, write_case: WriteCase):
    outline = lit((170, 140), slice(60, 90), slice(50, 70))
    learnt = write_case("learnt", draw_head(1), outline, patient="p1")
    cases = [
        write_case("copy", draw_head(1)[::-1], outline[::-1], part="test", patient="p9"),
        write_case("same-patient", draw_head(2), outline, part="test", patient="p1"),
        write_case("new", draw_head(3), outline, part="test", patient="p2"),
    ]
    known = known_training(build_training_index(describe_cases([learnt])))
    evaluation = evaluate(MODEL, cases, survey_cases(cases), known)
    copy, patient, new = evaluation.scores
    assert [score.clean for score in evaluation.scores] == [False, False, True]
    assert copy.leak is not None
    assert (copy.leak.nearest, copy.leak.why) == ("learnt.png", "copy")
    assert copy.leak.similarity > 0.95
    assert patient.leak is not None
    assert (patient.leak.nearest, patient.leak.why) == ("", "patient")
    assert new.leak is None
    assert (evaluation.training_slices, evaluation.compared_slices) == (1, 1)
    assert [score.clean for score in evaluate_alone(cases).scores] == [None] * 3
    partly = evaluate(MODEL, cases, survey_cases(cases), replace(known, total=7))
    assert [score.clean for score in partly.scores] == [False, False, None]  # the other six may hold copies of it


def test_a_copy_of_a_copy_is_not_clean(draw_head: DrawHead, write_case: WriteCase, monkeypatch: pytest.MonkeyPatch):
    outline = lit((170, 140), slice(60, 90), slice(50, 70))
    learnt = write_case("learnt", draw_head(1), outline)
    cases = [write_case(name, draw_head(1)[::-1], outline[::-1], part="test") for name in ("a", "b")]
    survey, memory = survey_cases(cases), build_training_index(describe_cases([learnt]))
    from tumortrace.copies import leakage  # noqa: PLC0415 - to look inside

    whole = leakage.find_copies
    monkeypatch.setattr(
        leakage, "find_copies", lambda *signatures: [pair for pair in whole(*signatures) if pair.first == 0]
    )
    leaks = leakage.find_leaks(survey, memory)
    assert [leaks[name].why for name in ("a.png", "b.png")] == ["copy", "copy of a copy"]


def test_each_case_is_handed_on_with_its_prediction_and_scores(records: list[CaseRecord]):
    seen: list[tuple[Case, Prediction, CaseScore]] = []
    survey = survey_cases(records)
    provenance = trace_training(MODEL, survey)
    evaluation = evaluate(MODEL, records, survey, provenance, on_case=lambda *each: seen.append(each))
    assert [case.record.case_id for case, _, _ in seen] == [SHIFTED, PERFECT, EMPTY]
    assert [prediction.mask.sum() for _, prediction, _ in seen] == [6, 24, 0]
    assert [score for _, _, score in seen] == list(evaluation.scores)


def test_hashes_and_groups_come_with_the_scores(records: list[CaseRecord]):
    scores = evaluate_alone(records).scores
    assert [score.sha256 for score in scores] == [hash_case(read_case(record)[0]) for record in records]
    shifted, perfect, empty = (score.group for score in scores)
    assert shifted == perfect != empty  # the one picture in two sizes
    assert {score.shape for score in scores} == {"mask"}


def test_slices_of_one_patient_are_one_group(draw_head: DrawHead, write_case: WriteCase):
    outline = lit((170, 140), slice(60, 90), slice(50, 70))
    cases = [write_case(f"s{seed}", draw_head(seed), outline, patient=p) for seed, p in enumerate(("p1", "p2", "p1"))]
    first, other, again = (score.group for score in evaluate_alone(cases).scores)
    assert first == again != other


def test_a_case_that_cannot_be_read_is_a_finding(records: list[CaseRecord], broken: CaseRecord):
    evaluation = evaluate_alone([records[0], broken])
    assert [score.file for score in evaluation.scores] == [SHIFTED]
    assert [(finding.kind, finding.file) for finding in evaluation.findings] == [("unreadable", BROKEN)]
    survey = survey_cases(records[:1])
    with pytest.raises(DataError, match=r"not one of 1 case can be read"):
        evaluate(MODEL, [broken], survey, trace_training(MODEL, survey))


def test_a_picture_that_changes_meanwhile_is_a_finding(records: list[CaseRecord]):
    survey = survey_cases(records)
    write_png(records[0].image_path, np.zeros((5, 6), dtype=np.uint8))
    records[2].image_path.unlink()
    evaluation = evaluate(MODEL, records, survey, trace_training(MODEL, survey))
    assert [score.file for score in evaluation.scores] == [PERFECT]
    changed, *_, gone = [finding for finding in evaluation.findings if finding.kind == "unreadable"]
    assert (changed.kind, changed.file) == ("unreadable", SHIFTED)
    assert "changed while it was being evaluated" in changed.cause
    assert gone.file == EMPTY


def test_a_region_that_leaves_the_image_is_cut_and_told(records: list[CaseRecord]):
    leaves = Polygon(np.array([(-4.0, 1.0), (2.0, 1.0), (2.0, 3.0), (-4.0, 3.0)]))
    record = CaseRecord(SHIFTED, "test", records[0].image_path, (leaves,))
    evaluation = evaluate_alone([record])
    assert [finding.kind for finding in evaluation.findings] == ["region-outside"]
    assert evaluation.scores[0].shape == "polygon"


def test_a_slice_without_an_outline_is_of_no_kind_of_outline(records: list[CaseRecord]):
    """A slice of --negatives is no slice of mixed outlines, whose Dice it would lower by its false alarms."""
    evaluation = evaluate_alone([CaseRecord(EMPTY, "test", records[2].image_path, ())])
    assert evaluation.scores[0].shape == "none"

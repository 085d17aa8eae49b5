"""A model that calls bright pixels tumour, scored on four small cases whose counts are known by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.dataset import Case, CaseRecord, read_case
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_case, hash_part
from tumortrace.data.geometry import Polygon
from tumortrace.data.slice import write_png
from tumortrace.errors import DataError
from tumortrace.inference.model import Model
from tumortrace.inference.segmenter import Prediction
from tumortrace.trust.evaluation import (
    CaseScore,
    Evaluation,
    baseline_spreads,
    evaluate,
    rank_by_dice,
    summarise_scores,
    summary_document,
    write_evaluation,
)
from tumortrace.trust.metrics import PixelCounts, Spread


class BrightSession:
    """In the place of ONNX Runtime: tumour probability 1 / (1 + exp(-100 x)) of the standardised picture x."""

    def run(self, _outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        tumour = 50 * inputs["images"]
        return [np.concatenate([-tumour, tumour], axis=1)]


MODEL = Model("bright", Path("bright.onnx"), "5ha", Recipe((6, 10), threshold=0.55), {}, BrightSession())

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


def score(case_id: str, counts: PixelCounts) -> CaseScore:
    return CaseScore(case_id, "test", "0" * 64, counts, confidence=0.5, baselines={})


# --- scoring ---


def test_cases_are_scored_at_their_own_resolution(records: list[CaseRecord]):
    evaluation = evaluate(MODEL, records)
    assert [score.counts for score in evaluation.scores] == [
        PixelCounts(tp=4, fp=2, fn=2, tn=52),
        PixelCounts(tp=24, fp=0, fn=0, tn=216),
        PixelCounts(tp=0, fp=0, fn=0, tn=15),
    ]
    assert [score.file for score in evaluation.scores] == [SHIFTED, PERFECT, EMPTY]
    assert {score.part for score in evaluation.scores} == {"test"}
    assert evaluation.findings == ()
    assert (evaluation.model, evaluation.threshold) == ({"name": "bright", "sha256": "5ha"}, 0.55)


def test_all_background_is_always_a_baseline(records: list[CaseRecord]):
    evaluation = evaluate(MODEL, records)
    assert [score.baselines for score in evaluation.scores] == [
        {"all_background": PixelCounts(tp=0, fp=0, fn=6, tn=54)},
        {"all_background": PixelCounts(tp=0, fp=0, fn=24, tn=216)},
        {"all_background": PixelCounts(tp=0, fp=0, fn=0, tn=15)},
    ]


def test_nearest_training_mask_is_a_baseline_where_there_is_training(records: list[CaseRecord], tmp_path: Path):
    # The training slice is the perfect case turned upside down, with a mask of its own.
    upside_down = lit((6, 10), slice(2, 4), slice(3, 6))[::-1]
    training = [write_case(tmp_path, "TRAIN/y.png", upside_down, lit((6, 10), slice(2, 4), slice(3, 5)))]
    evaluation = evaluate(MODEL, records[1:2], training=training)
    (only,) = evaluation.scores
    assert list(only.baselines) == ["all_background", "nearest_training_mask"]
    # Its two columns of three are copied, on the grid of twice the size.
    assert only.baselines["nearest_training_mask"] == PixelCounts(tp=16, fp=0, fn=8, tn=216)
    assert baseline_spreads(evaluation)["nearest_training_mask"]["recall"].mean == pytest.approx(2 / 3)


def test_each_case_is_handed_over_as_it_comes(records: list[CaseRecord], broken: CaseRecord):
    seen: list[tuple[str, int]] = []

    def note(case: Case, prediction: Prediction) -> None:
        seen.append((case.record.case_id, int(prediction.mask.sum())))

    evaluate(MODEL, [*records, broken], on_case=note)
    assert seen == [(SHIFTED, 6), (PERFECT, 24), (EMPTY, 0)]


def test_image_that_cannot_be_read_is_a_finding_and_the_others_are_scored(
    records: list[CaseRecord], broken: CaseRecord
):
    evaluation = evaluate(MODEL, [broken, *records])
    assert len(evaluation.scores) == 3
    (finding,) = evaluation.findings
    assert (finding.kind, finding.severity, finding.file) == ("unreadable", "left out", BROKEN)
    assert "not a picture" in finding.cause


def test_warning_about_a_case_that_is_scored_is_a_finding(records: list[CaseRecord]):
    leaves = Polygon(np.array([(-4.0, 1.0), (2.0, 1.0), (2.0, 3.0), (-4.0, 3.0)]))
    record = CaseRecord(SHIFTED, "test", records[0].image_path, (leaves,))
    evaluation = evaluate(MODEL, [record])
    assert [finding.kind for finding in evaluation.findings] == ["region-outside"]
    assert evaluation.scores[0].counts == PixelCounts(tp=0, fp=6, fn=4, tn=50)


def test_not_one_case_that_can_be_read_is_an_error(broken: CaseRecord):
    with pytest.raises(DataError, match=r"not one of 2 cases can be read; first: TEST/broken\.png: not a picture"):
        evaluate(MODEL, [broken, broken])
    with pytest.raises(DataError, match="not one of 0 cases can be read"):
        evaluate(MODEL, [])


# --- tables ---


def test_spreads_over_images_leave_out_what_is_undefined(records: list[CaseRecord]):
    spreads = summarise_scores(score.counts for score in evaluate(MODEL, records).scores)
    assert list(spreads) == ["precision", "recall", "dice", "iou"]
    dice, iou = spreads["dice"], spreads["iou"]
    assert (dice.mean, dice.median, dice.min, dice.max) == pytest.approx((5 / 6, 5 / 6, 2 / 3, 1.0))
    assert (dice.p05, dice.p95) == pytest.approx((2 / 3 + 0.05 / 3, 1 - 0.05 / 3))
    assert (iou.min, iou.max, iou.undefined) == (0.5, 1.0, 1)


def test_spreads_take_the_counts_from_an_iterator_once():
    counts = iter([PixelCounts(tp=1, fp=1, fn=0, tn=0)])
    spreads = summarise_scores(counts)
    assert [spreads[metric].mean for metric in spreads] == pytest.approx([0.5, 1.0, 2 / 3, 0.5])


def test_cases_are_ranked_from_worst_to_best_and_those_without_a_dice_left_out():
    half, whole, none, undefined = (
        PixelCounts(tp=1, fp=1, fn=1, tn=0),
        PixelCounts(tp=1, fp=0, fn=0, tn=2),
        PixelCounts(tp=0, fp=1, fn=0, tn=2),
        PixelCounts(tp=0, fp=0, fn=0, tn=3),
    )
    scores = [score("a", whole), score("b", undefined), score("c", half), score("d", none), score("e", half)]
    ranked = rank_by_dice(Evaluation(tuple(scores), (), {}, 0.5))
    assert [score.file for score in ranked] == ["d", "c", "e", "a"]


# --- files ---


def read_summary(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert isinstance(document, dict)
    return document


def test_one_row_an_image(records: list[CaseRecord], tmp_path: Path):
    write_evaluation(evaluate(MODEL, records), tmp_path / "out")
    text = (tmp_path / "out/per_image.csv").read_bytes().decode()
    # The doubled block fades bilinearly from row 0.75, 1, 1, 0.75 and column 0.75, 1, 1, 1, 1, 0.75: 3.5 / 4 * 5.5 / 6.
    assert text == (
        "file,part,tp,fp,fn,tn,precision,recall,dice,iou,confidence\n"
        "TEST/shifted.png,test,4,2,2,52,0.666667,0.666667,0.666667,0.500000,1.000000\n"
        "TEST/perfect.png,test,24,0,0,216,1.000000,1.000000,1.000000,1.000000,0.802083\n"
        "TEST/empty.png,test,0,0,0,15,,,,,0.500000\n"
    )


def test_names_with_commas_survive_the_table(tmp_path: Path):
    scores = (score('TEST/a, "b".png', PixelCounts(tp=1, fp=0, fn=0, tn=0)),)
    write_evaluation(Evaluation(scores, (), {}, 0.5), tmp_path)
    with (tmp_path / "per_image.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == 'TEST/a, "b".png'


def test_summary_holds_every_number_and_null_where_there_is_none(
    records: list[CaseRecord], broken: CaseRecord, tmp_path: Path
):
    known = Finding("image-missing", "left out", "gone.png", "no such image", "add it")
    evaluation = evaluate(MODEL, [*records, broken], findings=[known])
    write_evaluation(evaluation, tmp_path / "out")
    summary = read_summary(tmp_path / "out/summary.json")
    assert summary == summary_document(evaluation)
    assert list(summary) == [
        "n", "threshold", "precision", "recall", "dice", "iou", "baselines", "model", "data", "findings",
    ]  # fmt: skip
    assert (summary["n"], summary["threshold"], summary["model"]) == (3, 0.55, {"name": "bright", "sha256": "5ha"})
    assert list(summary["dice"]) == ["mean", "median", "min", "max", "p05", "p95", "undefined"]
    assert summary["dice"]["mean"] == pytest.approx(5 / 6)
    assert summary["dice"]["undefined"] == 1
    background = summary["baselines"]["all_background"]
    assert list(background) == ["precision", "recall", "dice", "iou"]
    assert background["precision"] == {
        "mean": None, "median": None, "min": None, "max": None, "p05": None, "p95": None, "undefined": 3,
    }  # fmt: skip
    assert (background["dice"]["mean"], background["dice"]["undefined"]) == (0.0, 1)
    assert [finding["file"] for finding in summary["findings"]] == ["gone.png", BROKEN]
    hashes = {record.case_id: hash_case(read_case(record)[0]) for record in records}
    assert summary["data"] == {"sha256": hash_part(hashes)}


def test_summary_of_tumour_free_slices_alone_is_all_null(records: list[CaseRecord], tmp_path: Path):
    evaluation = evaluate(MODEL, records[2:])
    write_evaluation(evaluation, tmp_path / "out")
    dice = read_summary(tmp_path / "out/summary.json")["dice"]
    assert dice.pop("undefined") == 1
    assert set(dice.values()) == {None}


def test_baselines_have_the_spreads_of_their_own_counts(records: list[CaseRecord]):
    spreads = baseline_spreads(evaluate(MODEL, records))
    assert list(spreads) == ["all_background"]
    assert spreads["all_background"]["recall"] == Spread(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, undefined=1)

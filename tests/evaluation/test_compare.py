from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tumortrace.errors import DataError
from tumortrace.evaluation.compare import compare_evaluations, comparison_document
from tumortrace.evaluation.evaluate import CaseScore, Evaluation
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.metrics.surface import SurfaceScores

MakeScore = Callable[..., CaseScore]
WriteFolder = Callable[..., Path]


def counts_of(dice: str) -> PixelCounts:
    """Pixels of which Dice is this number of two digits; two empty masks for an empty string."""
    tp = round(100 * float(dice)) if dice else 0
    return PixelCounts(tp, 100 - tp, 100 - tp, 9) if dice else PixelCounts(0, 0, 0, 9)


@pytest.fixture
def write_folder(make_score: MakeScore) -> WriteFolder:
    """Write an evaluation of images y0, y1, ... (from ``start``) by their Dice; NSD is 0.5 and HD95 3 everywhere."""

    def write(
        folder: Path, dices: list[str], *, card: dict[str, object] | None = None, start: int = 0, **fields: object
    ) -> Path:
        surface = SurfaceScores(0.5, 3.0, 1.0)
        scores = tuple(
            make_score(f"y{index}", counts_of(dice), surface=surface, **{"group": f"g{index}"} | fields)
            for index, dice in enumerate(dices, start=start)
        )
        write_evaluation(Evaluation(scores, (), {"name": "m", "sha256": "0"}, 0.5, card=card or {}), folder)
        return folder

    return write


def test_a_pair_by_hand(write_folder: WriteFolder, tmp_path: Path):
    first = write_folder(tmp_path / "first", ["0.9", "0.8", "", "0.7"])
    second = write_folder(tmp_path / "second", ["0.8", "0.6", "0.5", "0.7"])
    comparison = compare_evaluations([first, second])
    assert (comparison.names, comparison.n, comparison.left_out) == (("first", "second"), 4, ())
    assert comparison.means == (pytest.approx(0.8), pytest.approx(0.65))
    (dice, *_) = comparison.differences
    assert (dice.metric, dice.n, dice.groups, dice.undefined, dice.higher, dice.lower) == ("dice", 3, 3, 1, 2, 0)
    assert dice.mean == pytest.approx(0.1)
    assert dice.ci95[0] <= 0.1 <= dice.ci95[1]
    # Differences 0.1, 0.2, 0: of the 8 flips, 4 reach 0.3 in size.
    assert dice.p == pytest.approx(0.5)
    assert dice.p_holm == dice.p
    # 1.96 standard errors to one side are half the interval; 80 % power needs 1.96 + 0.84 of them.
    assert dice.detectable == pytest.approx(2.8016 / 1.96 * (dice.ci95[1] - dice.ci95[0]) / 2, rel=1e-3)
    nsd = comparison.differences[2]
    assert (nsd.metric, nsd.mean, nsd.p) == ("nsd", 0.0, 1.0)
    assert math.isnan(nsd.ci95[0])  # all groups agree


def test_tumour_free_images_that_only_one_model_marks_are_counted(make_score: MakeScore, tmp_path: Path):
    # a, b: tumours that both find; c: only the first marks something there; d: both leave it empty.
    found, marked, empty = PixelCounts(8, 2, 2, 88), PixelCounts(0, 5, 0, 95), PixelCounts(0, 0, 0, 100)
    for name, third in (("first", marked), ("second", empty)):
        scores = tuple(make_score(*each) for each in zip("abcd", (found, found, third, empty), strict=True))
        write_evaluation(Evaluation(scores, (), {"name": "m", "sha256": "0"}, 0.5), tmp_path / name)
    comparison = compare_evaluations([tmp_path / "first", tmp_path / "second"])
    assert comparison.means == (pytest.approx((0.8 + 0.8 + 0) / 3), pytest.approx(0.8))
    (dice, *_) = comparison.differences
    assert (dice.n, dice.undefined, dice.only_first, dice.only_second, dice.mean) == (2, 2, 1, 0, 0.0)


def test_images_that_one_evaluation_has_in_one_group_are_in_one(write_folder: WriteFolder, tmp_path: Path):
    apart = write_folder(tmp_path / "apart", ["0.9", "0.8", "0.7"])
    joined = write_folder(tmp_path / "joined", ["0.8", "0.6", "0.7"], group="g1")
    for folders in ([apart, joined], [joined, apart]):
        dice = compare_evaluations(folders).differences[0]
        assert (dice.n, dice.groups, dice.p) == (3, 1, 1.0)
        assert math.isnan(dice.ci95[0])


def test_three_models_make_three_pairs_and_holm_counts_them(write_folder: WriteFolder, tmp_path: Path):
    scores = {"a": 0.9, "b": 0.5, "c": 0.5}
    folders = [write_folder(tmp_path / name, [str(dice + i / 100) for i in range(8)]) for name, dice in scores.items()]
    rows = [row for row in compare_evaluations(folders).differences if row.metric == "dice"]
    assert [(row.first, row.second) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [row.p for row in rows] == [2 / 256, 2 / 256, 1.0]
    assert [row.p_holm for row in rows] == [6 / 256, 6 / 256, 1.0]


def test_a_run_is_no_evaluation_and_the_command_that_makes_one_is_named(write_folder: WriteFolder, tmp_path: Path):
    first, run = write_folder(tmp_path / "first", ["0.9"]), tmp_path / "run"
    run.mkdir()
    (run / "config.toml").touch()
    with pytest.raises(DataError) as refused:
        compare_evaluations([first, run])
    command = f"tumortrace evaluate DATA --model {run}"
    assert str(refused.value) == f"{run}: a run, not an evaluation; make one with: {command}"


def test_cases_that_are_not_in_both_are_named(write_folder: WriteFolder, tmp_path: Path):
    first = write_folder(tmp_path / "first", ["0.9", "0.8", "0.7"])
    second = write_folder(tmp_path / "second", ["0.9", "0.8"], start=2)
    comparison = compare_evaluations([first, second])
    assert comparison.n == 1
    assert comparison.left_out == (("y0", "not in second"), ("y1", "not in second"), ("y3", "not in first"))
    changed = write_folder(tmp_path / "changed", ["0.9"], start=2, sha256="of another truth")
    with pytest.raises(DataError, match="no case in common"):
        compare_evaluations([first, changed])
    assert compare_evaluations([first, first.with_name("second")]).n == 1


def test_a_case_whose_content_differs_is_left_out_by_name(make_score: MakeScore, tmp_path: Path):
    for name in ("first", "second"):
        scores = (make_score("a", counts_of("0.9")), make_score("b", counts_of("0.8"), sha256=f"of the {name}"))
        write_evaluation(Evaluation(scores, (), {"name": "m", "sha256": "0"}, 0.5), tmp_path / name)
    comparison = compare_evaluations([tmp_path / "first", tmp_path / "second"])
    assert (comparison.n, comparison.left_out) == (1, (("b", "the image or its truth differs"),))


def test_seeds_of_the_same_settings(write_folder: WriteFolder, tmp_path: Path):
    cards = [
        {"config_sha256": "same", "seed": 0},
        {"config_sha256": "same", "seed": 1},
        {"config_sha256": "other", "seed": 2},
    ]
    folders = [
        write_folder(tmp_path / f"m{i}", [str(0.6 + i / 10)] * 3, card=dict(card)) for i, card in enumerate(cards)
    ]
    (spread,) = compare_evaluations(folders).seeds
    assert (spread.models, spread.seeds) == (("m0", "m1"), (0, 1))
    assert (spread.mean, spread.deviation) == (pytest.approx(0.65), pytest.approx(math.sqrt(0.005)))
    assert compare_evaluations([folders[0], folders[2]]).seeds == ()


@pytest.mark.parametrize("part", ["trained_on", "selected_on"])
def test_models_of_other_slices_are_no_seeds_of_the_same_settings(write_folder: WriteFolder, tmp_path: Path, part: str):
    cards = [{"config_sha256": "same", "seed": seed, part: "slices of " + who} for seed, who in enumerate("aab")]
    folders = [write_folder(tmp_path / f"m{i}", ["0.6", "0.7"], card=dict(card)) for i, card in enumerate(cards)]
    (spread,) = compare_evaluations(folders).seeds
    assert (spread.models, spread.seeds) == (("m0", "m1"), (0, 1))


def test_common_images_that_a_model_was_trained_on_are_counted(write_folder: WriteFolder, tmp_path: Path):
    clean = write_folder(tmp_path / "clean", ["0.5", "0.6"])
    trained = write_folder(tmp_path / "trained", ["0.9", "0.9", "0.9"], clean=False)  # one is in neither of the others
    unknown = write_folder(tmp_path / "unknown", ["0.5", "0.6"], clean=None)
    comparison = compare_evaluations([clean, trained, unknown])
    assert (comparison.trained_on, comparison.known_trained_on) == ((0, 2, None), (0, 2, 0))


def test_the_document_is_json_with_null(write_folder: WriteFolder, tmp_path: Path):
    folders = [write_folder(tmp_path / name, ["", ""]) for name in ("a", "b")]
    document = comparison_document(compare_evaluations(folders))
    dice = document["differences"][0]
    assert (dice["n"], dice["mean"], dice["p"], dice["ci95"]) == (0, None, None, [None, None])
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_folders_of_one_name_are_told_apart(write_folder: WriteFolder, tmp_path: Path):
    folders = [write_folder(tmp_path / parent / "val", ["0.5", "0.6"]) for parent in ("x", "y")]
    assert compare_evaluations(folders).names == ("x/val", "y/val")
    with pytest.raises(DataError, match="named twice"):
        compare_evaluations([folders[0], folders[0]])


def test_what_cannot_be_compared(write_folder: WriteFolder, tmp_path: Path):
    first = write_folder(tmp_path / "first", ["0.9"])
    with pytest.raises(DataError, match="name at least two"):
        compare_evaluations([first])
    with pytest.raises(DataError, match=r"summary\.json: cannot be read"):
        compare_evaluations([first, tmp_path / "none"])
    with pytest.raises(DataError, match="no case in common"):
        compare_evaluations([first, write_folder(tmp_path / "second", ["0.9"], start=5)])

from __future__ import annotations

import csv
import html
from pathlib import Path

import numpy as np
import pytest

from tumortrace.api import audit
from tumortrace.config import config_from_tables
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import DataError, ModelError
from tumortrace.evaluation.doubtful import (
    CONTRADICTED,
    Doubt,
    judge_outline,
    open_crossval,
    refuse_edited_list,
    write_doubts,
)
from tumortrace.inference.predict import Prediction
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.trials.crossval import cross_validate


def predict_as(probability):
    """A prediction of the given probabilities, at threshold 0.5."""
    probability = np.asarray(probability, dtype=np.float32)
    mask = probability >= 0.5
    return Prediction(probability, mask, (), 0.5, review=False, reasons=())


def draw(rows, columns, *, size_hw=(8, 12), value=1.0):
    picture = np.zeros(size_hw, dtype=np.float32)
    picture[rows, columns] = value
    return picture


def test_no_doubt_where_outline_and_mask_are_the_same():
    truth = draw(slice(2, 5), slice(3, 7)) > 0
    doubt, kind, _ = judge_outline(predict_as(truth), truth)
    assert (doubt, kind) == (0.0, "border")


def test_no_doubt_where_both_are_empty():
    nothing = np.zeros((8, 12), dtype=np.bool_)
    doubt, kind, reason = judge_outline(predict_as(nothing * 0.2), nothing)
    assert (doubt, kind, reason) == (0.0, "none", "no outline, and the model marks nothing")


def test_a_tumour_without_outline():
    nothing = np.zeros((8, 12), dtype=np.bool_)
    doubt, kind, reason = judge_outline(predict_as(draw(slice(2, 5), slice(3, 7), value=0.8)), nothing)
    # the root of the Dice that the model expects; the outline has nothing of it
    assert doubt == pytest.approx((2 * 9.6 / (12 + 9.6)) ** 0.5)
    assert (kind, reason) == ("not outlined", "no outline, but the model marks 12 pixels")


def test_an_empty_mask_doubts_an_outline_by_its_best_guess_alone():
    truth = draw(slice(2, 5), slice(3, 7)) > 0
    doubt, kind, reason = judge_outline(predict_as(truth * 0.1), truth)
    assert doubt == pytest.approx(0, abs=1e-6)  # what it would mark first is the outline
    assert kind == "nothing there"
    assert reason == "the model marks nothing; its highest probability in the outline is 0.10"


def test_an_empty_mask_doubts_more_the_more_probable_its_guess_elsewhere_is():
    truth = draw(slice(2, 5), slice(3, 7)) > 0
    elsewhere = draw(slice(5, 7), slice(8, 10)) + draw(
        7, slice(8, 10), value=0.25
    )  # 4 px, and 2 that it does not guess
    weak, strong = (judge_outline(predict_as(elsewhere * level), truth)[0] for level in (0.1, 0.4))
    expected = 2 * 4 / (4 + 4.5)
    assert weak == pytest.approx((0.1 * expected) ** 0.5)
    assert strong == pytest.approx((0.4 * expected) ** 0.5)


def test_an_empty_map_doubts_nothing():
    assert judge_outline(predict_as(draw(0, 0, value=0.0)), draw(1, 1) > 0)[0] == pytest.approx(0, abs=1e-3)


def test_of_two_equal_masks_the_surer_model_doubts_more():
    truth = draw(slice(1, 3), slice(1, 3)) > 0
    answer = draw(slice(1, 3), slice(2, 4))  # half of it beside the outline
    sure, unsure = (judge_outline(predict_as(answer * value), truth)[0] for value in (0.95, 0.6))
    halo = judge_outline(predict_as(np.maximum(answer * 0.95, 0.3)), truth)[0]  # and some probability everywhere
    assert sure > unsure > 0
    assert sure > halo


def test_an_outline_beside_the_tumour():
    truth = draw(slice(1, 3), slice(1, 3)) > 0
    doubt, kind, reason = judge_outline(predict_as(draw(slice(1, 3), slice(7, 9), value=0.9)), truth)
    assert doubt == pytest.approx((2 * 3.6 / (4 + 3.6)) ** 0.5)
    assert (kind, reason) == ("elsewhere", "the model marks another place, centred 6 px away")


def test_a_further_lesion():
    truth = draw(slice(1, 3), slice(1, 3)) > 0
    answer = truth + draw(slice(4, 8), slice(6, 10), value=0.9)
    doubt, kind, reason = judge_outline(predict_as(answer), truth)
    expected, reached = 2 * (4 + 16 * 0.9) / (20 + 4 + 16 * 0.9), 2 * 4 / (4 + 4 + 16 * 0.9**2)
    assert doubt == pytest.approx(expected**0.5 * (1 - reached))
    assert (kind, reason) == ("lesion missed", "the model marks 16 pixels in a further lesion without outline")


def test_an_outline_too_many():
    truth = (draw(slice(1, 3), slice(1, 3)) + draw(slice(4, 8), slice(6, 10))) > 0
    _, kind, reason = judge_outline(predict_as(draw(slice(1, 3), slice(1, 3))), truth)
    assert (kind, reason) == ("too many", "the model marks nothing at 16 pixels of separate outlines")


@pytest.mark.parametrize("larger", ["outline", "mask"])
def test_an_outline_of_another_size(larger):
    small, large = draw(slice(2, 4), slice(2, 5)), draw(slice(1, 5), slice(2, 5))  # 6 and 12 px
    truth, answer = (large, small) if larger == "outline" else (small, large)
    _, kind, reason = judge_outline(predict_as(answer), truth > 0)
    assert kind == "size"
    assert reason.endswith(
        "the outline is 2.0 times as large as the model's mask"
        if larger == "outline"
        else "the model's mask is 2.0 times as large as the outline"
    )


def test_the_list_names_the_contradicted_outlines_alone(tmp_path: Path):
    doubts = [
        Doubt(f"{number}.png", "1", doubt, dice, "elsewhere", "the model marks another place", 4, 5)
        for number, (doubt, dice) in enumerate(
            [(0.95, 0.1), (0.4, 0.5), (CONTRADICTED, 0.49), (CONTRADICTED - 0.01, 0)]
        )
    ]
    write_doubts(doubts, tmp_path)
    assert (tmp_path / "doubtful.txt").read_text() == "0.png\n2.png\n"
    with (tmp_path / "doubtful.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["doubt"]) for row in rows] == [0.95, 0.4, CONTRADICTED, CONTRADICTED - 0.01]


def test_a_list_that_somebody_edited_is_not_replaced(tmp_path: Path):
    refuse_edited_list(tmp_path)
    doubts = [
        Doubt(f"{number}.png", "1", 0.9, 0.1, "elsewhere", "the model marks another place", 4, 5) for number in (1, 2)
    ]
    write_doubts(doubts, tmp_path)
    refuse_edited_list(tmp_path)  # as it was written
    for text in ("2.png\n", ""):
        (tmp_path / "doubtful.txt").write_text(text)
        with pytest.raises(
            DataError, match=r"doubtful\.txt: was edited since an audit wrote it; move it elsewhere, or"
        ):
            refuse_edited_list(tmp_path)
    (tmp_path / "doubtful.csv").unlink()
    with pytest.raises(DataError, match="was edited"):
        refuse_edited_list(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doubtful") / "data"
    write_phantom_dataset(folder, counts={"TRAIN": 7, "VAL": 5, "TEST": 2}, no_tumour=0, seed=3)
    return folder


@pytest.fixture(scope="module")
def crossval(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = {"epochs": 1, "batch_size": 4, "keep": "last", "device": "cpu", "threads": 1}
    config = config_from_tables({"recipe": {"size_hw": [32, 32]}, "network": {"widths": [4, 8]}, "training": training})
    out = tmp_path_factory.mktemp("doubtful") / "cv"
    cross_validate(open_dataset(data), config, folds=2, by="groups", out=out)
    return out


def test_an_audit_judges_each_outline_that_a_fold_held_out(data: Path, crossval: Path, tmp_path: Path):
    result = audit(data, run=crossval, out=tmp_path / "audit")
    held_out = [record.case_id for record in open_dataset(data).records if record.part != "test"]
    assert sorted(doubt.file for doubt in result.doubts) == sorted(held_out)
    assert [doubt.doubt for doubt in result.doubts] == sorted((doubt.doubt for doubt in result.doubts), reverse=True)
    told = result.document["doubtful"]
    assert (told["judged"], told["not_judged"]) == (12, 2)
    assert told["contradicted"] == sum(told["kinds"].values())
    page = html.unescape((tmp_path / "audit" / "audit.html").read_text())
    assert "Doubtful outlines" in page
    assert result.doubts[0].reason in page
    assert "Not judged: 2 annotated images in no fold, or changed since." in page


def test_the_model_of_a_fold_judges_only_what_it_was_not_trained_on(data: Path, crossval: Path):
    by_file = {doubt.file: doubt.fold for doubt in audit(data, run=crossval).doubts}
    for fold in ("1", "2"):
        manifest = (crossval / f"fold-{fold}" / "manifest.json").read_text()
        assert not any(f'"{file}"' in manifest for file, judge in by_file.items() if judge == fold)


def test_a_folder_that_is_no_cross_validation(data: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="holds no finished cross-validation; make one with: tumortrace crossval"):
        audit(data, run=tmp_path)


def test_a_cross_validation_on_other_data(crossval: Path, tmp_path: Path):
    other = tmp_path / "other"
    write_phantom_dataset(other, counts={"TRAIN": 2, "VAL": 1, "TEST": 1}, no_tumour=0, seed=8)
    with pytest.raises(ModelError, match="none of these 4 annotated images was in that cross-validation"):
        audit(other, run=crossval)


def test_models_carry_the_recipe_that_was_fitted_on_held_out_slices(crossval: Path):
    opened = open_crossval(crossval)
    assert set(opened.models) == {"1", "2"}
    assert len({model.recipe for model in opened.models.values()}) == 1

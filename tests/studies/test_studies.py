"""The arithmetic behind the tables of benchmarks/, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from benchmarks.steps import count_gflop
from numpy.typing import NDArray
from studies.ablation import ROWS, compare, stand_in
from studies.definition import GROWTHS, THRESHOLDS, adjust, dice_of_variants
from studies.next_hospital import halve
from studies.review import COVERAGES, Judged, curve, kind_of, order_by
from torch.utils.flop_counter import FlopCounterMode

from studies import ablation
from tumortrace.config import load_config
from tumortrace.copies.splits import Split, SplitCase
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.errors import ConfigError
from tumortrace.inference.model import open_model
from tumortrace.training.networks import build_network

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


def result_of(dices: dict[str, float]):
    """Files ``a1``, ``b2``: the source, then a number; each a group of its own."""
    counts = {source: sum(file[0] == source for file in dices) for source in {file[0] for file in dices}}
    return {
        "dice": {source: {"n": n} for source, n in counts.items()},
        "cases": [{"file": file, "source": file[0], "group": file, "dice": dice} for file, dice in dices.items()],
    }


def test_a_gain_weighs_every_source_alike():
    default = result_of({"a1": 0.5, "a2": 0.5, "a3": 0.5, "b1": 0.8})
    changed = result_of({"a1": 0.6, "a2": 0.7, "a3": 0.8, "b1": 0.4})
    gain, (low, high) = compare(changed, default)
    assert gain == pytest.approx((0.2 - 0.4) / 2)  # source a gains 0.2 on average, source b loses 0.4
    assert low < gain < high


def test_one_row_is_printed_beside_all_that_are_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    interval = {"mean": 0.5, "ci95": [0.4, 0.6], "n": 1}
    case = {"file": "a/1", "source": "a", "group": "g", "dice": 0.5}
    scores = {"dice": {"a": interval}, "painted": 0.25, "tumour_free": 4, "cases": [case]}
    monkeypatch.setattr(ablation, "open_held_out", lambda *_: (None, {}))
    monkeypatch.setattr(ablation, "finish_run", lambda _data, _config, run: run.mkdir(parents=True))
    monkeypatch.setattr(ablation, "score", lambda *_: scores)
    for name in ("fast", "192 x 192"):
        ablation.main(tmp_path, tmp_path, tmp_path, [name])
    printed = capsys.readouterr().out.rpartition("One change at a time")[2]
    assert [name for name in ROWS if f" {name} " in printed] == ["fast", "192 x 192"]
    with pytest.raises(ConfigError, match="--row 200 x 200: no such row; the rows are fast, second seed"):
        ablation.main(tmp_path, tmp_path, tmp_path, ["200 x 200"])


def test_a_copy_of_a_training_slice_is_not_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw_head: DrawHead, write_case: WriteCase
):
    empty = np.zeros((170, 140), dtype=np.bool_)
    learnt, other = (write_case(f"{seed}", draw_head(seed), empty) for seed in (1, 2))
    mirrored = write_case("mirrored", draw_head(1)[:, ::-1].copy(), empty)
    folds = {learnt.case_id: "3", mirrored.case_id: "4", other.case_id: "4"}
    split = Split(tuple(SplitCase(file, "", fold, f"of {file}") for file, fold in folds.items()), by="groups")
    whole = Dataset(tmp_path, (learnt, mirrored, other), ())
    monkeypatch.setattr(ablation, "open_sources", lambda *_: (whole, split))
    dataset, group_of = ablation.open_held_out(tmp_path, tmp_path)
    assert [(record.case_id, record.part) for record in dataset.records] == [("1.png", "train"), ("2.png", "test")]
    assert group_of["2.png"] == "of 2.png"


def test_slices_of_one_source_train_in_place_of_another():
    names = ("a/1", "a/2", "a/3", "b/1", "b/2", "c/1")
    train = [CaseRecord(name, "train", Path(name), truth=(), source=name[0]) for name in names]
    dataset = Dataset(Path(), (*train, CaseRecord("a/4", "test", Path("a/4"), truth=(), source="a")), ())
    changed = stand_in(dataset, "a", "b").records
    assert [record.case_id for record in changed] == [*names, "a/4"]
    assert [str(record.image_path) for record in changed] == ["b/1", "b/2", "b/1", "b/1", "b/2", "c/1", "a/4"]
    assert [record.source for record in changed] == ["a", "a", "a", "b", "b", "c", "a"]


def test_growing_corrects_a_narrow_mask_and_no_threshold_does():
    truth = np.zeros((200, 200), dtype=np.bool_)
    truth[80:120, 60:140] = True
    probability = np.zeros((200, 200), dtype=np.float32)
    probability[82:118, 62:138] = 0.99  # two pixels short on every side: 1 % of 200
    dices = dice_of_variants(probability, truth)
    assert dices.shape == (len(THRESHOLDS), len(GROWTHS))
    as_it_is, grown = dices[4, GROWTHS.index(0.0)], dices[4, GROWTHS.index(0.01)]
    assert as_it_is == pytest.approx(2 * 36 * 76 / (36 * 76 + 40 * 80))
    assert grown > 0.995  # a grown rectangle has round corners
    assert np.ptp(dices[:, GROWTHS.index(0.0)]) == 0


def test_no_mask_has_no_dice():
    nothing = np.zeros((20, 30), dtype=np.float32)
    assert not dice_of_variants(nothing, np.eye(20, 30, dtype=np.bool_)).any()


def test_half_of_the_patients_give_slices_one_each_in_turn():
    names = [f"{patient}{number}" for patient in "abcde" for number in range(3)]
    records = [CaseRecord(name, "", Path(name), truth=()) for name in names]
    learnable, others = halve(records, {name: name[0] for name in names})
    first = [record.case_id[0] for record in learnable]
    assert len(set(first)) == 2
    assert first == first[:2] * 3
    assert sorted(record.case_id for record in (*learnable, *others)) == names
    assert {record.case_id[0] for record in others} == set("abcde") - set(first)


def test_each_half_takes_the_threshold_of_the_other():
    dices = np.zeros((4, len(THRESHOLDS), len(GROWTHS)))
    groups = ["p", "p", "q", "q"]
    # Group p is best at one pair, group q at another: neither profits from the other's choice.
    dices[:2, 1, 2], dices[2:, 3, 4] = 0.9, 0.8
    dices[:2, 3, 4], dices[2:, 1, 2] = 0.3, 0.2
    adjusted, chosen = adjust(dices, groups)
    assert adjusted.tolist() == [0.3, 0.3, 0.2, 0.2]
    assert sorted(chosen) == [(1, 2), (3, 4)]


def test_a_reason_is_known_without_its_numbers():
    assert kind_of("low confidence (0.61)") == "low confidence"
    assert kind_of("unlike the training data: grain 0.05, usual 0.01 to 0.02") == "unlike the training data"
    assert kind_of("the mask touches the border of the picture") == "the mask touches the border of the picture"


def test_masks_are_kept_by_confidence_and_other_reasons_go_first():
    judged = [
        Judged(0.9, 0.8, (), healthy=False),
        Judged(0.2, 0.9, ("tiny mask",), healthy=False),
        Judged(0.4, 0.3, ("low confidence",), healthy=False),
        Judged(0.8, 0.7, (), healthy=False),
    ]
    assert order_by(judged, reasons=False).tolist() == [1, 0, 3, 2]
    assert order_by(judged, reasons=True).tolist() == [0, 3, 2, 1]
    # Of four masks, all, four (3.6), three (3.2), three (2.8), two (2.4) and two are kept.
    assert COVERAGES == (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    points = curve(judged, order_by(judged, reasons=True))
    assert [dice for dice, _ in points] == pytest.approx([2.3 / 4, 2.3 / 4, 2.1 / 3, 2.1 / 3, 0.85, 0.85])
    assert [bad for _, bad in points] == pytest.approx([0.5, 0.5, 1 / 3, 1 / 3, 0, 0])


def test_the_operations_of_a_model_in_half_precision_are_those_that_torch_counts():
    model, config = open_model("fast"), load_config("fast", ["network.pretrained=false"])
    network = build_network(config.network, size_hw=model.recipe.size_hw, seed=0).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, *model.recipe.size_hw))
    counted = count_gflop(onnx.load(model.path))
    assert counted == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-6)

"""Subsets of slices: nested, of few or many pictures; and a curve that is not learnt twice."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from reproduction.learning_curve import ALL, Scores, Training, choose_slices, order_slices
from reproduction.size import SIZES, SMALL

from reproduction import learning_curve as curve
from reproduction import part_runs
from tumortrace.copies.splits import SplitCase
from tumortrace.training.arrays import PreparedPart

GROUPS = ["a", "a", "a", "b", "b", "c", "a", "d", "d", "b"]


@pytest.mark.parametrize("seed", range(5))
def test_spread_takes_a_copy_of_each_picture_first_and_whole_all_of_one(seed):
    spread = order_slices(GROUPS, kind="spread", seed=seed)
    assert sorted(spread) == list(range(10))
    assert Counter(GROUPS[index] for index in spread[:4]) == {"a": 1, "b": 1, "c": 1, "d": 1}
    whole = [GROUPS[index] for index in order_slices(GROUPS, kind="whole", seed=seed)]
    assert sum(before != after for before, after in pairwise(whole)) == 3  # four pictures, each in one piece


def test_a_larger_subset_contains_the_smaller_and_nothing_that_is_held_out():
    cases = [SplitCase(f"{index}.png", "", str(1 + index % 2), group) for index, group in enumerate(GROUPS)]
    learnt = [set(choose_slices(Training("spread", size, 1), cases)[0]) for size in (1, 3, 5)]
    assert [len(each) for each in learnt] == [1, 3, 5]
    assert learnt[0] < learnt[1] < learnt[2] == set(choose_slices(Training(ALL, 0, 1), cases)[0])
    held_out = choose_slices(Training(ALL, 0, 1), cases)[1]
    assert held_out == [0, 2, 4, 6, 8]
    assert not learnt[2] & set(held_out)


def test_fewer_slices_are_learnt_for_more_epochs(monkeypatch, tmp_path):
    epochs = []
    monkeypatch.setattr(part_runs, "fit", lambda _network, config, **_: epochs.append(config.training.epochs))
    part = PreparedPart(torch.zeros(10, 1, 128, 128), torch.zeros(10, 128, 128), (), {}, (), ())
    part_runs.train_steps(part, SMALL, steps=25, seed=3, run=tmp_path)
    assert epochs == [10]  # 25 steps of 4 slices


def test_the_dice_of_each_slice_by_hand():
    masks = torch.tensor([[[1, 1, 0]], [[0, 0, 0]], [[0, 0, 0]]]).bool()
    truths = torch.tensor([[[1, 0, 0]], [[1, 0, 0]], [[0, 0, 0]]]).to(torch.uint8)
    first, second, third = part_runs.dice_of(masks, truths)
    assert (first, second) == (pytest.approx(2 / 3), 0.0)
    assert math.isnan(third)


def test_the_table_compares_slice_by_slice():
    results = {
        Training("spread", 2, 1): Scores(2, 2, ("a", "b"), np.array([0.5, 0.7])),
        Training("whole", 2, 1): Scores(2, 1, ("a", "b"), np.array([0.4, 0.4])),
        Training(ALL, 0, 1): Scores(9, 4, ("a", "b"), np.array([0.8, 0.8])),
    }
    spread, whole, everything = curve.summarise(results)
    assert (spread["against"], spread["difference"]) == (ALL, pytest.approx(-0.2))
    assert (whole["against"], whole["difference"]) == ("spread", pytest.approx(-0.2))
    assert (whole["difference_low"], whole["difference_high"]) == (pytest.approx(-0.3), pytest.approx(-0.1))
    assert math.isnan(everything["difference"])
    assert (everything["slices"], everything["pictures"], everything["dice"]) == (9, 4, pytest.approx(0.8))


def test_a_curve_is_made_once(phantom_data, tmp_path, monkeypatch):
    def run() -> bytes:
        curve.main(phantom_data, tmp_path / "runs", tmp_path, steps=2, folds=2)
        return (tmp_path / "results" / "learning_curve.csv").read_bytes()

    monkeypatch.setattr(curve, "PLAN", {"spread": (2, 4), "whole": (2,)})
    small = ("recipe.size_hw=[32, 32]", "training.device=cpu", "training.threads=1")
    monkeypatch.setitem(SIZES, "small", replace(SMALL, settings=small))
    table = run()
    assert table.count(b"\n") == 1 + 4
    assert (tmp_path / "figures" / "learning_curve.svg").is_file()
    monkeypatch.setattr(curve, "train_steps", lambda *_, **__: pytest.fail("trained again"))
    assert run() == table
    (tmp_path / "results" / "learning_curve" / "whole-2-fold-2.csv").unlink()
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        run()

"""The held-out slices of a fold: copies of training slices are none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from studies.held_out import Scored, tabulate_gains, take_held_out
from studies.thresholds import open_folds

from studies import thresholds
from tumortrace.copies.splits import Split, SplitCase
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import build_training_index, save_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.run_folder import TRAINING_INDEX

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


@pytest.fixture
def fold(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path) -> tuple[Dataset, Path]:
    """Four slices, the first a copy of a training slice of the run."""
    empty = np.zeros((170, 140), dtype=np.bool_)
    learnt = write_case("learnt", draw_head(1), empty)
    copy = write_case("copy", draw_head(1)[:, ::-1].copy(), empty)
    held = [copy, *(write_case(f"held-{seed}", draw_head(seed), empty) for seed in (2, 3, 4))]
    run = tmp_path / "run"
    run.mkdir()
    save_training_index(build_training_index(survey_cases([learnt])), run / TRAINING_INDEX)
    return Dataset(tmp_path, tuple(replace(record, part="test") for record in held), ()), run


def test_every_so_many_slices_are_taken_and_then_copies_are_left_out(fold: tuple[Dataset, Path]):
    parts, run = fold
    assert [each.case_id for each in take_held_out(parts, run, every=1)] == ["held-2.png", "held-3.png", "held-4.png"]
    assert [each.case_id for each in take_held_out(parts, run, every=2)] == ["held-3.png"]


def test_the_folds_of_runs_are_without_copies(fold: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch):
    parts, run = fold
    sides = dict(zip((record.case_id for record in parts.records), "1112", strict=True))
    split = Split(tuple(SplitCase(name, "", side, name) for name, side in sides.items()), "groups", ())
    monkeypatch.setattr(thresholds, "open_sources", lambda *_: (parts, split))
    monkeypatch.setattr(thresholds, "open_model", lambda name: name)
    ((model, records),) = open_folds(Path(), Path(), [f"1={run}"], every=1)
    assert model == str(run)
    assert [record.case_id for record in records] == ["held-2.png", "held-3.png"]


def test_gains_are_paired_and_have_no_interval_where_all_groups_agree():
    scored = [
        Scored("lgg", "p", healthy=False, values=(0.5, 0.6)),
        Scored("lgg", "q", healthy=False, values=(0.7, 0.9)),
        Scored("br35h", "g", healthy=False, values=(0.9, 0.9)),
        Scored("lgg", "p", healthy=True, values=(1.0, 1.0)),
        Scored("lgg", "q", healthy=True, values=(0.0, 0.0)),
    ]
    names, counts, first, gains = (list(column.cells) for column in tabulate_gains("", "one", ["two"], scored).columns)
    assert names == ["br35h", "lgg", "all with tumour", "tumour-free: false alarms"]
    assert (counts, first) == (["1", "2", "3", "2"], ["0.900", "0.600", "0.700", "0.500"])
    assert (gains[0], gains[3]) == ("+0.0000", "+0.0000")
    assert gains[1].startswith("+0.1500 (+0.1")
    assert gains[2].startswith("+0.1000 (")

"""The held-out slices that are scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from studies.screening import Row, leave_out_copies, load, save

from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import build_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.errors import DataError

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


def test_a_copy_of_a_training_slice_is_left_out_and_named_but_not_the_rest_of_its_patient(
    draw_head: DrawHead, write_case: WriteCase, capsys: pytest.CaptureFixture[str]
):
    empty = np.zeros((170, 140), dtype=np.bool_)
    learnt = write_case("learnt", draw_head(1), empty)
    mirrored = write_case("mirrored", draw_head(1)[:, ::-1].copy(), empty, patient="p")
    other = write_case("other", draw_head(2), empty, patient="p")
    kept = leave_out_copies([mirrored, other], build_training_index(survey_cases([learnt])))
    assert kept == [other]
    assert capsys.readouterr().out == "mirrored.png: left out, a copy of the training slice learnt.png\n"


def test_rows_that_were_kept_before_a_slice_was_left_out_are_read_without_it(tmp_path: Path):
    kept, copied = (
        Row(file, "lgg", "g", rejected=False, truth=0.1, peak=0.9, marked=(0.1, 0.2), dice=(0.7, 0.8)) for file in "ab"
    )
    save([kept, copied], tmp_path / "rows.json")
    assert load(tmp_path / "rows.json", {"a"}) == [kept]


def test_rows_of_other_slices_are_no_rows_of_these(tmp_path: Path):
    save([], tmp_path / "rows.json")
    with pytest.raises(DataError, match=r"rows.json: lacks 2 slices, first a; remove it to segment all of them"):
        load(tmp_path / "rows.json", {"b", "a"})

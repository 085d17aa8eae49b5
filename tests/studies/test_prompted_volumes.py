"""Limits that are tried leave the table of the measured ones alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studies import prompted_volumes
from tumortrace.inference.prompts import volume as prompt_volume


@pytest.mark.parametrize("choose", [True, False])
def test_limits_that_are_tried_write_nothing(*, choose: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompt_volume, "SURE", prompt_volume.SURE)  # the study sets it
    for name in ("open_model", "open_prompt_model"):
        monkeypatch.setattr(prompted_volumes, name, lambda _name: None)
    monkeypatch.setattr(prompted_volumes, "read_held_out", lambda *_, **__: [])

    class Volume:
        name = "patient"

        def __len__(self) -> int:
            return 1

        def read(self, _index: int) -> None:
            return None

    class Prediction:
        mask = np.eye(4, 5, dtype=np.bool_)

    truth = Prediction.mask[None]
    monkeypatch.setattr(prompted_volumes, "stack_patients", lambda _cases: [prompted_volumes.Scan(Volume(), truth)])
    monkeypatch.setattr(prompted_volumes, "measure", lambda *_: {"carried": 0.5})
    monkeypatch.setattr(prompted_volumes, "predict", lambda *_: Prediction)
    prompted_volumes.main([tmp_path], tmp_path, "fast", choose=choose)
    table = tmp_path / "volumes.csv"
    assert table.exists() != choose
    assert choose or table.read_text() == "patient,carried,automatic\npatient,0.5,1.0\n"


def test_the_dice_of_a_scan_counts_the_pixels_of_all_slices():
    masks, truth = np.zeros((2, 3, 4), np.bool_), np.zeros((2, 3, 4), np.bool_)
    masks[0, 0], truth[0, 0, :2], truth[1, 2] = True, True, True
    assert prompted_volumes.dice_of_scan(masks, truth) == pytest.approx(2 * 2 / (4 + 6))

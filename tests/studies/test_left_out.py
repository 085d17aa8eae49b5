"""What a confidence finds on a source that took no part in the training, by hand."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from studies.left_out import describe

from tumortrace.evaluation.folder import ImageRow


def row(dice: float, confidence: float, *, marked: bool = True, tumour: bool = True) -> ImageRow:
    """A row of ten outlined pixels; of the other fields, only the group matters."""
    others = dict.fromkeys((field.name for field in fields(ImageRow)), 0)
    pixels = {"tp": 10 if marked and tumour else 0, "fp": int(marked), "fn": 0 if marked or not tumour else 10}
    return ImageRow(**others | pixels | {"dice": dice, "confidence": confidence, "group": str(confidence)})  # type: ignore[arg-type]


def test_misses_are_counted_and_drawn_masks_are_judged_for_themselves():
    drawn = [row(0.2, 0.1), row(0.9, 0.5), row(0.8, 0.6), row(0.9, 0.7), row(0.7, 0.8)]
    missed = [row(0.0, 0.91, marked=False), row(0.0, 0.92, marked=False), row(0.0, 0.93, marked=False)]
    free = [row(math.nan, 0.05, marked=False, tumour=False), row(0.0, 0.06, tumour=False)]
    found = describe([*drawn, *missed, *free])
    assert found["n"] == 8
    assert found["dice"] == pytest.approx(3.5 / 8)
    assert (found["missed"], found["marked"]) == (3 / 8, 5 / 8)
    assert found["below 0.5"] == 4 / 8
    # The least confident fifth of eight are two slices: one of the four bad ones, where all two could have been bad.
    assert (found["caught"], found["at most"]) == (1 / 4, 0.4)
    assert (found["marked below 0.5"], found["marked caught"]) == (1 / 5, 1.0)


def test_without_a_bad_mask_nothing_can_be_caught():
    found = describe([row(0.9, 0.1), row(0.8, 0.2)])
    assert found["below 0.5"] == 0
    assert math.isnan(found["caught"])
    assert math.isnan(found["at most"])

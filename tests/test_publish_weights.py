"""The scores on the cards of the shipped models, worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tools import publish_weights
from tools.publish_weights import recall_ancestor, score, write_card

from tumortrace.errors import DataError
from tumortrace.evaluation.folder import COLUMNS, ImageRow

UNKNOWN: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"clean": True, "similarity": math.nan}


def row(
    file: str, group: str, patient: str, *, pixels: tuple[int, ...], lesions: tuple[int, ...] = (0, 0, 0, 0)
) -> ImageRow:
    """A row of TP, FP, FN and TN, and of true, found, predicted and right lesions."""
    tp, fp, fn, tn = pixels
    counts = dict(zip(("true_lesions", "found_lesions", "predicted_lesions", "right_lesions"), lesions, strict=True))
    dice = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan
    measured: dict[str, Any] = {"tp": tp, "fp": fp, "fn": fn, "tn": tn, "dice": dice, **counts}
    return ImageRow(**(UNKNOWN | {"file": file, "group": group, "patient": patient} | measured))


ROWS = [
    row("figshare/a.png", "g1", "p1", pixels=(3, 1, 1, 95), lesions=(2, 1, 2, 1)),
    row("figshare/b.png", "g1", "p1", pixels=(0, 2, 0, 998), lesions=(0, 0, 1, 0)),
    row("figshare/c.png", "g2", "p2", pixels=(0, 0, 4, 96), lesions=(1, 0, 0, 0)),
    row("lgg/d.png", "g3", "", pixels=(0, 1, 0, 999), lesions=(0, 0, 1, 0)),
    row("lgg/e.png", "g4", "", pixels=(0, 2, 0, 998), lesions=(0, 0, 1, 0)),
    row("lgg/f.png", "g4", "", pixels=(0, 0, 0, 1000)),
]


def test_scores_of_a_card_by_hand():
    scores = score(ROWS, [])
    values = {
        name: {source: (each["value"], each["n"]) for source, each in by_source.items()}
        for name, by_source in scores.items()
    }
    assert values == {
        "mean Dice of slices": {"figshare": (0.75 / 2, 2)},
        # Of the patient p1: 2 x 3 / (2 x 3 + 3 + 1).
        "mean Dice pooled over a patient's slices (figshare, brisc: runs of 13)": {
            "figshare": (pytest.approx(0.6 / 2), 2)
        },
        # A pixel in a thousand is no false alarm.
        "false-positive rate on tumour-free slices": {"figshare": (1.0, 1), "lgg": (pytest.approx(1 / 3), 3)},
        "false lesions per head": {"figshare": (1.0, 2), "lgg": (1.0, 2)},
        "fraction of lesions found": {"figshare": (pytest.approx(1 / 3), 3)},
    }


def test_one_group_and_equal_counts_have_no_interval():
    scores = score(ROWS, ROWS[:1])
    assert scores["mean Dice of slices, source held out"]["figshare"] == {"value": 0.75, "ci95": None, "n": 1}
    low, high = scores["mean Dice of slices"]["figshare"]["ci95"]
    assert low <= 0.375 <= high
    assert scores["false lesions per head"]["lgg"]["ci95"] is None


def test_a_run_that_began_from_the_model_it_replaces_knows_all_slices_if_they_are_its_own(tmp_path: Path):
    before = tmp_path / "fast.json"
    before.write_text(json.dumps({"training_sha256": ["a", "b"]}))
    card = {"began_from": "fast", "remembered": False, "shipped_ancestors": ["fast"]}
    known = {"began_from": "fast", "remembered": True}
    assert recall_ancestor(card, {"training_sha256": ["a", "b", "c"]}, before=before) == known
    assert recall_ancestor(known, {"training_sha256": ["a"]}, before=before) == known
    with pytest.raises(DataError, match=r"fast.json: the run began from a model of other training slices"):
        recall_ancestor(card, {"training_sha256": ["a", "c"]}, before=before)
    with pytest.raises(DataError, match="of other training slices"):
        recall_ancestor(card | {"shipped_ancestors": ["default"]}, {"training_sha256": ["a", "b"]}, before=before)


def test_a_shipped_card_is_written_as_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored = (publish_weights.WEIGHTS / "fast.json").read_bytes()
    monkeypatch.setattr(publish_weights, "WEIGHTS", tmp_path)
    write_card("fast", json.loads(stored))
    assert (tmp_path / "fast.json").read_bytes() == stored

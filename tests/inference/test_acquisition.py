from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tumortrace.data.slice_file import read_slice
from tumortrace.data.upright import turn_upright
from tumortrace.inference.acquisition import (
    CONTRASTS,
    LOWEST,
    PLANES,
    UNKNOWN,
    Acquisition,
    _choose,
    _read_weights,
    acquisitions_of_card,
    count_acquisitions,
    find_unusual_acquisition,
    rate,
    recognise,
)

AXIAL_FLAIR = Acquisition("axial", 0.99, "FLAIR", 0.95)
CORONAL_T1 = Acquisition("coronal", 0.9, "T1", 0.93)
NO_CONTRAST = Acquisition("axial", 0.99, None, 0.5)


def test_a_network_without_a_hidden_layer_by_hand():
    weights = {
        "plane_mean": np.array([1.0, 2.0]),
        "plane_deviation": np.array([2.0, 1.0]),
        "plane_weights_0": np.array([[1.0, 0.0], [0.0, 2.0]]),
        "plane_bias_0": np.array([0.0, -1.0]),
    }
    # (3 - 1) / 2 = 1 and (9 - 2) / 1, cut at 4: scores 1 and 2 * 4 - 1 = 7.
    assert rate(np.array([3.0, 9.0]), weights, "plane") == pytest.approx(
        [1 / (1 + math.exp(6)), 1 / (1 + math.exp(-6))]
    )


def test_features_far_out_on_either_side_count_as_four_and_large_scores_overflow_nothing():
    weights = {
        "plane_mean": np.zeros(1),
        "plane_deviation": np.ones(1),
        "plane_weights_0": np.array([[0.0, 0.25]]),
        "plane_bias_0": np.zeros(2),
    }
    both = rate(np.array([[9.0], [-9.0]]), weights, "plane")
    assert both[:, 1] == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))])
    weights["plane_weights_0"] = np.array([[0.0, 250.0]])
    assert rate(np.array([4.0]), weights, "plane").tolist() == [0.0, 1.0]


def test_a_hidden_layer_is_rectified():
    weights = {
        "contrast_mean": np.zeros(1),
        "contrast_deviation": np.ones(1),
        "contrast_weights_0": np.array([[1.0, -1.0]]),
        "contrast_bias_0": np.zeros(2),
        "contrast_weights_1": np.array([[1.0, 0.0], [0.0, 3.0]]),
        "contrast_bias_1": np.zeros(2),
    }
    both = rate(np.array([[2.0], [-1.0]]), weights, "contrast")
    assert both[:, 0] == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3))])
    assert both.sum(axis=1) == pytest.approx(1.0)


def test_the_weights_of_the_package_fit_the_features():
    weights = _read_weights()
    assert weights["plane_weights_0"].shape == (1088, len(PLANES))
    assert weights["contrast_weights_0"].shape[0] == 89
    assert weights["contrast_weights_1"].shape[1] == len(CONTRASTS)
    assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in weights.values())


def test_a_blank_slice_is_unknown():
    assert recognise(turn_upright(np.zeros((80, 90), np.uint8))) == UNKNOWN
    assert not UNKNOWN.name


def test_training_slices_are_counted_where_both_are_known():
    counts = count_acquisitions([AXIAL_FLAIR, AXIAL_FLAIR, NO_CONTRAST, CORONAL_T1])
    assert counts == {"axial FLAIR": 2, "coronal T1": 1}
    assert acquisitions_of_card({"acquisitions": counts}) == counts
    assert acquisitions_of_card({}) == acquisitions_of_card({"acquisitions": [1]}) == {}
    assert acquisitions_of_card({"acquisitions": {"axial T1": "many"}}) == {}


def test_a_plane_and_contrast_that_training_hardly_had_are_named():
    assert find_unusual_acquisition(CORONAL_T1, {"axial FLAIR": 999, "coronal T1": 1}) == (
        "coronal T1, 1 of 1000 training slices"
    )
    assert not find_unusual_acquisition(CORONAL_T1, {"axial FLAIR": 995, "coronal T1": 5})
    assert not find_unusual_acquisition(NO_CONTRAST, {"axial FLAIR": 999})
    assert not find_unusual_acquisition(AXIAL_FLAIR, {})


@pytest.mark.skipif("TUMORTRACE_DATA" not in os.environ, reason="TUMORTRACE_DATA does not name the real slices")
def test_real_slices_are_named():
    folder = Path(os.environ["TUMORTRACE_DATA"]) / "figshare"
    with (folder / "pairs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["plane"]][::60]
    found = [recognise(turn_upright(read_slice(folder / "images" / row["image"]).pixels)) for row in rows]
    named = [(each.plane, row["plane"]) for each, row in zip(found, rows, strict=True) if each.plane]
    assert len(named) >= 0.8 * len(rows)
    assert sum(one == other for one, other in named) >= 0.9 * len(named)
    assert all(each.plane_confidence >= LOWEST["plane"] for each in found if each.plane)
    contrasts = [each.contrast for each in found if each.contrast_confidence >= LOWEST["contrast"]]
    assert contrasts == [each.contrast for each in found if each.contrast]
    assert contrasts.count("T1 with contrast") >= 0.8 * len(rows)  # as all slices of figshare are


@pytest.mark.parametrize(
    ("probabilities", "names", "kind", "expected"),
    [
        ([0.15, 0.8, 0.05], PLANES, "plane", ("coronal", 0.8)),
        ([0.15, 0.79, 0.06], PLANES, "plane", (None, 0.79)),
        ([0.02, 0.03, 0.9, 0.05], CONTRASTS, "contrast", ("T2", 0.9)),
        ([0.02, 0.04, 0.89, 0.05], CONTRASTS, "contrast", (None, 0.89)),
    ],
)
def test_a_name_is_given_from_its_confidence_on(
    probabilities: list[float], names: tuple[str, ...], kind: str, expected: tuple[str | None, float]
):
    assert _choose(np.array(probabilities), names, kind) == expected

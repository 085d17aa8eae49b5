"""The gate on generated and real pictures, and the features that are unusual for a model."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from studies.foreign import foreign_pictures

from tumortrace.data.dataset import open_datasets
from tumortrace.data.slice import Slice, slice_from_array
from tumortrace.data.slice_file import read_slice
from tumortrace.data.upright import turn_upright
from tumortrace.inference.features import PictureFeatures, measure_features
from tumortrace.inference.gate import (
    LEAST_SLICES,
    NOT_MR,
    feature_ranges_from_json,
    find_fault,
    find_unusual_feature,
    measure_feature_ranges,
)
from tumortrace.phantoms.slices import KINDS, draw_phantom

DATA = os.environ.get("TUMORTRACE_DATA")
SIZE_HW = (220, 180)
HEAD = measure_features(turn_upright(draw_phantom(np.random.default_rng(1), size_hw=SIZE_HW, kind="none").pixels))


def fault_of(picture: np.ndarray | Slice) -> str:
    image = picture if isinstance(picture, Slice) else slice_from_array(picture)
    return find_fault(measure_features(turn_upright(image.pixels), colour_share=image.colour_share), image.size_hw)


@pytest.mark.parametrize("kind", KINDS)
def test_generated_heads_pass(kind: str):
    for seed in range(5):
        assert fault_of(draw_phantom(np.random.default_rng(seed), size_hw=(260, 220), kind=kind).pixels) == ""


@pytest.mark.parametrize(
    ("feature", "value", "reason"),
    [
        ("colour", 0.3, "it is in colour"),
        ("roughness", 0.8, "it is noise, text or lines"),
        ("dark_frame", 0.1, "no dark background around a head"),
        ("bright_corner", 0.7, "no dark background around a head"),
        ("outside", 0.2, "several objects"),
        ("head_area", 0.009, "no object of the size of a head"),
        ("solidity", 0.5, "its outline is not that of a head"),
        ("ellipse", 0.4, "its outline is not that of a head"),
        ("elongation", 3.0, "its outline is not that of a head"),
        ("width", 1.6, "its outline is not that of a head"),
        ("rectangle", 0.95, "its outline is not that of a head"),
        ("ring", 0.6, "a closed ring of bone, as on CT"),
        ("air", 0.6, "air inside, as in a chest"),
        ("texture", 0.001, "flat areas, as in a drawing"),
        ("variation", 0.01, "flat areas, as in a drawing"),
        ("white", 0.9, "flat areas, as in a drawing"),
    ],
)
def test_each_rule_rejects_a_head_alone(feature: str, value: float, reason: str):
    assert HEAD is not None
    assert find_fault(HEAD, SIZE_HW) == ""
    assert find_fault(HEAD._replace(**{feature: value}), SIZE_HW) == NOT_MR + reason


def test_a_bright_ring_is_bone_where_no_dark_ring_lies_beneath_it():
    assert HEAD is not None
    ct = "a closed ring of bone, as on CT"
    assert ct in find_fault(HEAD._replace(ring=0.45, skull=0.85), SIZE_HW)
    assert find_fault(HEAD._replace(ring=0.45, skull=0.75), SIZE_HW) == ""
    assert find_fault(HEAD._replace(ring=0.45, skull=0.85, head_area=0.2), SIZE_HW) == ""
    assert find_fault(HEAD._replace(ring=0.6, head_area=0.2), SIZE_HW) == ""
    assert find_fault(HEAD._replace(ring=0.4, skull=0.75, head_area=0.65), SIZE_HW) == ""
    assert ct in find_fault(HEAD._replace(ring=0.4, skull=0.75, head_area=0.75), SIZE_HW)


def test_shoulders_in_two_corners_pass_where_the_edges_are_dark():
    assert HEAD is not None
    assert find_fault(HEAD._replace(bright_corner=0.5, dark_frame=0.65), SIZE_HW) == ""
    assert "no dark background" in find_fault(HEAD._replace(bright_corner=0.5, dark_frame=0.55), SIZE_HW)


def test_speckle_needs_both_grain_and_direction():
    assert HEAD is not None
    assert find_fault(HEAD._replace(grain=0.05, drawn_out=0.0), SIZE_HW) == ""
    assert find_fault(HEAD._replace(grain=0.01, drawn_out=-0.5), SIZE_HW) == ""
    assert "speckle" in find_fault(HEAD._replace(grain=0.05, drawn_out=-0.5), SIZE_HW)


def test_a_head_that_fills_the_frame_may_be_a_rectangle():
    assert HEAD is not None
    assert find_fault(HEAD._replace(rectangle=1.0, head_area=1.0), SIZE_HW) == ""


def test_a_blank_picture_is_rejected():
    assert find_fault(None, SIZE_HW) == NOT_MR + "the picture is blank"


def test_a_picture_of_fewer_than_32_rows_or_columns_is_rejected():
    assert find_fault(HEAD, (31, 200)) == "too small: 200 x 31 px, at least 32 on a side are needed"
    assert find_fault(HEAD, (200, 31)) == "too small: 31 x 200 px, at least 32 on a side are needed"
    assert find_fault(HEAD, (32, 32)) == ""


def test_at_least_95_of_100_foreign_pictures_are_rejected():
    faults = {picture.name: fault_of(picture.pixels) for picture in foreign_pictures(held_out=True)}
    passed = [name for name, fault in faults.items() if not fault]
    assert len(faults) == 100
    assert len(passed) <= 5, passed


@pytest.mark.skipif(not DATA, reason="TUMORTRACE_DATA is not set: the real data is not here")
def test_at_most_2_percent_of_the_real_slices_of_every_source_are_rejected():
    root = Path(str(DATA))
    dataset = open_datasets([root / "br35h", root / "lgg", root / "figshare"], negatives=root / "no_tumour")
    seen, refused = Counter[str](), Counter[str]()
    for record in dataset.records[::4]:
        seen[record.source] += 1
        refused[record.source] += bool(fault_of(read_slice(record.image_path)))
    assert set(seen) == {"br35h", "lgg", "figshare", "no_tumour"}
    for source, count in seen.items():
        assert refused[source] <= 0.02 * count, source


@pytest.mark.skipif(not DATA, reason="TUMORTRACE_DATA is not set: the real data is not here")
def test_nine_of_ten_real_ct_slices_are_rejected():
    slices = sorted((Path(str(DATA)) / "head_ct").glob("*.jpg"))
    assert len(slices) >= 50
    rejected = [path for path in slices if fault_of(read_slice(path))]
    assert len(rejected) >= 0.9 * len(slices)


# --- usual features ---


def head_with(**changes: float) -> PictureFeatures:
    assert HEAD is not None
    return HEAD._replace(**changes)


def test_usual_values_are_all_but_the_outermost_half_percent():
    features = [head_with(grain=number / 1000) for number in range(1001)]
    low, high = measure_feature_ranges(features)["grain"]
    assert (low, high) == pytest.approx((0.005, 0.995))


def test_few_slices_give_no_ranges():
    assert measure_feature_ranges([HEAD] * (LEAST_SLICES - 1)) == {}
    assert measure_feature_ranges([None] * 200) == {}
    assert set(measure_feature_ranges([HEAD] * LEAST_SLICES)) == set(PictureFeatures._fields)


def test_the_most_unusual_feature_is_named_with_its_value():
    ranges = {"grain": (0.01, 0.02), "width": (0.7, 1.0)}
    assert find_unusual_feature(head_with(grain=0.015, width=0.9), ranges) == ""
    assert find_unusual_feature(head_with(grain=0.0124, width=1.07), ranges) == ""  # less than a quarter outside
    assert find_unusual_feature(head_with(grain=0.0076, width=0.63), ranges) == ""
    assert find_unusual_feature(head_with(grain=0.0074, width=0.9), ranges) == "grain 0.0074, usual 0.01 to 0.02"
    assert find_unusual_feature(head_with(grain=0.015, width=1.2), ranges) == "width 1.2, usual 0.7 to 1"
    assert find_unusual_feature(head_with(grain=0.05, width=1.2), ranges) == "grain 0.05, usual 0.01 to 0.02"
    assert find_unusual_feature(head_with(colour=0.25), {"colour": (0.0, 0.0)}) == "colour 0.25, usual 0"


def test_without_ranges_or_features_nothing_is_unusual():
    assert find_unusual_feature(HEAD, {}) == ""
    assert find_unusual_feature(None, {}) == ""
    assert find_unusual_feature(None, {"grain": (0.0, 1.0)}) == ""


def test_ranges_survive_the_way_through_metadata():
    ranges = measure_feature_ranges([head_with(grain=number / 1000) for number in range(200)])
    assert feature_ranges_from_json(json.dumps(ranges)) == ranges


def test_a_feature_of_another_version_is_skipped():
    assert feature_ranges_from_json('{"contrast": [0.8, 1.0], "grain": [0.01, 0.02]}') == {"grain": (0.01, 0.02)}


@pytest.mark.parametrize("text", ["[1]", '{"grain": [0]}', '{"grain": 3}', "not json"])
def test_damaged_metadata_is_refused(text: str):
    with pytest.raises((ValueError, TypeError)):
        feature_ranges_from_json(text)

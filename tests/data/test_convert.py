"""Annotations to masks and back: nothing is lost on the way, and what cannot be carried over is said."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tumortrace.data.convert import convert_to_masks, convert_to_via
from tumortrace.data.dataset import open_dataset, read_cases
from tumortrace.data.geometry import Ellipse, rasterize
from tumortrace.data.slice import read_mask, write_png
from tumortrace.data.via import read_via
from tumortrace.errors import DataError


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_masks_are_the_truth_at_the_images_own_size(phantom_data, tmp_path):
    result = convert_to_masks(phantom_data, tmp_path / "masks")
    assert (result.count, result.failed) == (19, 0)
    for record, case, _ in read_cases(open_dataset(phantom_data).records):
        path = tmp_path / "masks" / record.part.upper() / f"{record.image_path.stem}_mask.png"
        stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(stored)) == {0, 255}
        np.testing.assert_array_equal(stored > 0, case.truth)


def test_there_and_back_is_exact_and_keeps_the_images_names(phantom_data, tmp_path):
    convert_to_masks(phantom_data, tmp_path / "masks")
    result = convert_to_via(tmp_path / "masks", tmp_path / "via")
    assert (result.count, result.findings) == (19, ())
    dataset = open_dataset(phantom_data)
    for part in ("TRAIN", "VAL", "TEST"):
        records, findings = read_via(tmp_path / "via" / part / "annotations.json")
        assert findings == []
        regions = {record.filename: record.regions for record in records}
        for record, case, _ in read_cases(dataset.select(part.lower())):
            name = record.image_path.name
            np.testing.assert_array_equal(rasterize(regions[name], case.slice.size_hw), case.truth)


def test_real_annotations_survive_the_round_trip(br35h, tmp_path):
    convert_to_masks(br35h, tmp_path / "masks")
    convert_to_via(tmp_path / "masks", tmp_path / "via")
    regions = {r.filename: r.regions for r in read_via(tmp_path / "via" / "VAL" / "annotations.json")[0]}
    scores = [
        iou(rasterize(regions[record.image_path.name], case.slice.size_hw), case.truth)
        for record, case, _ in read_cases(open_dataset(br35h).select("val"))
        if case is not None
    ]
    assert len(scores) == 201
    assert min(scores) >= 0.98


def test_annotations_to_annotations_keep_their_shapes(phantom_data, tmp_path):
    convert_to_via(phantom_data, tmp_path / "via")
    drawn = {record.image_path.name: record.truth for record in open_dataset(phantom_data).select("train")}
    kept = {r.filename: r.regions for r in read_via(tmp_path / "via" / "TRAIN" / "annotations.json")[0]}
    assert kept.keys() == drawn.keys()
    assert any(isinstance(region, Ellipse) for regions in drawn.values() for region in regions)
    for name, regions in drawn.items():
        assert [type(region) for region in kept[name]] == [type(region) for region in regions]


def test_masks_dataset_with_several_lesions_a_hole_and_none(tmp_path):
    holed = np.zeros((9, 14), np.uint8)
    holed[1:6, 1:7] = 255
    holed[3, 3:5] = 0
    holed[7:9, 10:14] = 255
    for name, mask in {"two": holed, "none": np.zeros((9, 14), np.uint8)}.items():
        write_png(tmp_path / "data" / "images" / f"{name}.png", np.full((9, 14), 50, np.uint8))
        write_png(tmp_path / "data" / "masks" / f"{name}.png", mask)
    result = convert_to_via(tmp_path / "data", tmp_path / "via")
    assert [(finding.kind, finding.file) for finding in result.findings] == [("empty-mask", "images/none.png")]
    records, _ = read_via(tmp_path / "via" / "annotations.json")
    assert [record.filename for record in records] == ["two.png"]
    assert len(records[0].regions) == 2
    np.testing.assert_array_equal(rasterize(records[0].regions, (9, 14)), holed > 0)


def test_masks_that_segment_wrote_name_their_images(tmp_path):
    write_png(tmp_path / "scans" / "x.png", np.zeros((4, 5), np.uint8))
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 2] = 255
    write_png(tmp_path / "out" / "x_mask.png", mask)
    records = {
        "images": [{"file": str(tmp_path / "scans" / "x.png"), "mask": "x_mask.png"}, {"file": "y", "mask": None}]
    }
    (tmp_path / "out" / "results.json").write_text(json.dumps(records))
    result = convert_to_via(tmp_path / "out", tmp_path / "via")
    (record,) = read_via(tmp_path / "via" / "annotations.json")[0]
    assert (record.filename, result.findings) == ("x.png", ())
    assert record.size_bytes == (tmp_path / "scans" / "x.png").stat().st_size


def test_masks_of_unknown_images_are_reported_and_a_broken_one_does_not_stop_the_rest(tmp_path):
    write_png(tmp_path / "out" / "a_mask.png", np.full((2, 3), 255, np.uint8))
    (tmp_path / "out" / "b_mask.png").write_text("no picture")
    result = convert_to_via(tmp_path / "out", tmp_path / "via")
    assert (result.count, result.failed) == (1, 1)
    assert [(finding.kind, finding.file) for finding in result.findings] == [
        ("image-unknown", "a_mask.png"),
        ("unreadable", "b_mask.png"),
    ]


def test_two_images_of_one_stem_keep_both_masks(tmp_path):
    for suffix, row in ((".png", 0), (".tiff", 1)):
        picture = np.full((3, 4), 10, np.uint8)
        path = tmp_path / "data" / f"a{suffix}"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), picture)
        shape = {"name": "rect", "x": 0, "y": row, "width": 2, "height": 1}
        document = (
            json.loads((tmp_path / "data" / "v.json").read_text()) if (tmp_path / "data" / "v.json").exists() else {}
        )
        document[f"a{suffix}-1"] = {"filename": f"a{suffix}", "size": -1, "regions": [{"shape_attributes": shape}]}
        (tmp_path / "data" / "v.json").write_text(json.dumps(document))
    assert convert_to_masks(tmp_path / "data", tmp_path / "masks").count == 2
    assert np.argwhere(read_mask(tmp_path / "masks" / "a.png_mask.png"))[0].tolist() == [0, 0]
    assert np.argwhere(read_mask(tmp_path / "masks" / "a.tiff_mask.png"))[0].tolist() == [1, 0]


def test_nothing_is_written_into_the_source(phantom_data):
    for convert in (convert_to_masks, convert_to_via):
        with pytest.raises(DataError, match="lies inside the data folder"):
            convert(phantom_data, phantom_data / "masks")

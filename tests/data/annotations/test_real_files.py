"""Real files of every tool: what opens, how much is marked, and what is told."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.annotations.voc_masks import read_class_mask
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Ellipse, rasterize
from tumortrace.errors import DataError

FILES = Path(os.environ.get("TUMORTRACE_DATA") or "") / "annotations"
pytestmark = pytest.mark.skipif(
    not os.environ.get("TUMORTRACE_DATA") or not FILES.is_dir(), reason="TUMORTRACE_DATA names no folder annotations/"
)


def open_alone(folder: Path, name: str) -> tuple[dict[str, int], Counter[str]]:
    """Marked pixels of each image of one annotation file, with grey pictures of the stated sizes; and the findings."""
    shutil.copy(FILES / name, folder)
    for image in read_annotations(FILES / name).images:
        if image.has_picture:
            continue
        path = folder / image.filename
        path = path if path.suffix else path.with_name(path.name + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = image.size_hw or (700, 900)
        Image.fromarray(np.tile(np.arange(width) % 200 + 20, (height, 1)).astype(np.uint8)).save(path)
    dataset = open_dataset(folder)
    kinds = Counter(finding.kind for finding in dataset.findings)
    areas = {}
    for record, case, faults in read_cases(dataset.records):
        kinds.update(finding.kind for finding in faults)
        areas[record.case_id] = -1 if case is None else int(case.truth.sum())
    return areas, kinds


@pytest.mark.parametrize(
    ("name", "areas", "told"),
    [
        ("via/via1_test.csv", [20443, 28220, 32792], {"no-area": 5}),
        ("via/via1_test.json", [20443, 28220, 32792], {"no-area": 5}),
        ("via/via2_project_no_regions.json", [0], {"no-region": 1}),
        ("coco/compressed_rle.json", [47646], {}),
        ("coco/instances_val.json", [20], {"crowd-region": 1}),
        ("coco/person_keypoints_val.json", [20], {"crowd-region": 1}),
        ("coco/boxes_and_polygons.json", [200, 62], {"no-area": 1}),
        ("coco/sam_mask.json", [4], {}),
        ("labelme/primitives.json", [51781], {"no-area": 3}),
        ("labelme/flags_only.json", [0], {"no-region": 1}),
        ("labelme/extra_keys.json", [10113], {}),
        ("labelme/shapes_with_imagedata.json", [91527], {"no-area": 1}),
        ("labelme/v3_with_imagedata.json", [619987], {}),
        ("labelme/v29_no_shape_type.json", [124975], {}),
        ("cvat/for_images.xml", [8, 3], {"no-area": 4}),
        ("cvat/masks_cut.xml", [7957], {}),
        ("cvat/for_video.xml", [7], {"no-area": 5}),
        ("labelstudio/brush.json", [47646], {}),
        ("labelstudio/json_min.json", [118], {}),
        ("labelstudio/json_min_source.json", [118], {}),
        ("labelstudio/magic_wand_cut.json", [381431], {}),
        ("labelstudio/rotated_boxes.json", [94994, 60005, 48229], {}),
        ("supervisely/project/ds0/ann/shapes.jpg.json", [57627], {"no-area": 1}),
        ("supervisely/docs_example.json", [371371], {"empty-region": 1}),
        ("voc/boxes_only.xml", [60834], {"boxes": 1}),
    ],
)
def test_what_opens(tmp_path: Path, name: str, areas: list[int], told: dict[str, int]):
    found, kinds = open_alone(tmp_path, name)
    assert sorted(found.values()) == sorted(areas)
    kinds = Counter({kind: count for kind, count in kinds.items() if count and kind != "labels-united"})
    assert {kind: kinds[kind] for kind in told} == told
    assert set(kinds) <= {*told, "annotation-missing", "region-outside"}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("broken/cut.json", r"cut.json: not JSON \(Expecting ',' delimiter: line 239"),
        ("broken/entity_bomb.xml", r"entity_bomb.xml: its XML declares entities"),
        ("coco/results_compressed_rle.json", "a list of COCO results"),
        ("labelme/old_web_labelme.xml", "LabelMe web tool"),
        ("supervisely/docs_polygon.json", "not JSON .*line 14"),
        ("via/via3_temporal.json", "a VIA 3 project without a picture"),
    ],
)
def test_what_is_refused(name: str, cause: str):
    with pytest.raises(DataError, match=cause):
        read_annotations(FILES / name)


def test_closed_polylines_are_told_and_not_filled():
    file = read_annotations(FILES / "via" / "via2_closed_polylines.json")
    assert [len(image.regions) for image in file.images] == [0]
    assert [finding.kind for finding in file.findings] == ["no-area"] * 4


@pytest.mark.parametrize("name", ["bom_utf8.json", "semicolons.csv", "utf16.csv"])
def test_other_encodings_hold_the_same_shapes(name: str):
    own, whole = (read_annotations(FILES / path) for path in (f"broken/{name}", "via/via2_region_data.json"))
    masks = [
        next(rasterize(image.regions, (643, 588)) for image in file.images if image.filename == "shapes.jpg")
        for file in (own, whole)
    ]
    np.testing.assert_array_equal(*masks)


def test_a_bad_region_is_named_and_the_rest_is_read():
    file = read_annotations(FILES / "broken" / "nan_points.json")
    assert Counter(finding.kind for finding in file.findings) == {"empty-region": 3, "no-area": 2}
    assert sum(len(image.regions) for image in file.images) > 30


def test_via_3_holds_the_shapes_of_via_2():
    second, third = (
        read_annotations(FILES / "via" / f"via{name}.json") for name in ("2_region_data", "3_image_project")
    )
    for image in second.images:
        other = next(each for each in third.images if each.filename == image.filename)
        np.testing.assert_array_equal(rasterize(image.regions, (999, 999)), rasterize(other.regions, (999, 999)))


def test_one_mask_in_four_formats():
    """The class ellipse of a class mask is the mask that three tools made of it."""
    masks = FILES / "voc" / "2label"
    names = {(0, 0, 0): "background", (128, 0, 0): "rectangle", (0, 128, 0): "triangle", (128, 128, 0): "circle"}
    names |= {(0, 0, 128): "ellipse", (128, 0, 128): "line"}
    record = read_class_mask(masks / "SegmentationClass" / "shapes.png", "shapes", names)
    (truth,) = (
        rasterize([region], (643, 588))
        for region, label in zip(record.regions, record.labels, strict=True)
        if label["class"] == "ellipse"
    )
    others = ("coco/compressed_rle.json", "labelstudio/brush.json", "supervisely/project/ds0/ann/shapes.jpg.json")
    for name in others:
        (image,) = read_annotations(FILES / name).images
        np.testing.assert_array_equal(rasterize(image.regions[:1], (643, 588)), truth)


def test_a_palette_mask_and_its_ignored_pixels():
    record = read_class_mask(FILES / "voc" / "palette" / "2011_000003.png", "x", None)
    index = np.asarray(Image.open(FILES / "voc" / "palette" / "2011_000003.png"))
    assert [label["class"] for label in record.labels] == ["bottle", "person"]
    np.testing.assert_array_equal(rasterize(record.regions[:1], index.shape), index == 5)
    np.testing.assert_array_equal(rasterize(record.regions[1:], index.shape), index == 15)


def test_cvat_and_its_coco_export_mark_the_same_pixels():
    """Outlines come out identically; CVAT's export rounds all numbers of an ellipse, and so does this test."""
    first, second = (
        read_annotations(FILES / name) for name in ("cvat/shapes_cvat11.xml", "coco/cvat_export_instances.json")
    )
    compared = []
    for image in first.images:
        other = next(each for each in second.images if each.filename == image.filename)
        # CVAT exports its boxes as boxes, which have no segmentation.
        regions = [region for region in image.regions if len(getattr(region, "points_xy", "12345")) != 4]
        theirs = [rasterize([region], image.size_hw) for region in other.regions]
        for region in regions:
            own = rasterize([region], image.size_hw)
            if isinstance(region, Ellipse):
                centre, radii = (np.rint(np.add(region.center_xy, 0.5)), np.rint(region.radii_xy))
                drawn = np.zeros(image.size_hw, np.uint8)
                cv2.ellipse(drawn, centre.astype(int).tolist(), radii.astype(int).tolist(), 0, 0, 360, 1, -1)
                own = drawn.astype(bool)
            compared.append(min(int((own ^ each).sum()) for each in theirs))
    assert compared == [0] * 5


def test_yolo_and_voc_folders_open_as_they_are(tmp_path: Path):
    dataset = open_dataset(FILES / "yolo" / "segment")
    assert [record.case_id for record in dataset.records] == ["images/train/1.jpg"]
    assert [label["class"] for label in dataset.records[0].annotation.labels] == ["label_2", "label_4"]
    dataset = open_dataset(FILES / "voc" / "datumaro")
    assert [record.case_id for record in dataset.records] == ["JPEGImages/2007_000001.jpg"]
    assert [label["class"] for label in dataset.records[0].annotation.labels] == ["bicycle"]
    for labels, marked in (("segmentation", 153600), ("bbox", 153600), ("", 0)):
        folder = tmp_path / (labels or "empty")
        shutil.copytree(FILES / "yolo" / "mixed" / "data" / "images", folder / "images")
        source = f"labels_{labels}" if labels else "empty"
        shutil.copytree(FILES / "yolo" / "mixed" / "data" / source, folder / "labels")
        shutil.copy(FILES / "yolo" / "mixed" / "bbox_and_segmentation.yaml", folder)
        dataset = open_dataset(folder)
        (case,) = [case for _, case, _ in read_cases(dataset.records)]
        assert case is not None
        assert int(case.truth.sum()) == marked
        expected = {"segmentation": set(), "bbox": {"boxes"}, "": {"no-region"}}[labels]
        assert {finding.kind for finding in dataset.findings} - {"labels-united", "empty-region"} == expected


def test_unknown_keys_of_real_files_are_kept():
    file = read_annotations(FILES / "labelme" / "extra_keys.json")
    document = json.loads((FILES / "labelme" / "extra_keys.json").read_text())
    original = file.images[0].original
    assert original is not None
    assert original.record == document

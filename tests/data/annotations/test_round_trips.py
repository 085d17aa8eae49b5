"""Masks, ellipses, outlines and unknown keys, written in every format and read again."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.annotations.records import ImageAnnotation, class_of
from tumortrace.data.bitmap import split_lesions
from tumortrace.data.cases import read_case
from tumortrace.data.convert import WRITERS, convert_to_annotations, convert_to_masks
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Circle, Ellipse, Polygon, rasterize
from tumortrace.data.masks import read_mask
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError

FORMATS = sorted(WRITERS)
COUNT = int(os.environ.get("TUMORTRACE_ROUND_TRIPS", "40"))
KINDS = ("noise", "hole", "pixel", "border", "empty", "parts", "full", "diagonal")


def draw_random(number: int) -> np.ndarray:
    """A small mask of one of the kinds in turns: shape (H, W), bool."""
    random = np.random.default_rng(number)
    height, width = (int(size) for size in random.integers(3, 24, 2))
    mask = np.zeros((height, width), bool)
    y, x = int(random.integers(height)), int(random.integers(width))
    match KINDS[number % len(KINDS)]:
        case "noise":
            mask = random.random((height, width)) < random.random()
        case "hole":
            mask[:, :] = True
            mask[1 : height - 1, 1 : width - 1] = random.random((height - 2, width - 2)) < 0.7
        case "pixel":
            mask[y, x] = True
        case "border":
            mask[[0, -1], :] = random.random((2, width)) < 0.6
            mask[:, [0, -1]] |= random.random((height, 2)) < 0.6
        case "parts":
            mask[:: int(random.integers(2, 5)), :: int(random.integers(2, 5))] = True
            mask[y:, x:] = True
        case "full":
            mask[:, :] = True
        case "diagonal":
            mask = np.eye(height, width, dtype=bool)[:, ::-1]
    return mask


def write_pictures(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for name, (height, width) in sizes.items():
        ramp = np.arange(height * width, dtype=np.uint32).reshape(height, width) % 200 + 20
        write_png(folder / name, ramp.astype(np.uint8))


def write_records(folder: Path, to: str, records: list[ImageAnnotation]) -> None:
    classes = sorted({class_of(labels) for record in records for labels in record.labels}) or ["tumour"]
    writer = WRITERS[to]
    for name, content in {**writer.encode(records, classes), **writer.describe([""], classes)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("to", FORMATS)
def test_random_masks_come_back_identically(tmp_path: Path, to: str):
    masks = {f"m{number}.png": draw_random(number) for number in range(COUNT)}
    write_pictures(tmp_path, {name: mask.shape for name, mask in masks.items()})
    records = [
        ImageAnnotation(name, (tmp_path / name).stat().st_size, tuple(split_lesions(mask)), size_hw=mask.shape)
        for name, mask in masks.items()
    ]
    write_records(tmp_path, to, records)
    dataset = open_dataset(tmp_path)
    assert [record.case_id for record in dataset.records] == list(masks)
    for record in dataset.records:
        np.testing.assert_array_equal(read_case(record)[0].truth, masks[record.case_id], err_msg=record.case_id)
    assert {finding.kind for finding in dataset.findings} == {"no-region"}  # of the empty masks


ELLIPSES = [
    Ellipse((20.25, 17.5), (9.125, 4.5), 0.3),
    Ellipse((31.0, 12.0), (3.0, 7.75), -1.2),
    Circle((9.5, 9.0), 4.2),
]


@pytest.mark.parametrize("to", ["via", "cvat", "labelstudio"])
def test_ellipses_keep_their_parameters(tmp_path: Path, to: str):
    write_pictures(tmp_path, {"a.png": (40, 53)})
    labels = ({"label": "glioma"},) * 3
    size = (tmp_path / "a.png").stat().st_size
    write_records(tmp_path, to, [ImageAnnotation("a.png", size, tuple(ELLIPSES), labels, size_hw=(40, 53))])
    (record,) = open_dataset(tmp_path).records
    for region, expected in zip(record.truth, ELLIPSES, strict=True):
        radii = (expected.radius, expected.radius) if isinstance(expected, Circle) else expected.radii_xy
        got = (region.radius, region.radius) if isinstance(region, Circle) else region.radii_xy
        np.testing.assert_allclose([*region.center_xy, *got], [*expected.center_xy, *radii], atol=1e-6, rtol=0)
        turned = 0.0 if isinstance(region, Circle) else region.theta_rad
        assert turned == pytest.approx(0.0 if isinstance(expected, Circle) else expected.theta_rad, abs=1e-6)
    assert [class_of(labels) for labels in record.annotation.labels] == ["glioma"] * 3


@pytest.mark.parametrize("to", ["coco", "labelme", "yolo"])
def test_ellipses_keep_their_masks_elsewhere(tmp_path: Path, to: str):
    write_pictures(tmp_path, {"a.png": (40, 53)})
    write_records(tmp_path, to, [ImageAnnotation("a.png", -1, tuple(ELLIPSES), size_hw=(40, 53))])
    (record,) = open_dataset(tmp_path).records
    np.testing.assert_array_equal(read_case(record)[0].truth, rasterize(ELLIPSES, (40, 53)))


@pytest.mark.parametrize("to", FORMATS)
def test_outlines_keep_their_vertices(tmp_path: Path, to: str):
    outline = Polygon(np.array([(3.123456, 2.5), (30.75, 4.2), (22.1, 33.333333), (1.0, 21.0)]))
    write_pictures(tmp_path, {"a.png": (37, 51)})
    size = (tmp_path / "a.png").stat().st_size
    write_records(tmp_path, to, [ImageAnnotation("a.png", size, (outline,), size_hw=(37, 51))])
    (record,) = open_dataset(tmp_path).records
    (region,) = record.truth
    np.testing.assert_allclose(region.points_xy, outline.points_xy, atol=1e-3, rtol=0)


@pytest.mark.parametrize("to", FORMATS)
def test_outlines_through_pixel_centres_keep_their_masks(tmp_path: Path, to: str):
    """Vertices on whole pixels, as VIA sets them, leave many centres exactly on the outline."""
    diamond = Polygon(np.array([(31.0, 7.0), (59.0, 35.0), (31.0, 63.0), (3.0, 35.0)]))
    sizes = {f"{width}.png": (width - 5, width) for width in range(71, 91)}
    write_pictures(tmp_path, sizes)
    records = [ImageAnnotation(name, -1, (diamond,), size_hw=size_hw) for name, size_hw in sizes.items()]
    write_records(tmp_path, to, records)
    for record in open_dataset(tmp_path).records:
        truth = rasterize([diamond], sizes[record.case_id])
        np.testing.assert_array_equal(read_case(record)[0].truth, truth, err_msg=record.case_id)


def test_shapes_without_a_pixel_do_not_stop_labelme(tmp_path: Path):
    """An ellipse becomes a mask there, and a mask without a pixel is no picture."""
    small, large = Ellipse((20.5, 17.5), (0.3, 0.3)), Ellipse((20.0, 17.0), (5.0, 4.0))
    write_pictures(tmp_path / "data", {"a.png": (40, 53)})
    write_records(tmp_path / "data", "cvat", [ImageAnnotation("a.png", -1, (small, large), size_hw=(40, 53))])
    result = convert_to_annotations(tmp_path / "data", tmp_path / "out", "labelme")
    assert [finding.kind for finding in result.findings] == ["region-lost", "shape-drawn"]
    (record,) = read_annotations(tmp_path / "out" / "a.json").images
    np.testing.assert_array_equal(rasterize(record.regions, (40, 53)), rasterize([large], (40, 53)))


def test_a_file_of_labelme_that_keeps_the_suffix_replaces_no_other(tmp_path: Path):
    write_pictures(tmp_path / "data" / "images", {"a.png": (8, 9), "a.bmp": (8, 9)})
    for number in range(2):
        mask = np.zeros((8, 9), np.uint8)
        mask[number, 2] = 255
        write_png(tmp_path / "data" / "masks" / f"m{number}.png", mask)
    (tmp_path / "data" / "pairs.csv").write_text("image,mask\na.png,m0.png\na.bmp,m1.png\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png.json").write_text("drawn by hand")
    with pytest.raises(DataError, match=r"a\.png\.json: is there already, and tumortrace did not write it"):
        convert_to_annotations(tmp_path / "data", tmp_path / "out", "labelme")
    assert (tmp_path / "out" / "a.png.json").read_text() == "drawn by hand"


@pytest.mark.parametrize("to", FORMATS)
def test_patients_go_with_their_images(tmp_path: Path, to: str):
    patients = {"TRAIN/images/p/a.png": "Ann", "TRAIN/images/b.png": "B, C", "TEST/images/a.png": None}
    for image in patients:
        write_pictures(tmp_path / "data", {image: (6, 7)})
        write_png(tmp_path / "data" / image.replace("images", "masks"), np.eye(6, 7, dtype=np.uint8) * 255)
    (tmp_path / "data" / "pairs.csv").write_text('image,patient\nTRAIN/images/p/a.png,Ann\nTRAIN/images/b.png,"B, C"\n')
    convert_to_masks(tmp_path / "data", tmp_path / "masks")
    for source in ("data", "masks"):
        out = tmp_path / f"{to} of {source}"
        convert_to_annotations(tmp_path / source, out, to)
        assert not (out / "TEST" / "pairs.csv").exists()
        write_pictures(out, {image.replace("images/", ""): (6, 7) for image in patients})
        found = {record.case_id: record.patient for record in open_dataset(out).records}
        assert found == {image.replace("images/", ""): patient for image, patient in patients.items()}


@pytest.mark.parametrize("to", FORMATS)
def test_a_blank_at_the_start_of_a_name_stays(tmp_path: Path, to: str):
    write_pictures(tmp_path, {" a.png": (40, 53)})
    size = (tmp_path / " a.png").stat().st_size
    write_records(tmp_path, to, [ImageAnnotation(" a.png", size, tuple(ELLIPSES), size_hw=(40, 53))])
    assert [record.case_id for record in open_dataset(tmp_path).records] == [" a.png"]


@pytest.mark.parametrize("to", FORMATS)
def test_convert_and_convert_back(tmp_path: Path, to: str):
    masks = {"TRAIN": draw_random(3), "TEST": draw_random(5)}
    for part, mask in masks.items():
        write_pictures(tmp_path / "data" / part / "images", {"a.png": mask.shape})
        write_png(tmp_path / "data" / part / "masks" / "a.png", mask.astype(np.uint8) * 255)
    result = convert_to_annotations(tmp_path / "data", tmp_path / to, to)
    assert (result.count, result.failed, result.findings) == (2, 0, ())
    for part, mask in masks.items():
        write_pictures(tmp_path / to / part, {"a.png": mask.shape})
    convert_to_masks(tmp_path / to, tmp_path / "masks")
    for part, mask in masks.items():
        np.testing.assert_array_equal(read_mask(tmp_path / "masks" / part / "a_mask.png"), mask)
    convert_to_annotations(tmp_path / "data", tmp_path / to, to)  # replaces what it wrote


def test_shapes_that_a_format_lacks_are_counted(tmp_path: Path):
    write_pictures(tmp_path / "data", {"a.png": (40, 53)})
    write_records(tmp_path / "data", "via", [ImageAnnotation("a.png", -1, tuple(ELLIPSES), size_hw=(40, 53))])
    (finding,) = convert_to_annotations(tmp_path / "data", tmp_path / "coco", "coco").findings
    assert finding.kind == "shape-drawn"
    assert finding.cause.startswith("2 ellipses and 1 circle written pixel by pixel")


# --- what is not understood survives ---

SQUARE = [[1, 1], [5, 1], [5, 6], [1, 6]]


def test_two_images_never_share_a_label_file_of_yolo(tmp_path: Path):
    """YOLO knows a picture by its name without the suffix: one of a.png and a.jpg would lose its outlines."""
    triangle = Polygon(np.array([(1.0, 1.0), (5.0, 1.0), (5.0, 5.0)]))
    sizes = {"a.png": (8, 9), "a.jpg": (8, 9)}
    write_pictures(tmp_path / "data", sizes)
    records = [ImageAnnotation(name, -1, (triangle,), size_hw=size_hw) for name, size_hw in sizes.items()]
    write_records(tmp_path / "data", "coco", records)
    with pytest.raises(DataError, match=r"a\.(png|jpg) and a\.(png|jpg) would share the label file a\.txt; rename one"):
        convert_to_annotations(tmp_path / "data", tmp_path / "out", "yolo")
    assert not list(tmp_path.glob("out/*.txt"))


def test_coco_files_that_number_their_categories_otherwise_keep_the_names(tmp_path: Path):
    data, outline = tmp_path / "data", [[1, 1, 9, 1, 9, 9, 1, 9]]
    write_pictures(data, {"a.png": (20, 20), "b.png": (20, 20)})
    for name, categories in (("a", {1: "tumour"}), ("b", {1: "oedema", 2: "tumour"})):
        document = {
            "images": [{"id": 1, "file_name": f"{name}.png", "width": 20, "height": 20}],
            "categories": [{"id": number, "name": each} for number, each in categories.items()],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": number, "segmentation": outline} for number in categories
            ]
            + [{"id": 9, "image_id": 1, "category_id": max(categories), "bbox": [1, 1, 8, 8]}],
        }
        (data / f"{name}.json").write_text(json.dumps(document))
    convert_to_annotations(data, tmp_path / "out", "coco")
    document = json.loads((tmp_path / "out/annotations.json").read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    written = [(each["image_id"], names[each["category_id"]]) for each in document["annotations"]]
    assert written == [(1, "tumour"), (1, "tumour"), (2, "oedema"), (2, "tumour"), (2, "tumour")]


def document_of(to: str) -> object:
    """A file with keys that nobody knows, at every level, and a shape without an area."""
    flat = [number for point in SQUARE for number in point]
    match to:
        case "via":
            shape = {"name": "polygon", "all_points_x": [1, 5, 5], "all_points_y": [1, 1, 6], "odd": 1}
            regions = [{"shape_attributes": shape, "region_attributes": {"label": "x"}, "odd": 2}]
            regions.append({"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {}})
            record = {"filename": "a.png", "size": -1, "regions": regions, "file_attributes": {"q": "1"}, "odd": 3}
            return {"_via_settings": {"odd": 4}, "_via_img_metadata": {"a.png-1": record}, "_via_attributes": {}}
        case "coco":
            shapes = [{"id": 7, "image_id": 3, "category_id": 9, "segmentation": [flat, flat], "odd": 1}]
            shapes.append({"id": 8, "image_id": 3, "category_id": 9, "bbox": [1, 2, 3, 4], "odd": 2})
            image = {"id": 3, "file_name": "a.png", "width": 12, "height": 10, "odd": 3}
            categories = [{"id": 9, "name": "x", "odd": 4}]
            return {"odd": 5, "images": [image], "annotations": shapes, "categories": categories}
        case "labelme":
            shapes = [{"label": "x", "points": SQUARE, "shape_type": "polygon", "group_id": 4, "odd": 1}]
            shapes.append({"label": "x", "points": [[1, 2]], "shape_type": "point", "odd": 2})
            return {"version": "5", "shapes": shapes, "imagePath": "a.png", "imageData": None, "camera": {"odd": 3}}
        case _:
            value = {"points": [[10, 10], [50, 10], [50, 60]], "polygonlabels": ["x"], "odd": 1}
            result = {"id": "r", "type": "polygonlabels", "value": value, "odd": 2}
            result |= {"original_width": 12, "original_height": 10}
            key_point = {"id": "k", "type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 1}, "odd": 3}
            annotation = {"id": 5, "result": [result, key_point], "lead_time": 2.5}
            return [
                {"id": 1, "data": {"image": "/data/upload/1/0f1e2d3c-a.png"}, "annotations": [annotation], "odd": 4}
            ]


def flatten(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {key: each for name, inner in value.items() for key, each in flatten(inner, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {key: each for at, inner in enumerate(value) for key, each in flatten(inner, f"{path}/{at}").items()}
    return {path: value}


@pytest.mark.parametrize("to", ["via", "coco", "labelme", "labelstudio"])
def test_unknown_keys_and_undrawn_shapes_survive(tmp_path: Path, to: str):
    write_pictures(tmp_path / "data", {"a.png": (10, 12)})
    source = tmp_path / "data" / "a.json"
    source.write_text(json.dumps(document_of(to)))
    convert_to_annotations(tmp_path / "data", tmp_path / "out", to)
    (path,) = [path for path in (tmp_path / "out").iterdir() if path.name in {"a.json", "annotations.json"}]
    before, after = flatten(document_of(to)), flatten(json.loads(path.read_bytes()))
    size = str((tmp_path / "data" / "a.png").stat().st_size)
    after = {key.replace(f"a.png{size}", "a.png-1"): value for key, value in after.items()}  # VIA's key of a record
    changed = {key for key, value in before.items() if after.get(key, ...) != value}
    assert changed <= {"/_via_img_metadata/a.png-1/size"}


def test_unknown_elements_of_cvat_survive(tmp_path: Path):
    write_pictures(tmp_path / "data", {"a.png": (10, 12)})
    text = (
        '<annotations><version>1.1</version><odd a="1">x</odd>'
        '<image id="4" name="a.png" width="12" height="10" odd="2">'
        '<polygon label="x" points="1,1;5,1;5,6" odd="3"><attribute name="grade">4</attribute></polygon>'
        '<points label="p" points="1,2" odd="4"/><tag label="t"/></image></annotations>'
    )
    (tmp_path / "data" / "a.xml").write_text(text)
    convert_to_annotations(tmp_path / "data", tmp_path / "out", "cvat")
    written = (tmp_path / "out" / "annotations.xml").read_text()
    for kept in (
        '<odd a="1">x</odd>',
        'id="4"',
        'odd="2"',
        'odd="3"',
        '<attribute name="grade">4',
        'odd="4"',
        'label="t"',
    ):
        assert kept in written
    (image,) = read_annotations(tmp_path / "out" / "annotations.xml").images
    assert (len(image.regions), image.undrawn) == (1, 1)


def test_only_the_regions_of_a_label_are_written(tmp_path: Path):
    write_pictures(tmp_path / "data", {"a.png": (10, 12)})
    document = document_of("labelme")
    assert isinstance(document, dict)
    document["shapes"].append({"label": "y", "points": SQUARE, "shape_type": "polygon"})
    (tmp_path / "data" / "a.json").write_text(json.dumps(document))
    convert_to_annotations(tmp_path / "data", tmp_path / "out", "cvat", label="Y")
    (image,) = read_annotations(tmp_path / "out" / "annotations.xml").images
    assert image.labels == ({"label": "y"},)
    assert math.isclose(image.regions[0].points_xy[0, 0], 0.5)  # labelme counts from the pixel's edge

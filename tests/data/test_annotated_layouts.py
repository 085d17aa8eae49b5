"""Folders of YOLO, Pascal VOC, Supervisely and COCO datasets, as each tool lays them out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumortrace.data.cases import read_case
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError

SQUARE = "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"


def write_picture(path: Path, size_hw: tuple[int, int] = (8, 12)) -> None:
    height, width = size_hw
    write_png(path, (np.arange(height * width).reshape(size_hw) % 200 + 20).astype(np.uint8))


def write_text(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))


def areas(dataset: Dataset) -> dict[str, int]:
    return {record.case_id: int(read_case(record)[0].truth.sum()) for record in dataset.records}


def kinds(dataset: Dataset) -> list[str]:
    return [finding.kind for finding in dataset.findings]


@pytest.mark.parametrize("names", ["names: [glioma]\n", "names:\n  0: glioma\n", None])
def test_yolo_with_folders_for_images_and_labels(tmp_path: Path, names: str | None):
    for part in ("train", "val"):
        write_picture(tmp_path / "images" / part / "a.png")
        write_text(tmp_path / "labels" / part / "a.txt", SQUARE if part == "train" else "")
    write_text(tmp_path / ("data.yaml" if names else "classes.txt"), names or "glioma\n")
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"images/train/a.png": 24, "images/val/a.png": 0}
    assert [record.part for record in dataset.records] == ["train", "val"]
    assert dataset.records[0].annotation.labels == ({"class": "glioma"},)
    assert kinds(dataset) == ["no-region"]


def test_labels_of_one_part_are_not_those_of_another(tmp_path: Path):
    for name in ("train/1.png", "train/2.png", "val/3.png"):
        write_picture(tmp_path / "images" / name)
    write_text(tmp_path / "labels" / "train" / "1.txt", SQUARE)
    for name in ("test/1.txt", "test/2.txt", "train/3.txt"):  # their images are lost
        write_text(tmp_path / "labels" / name, "0 0 0 1 0 1 1 0 1\n")
    assert areas(open_dataset(tmp_path)) == {"images/train/1.png": 24}


def test_label_files_without_an_image_are_named(tmp_path: Path):
    write_picture(tmp_path / "images" / "1.png")
    for name in ("labels/1.txt", "labels/2.txt", "labels/old/1.txt", "3.txt"):
        write_text(tmp_path / name, SQUARE)
    write_text(tmp_path / "labels" / "times.txt", "12 30\n")
    dataset = open_dataset(tmp_path)
    assert [(finding.kind, finding.file) for finding in dataset.findings] == [
        ("image-missing", "3.txt"),
        ("image-missing", "labels/2.txt"),
        ("image-missing", "labels/old/1.txt"),
        ("not-read", "labels/times.txt"),
    ]


def test_a_label_of_its_own_goes_before_one_of_the_name(tmp_path: Path):
    write_picture(tmp_path / "images" / "b" / "1.png")
    write_text(tmp_path / "labels" / "a" / "1.txt", "0 0 0 1 0 1 1 0 1\n")
    write_text(tmp_path / "labels" / "b" / "1.txt", SQUARE)
    assert areas(open_dataset(tmp_path)) == {"images/b/1.png": 24}


def test_yolo_beside_its_images_with_boxes_and_bad_lines(tmp_path: Path):
    write_picture(tmp_path / "a.png")
    write_text(tmp_path / "a.txt", "3 0.5 0.5 0.5 0.5\n0 0.1 0.2 0.3\n0 10 20 30 40 50 60\n0 a b c d\n")
    write_text(tmp_path / "notes.txt", "nothing of a picture")
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"a.png": 24}
    assert sorted(kinds(dataset)) == ["boxes", "empty-region", "empty-region", "empty-region", "not-read"]
    assert any(finding.line().startswith("a.png: a.txt: region 2: ") for finding in dataset.findings)


@pytest.mark.parametrize("folders", [("train/images", "train/labels"), ("images", "labels"), ("", "")])
def test_keypoints_of_yolo_are_not_read_as_outlines(tmp_path: Path, folders: tuple[str, str]):
    images, labels = folders
    write_picture(tmp_path / images / "a.png")
    write_text(tmp_path / labels / "a.txt", "0 0.5 0.5 0.5 0.5 0.3 0.3 2 0.6 0.6 2\n")
    write_text(tmp_path / "data.yaml", "kpt_shape: [2, 3]\nnames: [glioma]\n")
    with pytest.raises(DataError) as raised:
        open_dataset(tmp_path)
    cause = "kpt_shape says that the label files hold keypoints, not outlines; export them for segmentation"
    assert str(raised.value) == f"{tmp_path}/data.yaml: {cause}"


def test_yolo_below_a_folder_with_two_pictures_of_one_name(tmp_path: Path):
    for place in ("ds", "ds/images"):
        write_picture(tmp_path / place / "a.png")
    write_text(tmp_path / "ds" / "labels" / "a.txt", SQUARE)
    assert areas(open_dataset(tmp_path)) == {"ds/images/a.png": 24}


def test_yolo_of_a_picture_that_cannot_be_read(tmp_path: Path):
    write_picture(tmp_path / "a.png")
    write_text(tmp_path / "a.txt", SQUARE)
    write_text(tmp_path / "b.png", "no picture")
    write_text(tmp_path / "b.txt", SQUARE)
    write_text(tmp_path / "data.yaml", "names: [")
    dataset = open_dataset(tmp_path)
    assert list(areas(dataset)) == ["a.png"]
    assert sorted(kinds(dataset)) == ["not-annotations", "unreadable"]


def test_a_label_file_that_fits_two_pictures_is_given_to_neither(tmp_path: Path):
    for name in ("a.jpg.png", "a.png", "a.bmp", "b.png"):
        write_picture(tmp_path / "images" / name)
    for name in ("a.txt", "a.jpg.txt", "b.txt"):
        write_text(tmp_path / "labels" / name, SQUARE)
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"images/a.jpg.png": 24, "images/b.png": 24}
    named = {(finding.kind, finding.file) for finding in dataset.findings}
    assert named == {
        ("image-ambiguous", "labels/a.txt"),
        ("annotation-missing", "images/a.bmp"),
        ("annotation-missing", "images/a.png"),
    }


@pytest.mark.parametrize("place", ["labels", "images"])
def test_of_masks_and_label_files_of_one_image_the_unused_ones_are_named(tmp_path: Path, place: str):
    for name in ("a", "b"):
        write_picture(tmp_path / "images" / f"{name}.png")
        write_class_mask(tmp_path / "masks" / f"{name}.png", {(1, 2): (9, 9, 9)})
        write_text(tmp_path / place / f"{name}.txt", SQUARE)
    write_class_mask(tmp_path / "masks" / "c.png", {(1, 2): (9, 9, 9)})
    dataset = open_dataset(tmp_path)
    used = 1 if place == "labels" else 24  # the innermost folder comes first
    assert areas(dataset) == {"images/a.png": used, "images/b.png": used}
    unused = ["labels/a.txt"] if place == "labels" else ["masks/a.png", "masks/b.png"]
    named = {(finding.kind, finding.file) for finding in dataset.findings}
    assert named == {("image-missing", "masks/c.png"), *(("annotations-repeated", file) for file in unused)}


def write_class_mask(path: Path, colours: dict[tuple[int, int], tuple[int, int, int]]) -> None:
    mask = np.zeros((8, 12, 3), np.uint8)
    for (row, column), colour in colours.items():
        mask[row, column] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def test_voc_class_masks_choose_a_class_by_its_colour(tmp_path: Path):
    write_picture(tmp_path / "JPEGImages" / "a.png")
    write_picture(tmp_path / "JPEGImages" / "b.png")
    write_class_mask(
        tmp_path / "SegmentationClass" / "a.png", {(1, 2): (9, 0, 0), (1, 3): (9, 0, 0), (5, 5): (0, 9, 0)}
    )
    write_class_mask(tmp_path / "SegmentationClass" / "b.png", {(1, 2): (9, 9, 9)})
    write_class_mask(tmp_path / "SegmentationObject" / "a.png", {(1, 2): (9, 0, 0)})
    write_text(tmp_path / "labelmap.txt", "# label:color_rgb\nbackground:0,0,0::\nglioma:9,0,0::\noedema:0,9,0::\n")
    write_text(tmp_path / "ImageSets" / "Segmentation" / "train.txt", "a\n")
    dataset = open_dataset(tmp_path, label="glioma")
    assert areas(dataset) == {"JPEGImages/a.png": 2}
    (fault,) = [finding for finding in dataset.findings if finding.kind == "unreadable"]
    assert "the colour (9, 9, 9) has no name" in fault.cause
    assert areas(open_dataset(tmp_path)) == {"JPEGImages/a.png": 3}


def test_names_with_dots_are_found_without_their_suffix(tmp_path: Path):
    write_picture(tmp_path / "JPEGImages" / "1.2.840.png")
    write_class_mask(tmp_path / "SegmentationClass" / "1.2.840.png", {(2, 3): (128, 0, 0)})
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"JPEGImages/1.2.840.png": 1}
    assert kinds(dataset) == []


def test_voc_colours_of_the_challenge_and_ignored_pixels(tmp_path: Path):
    write_picture(tmp_path / "JPEGImages" / "a.png")
    write_class_mask(
        tmp_path / "SegmentationClass" / "a.png", {(1, 2): (192, 128, 128), (1, 3): (224, 224, 192), (5, 5): (64, 0, 0)}
    )
    (record,) = open_dataset(tmp_path).records
    assert [label["class"] for label in record.annotation.labels] == ["cat", "person"]
    assert read_case(record)[0].truth.sum() == 2


def test_masks_of_two_classes_are_not_taken_for_masks_of_voc_that_ignore_all(tmp_path: Path):
    write_picture(tmp_path / "JPEGImages" / "a.png")
    mask = tmp_path / "SegmentationClass" / "a.png"
    write_class_mask(mask, {})
    for marked in (np.eye(8, 12, dtype=bool), np.eye(8, 12, dtype=np.uint8) * 255):
        Image.fromarray(marked).save(mask)
        with pytest.raises(DataError, match="marks nothing but 255, which Pascal VOC ignores"):
            open_dataset(tmp_path)
    write_text(tmp_path / "labelmap.txt", "Background:0,0,0::\nglioma:255,255,255::\n")
    assert areas(open_dataset(tmp_path)) == {"JPEGImages/a.png": 8}


def test_a_supervisely_project(tmp_path: Path):
    write_picture(tmp_path / "ds0" / "img" / "a.png")
    box = {"geometryType": "rectangle", "classTitle": "x", "points": {"exterior": [[1, 2], [3, 3]], "interior": []}}
    document = {"size": {"height": 8, "width": 12}, "objects": [box]}
    write_text(tmp_path / "ds0" / "ann" / "a.png.json", document)
    write_text(tmp_path / "meta.json", {"classes": [], "tags": []})
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"ds0/img/a.png": 6}
    assert kinds(dataset) == ["not-annotations"]


def coco(name: str, size_hw: tuple[int, int] = (8, 12)) -> dict[str, object]:
    image = {"id": 1, "file_name": name, "height": size_hw[0], "width": size_hw[1]}
    shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 6, 2, 6, 5, 2, 5]]}
    return {"images": [image], "annotations": [shape], "categories": [{"id": 1, "name": "glioma"}]}


def test_coco_files_of_two_parts_in_one_folder(tmp_path: Path):
    for part in ("train", "val"):
        write_picture(tmp_path / "images" / part / f"{part}.png")
        write_text(tmp_path / "annotations" / f"instances_{part}.json", coco(f"{part}.png"))
    captions = {**coco("val.png"), "annotations": [{"id": 1, "image_id": 1, "caption": "a slice"}]}
    write_text(tmp_path / "annotations" / "captions_val.json", captions)
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"images/train/train.png": 12, "images/val/val.png": 12}


def test_annotation_files_named_after_parts_divide_images_of_one_folder(tmp_path: Path):
    def write(stem: str, names: list[str]) -> None:
        document = coco(names[0])
        document["images"] = [{"id": number, "file_name": name} for number, name in enumerate(names, 1)]
        write_text(tmp_path / "annotations" / f"{stem}.json", document)

    for name in "abcdef":
        write_picture(tmp_path / "images" / f"{name}.png")
    write("instances_train2017", ["a.png", "b.png"])
    assert [record.part for record in open_dataset(tmp_path).records] == ["", ""]
    write("val", ["c.png"])
    write("Test", ["d.png", "e.png"])
    write("more", ["f.png"])
    dataset = open_dataset(tmp_path)
    parts = {record.case_id[7]: record.part for record in dataset.records}
    assert parts == {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test"}
    assert [finding.file for finding in dataset.findings if finding.kind == "outside-parts"] == ["images/f.png"]


def test_files_of_one_image_each_are_not_named_after_parts(tmp_path: Path):
    for name in ("train_1", "test_1"):
        write_picture(tmp_path / f"{name}.png")
        write_text(tmp_path / f"{name}.json", coco(f"{name}.png"))
    assert {record.part for record in open_dataset(tmp_path).records} == {""}


@pytest.mark.parametrize(
    ("images", "file"),
    [
        ("images/{}", "annotations/instances_{}.json"),
        ("{}2017", "annotations/instances_{}2017.json"),
        ("{}", "{}.json"),
        ("{}", "{}/_annotations.coco.json"),
    ],
)
def test_parts_with_the_same_image_names(tmp_path: Path, images: str, file: str):
    for number, part in enumerate(("train", "val", "test")):
        write_picture(tmp_path / images.format(part) / "000001.png")
        document = coco("000001.png")
        document["annotations"][0]["segmentation"] = [[2, 2, 6 + number, 2, 6 + number, 5, 2, 5]]
        document["annotations"].append({"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]})
        write_text(tmp_path / file.format(part), document)
    dataset = open_dataset(tmp_path)
    names = [f"{images.format(part)}/000001.png" for part in ("train", "val", "test")]
    assert areas(dataset) == dict(zip(names, (12, 15, 18), strict=True))
    assert [record.part for record in dataset.records] == ["train", "val", "test"]
    assert sorted(finding.file for finding in dataset.findings if finding.kind == "no-area") == sorted(names)


@pytest.mark.parametrize("free", [True, False])
def test_regions_of_a_lost_image_are_not_those_of_its_namesake_in_another_part(tmp_path: Path, *, free: bool):
    write_picture(tmp_path / "images" / "train" / "1.png")
    train, val = coco("1.png"), coco("1.png")
    train["annotations"] = [] if free else train["annotations"]
    val["annotations"][0]["segmentation"] = [[1, 1, 3, 1, 3, 3, 1, 3]]
    write_text(tmp_path / "annotations" / "instances_train.json", train)
    write_text(tmp_path / "annotations" / "instances_val.json", val)
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"images/train/1.png": 0 if free else 12}
    assert kinds(dataset) == ["image-missing", *(["no-region"] if free else [])]


@pytest.mark.parametrize(("boxes", "told"), [(11, True), (10, False)])
def test_a_dataset_of_boxes_is_named_once(tmp_path: Path, boxes: int, *, told: bool):
    """Of 20 regions, an upright rectangle is a box; a rectangle that is turned, and one of five corners, is none."""
    box, turned = [2, 2, 6, 2, 6, 5, 2, 5], [4, 1, 7, 4, 4, 7, 1, 4]
    five = [*box, 2, 4]
    shapes = [box] * boxes + [turned, five] + [turned] * (18 - boxes)
    document = coco("a.png")
    document["annotations"] = [
        {"id": number, "image_id": 1, "category_id": 1, "segmentation": [shape]} for number, shape in enumerate(shapes)
    ]
    write_picture(tmp_path / "a.png")
    write_text(tmp_path / "a.json", document)
    causes = [finding.cause for finding in open_dataset(tmp_path).findings if finding.kind == "boxes"]
    whole = "11 of 20 regions are boxes, which hold healthy tissue in their corners; they are drawn as they are"
    assert causes == ([whole] if told else [])


def test_outlines_of_tiny_lesions_are_no_boxes(tmp_path: Path):
    """Traced along pixel edges, a lesion of one pixel is a square and one of 2 x 3 pixels a rectangle."""
    shapes = [[2, 2, 3, 2, 3, 3, 2, 3], [5, 2, 7, 2, 7, 5, 5, 5]] * 10
    document = coco("a.png")
    document["annotations"] = [
        {"id": number, "image_id": 1, "category_id": 1, "segmentation": [shape]} for number, shape in enumerate(shapes)
    ]
    write_picture(tmp_path / "a.png")
    write_text(tmp_path / "a.json", document)
    assert [finding for finding in open_dataset(tmp_path).findings if finding.kind == "boxes"] == []


def test_regions_of_a_picture_of_another_size_are_refused(tmp_path: Path):
    write_picture(tmp_path / "a.png")
    write_text(tmp_path / "a.json", coco("a.png", (80, 120)))
    (record,) = open_dataset(tmp_path).records
    with pytest.raises(DataError, match=r"a.png: the image is \(8, 12\) pixels .* drawn on one of \(80, 120\)"):
        read_case(record)


def test_files_of_two_tools_that_disagree_are_refused(tmp_path: Path):
    write_picture(tmp_path / "a.png")
    write_text(tmp_path / "a.json", coco("a.png"))
    shape = {"label": "x", "points": [[1, 1], [5, 1], [5, 4]]}
    write_text(tmp_path / "b.json", {"shapes": [shape], "imagePath": "a.png", "imageData": None})
    with pytest.raises(DataError, match=r"a.json and b.json differ on a.png; leave the one that counts"):
        open_dataset(tmp_path)


def test_labelme_files_in_a_folder_beside_their_images(tmp_path: Path):
    for name in ("a", "b"):
        write_picture(tmp_path / "images" / f"{name}.png")
        shape = {"label": "x", "points": [[2, 2], [6, 2], [6, 5], [2, 5]]}
        path = f"..\\images\\{name}.png"
        write_text(tmp_path / "labels" / f"{name}.json", {"shapes": [shape], "imagePath": path, "imageData": None})
    write_text(tmp_path / "labels" / "broken.json", "{")
    dataset = open_dataset(tmp_path)
    assert areas(dataset) == {"images/a.png": 12, "images/b.png": 12}
    assert [(finding.kind, finding.file) for finding in dataset.findings] == [("not-annotations", "labels/broken.json")]


@pytest.mark.parametrize("before", ["C:\\Users\\x\\data\\", "/home/x/data/", "..\\..\\images\\"])
@pytest.mark.parametrize("tool", ["coco", "labelme", "cvat", "voc"])
def test_folders_of_a_path_from_elsewhere_tell_images_of_one_name_apart(tmp_path: Path, tool: str, before: str):
    shape = {"shape_type": "polygon", "label": "t", "points": [[2, 2], [6, 2], [6, 6], [2, 6]]}
    for patient in ("p1", "p2"):
        write_picture(tmp_path / "images" / patient / "1.png")
        path = f"{before}{patient}/1.png"
        name = tmp_path / "annotations" / patient / "1.json"
        if tool == "labelme":
            write_text(name, {"imagePath": path, "imageData": None, "shapes": [shape]})
        elif tool == "voc":
            corners = "".join(f"<{key}>2</{key}>" for key in ("xmin", "ymin")) + "<xmax>6</xmax><ymax>6</ymax>"
            box = f"<object><name>t</name><bndbox>{corners}</bndbox></object>"
            write_text(name.with_suffix(".xml"), f"<annotation><filename>{path}</filename>{box}</annotation>")
        elif tool == "coco":
            segmentation = [[value for point in shape["points"] for value in point]]
            annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
            document = {"images": [{"id": 1, "file_name": path}], "annotations": [annotation], "categories": []}
            write_text(tmp_path / "annotations" / f"{patient}.json", document)
        else:
            polygon = '<polygon label="t" points="2,2;6,2;6,6;2,6"/>'
            text = f'<annotations><image id="0" name="{path}">{polygon}</image></annotations>'
            write_text(tmp_path / "annotations" / f"{patient}.xml", text)
    assert areas(open_dataset(tmp_path)) == {"images/p1/1.png": 16, "images/p2/1.png": 16}

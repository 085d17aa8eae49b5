"""The shapes of each tool by hand, and each fault by its name."""

from __future__ import annotations

import base64
import io
import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tumortrace.data.annotations.find import READERS, read_annotations
from tumortrace.data.annotations.paths import names_of_path, names_of_url
from tumortrace.data.annotations.records import ImageAnnotation, Source
from tumortrace.data.annotations.rle import encode_brush
from tumortrace.data.annotations.voc_boxes import BOXES
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region, rasterize
from tumortrace.errors import DataError

MASK = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)


def png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def read(path: Path, content: object) -> tuple[ImageAnnotation, list[tuple[str, str]]]:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    file = read_annotations(path)
    (image,) = file.images
    return image, [(finding.kind, finding.cause) for finding in file.findings]


def plain(region: Region) -> object:
    if isinstance(region, Polygon):
        return region.points_xy.round(9).tolist()
    if isinstance(region, Ellipse):
        return region.center_xy, region.radii_xy, round(region.theta_rad, 9)
    return (region.center_xy, region.radius) if isinstance(region, Circle) else region.origin_xy


# --- COCO ---


def coco(*annotations: dict[str, object], **image: object) -> dict[str, object]:
    listed = [{"id": number, "image_id": 1, "category_id": 2, **each} for number, each in enumerate(annotations)]
    images = [{"id": 1, "file_name": "a.png", "width": 4, "height": 3} | image]
    return {"images": images, "annotations": listed, "categories": [{"id": 2, "name": "glioma"}]}


def test_coco_counts_from_the_edge_of_the_first_pixel(tmp_path: Path):
    outline = [0, 0, 3, 0, 3, 2, 0, 2]
    image, findings = read(tmp_path / "a.json", coco({"segmentation": [outline]}))
    assert plain(image.regions[0]) == [[-0.5, -0.5], [2.5, -0.5], [2.5, 1.5], [-0.5, 1.5]]
    assert rasterize(image.regions, (3, 4)).sum() == 6
    assert (image.size_hw, image.labels, findings) == ((3, 4), ({"category": "glioma"},), [])


@pytest.mark.parametrize("counts", [[2, 3, 1, 1, 5], "2311N"])
def test_coco_run_lengths_run_down_the_columns(tmp_path: Path, counts: object):
    if isinstance(counts, str):
        mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
        counts = mask.encode(np.asfortranarray(MASK.astype(np.uint8)))["counts"].decode()
    image, findings = read(
        tmp_path / "a.json", coco({"segmentation": {"size": [3, 4], "counts": counts}, "iscrowd": 1})
    )
    np.testing.assert_array_equal(rasterize(image.regions, (3, 4)), MASK)
    assert [kind for kind, _ in findings] == ["crowd-region"]


def test_parts_of_a_coco_polygon_are_united_and_a_bad_one_is_named(tmp_path: Path):
    parts = [[0, 0, 1, 0, 1, 1, 0, 1], [2, 2, 3, 3], [3, 2, 4, 2, 4, 3, 3, 3]]
    image, ((kind, cause),) = read(tmp_path / "a.json", coco({"segmentation": parts}))
    assert rasterize(image.regions, (3, 4)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert (kind, cause) == ("empty-region", "region 1: part 2 of 3: an outline of 2 points; it needs three")


@pytest.mark.parametrize(
    ("annotation", "kind", "cause"),
    [
        ({"bbox": [0, 0, 2, 2]}, "no-area", "a box is not drawn"),
        ({"bbox": [0, 0, 2, 2], "segmentation": []}, "no-area", "a box is not drawn"),
        ({"segmentation": [[0, 0, 1]]}, "empty-region", "x and y in turns"),
        ({"segmentation": 7}, "empty-region", "its segmentation is 7"),
        ({"segmentation": {"size": [4, 3], "counts": [12]}}, "empty-region", "its mask is 3 x 4, and its image 4 x 3"),
        ({"segmentation": {"size": [3, 4], "counts": [12]}}, "no-area", "without a marked pixel"),
        ({"segmentation": {"size": [3, 4], "counts": "~~"}}, "empty-region", "damaged"),
        ({"segmentation": {"size": "x"}}, "empty-region", "the size of its mask"),
    ],
)
def test_a_coco_annotation_that_cannot_be_drawn(tmp_path: Path, annotation: dict[str, object], kind: str, cause: str):
    good = {"segmentation": [[0, 0, 3, 0, 3, 2]]}
    image, findings = read(tmp_path / "a.json", coco(annotation, good))
    assert (len(image.regions), image.undrawn) == (1, 1)
    assert [each for each, _ in findings] == [kind]
    assert cause in findings[0][1]


def test_ids_of_coco_may_be_texts_or_whole_floats(tmp_path: Path):
    """An annotation that loses its image would make that image free of tumour."""
    for own, theirs in ((1, "1"), ("1", 1), (1, 1.0), (1.0, 1)):
        image, annotation = {"id": own, "file_name": "a.png"}, {"image_id": theirs, "category_id": 7.0}
        annotation["segmentation"] = [[3, 4, 13, 4, 13, 14]]
        document = {"images": [image], "annotations": [annotation], "categories": [{"id": 7, "name": "tumour"}]}
        (tmp_path / "a.json").write_text(json.dumps(document))
        (record,) = read_annotations(tmp_path / "a.json").images
        assert (len(record.regions), [*record.labels[0].values()]) == (1, ["tumour"])


def test_annotations_of_an_id_that_several_images_have_belong_to_none(tmp_path: Path):
    """Two files that were joined by hand number their images alike: each image would get the tumours of both."""
    names = {1: ("a.png", "b.png"), 2: ("c.png", "c.png"), 3: ("d.png", "e.png")}
    images = [{"id": number, "file_name": name} for number, each in names.items() for name in each]
    outlined = [{"image_id": number, "segmentation": [[0, 0, 3, 0, 3, 2]]} for number in (1, 2)]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": outlined}))
    content = read_annotations(tmp_path / "a.json")
    assert [(each.filename, len(each.regions)) for each in content.images] == [
        ("c.png", 1), ("c.png", 1), ("d.png", 0), ("e.png", 0)
    ]  # fmt: skip
    assert [(each.kind, each.severity, each.file) for each in content.findings] == [
        ("image-ambiguous", "left out", "a.png"), ("image-ambiguous", "left out", "b.png")
    ]  # fmt: skip
    assert "several images have the id 1" in content.findings[0].cause


def test_an_image_whose_annotations_may_be_lost_is_not_free_of_tumour(tmp_path: Path):
    """The file numbers its images as texts with zeros before them, and its annotations with numbers."""
    images = [{"id": f"{number:06}", "file_name": f"{number}.png"} for number in (1, 12)]
    outlined = [{"image_id": owner, "segmentation": [[0, 0, 3, 0, 3, 2]]} for owner in ("000001", 12)]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": outlined}))
    content = read_annotations(tmp_path / "a.json")
    assert [(each.filename, len(each.regions)) for each in content.images] == [("1.png", 1)]
    assert [(each.kind, each.severity, each.cause) for each in content.findings] == [
        ("image-missing", "left out", "annotation 2 belongs to image 12, which the file lacks"),
        ("annotation-missing", "left out", "it has no annotation, but 1 annotation of the file has an id of no image"),
    ]


def test_coco_results_and_segment_anything(tmp_path: Path):
    (tmp_path / "r.json").write_text(json.dumps([{"image_id": 1, "segmentation": {}, "score": 0.5}]))
    with pytest.raises(DataError, match=r"r.json: a list of COCO results"):
        read_annotations(tmp_path / "r.json")
    segmented = {"image": {"image_id": 1, "file_name": "a.png", "width": 4, "height": 3}}
    segmented |= {"annotations": [{"segmentation": {"size": [3, 4], "counts": [2, 3, 1, 1, 5]}}]}
    image, findings = read(tmp_path / "s.json", segmented)
    assert (len(image.regions), findings) == (1, [])


# --- labelme ---


def labelme(*shapes: dict[str, object], **more: object) -> dict[str, object]:
    listed = [{"label": "x", **shape} for shape in shapes]
    return {"shapes": listed, "imagePath": "a.png", "imageData": None, "imageHeight": 9, "imageWidth": 12, **more}


def test_every_shape_of_labelme(tmp_path: Path):
    text = base64.b64encode(png(MASK)).decode()
    image, findings = read(
        tmp_path / "a.json",
        labelme(
            {"points": [[1, 1], [5, 1], [5, 4]]},
            {"points": [[6, 5], [2, 1]], "shape_type": "rectangle"},
            {"points": [[4, 4], [7, 8]], "shape_type": "circle"},
            {"points": [[2.7, 3.2], [5.7, 5.2]], "shape_type": "mask", "mask": text},
            {"points": [[1, 1], [5, 1], [5, 4], [1, 4]], "shape_type": "oriented_rectangle"},
            {"points": [[1, 1]], "shape_type": "point"},
            {"points": [[1, 1], [2, 2]], "shape_type": "line"},
            {"points": [[1, 1], [2, 2], [3, 3]], "shape_type": "linestrip"},
            {"points": [[1, 1]], "shape_type": "points"},
            {"points": [[1, 1]], "shape_type": "mask", "mask": text},
            {"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "AAAA"},
            {"points": [[1, 1], [1, 1]], "shape_type": "circle"},
            {"points": "no"},
            {"points": [], "shape_type": "spiral"},
        ),
    )
    assert [plain(region) for region in image.regions[:3]] == [
        [[0.5, 0.5], [4.5, 0.5], [4.5, 3.5]],
        [[1.5, 0.5], [5.5, 0.5], [5.5, 4.5], [1.5, 4.5]],
        ((3.5, 3.5), 5.0),
    ]
    drawn = rasterize(image.regions[3:4], (9, 12))
    np.testing.assert_array_equal(drawn[3:6, 2:6], MASK)
    assert drawn.sum() == MASK.sum()
    assert [kind for kind, _ in findings] == ["no-area"] * 4 + ["empty-region"] * 4 + ["unknown-shape"]
    assert image.undrawn == 9


@pytest.mark.parametrize("kind", ["rectangle", "rotation"])
def test_four_corners_of_x_anylabeling_are_an_outline(tmp_path: Path, kind: str):
    corners = [[3, 4], [13, 4], [13, 14], [3, 14]]
    image, findings = read(tmp_path / "a.json", labelme({"points": corners, "shape_type": kind}))
    assert [plain(region) for region in image.regions] == [[[x - 0.5, y - 0.5] for x, y in corners]]
    assert findings == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("parent\\a.jpg", "parent/a.jpg"),
        ("..\\images\\a.jpg", "images/a.jpg"),
        ("C:\\x\\a.jpg", "x/a.jpg"),
        ("", "own"),
    ],
)
def test_image_paths_of_labelme(tmp_path: Path, path: str, name: str):
    image, _ = read(tmp_path / "own.json", labelme(imagePath=path))
    assert image.filename == name


def test_the_size_is_that_of_the_picture_inside(tmp_path: Path):
    document = labelme(imageData=base64.b64encode(png(MASK)).decode())
    del document["imageHeight"]
    image, findings = read(tmp_path / "a.json", document)
    assert (image.size_hw, image.has_picture, findings) == ((3, 4), True, [])
    document["imageData"] = "AAAA"
    image, findings = read(tmp_path / "a.json", document)
    assert (image.has_picture, [kind for kind, _ in findings]) == (False, ["unreadable"])


# --- CVAT ---


def cvat(*shapes: str) -> str:
    return f'<annotations><image id="0" name="a.png" width="12" height="9">{"".join(shapes)}</image></annotations>'


def test_every_shape_of_cvat(tmp_path: Path):
    image, findings = read(
        tmp_path / "a.xml",
        cvat(
            '<polygon label="x" points="1.0,1.0;5.0,1.0;5.0,4.0"/>',
            '<box label="x" xtl="1" ytl="2" xbr="5" ybr="4"/>',
            '<box label="x" xtl="1" ytl="2" xbr="5" ybr="4" rotation="90"/>',
            '<ellipse label="x" cx="4.5" cy="3.5" rx="3" ry="2" rotation="30"/>',
            '<mask label="x" rle="1, 2, 2, 1, 2, 1, 3" left="2" top="3" width="4" height="3"/>',
            '<points points="1,1"/><polyline points="1,1;2,2"/><skeleton/><cuboid/><tag label="t"/>',
            '<mask rle="1,2" left="2" top="3" width="4" height="3"/>',
            '<polygon points="1;2;3"/><ellipse cx="4" cy="3" rx="0" ry="2"/><ellipse cx="x"/><blob/>',
        ),
    )
    assert [plain(region) for region in image.regions[:4]] == [
        [[0.5, 0.5], [4.5, 0.5], [4.5, 3.5]],
        [[0.5, 1.5], [4.5, 1.5], [4.5, 3.5], [0.5, 3.5]],
        [[3.5, 0.5], [3.5, 4.5], [1.5, 4.5], [1.5, 0.5]],
        ((4.0, 3.0), (3.0, 2.0), round(math.pi / 6, 9)),
    ]
    drawn = rasterize(image.regions[4:], (9, 12))
    np.testing.assert_array_equal(drawn[3:6, 2:6], MASK)
    kinds = [kind for kind, _ in findings]
    assert kinds == ["no-area"] * 4 + ["empty-region"] * 4 + ["unknown-shape", "no-area"]
    assert image.undrawn == 9  # a tag says nothing of a place


def read_tracks(folder: Path, *tracks: str) -> tuple[dict[str, list[object]], list[tuple[str, str]]]:
    """Regions by frame, and findings, of the tracks of a CVAT file."""
    text = "".join(f'<track id="{number}" label="x">{track}</track>' for number, track in enumerate(tracks))
    (folder / "a.xml").write_text(f"<annotations>{text}</annotations>")
    file = read_annotations(folder / "a.xml")
    findings = [(finding.severity, finding.file) for finding in file.findings]
    return {image.filename: list(image.regions) for image in file.images}, findings


def test_tracks_move_evenly_between_keyframes(tmp_path: Path):
    """Half-way of four frames lies half of the way; edges at 1..5 and 9..17 give 5..11, pixel centres 4.5..10.5."""
    box = '<box frame="{}" outside="{}" xtl="{}" ytl="2" xbr="{}" ybr="4"/>'
    ellipse = '<ellipse frame="{}" outside="0" cx="{}" cy="8" rx="4" ry="2" rotation="{}"/>'
    ellipses = ellipse.format(0, 6, 350) + ellipse.format(4, 10, 10)
    ellipses += ellipse.format(5, 10, 10).replace('outside="0"', 'outside="1"')
    frames, findings = read_tracks(tmp_path, box.format(0, 0, 1, 5) + box.format(4, 1, 9, 17), ellipses)
    assert findings == []
    assert list(frames) == [f"frame_{frame:06d}" for frame in range(6)]
    moved, turned = frames["frame_000002"]
    assert (moved.points_xy.min(axis=0).tolist(), moved.points_xy.max(axis=0).tolist()) == ([4.5, 1.5], [10.5, 3.5])
    assert turned.center_xy == pytest.approx((7.5, 7.5))
    assert turned.theta_rad == pytest.approx(math.radians(360))  # from 350 to 10 degrees by the shorter way
    assert len(frames["frame_000004"]) == 1  # the box is outside there
    assert frames["frame_000005"] == []


def test_frames_between_keyframes_of_an_outline_are_left_out(tmp_path: Path):
    """Frame 2 is marked by another track, and the outline is somewhere there too."""
    outline = '<polygon frame="{}" outside="{}" points="1,1;5,1;5,4"/>'
    box = '<box frame="{}" outside="{}" xtl="1" ytl="2" xbr="5" ybr="4"/>'
    frames, findings = read_tracks(
        tmp_path, outline.format(0, 0) + outline.format(4, 1), box.format(2, 0) + box.format(3, 1) + box.format(5, 1)
    )
    assert {name: len(regions) for name, regions in frames.items()} == {
        "frame_000000": 1,
        "frame_000004": 0,
        "frame_000005": 0,
    }
    assert findings == [("left out", "frame_000002"), ("left out", "frame_000003")]


def test_a_track_without_an_end_goes_on(tmp_path: Path):
    box = '<box frame="{}" outside="0" xtl="1" ytl="2" xbr="5" ybr="4"/>'
    frames, findings = read_tracks(tmp_path, box.format(0), box.format(7))
    assert list(frames) == ["frame_000000"]
    assert findings == [("left out", "frame_000007")]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "its XML declares entities"),
        ("<annotations>", "not XML"),
        ("<html></html>", "XML of an unknown kind"),
        (
            "<annotation><source><sourceAnnotation>LabelMe</sourceAnnotation></source><object><polygon/></object></annotation>",
            "LabelMe web tool",
        ),
    ],
)
def test_xml_that_is_refused(tmp_path: Path, text: str, cause: str):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=cause):
        read_annotations(tmp_path / "a.xml")


# --- Pascal VOC ---


def test_an_outline_of_pascal_voc_goes_before_its_box(tmp_path: Path):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>7</ymax></bndbox>"
    outline = "<polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1.5</y2><x3>4</x3><y3>7</y3></polygon>"
    objects = [
        box + outline,
        box + outline + outline.replace("<x1>1<", "<x1>2<"),
        box + "<polygon><x1>1</x1><y1>1</y1><x2>9</x2></polygon>",
        box + "<polygon><pt><x>1</x><y>1</y></pt></polygon>",
        box,
        "<name>no box</name>",
    ]
    text = "".join(f"<object><name>glioma</name>{each}</object>" for each in objects)
    image, findings = read(tmp_path / "a.xml", f"<annotation><filename>a.png</filename>{text}</annotation>")
    triangle, rectangle = [[0.5, 0.5], [8.5, 1.0], [3.5, 6.5]], [[0.5, 0.5], [8.5, 0.5], [8.5, 6.5], [0.5, 6.5]]
    moved = [[1.5, 0.5], *triangle[1:]]
    assert [plain(region) for region in image.regions] == [triangle, triangle, moved, rectangle, rectangle]
    assert image.labels == ({"label": "glioma"},) * 5
    assert [(kind, cause.partition(":")[0]) for kind, cause in findings] == [
        ("empty-region", "region 3"),
        ("no-area", "region 6"),
        ("boxes", f"2 of its regions {BOXES}"),
    ]


# --- Label Studio ---


def studio(*values: dict[str, object], **task: object) -> list[dict[str, object]]:
    results = [
        {"id": f"r{number}", "original_width": 200, "original_height": 100, "value": value}
        for number, value in enumerate(values)
    ]
    return [{"data": {"image": "a.png"}, "annotations": [{"result": results}], **task}]


def test_every_shape_of_label_studio(tmp_path: Path):
    brush = np.zeros((100, 200), bool)
    brush[3:6, 2:6] = MASK
    image, findings = read(
        tmp_path / "a.json",
        studio(
            {"points": [[1, 1], [5, 1], [5, 4]], "polygonlabels": ["x", "y"]},
            {"x": 10, "y": 20, "width": 5, "height": 10, "rotation": 90},
            {"x": 10, "y": 20, "radiusX": 5, "radiusY": 10, "rotation": 30},
            {"format": "rle", "rle": encode_brush(brush)},
            {"imageDataURL": "data:image/png;base64," + base64.b64encode(png(brush)).decode()},
            {"x": 10, "y": 20, "width": 0.5},
            {"choices": ["x"]},
            {"rle": [0, 0]},
            {"points": [[1, 1], [5, 1], [5, 4]], "closed": False},
            {"vertices": []},
        ),
    )
    assert [plain(region) for region in image.regions[:3]] == [
        [[1.5, 0.5], [9.5, 0.5], [9.5, 3.5]],
        [[19.5, 19.5], [19.5, 29.5], [9.5, 29.5], [9.5, 19.5]],
        ((19.5, 19.5), (10.0, 10.0), round(math.pi / 6, 9)),
    ]
    for region in image.regions[3:]:
        np.testing.assert_array_equal(rasterize([region], (100, 200)), brush)
    assert len(image.regions) == 5
    assert image.labels[0] == {"label": "x, y"}
    assert [kind for kind, _ in findings] == ["no-area", "empty-region", "no-area", "unknown-shape"]


def test_a_region_listed_by_tool_and_by_label_is_one(tmp_path: Path):
    value = {"points": [[1, 1], [5, 1], [5, 4]]}
    document = studio(value, {**value, "labels": ["x"]})
    document[0]["annotations"][0]["result"][1]["id"] = "r0"  # type: ignore[index]
    image, _ = read(tmp_path / "a.json", document)
    assert image.labels == ({"label": "x"},)


def test_which_annotation_of_a_task_counts(tmp_path: Path):
    first, second = studio({"points": [[1, 1], [5, 1], [5, 4]]}), studio()
    document = first
    document[0]["annotations"] += [
        {**second[0]["annotations"][0], "ground_truth": True},
        {"result": [], "was_cancelled": True},
    ]  # type: ignore[index]
    image, findings = read(tmp_path / "a.json", document)
    assert image.regions == ()
    assert findings == [("duplicate-record", "task 1 has 2 annotations; the accepted one is used")]
    document[0]["annotations"] = [{"result": [], "was_cancelled": True}]
    (tmp_path / "a.json").write_text(json.dumps(document))
    file = read_annotations(tmp_path / "a.json")
    assert (file.images, [finding.kind for finding in file.findings]) == ((), ["annotation-missing"])


def test_a_task_of_several_images_is_not_drawn_on_the_first(tmp_path: Path):
    document = studio({"points": [[1, 1], [5, 1], [5, 4]]}, {"points": [[1, 1], [5, 1], [5, 4]]})
    for name, result in zip(("t1", "t2"), document[0]["annotations"][0]["result"], strict=True):
        result["to_name"] = name
    (tmp_path / "a.json").write_text(json.dumps(document))
    file = read_annotations(tmp_path / "a.json")
    assert (file.images, [finding.kind for finding in file.findings]) == ((), ["image-ambiguous"])
    assert file.findings[0].cause == "task 1 outlines 2 images (t1, t2), and no file says which is which"


def test_per_cent_of_an_unknown_size(tmp_path: Path):
    document = studio({"points": [[1, 1], [5, 1], [5, 4]]})
    for key in ("original_width", "original_height"):
        del document[0]["annotations"][0]["result"][0][key]  # type: ignore[index]
    (tmp_path / "a.json").write_text(json.dumps(document))
    (image,) = read_annotations(tmp_path / "a.json", lambda name: (100, 200) if name == "a.png" else None).images
    assert plain(image.regions[0]) == [[1.5, 0.5], [9.5, 0.5], [9.5, 3.5]]
    (image,) = read_annotations(tmp_path / "a.json").images
    assert image.undrawn == 1


def test_json_min(tmp_path: Path):
    value = {"points": [[1, 1], [5, 1], [5, 4]], "polygonlabels": ["x"], "original_width": 200, "original_height": 100}
    image, _ = read(tmp_path / "a.json", [{"image": "/data/upload/2/a.png", "label": [value], "annotation_id": 1}])
    assert plain(image.regions[0]) == [[1.5, 0.5], [9.5, 0.5], [9.5, 3.5]]
    assert image.labels == ({"label": "x"},)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("a.png", ["a.png"]),
        ("/data/upload/1/0f1e2d3c-a%20b.png", ["data/upload/1/0f1e2d3c-a b.png", "0f1e2d3c-a b.png", "a b.png"]),
        ("/data/local-files/?d=p1%2Fa.png", ["p1/a.png", "a.png"]),
        ("https://x.org/y/a.png?z=1", ["y/a.png", "a.png"]),
        ("../a.png", ["a.png"]),
        ("", []),
    ],
)
def test_names_of_urls(url: str, names: list[str]):
    assert names_of_url(url) == names


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("p1\\./a.png", ["p1/a.png"]),
        ("/home/x/a.png", ["home/x/a.png", "a.png"]),
        ("C:\\x\\..\\y\\a.png", ["y/a.png", "a.png"]),
        ("\\\\pc\\share\\p1\\a.png", ["p1/a.png", "a.png"]),
        ("../../images/p1/a.png", ["images/p1/a.png", "a.png"]),
        ("/x\x07/a.png", ["a.png"]),
        ("..", []),
        ("C:\\", []),
        ("", []),
    ],
)
def test_names_that_lead_out_keep_what_can_lie_in_a_dataset(path: str, names: list[str]):
    assert names_of_path(path) == names


# --- Supervisely and VIA 3 ---


def test_every_shape_of_supervisely(tmp_path: Path):
    def ring(left: int, right: int) -> list[list[int]]:
        return [[left, left], [right, left], [right, right], [left, right]]

    data = base64.b64encode(zlib.compress(png(MASK))).decode()
    objects = [
        {"geometryType": "bitmap", "classTitle": "x", "bitmap": {"data": data, "origin": [2, 3]}},
        {"geometryType": "polygon", "points": {"exterior": ring(1, 8), "interior": [ring(3, 5)]}},
        {"geometryType": "rectangle", "points": {"exterior": [[1, 2], [3, 3]], "interior": []}},
        {"geometryType": "line", "points": {"exterior": [[1, 2], [3, 3]]}},
        {"geometryType": "bitmap", "bitmap": {"data": data[:20], "origin": [2, 3]}},
        {"geometryType": "rectangle", "points": {"exterior": [[1, 2]]}},
        {"geometryType": "cuboid_3d"},
    ]
    document = {"size": {"height": 9, "width": 12}, "objects": objects}
    image, findings = read(tmp_path / "a.png.json", document)
    assert (image.filename, image.size_hw) == ("a.png", (9, 12))
    bitmap, holed, box = (rasterize([region], (9, 12)) for region in image.regions)
    np.testing.assert_array_equal(bitmap[3:6, 2:6], MASK)
    assert holed.sum() == 49 - 4
    assert not holed[3:5, 3:5].any()
    assert box.sum() == 6
    assert [kind for kind, _ in findings] == ["no-area", "empty-region", "empty-region", "unknown-shape"]


def test_every_shape_of_via_3(tmp_path: Path):
    codes = [[2, 1, 2, 4, 3], [3, 5, 5, 2], [4, 5, 5, 3, 2], [7, 1, 1, 5, 1, 5, 4], [8, 1, 3, 4, 1, 7, 2, 5, 6]]
    codes += [[1, 2, 2], [5, 1, 1, 2, 2], [6, 1, 1, 2, 2, 3, 1], [9, 1, 1], [3, 1], [2, 1, 2, 0, 3], [7, 1, 2, 3]]
    codes += [[[7], 1, 1]]
    shapes = {str(number): {"vid": "1", "z": [], "xy": xy, "av": {"1": "0"}} for number, xy in enumerate(codes)}
    shapes["z"] = {"vid": "1", "z": [1.5], "xy": [], "av": {}}
    document = {
        "project": {},
        "attribute": {"1": {"aname": "label", "options": {"0": "glioma"}}},
        "file": {"1": {"fid": "1", "fname": "a.png", "type": 2}},
        "metadata": shapes,
        "view": {"1": {"fid_list": ["1"]}},
    }
    image, findings = read(tmp_path / "a.json", document)
    assert [plain(region) for region in image.regions] == [
        [[1, 2], [5, 2], [5, 5], [1, 5]],
        ((5, 5), 2),
        ((5, 5), (3, 2), 0),
        [[1, 1], [5, 1], [5, 4]],
        [[1, 1], [7, 1], [7, 6], [1, 6]],
    ]
    assert image.labels[0] == {"label": "glioma"}
    assert [kind for kind, _ in findings] == ["no-area"] * 3 + ["unknown-shape"] + ["empty-region"] * 3 + [
        "unknown-shape"
    ]
    document["file"]["1"]["type"] = 4  # type: ignore[index]
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="without a picture"):
        read_annotations(tmp_path / "a.json")


def test_regions_of_no_view_in_via_3_are_named_and_leave_no_image_free_of_tumour(tmp_path: Path):
    box = [2, 1, 2, 4, 3]
    document = {
        "project": {},
        "file": {str(number): {"fname": f"{number}.png", "type": 2} for number in (1, 2)},
        "metadata": {"m1": {"vid": 1, "xy": box}, "m2": {"vid": "9", "xy": box}, "m3": {"vid": "9", "xy": []}},
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    content = read_annotations(tmp_path / "a.json")
    assert [(image.filename, len(image.regions)) for image in content.images] == [("1.png", 1)]
    assert [(each.kind, each.cause) for each in content.findings] == [
        ("image-missing", "region m2 belongs to view 9, which the file lacks"),
        ("annotation-missing", "it has no region, but the file has 1 region of no view"),
    ]


# --- anything at all ---

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400))
KEYS = [
    "images",
    "annotations",
    "image",
    "id",
    "file_name",
    "width",
    "height",
    "segmentation",
    "size",
    "counts",
    "image_id",
    "category_id",
    "iscrowd",
    "bbox",
    "shapes",
    "points",
    "shape_type",
    "imagePath",
    "imageData",
    "mask",
    "label",
    "data",
    "result",
    "value",
    "rle",
    "x",
    "y",
    "radiusX",
    "radiusY",
    "original_width",
    "original_height",
    "objects",
    "geometryType",
    "bitmap",
    "origin",
    "exterior",
    "interior",
    "project",
    "file",
    "metadata",
    "view",
    "fid_list",
    "vid",
    "xy",
    "av",
]
anything = st.recursive(
    scalars | st.sampled_from(["polygon", "mask", "bitmap", "rectangle", "a.png"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)
documents = st.one_of(
    anything,
    st.fixed_dictionaries({"images": st.lists(anything, max_size=2), "annotations": st.lists(anything, max_size=3)}),
    st.fixed_dictionaries({"shapes": st.lists(anything, max_size=3), "imagePath": anything, "imageData": anything}),
    st.fixed_dictionaries({"objects": st.lists(anything, max_size=3), "size": anything}),
    st.lists(st.fixed_dictionaries({"data": anything, "annotations": st.lists(anything, max_size=2)}), max_size=2),
    st.fixed_dictionaries({"project": anything, "file": anything, "metadata": anything, "view": anything}),
)


@given(documents)
def test_any_document_is_read_or_refused(document: object):
    source = Source(Path("any.json"), lambda _name: (3, 4))
    for reader in READERS:
        try:
            file = reader(document, source)
        except DataError:
            continue
        for image in file.images if file else ():
            assert len(image.labels) == len(image.regions)
            rasterize(image.regions, (3, 4))

"""Annotation files of labelme, one an image, read and written.

Coordinates count from the outer corner of the first pixel, as labelme shows them, so reading shifts them by -0.5 and
writing by 0.5. The box of a mask holds the first and last pixel, rounded down.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import cv2
import numpy as np

from tumortrace.data.annotations.paths import names_of_path
from tumortrace.data.annotations.pixels import decode_mask_picture
from tumortrace.data.annotations.records import (
    AnnotationFile,
    ImageAnnotation,
    Original,
    Source,
    Writer,
    classes_of,
    original_of,
    original_shapes,
)
from tumortrace.data.annotations.shapes import (
    EDGE,
    Drawn,
    ShapeError,
    collect_shapes,
    excerpt,
    no_area,
    read_box,
    read_number,
    read_outline,
    read_pairs,
    read_size_hw,
    to_marked,
    to_record,
)
from tumortrace.data.bitmap import Bitmap, draw_bitmap, to_bitmap
from tumortrace.data.findings import left_out
from tumortrace.data.folders import name_of
from tumortrace.data.geometry import Circle, Polygon, Region, rasterize_region
from tumortrace.data.pictures import decode_picture, read_image_data
from tumortrace.errors import DataError
from tumortrace.json_csv import Document
from tumortrace.wording import counted

FORMAT = "labelme"

_VERSION = "5.8.1"


def read_document(document: object, source: Source) -> AnnotationFile | None:
    """Read the annotations of one image; None for a document of another format."""
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        return None
    if not {"imagePath", "imageData"} & document.keys():
        return None
    path = document.get("imagePath")
    name = next(iter(names_of_path(path)), "") if isinstance(path, str) else ""
    name = name or source.path.stem
    collected = collect_shapes(name, document["shapes"], _read_shape)
    findings = list(collected.findings)
    has_picture = isinstance(document.get("imageData"), str)
    size_hw = read_size_hw(document.get("imageHeight"), document.get("imageWidth"))
    if has_picture and size_hw is None:
        try:
            size_hw = _size_of_picture(source)
        except DataError as error:
            has_picture = False
            findings.append(
                left_out("unreadable", name, f"the picture in {source.path.name}: {error}", "add the image")
            )
    other_names = tuple(dict.fromkeys((name_of(name), source.path.stem)))
    original = Original(FORMAT, record=document)
    image = to_record(name, collected, size_hw=size_hw, other_names=other_names, original=original)
    return AnnotationFile((replace(image, has_picture=has_picture),), tuple(findings))


def encode_labelme(records: Sequence[ImageAnnotation], _classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of one file an image, by its path; polygons and circles stay, other shapes become masks."""
    paths = _name_files([record.filename for record in records])
    return {
        paths[record.filename]: (json.dumps(_to_document(record), indent=2, allow_nan=False) + "\n").encode()
        for record in records
    }


def list_files(images: Sequence[str]) -> set[str]:
    """Return the paths of all files that may be written for images; where some fail, others need no suffix."""
    return {*map(_name_file, images), *_name_files(images).values()}


def _name_files(images: Sequence[str]) -> dict[str, str]:
    """The path of the file of each image; the image's suffix stays where two would meet."""
    short = {image: _name_file(image) for image in images}
    times = Counter(short.values())
    return {image: f"{image}.json" if times[path] > 1 else path for image, path in short.items()}


def _name_file(image: str) -> str:
    """The path of the file of an image."""
    return PurePosixPath(image).with_suffix(".json").as_posix()


def _size_of_picture(source: Source) -> tuple[int, int]:
    try:
        samples = decode_picture(read_image_data(source.path.read_bytes()), source.path)
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - on a damaged picture a decoder may raise anything
        raise DataError(f"it cannot be decoded ({error})") from None
    height, width = samples.colour.shape[:2]
    return height, width


def _read_shape(shape: object) -> Drawn:
    if not isinstance(shape, dict):
        raise ShapeError("empty-region", f"it is {excerpt(shape)}, not a shape")
    label = shape.get("label")
    labels = {"label": label.strip()} if isinstance(label, str) and label.strip() else {}
    return Drawn([_read_region(shape)], labels)


def _read_region(shape: Document) -> Region:
    pairs = read_pairs(shape.get("points"))
    match shape.get("shape_type"):
        case "polygon" | "oriented_rectangle" | "rotation" | None:  # "rotation" is that of X-AnyLabeling
            return read_outline(pairs, shift=EDGE)
        case "rectangle" if len(pairs) == 4:  # of X-AnyLabeling: all corners
            return read_outline(pairs, shift=EDGE)
        case "rectangle":
            numbers = [
                read_number(value, "a corner") + EDGE for pair in _require_two(pairs, "rectangle") for value in pair
            ]
            return read_box((numbers[0], numbers[1], numbers[2], numbers[3]))
        case "circle":
            (x, y), (edge_x, edge_y) = (
                (read_number(x, "x"), read_number(y, "y")) for x, y in _require_two(pairs, "circle")
            )
            radius = math.hypot(edge_x - x, edge_y - y)
            if radius <= 0:
                raise ShapeError("empty-region", "a circle of radius 0")
            return Circle((x + EDGE, y + EDGE), radius)
        case "mask":
            return _read_mask(shape, _require_two(pairs, "mask"))
        case "points":
            raise no_area("a set of points")
        case "point" | "line" | "linestrip" as name:
            raise no_area(f"a {name}")
        case name:
            raise ShapeError("unknown-shape", f"{excerpt(name)} is no shape of labelme")


def _require_two(pairs: list[tuple[object, object]], name: str) -> list[tuple[object, object]]:
    if len(pairs) != 2:
        raise ShapeError("empty-region", f"a {name} of {counted(len(pairs), 'point')}; it needs 2")
    return pairs


def _read_mask(shape: Document, corners: list[tuple[object, object]]) -> Bitmap:
    (left, top), _ = corners
    origin_xy = int(read_number(left, "x")), int(read_number(top, "y"))
    return to_marked(decode_mask_picture(shape.get("mask")), origin_xy)


def _to_document(record: ImageAnnotation) -> Document:
    original = original_of(record, FORMAT) or Original(FORMAT)
    known = original.record if isinstance(original.record, dict) else {"version": _VERSION, "flags": {}}
    shapes = []
    for region, name, shape in zip(record.regions, classes_of(record), original_shapes(record, FORMAT), strict=True):
        drawn = shape if shape is not None else _to_shape(region, name, record.size_hw or (0, 0))
        shapes += [] if drawn is None else [drawn]
    height, width = record.size_hw or (None, None)
    own = {"imagePath": name_of(record.filename), "imageHeight": height, "imageWidth": width}
    return {"imageData": None, **known, "shapes": [*shapes, *original.undrawn], **own}


def _to_shape(region: Region, name: str, size_hw: tuple[int, int]) -> Document | None:
    """A region as a shape of labelme; None for one that would be a mask and covers no pixel."""
    shape: Document = {"label": name, "points": [], "group_id": None, "description": "", "flags": {}, "mask": None}
    if isinstance(region, Polygon):
        return shape | {"shape_type": "polygon", "points": (region.points_xy - EDGE).tolist()}
    if isinstance(region, Circle):
        x, y = region.center_xy[0] - EDGE, region.center_xy[1] - EDGE
        return shape | {"shape_type": "circle", "points": [[x, y], [x + region.radius, y]]}
    bitmap = region if isinstance(region, Bitmap) else to_bitmap(rasterize_region(region, size_hw))
    if not len(bitmap.runs):
        return None
    (left, top), (height, width) = bitmap.origin_xy, bitmap.size_hw
    _, png = cv2.imencode(".png", draw_bitmap(bitmap).astype(np.uint8) * np.uint8(255))
    points = [[left, top], [left + width - 1, top + height - 1]]
    return shape | {"shape_type": "mask", "points": points, "mask": base64.b64encode(png.tobytes()).decode()}


WRITER = Writer(encode_labelme, list_files, keeps=(Polygon, Circle, Bitmap))

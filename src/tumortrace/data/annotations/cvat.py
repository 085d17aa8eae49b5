"""CVAT 1.1 XML, of images and of videos, read; of images, written.

Coordinates count from the outer corner of the first pixel, as CVAT's canvas shows them, so reading shifts them by -0.5
and writing by 0.5. Angles are in degrees, clockwise on the screen. Masks run row by row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from tumortrace.data.annotations.cvat_tracks import read_degrees, spread_tracks
from tumortrace.data.annotations.paths import names_of_path
from tumortrace.data.annotations.records import (
    NO_IMAGE,
    AnnotationFile,
    ImageAnnotation,
    Original,
    Source,
    Writer,
    classes_of,
    original_of,
    original_shapes,
)
from tumortrace.data.annotations.rle import decode_runs, encode_runs
from tumortrace.data.annotations.shapes import (
    EDGE,
    Drawn,
    ShapeError,
    collect_shapes,
    excerpt,
    no_area,
    parse_number,
    parse_size_hw,
    read_box,
    read_length,
    read_outline,
    to_marked,
    to_record,
)
from tumortrace.data.bitmap import Bitmap, draw_bitmap
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region
from tumortrace.wording import counted

FORMAT = "CVAT"
ANNOTATIONS = "annotations.xml"


_NOT_SHAPES = frozenset({"attribute", "tag"})


def read_document(document: object, _source: Source) -> AnnotationFile | None:
    """Read the images and tracks of a CVAT 1.1 file; None for a document of another format.

    The frames of a track have no image names; they are taken to be called ``frame_000012``, as CVAT exports them.
    """
    if not isinstance(document, Element) or document.tag != "annotations":
        return None
    head = Element("annotations")
    head.extend(child for child in document if child.tag not in {"image", "track"})
    images, findings = [], []
    for element in document.iter("image"):
        record, faults = _read_image(element, head)
        images += [record] if record else []
        findings += faults
    records, faults = _read_frames(document)
    return AnnotationFile((*images, *records), (*findings, *faults))


def encode_cvat(records: Sequence[ImageAnnotation], classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of a CVAT 1.1 file by its name; polygons, ellipses and masks stay, circles become ellipses."""
    heads = [original.document for record in records if (original := original_of(record, FORMAT))]
    root = deepcopy(heads[0]) if heads and isinstance(heads[0], Element) else _make_head(classes)
    for number, record in enumerate(records):
        _add_image(root, record, number)
    indent(root)
    return {ANNOTATIONS: tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"}


def _read_image(element: Element, head: Element) -> tuple[ImageAnnotation | None, list[Finding]]:
    names = names_of_path(element.get("name", ""))
    if not names:
        cause = f"image {excerpt(element.get('id'))} has no file name that can be used ({excerpt(element.get('name'))})"
        return None, [left_out("unsafe-filename", NO_IMAGE, cause, "name the image relative to the annotation file")]
    name, *others = names
    collected = collect_shapes(name, [child for child in element if child.tag not in _NOT_SHAPES], _read_shape)
    findings = list(collected.findings)
    if tags := [child.get("label", "") for child in element if child.tag == "tag"]:
        cause = f"no area, so not drawn: {counted(len(tags), 'tag')} ({', '.join(tags[:3])})"
        findings.append(warning("no-area", name, cause, "outline the tumour"))
    known = Element("image", element.attrib)
    known.extend(child for child in element if child.tag in _NOT_SHAPES)
    size_hw = parse_size_hw(element.get("height"), element.get("width"))
    original = Original(FORMAT, head, known)
    return to_record(name, collected, size_hw=size_hw, other_names=tuple(others), original=original), findings


def _read_frames(document: Element) -> tuple[list[ImageAnnotation], list[Finding]]:
    """Records of the frames of a video whose shapes are all known, and findings on the others."""
    by_frame, unknown = spread_tracks(document)
    size_hw = parse_size_hw(document.findtext(".//original_size/height"), document.findtext(".//original_size/width"))
    records, findings = [], []
    for frame, shapes in sorted(by_frame.items()):
        name = f"frame_{frame:06d}"
        if frame in unknown:
            cause = f"track {unknown[frame]} goes on here, and its shape between keyframes is not in the file"
            findings.append(left_out("regions-missing", name, cause, "export all frames as CVAT for images 1.1"))
            continue
        collected = collect_shapes(name, shapes, _read_shape)
        records.append(to_record(name, collected, size_hw=size_hw, original=Original(FORMAT)))
        findings += collected.findings
    return records, findings


def _read_shape(shape: Element) -> Drawn:
    label = shape.get("label", "").strip()
    return Drawn([_read_region(shape)], {"label": label} if label else {})


def _read_region(shape: Element) -> Region:
    match shape.tag:
        case "polygon":
            points = [point.split(",") for point in shape.get("points", "").split(";") if point.strip()]
            if any(len(point) != 2 for point in points):
                raise ShapeError("empty-region", "one of its points is not a pair of numbers")
            return read_outline([(parse_number(x, "x"), parse_number(y, "y")) for x, y in points], shift=EDGE)
        case "box":
            left, top, right, bottom = (_number(shape, key) + EDGE for key in ("xtl", "ytl", "xbr", "ybr"))
            return read_box((left, top, right, bottom), degrees=read_degrees(shape))
        case "ellipse":
            radii_xy = read_length(_number(shape, "rx"), "rx"), read_length(_number(shape, "ry"), "ry")
            center_xy = _number(shape, "cx") + EDGE, _number(shape, "cy") + EDGE
            return Ellipse(center_xy, radii_xy, math.radians(read_degrees(shape)))
        case "mask":
            return _read_mask(shape)
        case "points":
            raise no_area("a set of points")
        case "skeleton" | "polyline" | "cuboid" as name:
            raise no_area(f"a {name}")
        case name:
            raise ShapeError("unknown-shape", f"{excerpt(name)} is no shape of CVAT")


def _number(shape: Element, key: str) -> float:
    return parse_number(shape.get(key), key)


def _read_mask(shape: Element) -> Bitmap:
    width, height, left, top = (int(_number(shape, key)) for key in ("width", "height", "left", "top"))
    counts = [int(parse_number(text, "rle")) for text in shape.get("rle", "").split(",")]
    return to_marked(decode_runs(counts, (height, width), by_columns=False), (left, top))


def _make_head(classes: Sequence[str]) -> Element:
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for name in classes:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        SubElement(label, "attributes")
    return root


def _add_image(root: Element, record: ImageAnnotation, number: int) -> None:
    original = original_of(record, FORMAT) or Original(FORMAT)
    known = original.record if isinstance(original.record, Element) else Element("image")
    height, width = record.size_hw or (0, 0)
    own = {"name": record.filename, "width": str(width), "height": str(height)}
    image = SubElement(root, "image", {"id": str(number), **known.attrib, **own})
    for region, name, shape in zip(record.regions, classes_of(record), original_shapes(record, FORMAT), strict=True):
        image.append(deepcopy(shape) if isinstance(shape, Element) else _to_shape(region, name))
    image.extend(deepcopy(shape) for shape in original.undrawn if isinstance(shape, Element))
    image.extend(deepcopy(child) for child in known)


def _to_shape(region: Region, name: str) -> Element:
    shape = Element("polygon", {"label": name, "source": "manual", "occluded": "0"})
    if isinstance(region, Polygon):
        shape.set("points", ";".join(f"{x!r},{y!r}" for x, y in (region.points_xy - EDGE).tolist()))
    elif isinstance(region, Bitmap):
        (left, top), (height, width) = region.origin_xy, region.size_hw
        shape.tag = "mask"
        shape.set("rle", ", ".join(map(str, encode_runs(draw_bitmap(region), by_columns=False))))
        _set(shape, left=left, top=top, width=width, height=height)
    else:
        shape.tag = "ellipse"
        radii_xy = (region.radius, region.radius) if isinstance(region, Circle) else region.radii_xy
        x, y = region.center_xy
        _set(shape, cx=x - EDGE, cy=y - EDGE, rx=radii_xy[0], ry=radii_xy[1])
        if isinstance(region, Ellipse) and region.theta_rad:
            _set(shape, rotation=math.degrees(region.theta_rad))
    shape.set("z_order", "0")
    return shape


def _set(shape: Element, **values: float) -> None:
    for key, value in values.items():
        shape.set(key, repr(value if isinstance(value, int) else float(np.float64(value))))


WRITER = Writer(encode_cvat, lambda _images: [ANNOTATIONS], keeps=(Polygon, Ellipse, Circle, Bitmap))

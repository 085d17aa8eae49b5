"""Annotation files of Supervisely, one an image, read.

Coordinates are whole pixels, counted from 0: vertices lie at pixel centres, and a rectangle holds both of its corners.
"""

from __future__ import annotations

from tumortrace.data.annotations.pixels import decode_mask_picture
from tumortrace.data.annotations.records import AnnotationFile, Source
from tumortrace.data.annotations.shapes import (
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
from tumortrace.data.geometry import Polygon, Region, cut_holes
from tumortrace.json_csv import Document
from tumortrace.wording import counted


def read_document(document: object, source: Source) -> AnnotationFile | None:
    """Read the objects of one image, which is called like the file without ``.json``; None for another format."""
    if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
        return None
    size = document.get("size")
    if not isinstance(size, dict):
        return None
    collected = collect_shapes(source.path.stem, document["objects"], _read_object)
    size_hw = read_size_hw(size.get("height"), size.get("width"))
    return AnnotationFile((to_record(source.path.stem, collected, size_hw=size_hw),), collected.findings)


def _read_object(shape: object) -> Drawn:
    if not isinstance(shape, dict):
        raise ShapeError("empty-region", f"it is {excerpt(shape)}, not an object")
    title = shape.get("classTitle")
    return Drawn([_read_region(shape)], {"class": title.strip()} if isinstance(title, str) and title.strip() else {})


def _read_region(shape: Document) -> Region:
    match shape.get("geometryType"):
        case "bitmap":
            bitmap = shape.get("bitmap")
            if not isinstance(bitmap, dict):
                raise ShapeError("empty-region", f"its bitmap is {excerpt(bitmap)}")
            (x, y), *_ = read_pairs([bitmap.get("origin")])
            mask = decode_mask_picture(bitmap.get("data"), deflated=True)
            origin_xy = int(read_number(x, "origin")), int(read_number(y, "origin"))
            return to_marked(mask, origin_xy, what="bitmap")
        case "polygon":
            outline, holes = _read_rings(shape)
            return cut_holes(outline, holes)
        case "rectangle":
            corners = read_pairs(_points(shape).get("exterior"))
            if len(corners) != 2:
                raise ShapeError("empty-region", f"a rectangle of {counted(len(corners), 'point')}; it needs 2")
            (x0, y0), (x1, y1) = ((read_number(x, "x"), read_number(y, "y")) for x, y in corners)
            left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
            return read_box((left - 0.5, top - 0.5, right + 0.5, bottom + 0.5))
        case "point" | "line" | "graph" | "cuboid" as name:
            raise no_area(f"a {name}")
        case name:
            raise ShapeError("unknown-shape", f"{excerpt(name)} is no shape of Supervisely that is read")


def _points(shape: Document) -> Document:
    points = shape.get("points")
    if not isinstance(points, dict):
        raise ShapeError("empty-region", f"its points are {excerpt(points)}")
    return points


def _read_rings(shape: Document) -> tuple[Polygon, list[Polygon]]:
    points = _points(shape)
    interior = points.get("interior") or []
    if not isinstance(interior, list):
        raise ShapeError("empty-region", f"its holes are {excerpt(interior)}")
    return read_outline(read_pairs(points.get("exterior"))), [read_outline(read_pairs(hole)) for hole in interior]

"""Boxes and outlines of Pascal VOC, one XML file an image, read.

Coordinates count from the outer corner of the first pixel, as CVAT and labelme write them. The challenge's own files
count pixels from 1, so their boxes begin one pixel too far right and too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from tumortrace.data.annotations.paths import names_of_path
from tumortrace.data.annotations.records import AnnotationFile, Source
from tumortrace.data.annotations.shapes import (
    EDGE,
    Drawn,
    ShapeError,
    collect_shapes,
    parse_number,
    parse_size_hw,
    read_box,
    read_outline,
    to_record,
)
from tumortrace.data.findings import Finding, warning
from tumortrace.data.geometry import Polygon

BOXES = "are boxes, which hold healthy tissue in their corners; they are drawn as they are"


def read_document(document: object, source: Source) -> AnnotationFile | None:
    """Read the objects of one image: the outline where there is one, as Roboflow writes it, or else the box.

    Returns:
        None for a document of another format.
    """
    if not isinstance(document, Element) or document.tag != "annotation":
        return None
    if document.find("source/sourceAnnotation") is not None and document.find("object/polygon") is not None:
        return None  # of the LabelMe web tool
    name, *others = (*names_of_path(document.findtext("filename") or ""), source.path.stem)
    collected = collect_shapes(name, document.findall("object"), _read_object)
    findings = list(collected.findings)
    boxes = [shape for shape in collected.originals if isinstance(shape, Element) and not _list_outlines(shape)]
    if boxes:
        findings.append(name_boxes(name, len(boxes)))
    size_hw = parse_size_hw(document.findtext("size/height"), document.findtext("size/width"))
    image = to_record(name, collected, size_hw=size_hw, other_names=tuple(others))
    return AnnotationFile((image,), tuple(findings))


def name_boxes(name: str, count: int) -> Finding:
    """Return the warning that regions of an image are boxes."""
    return warning("boxes", name, f"{count} of its regions {BOXES}", "outline the tumour itself")


def _read_object(shape: Element) -> Drawn:
    label = (shape.findtext("name") or "").strip()
    regions = [_read_outline(texts) for texts in _list_outlines(shape)] or [_read_box(shape)]
    return Drawn(regions, {"label": label} if label else {})


def _list_outlines(shape: Element) -> list[dict[str, str | None]]:
    """The coordinates of each outline of an object, by their names: x1, y1, x2 and so on."""
    outlines = [{child.tag: child.text for child in polygon} for polygon in shape.findall("polygon")]
    return [texts for texts in outlines if "x1" in texts]


def _read_outline(texts: Mapping[str, str | None]) -> Polygon:
    points = [
        (parse_number(texts.get(f"x{n}"), f"x{n}"), parse_number(texts.get(f"y{n}"), f"y{n}"))
        for n in range(1, len(texts) // 2 + 1)
    ]
    return read_outline(points, shift=EDGE)


def _read_box(shape: Element) -> Polygon:
    box = shape.find("bndbox")
    if box is None:
        raise ShapeError("no-area", "an object without a box")
    corners = [parse_number(box.findtext(key), key) + EDGE for key in ("xmin", "ymin", "xmax", "ymax")]
    return read_box((corners[0], corners[1], corners[2], corners[3]))

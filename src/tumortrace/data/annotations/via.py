"""VGG Image Annotator (VIA) files, read and written.

Reads what VIA 1 and 2 write: annotations as JSON or CSV, and VIA 2 project files. Coordinates stand as VIA has them, in
pixels of the image, x to the right and y down, theta in radians from +x towards +y.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tumortrace.data.annotations.records import AnnotationFile, ImageAnnotation
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region
from tumortrace.data.names import describe_unsafe
from tumortrace.data.patients import find_patient
from tumortrace.data.tables import Table
from tumortrace.errors import DataError, printable
from tumortrace.files import write_atomically

_LARGEST_PX = 1e9  # no picture is larger, and arithmetic on coordinates is no longer exact


class _RawRecord(NamedTuple):
    """A record as it stands in the file, whatever its format; the shapes are not yet understood."""

    filename: str
    size_bytes: int
    shapes: list[object]
    attributes: list[object]
    file_attributes: object
    declared: int = -1
    """Number of regions that a table says the image has; -1 if unknown."""


class _ShapeError(Exception):
    """A shape that cannot be drawn; its arguments are the kind of the finding and the cause."""


def read_document(document: object) -> AnnotationFile | None:
    """Read the annotations of VIA 1 or 2; None for a document of another format.

    Returns:
        All records in the order of the file, also those without a region that can be drawn. The findings are
        ``point-region``, ``unknown-shape`` and ``empty-region`` for regions that were passed over,
        ``annotation-missing`` and ``unsafe-filename`` for records that were left out.
    """
    if isinstance(document, Table):
        records = _parse_table(document)
        findings: list[Finding] = []
        settings: object = None
    else:
        entries = document.get("_via_img_metadata", document) if isinstance(document, dict) else None
        if not isinstance(entries, dict) or (entries and not any(_is_record(entry) for entry in entries.values())):
            return None
        records, findings = _parse_entries(entries)
        settings = document.get("_via_settings") if isinstance(document, dict) else None
    if records is None:
        return None
    images = []
    for raw in records:
        image, faults = _read_record(raw)
        images += [image] if image else []
        findings += faults
    return AnnotationFile(tuple(images), tuple(findings), _image_folder(settings))


def write_via(path: Path, records: Iterable[ImageAnnotation]) -> None:
    """Write annotations as VIA 2 JSON, atomically; VIA opens the file again, and so does ``read_via``.

    Raises:
        DataError: Two records have the same filename or VIA key, or a coordinate is not finite.
    """
    document: dict[str, object] = {}
    filenames = set()
    for record in records:
        key = f"{record.filename}{record.size_bytes}"
        if record.filename in filenames or key in document:
            raise DataError(f"{path}: VIA cannot tell two records apart ({key!r}); give each image one record")
        filenames.add(record.filename)
        document[key] = {
            "filename": record.filename,
            "size": record.size_bytes,
            "regions": [
                {"shape_attributes": shape_attributes(region), "region_attributes": {}} for region in record.regions
            ],
            "file_attributes": {},
        }
    try:
        text = json.dumps(document, allow_nan=False)
    except ValueError:
        raise DataError(f"{path}: a region has a coordinate that is not finite; nothing was written") from None
    write_atomically(path, text.encode())


def _parse_entries(entries: Mapping[str, object]) -> tuple[list[_RawRecord], list[Finding]]:
    records, findings = [], []
    for key, entry in entries.items():
        if not isinstance(entry, dict) or not _is_record(entry):
            cause, remedy = "the record holds no filename and regions", "annotate the image again in VIA"
            findings.append(left_out("annotation-missing", printable(key), cause, remedy))
            continue
        listed = entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"]  # VIA 1, VIA 2
        regions = [region if isinstance(region, dict) else {"shape_attributes": region} for region in listed]
        shapes = [region.get("shape_attributes") for region in regions]
        attributes = [region.get("region_attributes") for region in regions]
        size_bytes = _size_bytes(entry.get("size"))
        records.append(_RawRecord(entry["filename"], size_bytes, shapes, attributes, entry.get("file_attributes")))
    return records, findings


def _parse_table(table: Table) -> list[_RawRecord] | None:
    """The records of a CSV table, one row a region; None if it is no table of VIA."""
    filename, shape = table.find_column(["filename"]), table.find_column(["region_shape_attributes"])
    if filename is None or shape is None:
        return None
    size, region, file, count = map(
        table.find_column, (["file_size"], ["region_attributes"], ["file_attributes"], ["region_count"])
    )
    records: dict[tuple[str, int], _RawRecord] = {}
    for row in table.rows:
        key = row[filename], _size_bytes(row[size] if size else None)
        declared = _size_bytes(row[count]) if count else -1
        file_attributes = _parse_cell(row[file]) if file else None
        record = records.setdefault(key, _RawRecord(*key, [], [], file_attributes, declared))
        drawn = _parse_cell(row[shape])
        if drawn != {}:  # VIA writes an empty shape for an image without regions
            record.shapes.append(drawn)
            record.attributes.append(_parse_cell(row[region]) if region else None)
    return list(records.values())


def _parse_cell(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _image_folder(settings: object) -> str:
    """The folder of the images that a VIA 2 project names, relative to the project; ``""`` for any other."""
    core = settings.get("core") if isinstance(settings, dict) else None
    folder = core.get("default_filepath") if isinstance(core, dict) else None
    plain = folder.replace("\\", "/") if isinstance(folder, str) else ""
    return "" if describe_unsafe(plain) else plain


def _is_record(entry: object) -> bool:
    filename, regions = (entry.get("filename"), entry.get("regions")) if isinstance(entry, dict) else (None, None)
    return isinstance(filename, str) and isinstance(regions, dict | list)


def _size_bytes(value: object) -> int:
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1


def _read_record(raw: _RawRecord) -> tuple[ImageAnnotation | None, list[Finding]]:
    if unsafe := describe_unsafe(raw.filename):
        cause, remedy = f"its name {unsafe}", "name the image relative to the folder of the annotations"
        return None, [left_out("unsafe-filename", printable(raw.filename), cause, remedy)]
    regions: list[Region] = []
    labels: list[Mapping[str, str]] = []
    findings = []
    for number, (shape, attributes) in enumerate(zip(raw.shapes, raw.attributes, strict=True), start=1):
        try:
            regions.append(_read_shape(shape))
            labels.append(dict(_read_labels(attributes)))
        except _ShapeError as fault:
            kind, cause = fault.args
            remedy = "outline it again in VIA; the other regions of the image are used"
            findings.append(Finding(kind, "warning", raw.filename, f"region {number}: {cause}", remedy))
    if raw.declared > len(raw.shapes):
        cause = f"only {len(raw.shapes)} of its {raw.declared} regions (region_count) are in the table"
        remedy = "export the annotations from VIA again"
        findings.append(Finding("regions-missing", "warning", raw.filename, cause, remedy))
    patient = find_patient(raw.file_attributes) if isinstance(raw.file_attributes, dict) else None
    undrawn = len(raw.shapes) - len(regions)
    name = raw.filename.replace("\\", "/")
    return ImageAnnotation(name, raw.size_bytes, tuple(regions), tuple(labels), patient, undrawn), findings


def _read_labels(attributes: object) -> Iterator[tuple[str, str]]:
    """The attributes of a region that say something: text as it is, of check boxes those that are ticked."""
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        ticked = [str(option) for option, is_ticked in value.items() if is_ticked] if isinstance(value, dict) else []
        text = str(value).strip() if isinstance(value, str | int | float) else ", ".join(sorted(ticked))
        if text:
            yield str(name), text


def _read_shape(shape: object) -> Region:
    if not isinstance(shape, dict):
        raise _ShapeError("empty-region", "it has no shape_attributes")
    match shape.get("name"):
        case "polygon" | "polyline":
            return _read_polygon(shape)
        case "rect":
            x, y = _number(shape, "x"), _number(shape, "y")
            width, height = _length(shape, "width"), _length(shape, "height")
            return Polygon(np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]))
        case "ellipse":
            radii_xy = _length(shape, "rx"), _length(shape, "ry")
            theta_rad = _number(shape, "theta") if "theta" in shape else 0.0
            return Ellipse((_number(shape, "cx"), _number(shape, "cy")), radii_xy, theta_rad)
        case "circle":
            return Circle((_number(shape, "cx"), _number(shape, "cy")), _length(shape, "r"))
        case "point":
            raise _ShapeError("point-region", "a point has no area and is not drawn")
        case name:
            raise _ShapeError("unknown-shape", f"{_excerpt(name)} is no shape that VIA outlines a region with")


def _read_polygon(shape: dict[str, object]) -> Polygon:
    all_x, all_y = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(all_x, list) or not isinstance(all_y, list):
        raise _ShapeError("empty-region", "all_points_x or all_points_y is no list")
    if len(all_x) != len(all_y):
        raise _ShapeError("empty-region", f"{len(all_x)} x coordinates and {len(all_y)} y coordinates")
    pairs = [(_finite(x, "all_points_x"), _finite(y, "all_points_y")) for x, y in zip(all_x, all_y, strict=True)]
    if len(pairs) < 3:
        raise _ShapeError("empty-region", f"an outline of {len(pairs)} points; it needs three")
    points_xy = np.array(pairs)
    # Not the shoelace area: that of a figure of eight can be zero, and yet there is something to draw.
    if np.linalg.matrix_rank(points_xy - points_xy[0]) < 2:
        raise _ShapeError("empty-region", "all points of the outline lie on one line")
    return Polygon(points_xy)


def _number(shape: dict[str, object], key: str) -> float:
    return _finite(shape.get(key), key)


def _length(shape: dict[str, object], key: str) -> float:
    length = _number(shape, key)
    if length <= 0:
        raise _ShapeError("empty-region", f"{key} is {length:g}; it must be above 0")
    return length


def _finite(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _LARGEST_PX:
        raise _ShapeError("empty-region", f"{key} holds {_excerpt(value)}; it must be a number of pixels")
    return float(value)


def shape_attributes(region: Region) -> dict[str, object]:
    """The shape attributes of a region as VIA writes them."""
    if isinstance(region, Polygon):
        all_x, all_y = region.points_xy.T
        return {"name": "polygon", "all_points_x": _plain(all_x), "all_points_y": _plain(all_y)}
    cx, cy = _plain(region.center_xy)
    if isinstance(region, Circle):
        return {"name": "circle", "cx": cx, "cy": cy, "r": _plain([region.radius])[0]}
    rx, ry, theta = _plain([*region.radii_xy, region.theta_rad])
    return {"name": "ellipse", "cx": cx, "cy": cy, "rx": rx, "ry": ry, "theta": theta}


def _plain(values: Iterable[float]) -> list[float]:
    """Numbers as JSON takes them, whole ones without a decimal point."""
    return [int(value) if float(value).is_integer() else float(value) for value in values]


def _excerpt(value: object) -> str:
    """A value for a message; of anything nested, which may be deep, only what it is."""
    return repr(value)[:40] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"

"""VGG Image Annotator (VIA) files, read and written.

Reads what VIA 1 and 2 write: annotations as JSON or CSV, and VIA 2 project files. Coordinates stand as VIA has them, in
pixels of the image, x to the right and y down, theta in radians from +x towards +y.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from tumortrace.data.annotations.records import (
    AnnotationFile,
    ImageAnnotation,
    Original,
    Source,
    Writer,
    original_of,
    original_shapes,
)
from tumortrace.data.annotations.shapes import (
    Drawn,
    ShapeError,
    collect_shapes,
    excerpt,
    no_area,
    read_box,
    read_length,
    read_number,
    read_outline,
    to_record,
)
from tumortrace.data.bitmap import Bitmap, draw_bitmap
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region, mask_to_polygons
from tumortrace.data.names import describe_unsafe
from tumortrace.data.patients import find_patient
from tumortrace.data.tables import Table
from tumortrace.errors import DataError, printable
from tumortrace.files import write_atomically
from tumortrace.json_csv import parse_json

FORMAT = "VIA"
ANNOTATIONS = "annotations.json"


class _RawRecord(NamedTuple):
    """A record as it stands in the file, whatever its format; the shapes are not yet understood."""

    filename: str
    size_bytes: int
    regions: list[object]
    file_attributes: object
    record: object = None
    document: object = None
    declared: int = -1
    """Number of regions that a table says the image has; -1 if unknown."""


def read_document(document: object, _source: Source) -> AnnotationFile | None:
    """Read the annotations of VIA 1 or 2; None for a document of another format.

    Returns:
        All records in the order of the file, also those without a region that can be drawn. The findings are
        ``no-area``, ``unknown-shape`` and ``empty-region`` for regions that were passed over,
        ``annotation-missing`` and ``unsafe-filename`` for records that were left out.
    """
    records, findings, settings = _parse_document(document)
    if records is None:
        return None
    images = []
    for raw in records:
        image, faults = _read_record(raw)
        images += [image] if image else []
        findings += faults
    return AnnotationFile(tuple(images), tuple(findings), _image_folder(settings))


def write_via(path: Path, records: Sequence[ImageAnnotation]) -> None:
    """Write annotations as VIA 2 JSON, atomically; VIA opens the file again, and so does ``read_document``.

    Raises:
        DataError: Two records have the same filename or VIA key, or a coordinate is not finite.
    """
    try:
        content = encode_via(records, ())[ANNOTATIONS]
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    write_atomically(path, content)


def encode_via(records: Sequence[ImageAnnotation], _classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of a VIA 2 JSON file, or of the project that the records come from, by its name.

    Raises:
        DataError: Two records have the same filename or VIA key, or a coordinate is not finite; the message lacks the
            file.
    """
    entries: dict[str, object] = {}
    filenames = set()
    for record in records:
        key = f"{record.filename}{record.size_bytes}"
        if record.filename in filenames or key in entries:
            raise DataError(f"VIA cannot tell two records apart ({key!r}); give each image one record")
        filenames.add(record.filename)
        entries[key] = _to_entry(record)
    documents = [original.document for record in records if (original := original_of(record, FORMAT))]
    project = next((document for document in documents if isinstance(document, dict)), None)
    document = entries if project is None else {**project, "_via_img_metadata": entries}
    if project is not None and "_via_image_id_list" in project:
        document["_via_image_id_list"] = list(entries)
    try:
        return {ANNOTATIONS: json.dumps(document, allow_nan=False).encode()}
    except ValueError:
        raise DataError("a region has a coordinate that is not finite; nothing was written") from None


def shape_attributes(region: Polygon | Ellipse | Circle) -> dict[str, object]:
    """Return the shape attributes of a region as VIA writes them."""
    if isinstance(region, Polygon):
        all_x, all_y = region.points_xy.T
        return {"name": "polygon", "all_points_x": _plain(all_x), "all_points_y": _plain(all_y)}
    cx, cy = _plain(region.center_xy)
    if isinstance(region, Circle):
        return {"name": "circle", "cx": cx, "cy": cy, "r": _plain([region.radius])[0]}
    rx, ry, theta = _plain([*region.radii_xy, region.theta_rad])
    return {"name": "ellipse", "cx": cx, "cy": cy, "rx": rx, "ry": ry, "theta": theta}


def _to_entry(record: ImageAnnotation) -> dict[str, object]:
    """One record; what is unknown in a record of VIA stays as it is."""
    original = original_of(record, FORMAT) or Original(FORMAT)
    known = original.record if isinstance(original.record, dict) else {"file_attributes": {}}
    regions: list[object] = []
    shapes = original_shapes(record, FORMAT)
    for region, attributes, shape in zip(record.regions, record.region_labels, shapes, strict=True):
        if shape is not None:
            regions.append(shape)
            continue
        outlines = _trace(region) if isinstance(region, Bitmap) else [region]
        regions += [
            {"shape_attributes": shape_attributes(outline), "region_attributes": dict(attributes)}
            for outline in outlines
        ]
    names = {"filename": record.filename, "size": record.size_bytes}
    return {**names, "regions": [*regions, *original.undrawn], **known, **names}


def _trace(bitmap: Bitmap) -> list[Polygon]:
    return [
        Polygon(outline.points_xy + bitmap.origin_xy)  # traced within the bitmap's own box
        for outline in mask_to_polygons(draw_bitmap(bitmap))
    ]


def _plain(values: Iterable[float]) -> list[float]:
    """Numbers as JSON takes them, whole ones without a decimal point."""
    return [int(value) if float(value).is_integer() else float(value) for value in values]


def _parse_document(document: object) -> tuple[list[_RawRecord] | None, list[Finding], object]:
    """The records of a document, the faults of those that are none, and its settings."""
    if isinstance(document, Table):
        return _parse_table(document), [], None
    entries = document.get("_via_img_metadata", document) if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(entries, dict):
        return None, [], None
    if entries and not any(_is_record(entry) for entry in entries.values()):
        return None, [], None
    project = {key: value for key, value in document.items() if key != "_via_img_metadata"}
    records, findings = _parse_entries(entries, project if entries is not document else None)
    return records, findings, document.get("_via_settings")


def _parse_entries(entries: Mapping[str, object], project: object) -> tuple[list[_RawRecord], list[Finding]]:
    records, findings = [], []
    for key, entry in entries.items():
        if not isinstance(entry, dict) or not _is_record(entry):
            cause, remedy = "the record holds no filename and regions", "annotate the image again in VIA"
            findings.append(left_out("annotation-missing", printable(key), cause, remedy))
            continue
        listed = entry["regions"]  # a list since VIA 2
        listed = listed.values() if isinstance(listed, dict) else listed
        regions: list[object] = [
            region if isinstance(region, dict) else {"shape_attributes": region} for region in listed
        ]
        known = {name: value for name, value in entry.items() if name != "regions"}
        size_bytes, file_attributes = _size_bytes(entry.get("size")), entry.get("file_attributes")
        records.append(_RawRecord(entry["filename"], size_bytes, regions, file_attributes, known, project))
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
        known = {"file_attributes": file_attributes} if isinstance(file_attributes, dict) else None
        record = records.setdefault(key, _RawRecord(*key, [], file_attributes, known, declared=declared))
        drawn = _parse_cell(row[shape])
        if drawn != {}:  # VIA writes an empty shape for an image without regions
            attributes = _parse_cell(row[region]) if region else {}
            record.regions.append({"shape_attributes": drawn, "region_attributes": attributes})
    return list(records.values())


def _parse_cell(cell: str) -> object:
    try:
        return parse_json(cell)
    except ValueError:
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
    filename, other_names = _strip_root(raw.filename)
    if unsafe := describe_unsafe(filename):
        cause, remedy = f"its name {unsafe}", "name the image relative to the folder of the annotations"
        return None, [left_out("unsafe-filename", printable(raw.filename), cause, remedy)]
    collected = collect_shapes(filename, raw.regions, _read_region)
    findings = list(collected.findings)
    if raw.declared > len(raw.regions):
        cause = f"only {len(raw.regions)} of its {raw.declared} regions (region_count) are in the table"
        remedy = "export the annotations from VIA again"
        findings.append(warning("regions-missing", filename, cause, remedy))
    patient = find_patient(raw.file_attributes) if isinstance(raw.file_attributes, dict) else None
    original = Original(FORMAT, raw.document, raw.record)
    image = to_record(filename.replace("\\", "/"), collected, other_names=other_names, original=original)
    return replace(image, size_bytes=raw.size_bytes, patient=patient), findings


def _strip_root(filename: str) -> tuple[str, tuple[str, ...]]:
    """A name as a relative path, and other names: a path of the computer where the image was annotated ends in both."""
    path = PureWindowsPath(filename)
    if not path.anchor:
        return filename, ()
    return path.relative_to(path.anchor).as_posix(), (path.name,)


def _read_labels(attributes: object) -> Iterator[tuple[str, str]]:
    """The attributes of a region that say something: text as it is, of check boxes those that are ticked."""
    for name, value in attributes.items() if isinstance(attributes, dict) else ():
        ticked = [str(option) for option, is_ticked in value.items() if is_ticked] if isinstance(value, dict) else []
        text = str(value).strip() if isinstance(value, str | int | float) else ", ".join(sorted(ticked))
        if text:
            yield str(name), text


def _read_region(region: object) -> Drawn:
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    return Drawn([_read_shape(shape)], dict(_read_labels(attributes)))


def _read_shape(shape: object) -> Region:
    if not isinstance(shape, dict):
        raise ShapeError("empty-region", "it has no shape_attributes")
    match shape.get("name"):
        case "polygon":
            return _read_polygon(shape)
        case "rect":
            x, y = _number(shape, "x"), _number(shape, "y")
            return read_box((x, y, x + _length(shape, "width"), y + _length(shape, "height")))
        case "ellipse":
            radii_xy = _length(shape, "rx"), _length(shape, "ry")
            theta_rad = _number(shape, "theta") if "theta" in shape else 0.0
            return Ellipse((_number(shape, "cx"), _number(shape, "cy")), radii_xy, theta_rad)
        case "circle":
            return Circle((_number(shape, "cx"), _number(shape, "cy")), _length(shape, "r"))
        case "point":
            raise no_area("a point")
        case "line" | "polyline":
            raise no_area("a line")
        case name:
            raise ShapeError("unknown-shape", f"{excerpt(name)} is no shape that VIA outlines a region with")


def _read_polygon(shape: dict[str, object]) -> Polygon:
    all_x, all_y = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(all_x, list) or not isinstance(all_y, list):
        raise ShapeError("empty-region", "all_points_x or all_points_y is no list")
    if len(all_x) != len(all_y):
        raise ShapeError("empty-region", f"{len(all_x)} x coordinates and {len(all_y)} y coordinates")
    return read_outline(zip(all_x, all_y, strict=True), keys=("all_points_x", "all_points_y"))


def _number(shape: dict[str, object], key: str) -> float:
    return read_number(shape.get(key), key)


def _length(shape: dict[str, object], key: str) -> float:
    return read_length(shape.get(key), key)


WRITER = Writer(encode_via, lambda _images: [ANNOTATIONS], keeps=(Polygon, Ellipse, Circle))

"""VGG Image Annotator (VIA) files: the regions of each image, with every fault named, and back again.

Reads what VIA 1 and 2 write: annotations as JSON or CSV, and VIA 2 project files. Coordinates stand as VIA has them, in
pixels of the image, x to the right and y down, theta in radians from +x towards +y.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region
from tumortrace.data.names import is_unsafe
from tumortrace.errors import DataError, printable
from tumortrace.files import write_atomically

_CSV_COLUMNS = ("filename", "region_shape_attributes")
_LARGEST_PX = 1e9  # beyond it lies no picture, and arithmetic on coordinates is no longer exact


@dataclass(frozen=True)
class ViaRecord:
    """The annotation of one image.

    Attributes:
        filename: Path of the image relative to the folder of the annotations.
        size_bytes: Size of the image file when it was annotated, -1 if unknown; VIA tells files apart by it.
        regions: What the annotator drew, in their order.
    """

    filename: str
    size_bytes: int
    regions: tuple[Region, ...]


class _RawRecord(NamedTuple):
    """A record as it stands in the file, whatever its format; the shapes are not yet understood."""

    filename: str
    size_bytes: int
    shapes: list[object]


class _ShapeError(Exception):
    """A shape that cannot be drawn; its arguments are the kind of the finding and the cause."""


def read_via(path: Path) -> tuple[list[ViaRecord], list[Finding]]:
    """Read a VIA annotation file in any of its formats.

    Args:
        path: JSON or CSV; which one is told by what is in it, by its name only where that is like neither.

    Returns:
        The images that have at least one region that can be drawn, in the order of the file, each name once; and all
        faults, each with the image it concerns: ``point-region``, ``unknown-shape`` and ``empty-region`` for regions
        that were passed over, ``duplicate-record`` for a name that stands twice, ``annotation-missing`` and
        ``unsafe-filename`` for images that were left out.

    Raises:
        DataError: The file cannot be read, is neither JSON nor CSV, or was not written by VIA 1 or 2.
    """
    text = _read_text(path)
    is_csv = text.lstrip("# \t\r\n").startswith("filename") or _is_csv_by_name(path, text)
    raw_records, findings = _parse_csv(path, text) if is_csv else _parse_json(path, text)
    same_name: dict[str, list[_RawRecord]] = {}
    for raw in raw_records:
        same_name.setdefault(raw.filename, []).append(raw)
    records = []
    for filename, twins in same_name.items():
        record, faults = _read_image(filename, twins)
        records += [record] if record else []
        findings += faults
    return records, findings


def write_via(path: Path, records: Iterable[ViaRecord]) -> None:
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
            "regions": [{"shape_attributes": _shape(region), "region_attributes": {}} for region in record.regions],
            "file_attributes": {},
        }
    try:
        text = json.dumps(document, allow_nan=False)
    except ValueError:
        raise DataError(f"{path}: a region has a coordinate that is not finite; nothing was written") from None
    write_atomically(path, text.encode())


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; export the annotations from VIA again as JSON") from None


def _is_csv_by_name(path: Path, text: str) -> bool:
    """Whether a file is called CSV and does not begin as JSON does."""
    return path.suffix.lower() == ".csv" and not text.lstrip().startswith(("{", "["))


def _parse_json(path: Path, text: str) -> tuple[list[_RawRecord], list[Finding]]:
    try:
        document = json.loads(text, object_pairs_hook=_keep_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); export the annotations from VIA again") from None
    entries = document.get("_via_img_metadata", document) if isinstance(document, dict) else None
    if not isinstance(entries, dict) or (entries and not any(_is_record(entry) for entry in entries.values())):
        raise DataError(f"{path}: not annotations of VIA 1 or 2 (no filename and regions); export them from VIA again")
    raw_records, findings = [], []
    for key, entry in entries.items():
        if not _is_record(entry):
            cause, remedy = "the record holds no filename and regions", "annotate the image again in VIA"
            findings.append(Finding("annotation-missing", "left out", printable(key), cause, remedy))
            continue
        regions = entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"]  # VIA 1, VIA 2
        shapes = [region.get("shape_attributes") if isinstance(region, dict) else region for region in regions]
        raw_records.append(_RawRecord(entry["filename"], _size_bytes(entry.get("size")), shapes))
    return raw_records, findings


def _parse_csv(path: Path, text: str) -> tuple[list[_RawRecord], list[Finding]]:
    shapes: dict[tuple[str, int], list[object]] = {}
    try:
        rows = csv.DictReader(io.StringIO(text.lstrip("# \t\r\n"), newline=""), strict=True)
        there = rows.fieldnames or ()
        if lacking := [column for column in _CSV_COLUMNS if column not in there]:
            found = printable(", ".join(there))[:80] or "none"
            raise DataError(
                f"{path}: not a CSV table of VIA 1 or 2 (no {' and no '.join(lacking)} among its columns: {found}); "
                "export the annotations from VIA again"
            )
        for row in rows:
            image = shapes.setdefault((row["filename"] or "", _size_bytes(row.get("file_size"))), [])
            shape = _parse_cell(row["region_shape_attributes"])
            if shape != {}:  # VIA writes an empty shape for an image without regions
                image.append(shape)
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error}); export the annotations from VIA again") from None
    return [_RawRecord(filename, size_bytes, found) for (filename, size_bytes), found in shapes.items()], []


def _parse_cell(cell: str | None) -> object:
    try:
        return json.loads(cell or "")
    except (ValueError, RecursionError):
        return cell


def _keep_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object as a dict in which a key that stands twice does not silently replace the first."""
    found: dict[str, object] = {}
    for number, (key, value) in enumerate(pairs):
        found[f"{key} (again, {number})" if key in found else key] = value
    return found


def _is_record(entry: object) -> bool:
    filename, regions = (entry.get("filename"), entry.get("regions")) if isinstance(entry, dict) else (None, None)
    return isinstance(filename, str) and isinstance(regions, dict | list)


def _size_bytes(value: object) -> int:
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1


def _read_image(filename: str, twins: list[_RawRecord]) -> tuple[ViaRecord | None, list[Finding]]:
    """The first record of an image that has a region to draw, and the faults of all its records."""
    name = printable(filename)
    if is_unsafe(filename):
        cause, remedy = "the filename leads out of the folder, or is none", "name the image relative to its folder"
        return None, [Finding("unsafe-filename", "left out", name, cause, remedy)]
    findings = []
    if len(twins) > 1:
        cause = f"{len(twins)} records have this filename; the first with a region is used"
        findings.append(Finding("duplicate-record", "warning", name, cause, "leave one record an image"))
    readings = [(twin.size_bytes, *_read_shapes(name, twin.shapes)) for twin in twins]
    findings += [fault for _, _, faults in readings for fault in faults]
    for size_bytes, regions, _ in readings:
        if regions:
            return ViaRecord(filename, size_bytes, regions), findings
    cause = "no region that can be drawn" if any(twin.shapes for twin in twins) else "annotated with no region"
    remedy = "outline the tumour in VIA; tumour-free images belong into images/ + masks/ with a black mask"
    return None, [*findings, Finding("annotation-missing", "left out", name, cause, remedy)]


def _read_shapes(name: str, shapes: list[object]) -> tuple[tuple[Region, ...], list[Finding]]:
    regions, findings = [], []
    for number, shape in enumerate(shapes, start=1):
        try:
            regions.append(_read_shape(shape))
        except _ShapeError as fault:
            kind, cause = fault.args
            remedy = "outline it again in VIA; the other regions of the image are used"
            findings.append(Finding(kind, "warning", name, f"region {number}: {cause}", remedy))
    return tuple(regions), findings


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


def _shape(region: Region) -> dict[str, object]:
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

"""VIA 3 projects of pictures, read.

Coordinates stand as in VIA 2: integers are pixel centres.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tumortrace.data.annotations.paths import names_of_path
from tumortrace.data.annotations.records import NO_IMAGE, AnnotationFile, ImageAnnotation, Source
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
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.geometry import Circle, Ellipse, Region
from tumortrace.errors import DataError, printable
from tumortrace.json_csv import Document
from tumortrace.wording import counted

_KEYS = frozenset({"project", "file", "metadata", "view"})
_IMAGE = 2  # type of a file that is a picture; sound and videos have others
_NO_AREA = {1: "a point", 5: "a line", 6: "a line"}


def read_document(document: object, source: Source) -> AnnotationFile | None:
    """Read a VIA 3 project; None for a document of another format.

    Raises:
        DataError: It is a project of videos or sound, or damaged.
    """
    if not isinstance(document, dict) or not document.keys() >= _KEYS:
        return None
    parts = {key: document[key] for key in ("file", "metadata", "view")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise DataError(f"{source.path}: a damaged VIA 3 project; export it again")
    by_view, lost = _by_view(parts["metadata"], parts["view"])
    images, findings = [], list(lost)
    for view, content in parts["view"].items():
        names, fault = _name_image(content, parts["file"])
        if not names:
            findings.append(left_out("image-missing", NO_IMAGE, f"view {view}: {fault}", "export pictures alone"))
            continue
        record, faults = _read_image(names, by_view[view], document.get("attribute"))
        if lost and not by_view[view]:
            cause = f"it has no region, but the file has {counted(len(lost), 'region')} of no view"
            faults = [left_out("annotation-missing", record.filename, cause, "correct the ids in vid")]
        else:
            images.append(record)
        findings += faults
    if not images and parts["view"]:
        cause = findings[0].cause if findings else "no picture"
        raise DataError(f"{source.path}: a VIA 3 project without a picture ({cause}); annotate single pictures")
    return AnnotationFile(tuple(images), tuple(findings))


def _by_view(metadata: Document, views: Document) -> tuple[dict[str, list[Document]], list[Finding]]:
    """The shapes of each view; those of no view are findings."""
    shapes: dict[str, list[Document]] = {view: [] for view in views}
    findings = []
    for name, shape in metadata.items():
        # A record without coordinates describes the whole picture.
        if not isinstance(shape, dict) or not shape.get("xy"):
            continue
        view = str(shape.get("vid"))
        if view in shapes:
            shapes[view].append(shape)
        else:
            cause = f"region {printable(name)[:40]} belongs to view {printable(view)[:40]}, which the file lacks"
            findings.append(left_out("image-missing", NO_IMAGE, cause, "export the project again"))
    return shapes, findings


def _name_image(view: object, files: Document) -> tuple[list[str], str]:
    """The names of the picture that a view shows; or none and the reason."""
    fids = view.get("fid_list") if isinstance(view, dict) else None
    file = files.get(str(fids[0])) if isinstance(fids, list) and len(fids) == 1 else None
    if not isinstance(file, dict):
        return [], "it shows no file, or several"
    if file.get("type") != _IMAGE:
        return [], "a video or sound with times only, not a picture"
    return names_of_path(str(file.get("fname", ""))), "its file has no name that can be used"


def _read_image(
    names: Sequence[str], shapes: list[Document], attributes: object
) -> tuple[ImageAnnotation, list[Finding]]:
    name, *others = names
    known = attributes if isinstance(attributes, dict) else {}
    collected = collect_shapes(name, shapes, lambda shape: _read_shape(shape, known))
    return to_record(name, collected, other_names=tuple(others)), list(collected.findings)


def _read_shape(shape: Document, attributes: Document) -> Drawn:
    if not isinstance(shape["xy"], list):
        raise ShapeError("empty-region", "its coordinates are no list")
    code, *values = shape["xy"]
    return Drawn([_read_region(code, values)], dict(_read_labels(shape.get("av"), attributes)))


def _read_region(code: object, values: list[object]) -> Region:
    if isinstance(code, int) and code in _NO_AREA:
        raise no_area(_NO_AREA[code])
    if code in (7, 8):  # no set: a damaged file may have a list here
        if len(values) % 2:
            raise ShapeError("empty-region", f"an outline of {counted(len(values), 'coordinate')}")
        outline = read_outline(zip(values[0::2], values[1::2], strict=True))
        (left, top), (right, bottom) = outline.points_xy.min(axis=0), outline.points_xy.max(axis=0)
        return outline if code == 7 else read_box((left, top, right, bottom))
    expected = {2: 4, 3: 3, 4: 4}.get(code) if isinstance(code, int) else None
    if expected is None:
        raise ShapeError("unknown-shape", f"{excerpt(code)} is no shape of VIA 3 that is read")
    if len(values) != expected:
        raise ShapeError("empty-region", f"{counted(len(values), 'coordinate')}; it needs {expected}")
    x, y = read_number(values[0], "x"), read_number(values[1], "y")
    lengths = [read_length(value, "a length") for value in values[2:]]
    if code == 2:
        return read_box((x, y, x + lengths[0], y + lengths[1]))
    return Circle((x, y), lengths[0]) if code == 3 else Ellipse((x, y), (lengths[0], lengths[1]))


def _read_labels(values: object, attributes: Document) -> Iterator[tuple[str, str]]:
    """The attributes of a region by their names; of a choice, the text of the chosen option."""
    for key, value in values.items() if isinstance(values, dict) else ():
        attribute = attributes.get(key)
        known = attribute if isinstance(attribute, dict) else {}
        options = known.get("options")
        chosen = [str(options.get(each, each)) if isinstance(options, dict) else each for each in str(value).split(",")]
        text = ", ".join(each.strip() for each in chosen if each.strip())
        if text:
            yield str(known.get("aname", key)), text

"""Label Studio JSON and JSON-MIN, read; JSON, written.

Coordinates are per cent of the image's width and height from its outer corner. Angles are in degrees, clockwise on the
screen: of an ellipse about its centre, of a rectangle about its top left corner.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from tumortrace.data.annotations.paths import names_of_url
from tumortrace.data.annotations.pixels import decode_mask_picture
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
from tumortrace.data.annotations.rle import decode_brush, encode_brush
from tumortrace.data.annotations.shapes import (
    EDGE,
    Drawn,
    ShapeError,
    collect_shapes,
    excerpt,
    no_area,
    read_box,
    read_length,
    read_number,
    read_outline,
    read_pairs,
    read_size_hw,
    to_marked,
    to_pixels,
    to_record,
)
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region, rasterize_region
from tumortrace.json_csv import Document

FORMAT = "Label Studio"
ANNOTATIONS = "annotations.json"

_SHAPE_KEYS = ("points", "rle", "radiusX", "width", "imageDataURL", "x", "vertices")
_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp")


def read_document(document: object, source: Source) -> AnnotationFile | None:
    """Read tasks with their annotations; None for a document of another format.

    Of several annotations of one task the accepted one counts (``ground_truth``), else the first; the others are
    findings. Cancelled annotations and predictions do not count.
    """
    tasks = document if isinstance(document, list) else [document]
    if not tasks or not all(isinstance(task, dict) and (_is_task(task) or _is_short(task)) for task in tasks):
        return None
    images, findings = [], []
    for number, task in enumerate(tasks, start=1):
        names = _name_images(task["data"] if _is_task(task) else task)
        if not names:
            cause = f"task {number} has no image whose name can be used"
            remedy = "give the path of the image in its data"
            findings.append(left_out("unsafe-filename", NO_IMAGE, cause, remedy))
            continue
        read = _read_task if _is_task(task) else _read_short
        record, faults = read(task, names, number, source)
        images += [record] if record else []
        findings += faults
    return AnnotationFile(tuple(images), tuple(findings))


def encode_labelstudio(records: Sequence[ImageAnnotation], _classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of a file of tasks by its name; polygons and ellipses stay, masks become brushes."""
    tasks = [_to_task(record, number) for number, record in enumerate(records, 1)]
    return {ANNOTATIONS: json.dumps(tasks, allow_nan=False).encode()}


def _is_task(task: Document) -> bool:
    return isinstance(task.get("data"), dict) and isinstance(task.get("annotations", task.get("completions")), list)


def _is_short(task: Document) -> bool:
    """Whether a task is of JSON-MIN: its values stand under the names of the controls."""
    is_labelled = any("original_width" in value for value in _list_values(task))
    return ("annotation_id" in task or is_labelled) and bool(_name_images(task))


def _list_values(task: Document) -> list[Document]:
    """What stands under the names of the controls in a task of JSON-MIN."""
    listed = [value for values in task.values() if isinstance(values, list) for value in values]
    return [value for value in listed if isinstance(value, dict)]


def _read_task(
    task: Document, names: Sequence[str], number: int, source: Source
) -> tuple[ImageAnnotation | None, list[Finding]]:
    key = "annotations" if "annotations" in task else "completions"
    listed = [each for each in task[key] if isinstance(each, dict) and isinstance(each.get("result"), list)]
    valid = [each for each in listed if not each.get("was_cancelled")]
    if not valid:
        cause = f"task {number} has no annotation that was submitted"
        return None, [left_out("annotation-missing", names[0], cause, "annotate the image")]
    chosen = next((each for each in valid if each.get("ground_truth")), valid[0])
    if len(shown := _list_shown(chosen["result"])) > 1:
        cause = f"task {number} outlines {len(shown)} images ({', '.join(shown)[:60]}), and no file says which is which"
        return None, [left_out("image-ambiguous", names[0], cause, "give each image a task of its own")]
    kept = {name: value for name, value in chosen.items() if name != "result"}
    others = [each for each in task[key] if each is not chosen]
    record, findings = _read_results(names, chosen["result"], source, task={**task, key: [kept, *others]})
    if len(valid) > 1:
        which = "the accepted one" if chosen.get("ground_truth") else "the first"
        cause = f"task {number} has {len(valid)} annotations; {which} is used"
        findings.append(warning("duplicate-record", names[0], cause, "accept one as ground truth"))
    return record, findings


def _read_short(
    task: Document, names: Sequence[str], _number: int, source: Source
) -> tuple[ImageAnnotation | None, list[Finding]]:
    """A task of JSON-MIN, whose values are not wrapped in results."""
    return _read_results(names, [{**value, "value": value} for value in _list_values(task)], source)


def _name_images(data: Mapping[str, object]) -> list[str]:
    """The names that the image of a task may have: what is called image, or else ends like a picture."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    pictures = [text for text in texts.values() if text.partition("?")[0].lower().endswith(_PICTURES)]
    named = [texts[key] for key in ("image", "img") if key in texts]
    return names_of_url((named or pictures or [""])[0])


def _read_results(
    names: Sequence[str], results: Sequence[object], source: Source, *, task: Document | None = None
) -> tuple[ImageAnnotation, list[Finding]]:
    """The record of an image by its results; ``task`` is what the file holds beside them, kept for writing it back."""
    shapes = _unite_by_id(results)
    declared = next((size for shape in shapes if (size := _declared_size(shape))), None)
    size_hw = declared or next((size for name in names if (size := source.size_of(name))), None)
    collected = collect_shapes(names[0], shapes, lambda shape: _read_shape(shape, size_hw))
    original = Original(FORMAT, record=task)
    record = to_record(names[0], collected, size_hw=size_hw, other_names=tuple(names[1:]), original=original)
    return record, list(collected.findings)


def _list_shown(results: Sequence[object]) -> list[str]:
    """Names of the controls on which shapes are drawn: a task may show several images side by side."""
    return list(
        dict.fromkeys(each["to_name"] for each in _unite_by_id(results) if isinstance(each.get("to_name"), str))
    )


def _unite_by_id(results: Sequence[object]) -> list[Document]:
    """The results that mark a place; those of one id are one region, listed by its tool and by its labels."""
    shapes: dict[object, Document] = {}
    for number, result in enumerate(results):
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(value, dict) or not any(key in value for key in _SHAPE_KEYS):
            continue  # a choice, a text or a relation
        key = result["id"] if isinstance(result.get("id"), str) else number
        if key in shapes:
            shapes[key] = {**result, "value": {**value, **shapes[key]["value"]}, "type": shapes[key].get("type")}
        else:
            shapes[key] = result
    return list(shapes.values())


def _declared_size(result: Document) -> tuple[int, int] | None:
    return read_size_hw(result.get("original_height"), result.get("original_width"))


def _read_shape(shape: Document, size_hw: tuple[int, int] | None) -> Drawn:
    if shape.get("image_rotation"):
        raise ShapeError("unknown-shape", f"its image was turned by {excerpt(shape['image_rotation'])} degrees")
    size_hw = _declared_size(shape) or size_hw
    if size_hw is None:
        raise ShapeError("unknown-shape", "it is in per cent, and neither the file nor an image says of what size")
    return Drawn([_read_region(shape["value"], size_hw)], dict(_read_labels(shape["value"])))


def _read_labels(value: Document) -> Iterator[tuple[str, str]]:
    """The labels of a region, which stand under the name of its kind: ``polygonlabels``."""
    texts = [each for key, each in value.items() if str(key).endswith("labels") and isinstance(each, list)]
    named = ", ".join(str(text).strip() for each in texts[:1] for text in each)
    if named:
        yield "label", named


def _read_region(value: Document, size_hw: tuple[int, int]) -> Region:
    height, width = size_hw
    if "rle" in value or "imageDataURL" in value:
        mask = decode_brush(value["rle"], size_hw) if "rle" in value else decode_mask_picture(value["imageDataURL"])
        if mask.shape != size_hw:
            raise ShapeError(
                "empty-region", f"its mask is {mask.shape[1]} x {mask.shape[0]}, its image {width} x {height}"
            )
        return to_marked(mask, what="brush")
    if "points" in value:
        if value.get("closed") is False:
            raise no_area("an outline that is not closed")
        pairs = [(read_number(x, "x"), read_number(y, "y")) for x, y in read_pairs(value["points"])]
        return read_outline([(to_pixels(x / 100, width), to_pixels(y / 100, height)) for x, y in pairs])
    if "x" not in value:
        raise ShapeError("unknown-shape", f"a shape with {', '.join(map(str, sorted(value)))[:60]}, which is not read")
    x = to_pixels(read_number(value["x"], "x") / 100, width)
    y = to_pixels(read_number(value.get("y"), "y") / 100, height)
    degrees = read_number(value.get("rotation", 0) or 0, "rotation")
    if "radiusX" in value:
        radii_xy = read_length(value["radiusX"], "radiusX"), read_length(value.get("radiusY"), "radiusY")
        return Ellipse((x, y), (radii_xy[0] / 100 * width, radii_xy[1] / 100 * height), math.radians(degrees))
    if "height" in value and "width" in value:
        right = x + read_length(value["width"], "width") / 100 * width
        bottom = y + read_length(value["height"], "height") / 100 * height
        return read_box((x, y, right, bottom), degrees=degrees, pivot_xy=(x, y))
    raise no_area("a key point")


def _to_task(record: ImageAnnotation, number: int) -> Document:
    original = original_of(record, FORMAT) or Original(FORMAT)
    results = []
    shapes = original_shapes(record, FORMAT)
    for index, (region, name, shape) in enumerate(zip(record.regions, classes_of(record), shapes, strict=True), 1):
        own = {"id": f"region{index}", "from_name": "label", "to_name": "image", "origin": "manual"}
        results.append(shape if shape is not None else own | _to_result(region, name, record.size_hw or (1, 1)))
    results += original.undrawn
    task = original.record if isinstance(original.record, dict) else None
    if task is None:
        return {"id": number, "data": {"image": record.filename}, "annotations": [{"id": number, "result": results}]}
    key = "annotations" if "annotations" in task else "completions"
    first, *others = task[key]
    return {**task, key: [{**first, "result": results}, *others]}


def _to_result(region: Region, name: str, size_hw: tuple[int, int]) -> Document:
    height, width = size_hw
    result: Document = {"original_width": width, "original_height": height, "image_rotation": 0}
    if isinstance(region, Polygon):
        points = [[(x - EDGE) / width * 100, (y - EDGE) / height * 100] for x, y in region.points_xy.tolist()]
        return result | _labelled("polygonlabels", name, {"points": points, "closed": True})
    if isinstance(region, Ellipse | Circle):
        radii_xy = (region.radius, region.radius) if isinstance(region, Circle) else region.radii_xy
        (x, y), degrees = region.center_xy, math.degrees(region.theta_rad) if isinstance(region, Ellipse) else 0.0
        place = {"x": (x - EDGE) / width * 100, "y": (y - EDGE) / height * 100, "rotation": degrees}
        radii = {"radiusX": radii_xy[0] / width * 100, "radiusY": radii_xy[1] / height * 100}
        return result | _labelled("ellipselabels", name, place | radii)
    rle = encode_brush(rasterize_region(region, size_hw))
    return result | _labelled("brushlabels", name, {"format": "rle", "rle": rle})


def _labelled(kind: str, name: str, value: Document) -> Document:
    return {"type": kind, "value": {**value, kind: [name]}}


WRITER = Writer(encode_labelstudio, lambda _images: [ANNOTATIONS], keeps=(Polygon, Ellipse, Circle))

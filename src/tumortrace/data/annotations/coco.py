"""COCO instance annotations, read and written.

Coordinates count from the outer corner of the first pixel, as pycocotools draws them, so reading shifts them by -0.5
and writing by 0.5. Run lengths run down the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

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
from tumortrace.data.annotations.rle import decode_runs, encode_runs, pack_counts, unpack_counts
from tumortrace.data.annotations.shapes import (
    EDGE,
    Drawn,
    ShapeError,
    collect_shapes,
    excerpt,
    read_outline,
    read_size_hw,
    to_marked,
    to_record,
)
from tumortrace.data.bitmap import to_bitmap
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.geometry import Polygon, Region, rasterize_region
from tumortrace.errors import DataError, printable
from tumortrace.json_csv import Document

FORMAT = "COCO"
ANNOTATIONS = "annotations.json"

_CROWD = "its iscrowd is 1: it may stand for several objects; it is drawn like any other"
_NO_OUTLINE = "it has a box or keypoints, but no segmentation; a box is not drawn as a tumour"


def read_document(document: object, source: Source) -> AnnotationFile | None:
    """Read COCO instances, or one image of Segment Anything; None for a document of another format.

    Raises:
        DataError: A list of results, which names no image.
    """
    if _is_results(document):
        raise DataError(f"{source.path}: a list of COCO results, which names no image; give the annotation file")
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        return None
    images = document.get("images", [document["image"]] if isinstance(document.get("image"), dict) else None)
    if not isinstance(images, list):
        return None
    shapes, orphans = _by_image(document["annotations"], images, single="images" not in document)
    names = _name_categories(document.get("categories"))
    shared = _find_shared_ids(images)
    records, findings = [], list(orphans)
    many = f"{len(orphans)} annotations of the file have" if len(orphans) > 1 else "1 annotation of the file has"
    lost = f"it has no annotation, but {many} an id of no image"
    for image in images:
        number = _image_id(image)
        record, faults = _read_image(image, shapes.get(number, []), names, document)
        if record and shapes.get(number) and number in shared:
            cause = f"several images have the id {printable(number)[:40]}: it is unknown whose its annotations are"
            faults = [left_out("image-ambiguous", record.filename, cause, "give each image an id of its own")]
            record = None
        elif record and orphans and not shapes.get(number):
            faults = [left_out("annotation-missing", record.filename, lost, "correct the ids in image_id")]
            record = None
        records += [record] if record else []
        findings += faults
    return AnnotationFile(tuple(records), tuple(findings))


def encode_coco(records: Sequence[ImageAnnotation], classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of a COCO file by its name; polygons stay polygons, other shapes become run lengths."""
    originals = [original for record in records if (original := original_of(record, FORMAT))]
    first = originals[0].document if originals else None
    document = {**first} if isinstance(first, dict) else {"info": {}, "licenses": []}
    listed = document.get("categories")
    categories = _list_categories(listed)
    ids = {str(each.get("name")): each.get("id") for each in categories}
    others = [each for original in originals[1:] for each in _list_categories(_categories_of(original))]
    for category in (*others, *({"name": name} for name in classes)):
        name = str(category.get("name", category.get("id")))
        if name not in ids:
            ids[name] = max((number for number in ids.values() if isinstance(number, int)), default=0) + 1
            categories.append({**category, "id": ids[name], "name": name})
    images = _to_images(records)
    annotations: list[Document] = []
    for record, image in zip(records, images, strict=True):
        annotations += [_renumber(each, record, ids, listed) for each in _to_annotations(record, image["id"], ids)]
    taken = [each.get("id") for each in annotations if "id" in each]
    if len(set(map(str, taken))) != len(annotations):
        annotations = [{**each, "id": number} for number, each in enumerate(annotations, 1)]
    document |= {"images": images, "annotations": annotations, "categories": categories}
    return {ANNOTATIONS: json.dumps(document, allow_nan=False).encode()}


def _is_results(document: object) -> bool:
    return isinstance(document, list) and any(
        isinstance(each, dict) and "image_id" in each and {"segmentation", "bbox", "keypoints", "caption"} & each.keys()
        for each in document[:3]
    )


def _by_image(
    annotations: Sequence[object], images: Sequence[object], *, single: bool
) -> tuple[dict[str, list[object]], list[Finding]]:
    """The annotations of each image by its id; those of no image are findings."""
    shapes: dict[str, list[object]] = {_image_id(image): [] for image in images}
    only = next(iter(shapes), "")
    findings = []
    for number, annotation in enumerate(annotations, start=1):
        owner = _id_key(annotation.get("image_id")) if isinstance(annotation, dict) else ""
        if single or owner in shapes:
            shapes[only if single else owner].append(annotation)
        else:
            cause = f"annotation {number} belongs to image {printable(owner)[:40] or 'none'}, which the file lacks"
            findings.append(left_out("image-missing", NO_IMAGE, cause, "export the annotations again"))
    return shapes, findings


def _id_key(value: object) -> str:
    """An id as text; programs that keep numbers in tables write 1.0 for 1."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _image_id(image: object) -> str:
    known = image if isinstance(image, dict) else {}
    return _id_key(known.get("id", known.get("image_id")))


def _find_shared_ids(images: Sequence[object]) -> set[str]:
    """The ids that images of several names have, as in files that were joined by hand."""
    names: dict[str, set[str]] = {}
    for image in images:
        if isinstance(image, dict):
            names.setdefault(_image_id(image), set()).add(str(image.get("file_name")))
    return {number for number, files in names.items() if len(files) > 1}


def _name_categories(categories: object) -> dict[str, str]:
    return {_id_key(each.get("id")): str(each.get("name", each.get("id"))) for each in _list_categories(categories)}


def _list_categories(categories: object) -> list[Document]:
    return [each for each in categories if isinstance(each, dict)] if isinstance(categories, list) else []


def _categories_of(original: Original | None) -> object:
    """The categories of the file that an image comes from."""
    return original.document.get("categories") if original and isinstance(original.document, dict) else None


def _renumber(annotation: Document, record: ImageAnnotation, ids: Mapping[str, object], listed: object) -> Document:
    """An annotation with the number that its category has in the written file; another file may number them otherwise.

    Args:
        annotation: The annotation.
        record: Image that it belongs to.
        ids: Numbers of the categories in the written file, by their names.
        listed: Categories whose numbers the written file keeps.
    """
    original = original_of(record, FORMAT)
    own = _categories_of(original)
    if original is None or own == listed or "category_id" not in annotation:
        return annotation
    key = _id_key(annotation["category_id"])
    name = _name_categories(own).get(key, key)
    return {**annotation, "category_id": ids[name]} if name in ids else annotation


def _read_image(
    image: object, shapes: Sequence[object], names: Mapping[str, str], document: Document
) -> tuple[ImageAnnotation | None, list[Finding]]:
    filename = image.get("file_name") if isinstance(image, dict) else None
    paths = names_of_path(filename) if isinstance(filename, str) else []
    if not isinstance(image, dict) or not paths:
        cause = f"image {printable(_image_id(image))[:40]} has no file name that can be used ({excerpt(filename)})"
        return None, [left_out("unsafe-filename", NO_IMAGE, cause, "name the image relative to the annotation file")]
    size_hw = read_size_hw(image.get("height"), image.get("width"))
    # Captions outline nothing, and do not say that there is something to outline.
    outlined = [each for each in shapes if not (isinstance(each, dict) and "caption" in each)]
    name, *others = paths
    collected = collect_shapes(name, outlined, lambda shape: _read_shape(shape, size_hw, names))
    known = {key: value for key, value in document.items() if key not in {"images", "image", "annotations"}}
    original = Original(FORMAT, known, image)
    record = to_record(name, collected, size_hw=size_hw, other_names=tuple(others), original=original)
    return record, list(collected.findings)


def _read_shape(shape: object, size_hw: tuple[int, int] | None, names: Mapping[str, str]) -> Drawn:
    if not isinstance(shape, dict):
        raise ShapeError("empty-region", f"it is {excerpt(shape)}, not an annotation")
    segmentation = shape.get("segmentation")
    notes = [("crowd-region", _CROWD, "check it")] if shape.get("iscrowd") == 1 else []
    category = _id_key(shape["category_id"]) if "category_id" in shape else ""
    labels = {"category": names.get(category, category)} if category else {}
    if not segmentation:
        raise ShapeError("no-area", _NO_OUTLINE)
    if isinstance(segmentation, dict):
        return Drawn([_read_rle(segmentation, size_hw)], labels, notes)
    if not isinstance(segmentation, list):
        raise ShapeError("empty-region", f"its segmentation is {excerpt(segmentation)}")
    parts = [segmentation] if isinstance(segmentation[0], int | float) else segmentation
    regions: list[Region] = []
    for number, part in enumerate(parts, start=1):
        try:
            regions.append(_read_part(part))
        except ShapeError as fault:
            if len(parts) == 1:
                raise
            notes.append((fault.args[0], f"part {number} of {len(parts)}: {fault.args[1]}", "outline the part again"))
    if not regions:
        raise ShapeError(*notes[-1][:2])
    return Drawn(regions, labels, notes)


def _read_part(part: object) -> Polygon:
    if not isinstance(part, list) or len(part) % 2:
        raise ShapeError("empty-region", "a part of its segmentation is no list of x and y in turns")
    return read_outline(zip(part[0::2], part[1::2], strict=True), shift=EDGE)


def _read_rle(segmentation: Document, size_hw: tuple[int, int] | None) -> Region:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(each) is int for each in size):
        raise ShapeError("empty-region", f"the size of its mask is {excerpt(size)}")
    height, width = size
    if size_hw and (height, width) != size_hw:
        raise ShapeError("empty-region", f"its mask is {width} x {height}, and its image {size_hw[1]} x {size_hw[0]}")
    mask = decode_runs(unpack_counts(counts) if isinstance(counts, str) else counts, (height, width), by_columns=True)
    return to_marked(mask)


def _to_images(records: Sequence[ImageAnnotation]) -> list[Document]:
    """The images; those that come from COCO keep all they have, and their ids where no two are the same."""
    originals = [original_of(record, FORMAT) for record in records]
    known = [None if original is None else original.record for original in originals]
    ids = [each.get("id") if isinstance(each, dict) else None for each in known]
    keep = all(number is not None for number in ids) and len(set(map(str, ids))) == len(ids)
    images = []
    for index, (record, each) in enumerate(zip(records, known, strict=True)):
        height, width = record.size_hw or (0, 0)
        own = {"id": ids[index] if keep else index + 1, "file_name": record.filename, "width": width, "height": height}
        images.append({**(each if isinstance(each, dict) else {}), **own})
    return images


def _to_annotations(record: ImageAnnotation, image_id: object, ids: Mapping[str, object]) -> Iterable[Document]:
    height, width = record.size_hw or (0, 0)
    annotations: list[Document] = []
    shapes = original_shapes(record, FORMAT)
    original = original_of(record, FORMAT)
    for region, name, shape in zip(record.regions, classes_of(record), shapes, strict=True):
        if isinstance(shape, dict):
            annotations.append({**shape, "image_id": image_id})
        elif original is None:  # else a further part of the annotation before
            annotations.append({"image_id": image_id, "category_id": ids[name], **_to_shape(region, (height, width))})
    kept = original.undrawn if original else ()
    return [*annotations, *({**each, "image_id": image_id} for each in kept if isinstance(each, dict))]


def _to_shape(region: Region, size_hw: tuple[int, int]) -> Document:
    mask = rasterize_region(region, size_hw)
    box = to_bitmap(mask)
    segmentation: object = {"size": [*size_hw], "counts": pack_counts(encode_runs(mask, by_columns=True))}
    if isinstance(region, Polygon):
        segmentation = [[float(value) for value in (region.points_xy - EDGE).ravel()]]
    return {
        "segmentation": segmentation,
        "area": int(mask.sum()),
        "bbox": [*box.origin_xy, box.size_hw[1], box.size_hw[0]],
        "iscrowd": 0,
    }


WRITER = Writer(encode_coco, lambda _images: [ANNOTATIONS], keeps=(Polygon,))

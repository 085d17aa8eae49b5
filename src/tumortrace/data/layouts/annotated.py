"""The layout with an annotation file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from tumortrace.data.annotations.documents import SUFFIXES
from tumortrace.data.annotations.find import choose_annotations
from tumortrace.data.annotations.labels import count_labels, keep_label
from tumortrace.data.annotations.records import AnnotationFile, ImageAnnotation
from tumortrace.data.annotations.via import shape_attributes
from tumortrace.data.findings import left_out
from tumortrace.data.folders import join
from tumortrace.data.geometry import Region
from tumortrace.data.layouts.opening import Opening, below
from tumortrace.data.lookup import FileLookup
from tumortrace.data.parts import is_below_masks, read_folder_name


def open_annotations(opening: Opening, folder: str) -> None:
    """Use the annotation file of a folder, if there is one."""
    tree = opening.tree
    files = [file for file in _list_candidates(opening, folder) if file not in opening.used]
    if not files:
        return
    opening.used |= set(files)
    chosen = choose_annotations([tree.root / file for file in files])
    opening.findings += [
        replace(finding, file=PurePosixPath(finding.file).relative_to(tree.root.as_posix()).as_posix())
        for finding in chosen.findings
    ]
    if chosen.fault:
        opening.faults[folder] = chosen.fault
    if chosen.path is None or chosen.content is None:
        return
    content = chosen.content
    annotation_file = chosen.path.relative_to(tree.root).as_posix()
    if not content.images and not content.findings:
        opening.leave_out(
            "annotation-missing", annotation_file, "it holds no record of an image", "annotate the images"
        )
    opening.findings += [replace(fault, file=join(folder, fault.file)) for fault in content.findings]
    _count_labels(opening, annotation_file, content)
    matched = _match_images(opening, folder, content)
    _name_covered(opening, annotation_file, [image for image in matched if image in opening.used])
    for image, records in matched.items():
        if image not in opening.used:
            _add_annotated(opening, image, records)


def choose_record(
    records: Sequence[ImageAnnotation], size_bytes: int
) -> tuple[ImageAnnotation | None, tuple[str, str] | None]:
    """Choose the record of an image among those that have its name.

    VIA tells files of one name apart by their size, so only records of the file's size count, or else those of unknown
    size. Of several that count, those with regions must have the same ones.

    Args:
        records: All of one name, at least one.
        size_bytes: Size of the image file.

    Returns:
        The record, None if it is not clear which one; and a severity and cause if there is more than one.
    """
    if len(records) == 1:
        return records[0], None
    fitting = [record for record in records if record.size_bytes == size_bytes]
    candidates = fitting or [record for record in records if record.size_bytes == -1]
    drawn = [record for record in candidates if record.regions]
    sizes = ", ".join(str(record.size_bytes) for record in records)
    if not candidates:
        cause = f"{len(records)} records have this name, and none the file's size of {size_bytes} bytes ({sizes})"
        return None, ("left out", cause)
    if len({_describe_regions(record) for record in drawn}) > 1:
        return None, ("left out", f"{len(drawn)} records have this name and size, but different regions")
    chosen = (drawn or candidates)[0]
    which = "the one with the file's size" if fitting and len(fitting) < len(records) else "the first with a region"
    return chosen, ("warning", f"{len(records)} records have this name; {which} is used")


def _list_candidates(opening: Opening, folder: str) -> list[str]:
    """Files in a folder that may be annotations, and those in a folder ``annotations`` that holds no pictures."""
    tree = opening.tree
    if folder and _holds_annotations_only(opening, folder):
        return []
    children = [child for child in tree.children(folder) if _holds_annotations_only(opening, child)]
    files = [file for each in (folder, *children) for file in tree.files_in(each)]
    json_first = sorted(files, key=lambda file: not file.lower().endswith(".json"))
    own = opening.own_documents
    return [file for file in json_first if PurePosixPath(file).suffix.lower() in SUFFIXES and file not in own]


def _holds_annotations_only(opening: Opening, folder: str) -> bool:
    """Whether a folder is called like one of masks and holds no pictures; its files belong to the folder above."""
    return read_folder_name(folder.rpartition("/")[2]).role == "masks" and not below(opening.tree.pictures, folder)


def _count_labels(opening: Opening, annotation_file: str, content: AnnotationFile) -> None:
    for name, counter in count_labels(content.images).items():
        opening.labels[name] = opening.labels[name] + counter if name in opening.labels else counter
        opening.labelled_files.append(annotation_file)


def _match_images(opening: Opening, folder: str, content: AnnotationFile) -> dict[str, list[ImageAnnotation]]:
    """The records of each image that is there; records without an image are findings."""
    tree = opening.tree
    lookup = FileLookup(file for file in below(tree.files, folder) if not is_below_masks(file))
    folders = [PurePosixPath(join(folder, content.image_folder)).as_posix(), folder]
    matched: dict[str, list[ImageAnnotation]] = {}
    for record in content.images:
        images = lookup.find(record.filename, folders=[each for each in folders if each != "."])
        if len(images) > 1:
            images = [image for image in images if _size_of(opening, image) == record.size_bytes] or images
        name = PurePosixPath(join(folder, record.filename)).as_posix()
        if len(images) == 1:
            matched.setdefault(images[0], []).append(record)
        elif images:
            cause = f"{len(images)} images have this name ({', '.join(images[:3])}), and their sizes do not tell which"
            opening.leave_out("image-ambiguous", name, cause, "give the path of the image in its record")
        else:
            cause = "annotated, but there is no such image"
            opening.leave_out("image-missing", name, cause, "add the image or drop its record")
    return matched


def _name_covered(opening: Opening, annotation_file: str, images: list[str]) -> None:
    if images:
        cause = f"{len(images)} of its images have their truth from elsewhere, which is used (first: {images[0]})"
        opening.leave_out("annotations-repeated", annotation_file, cause, "remove the annotations that do not count")


def _add_annotated(opening: Opening, image: str, records: list[ImageAnnotation]) -> None:
    """Add an image by the record that fits it."""
    record, several = choose_record(records, _size_of(opening, image))
    if several:
        severity, cause = several
        finding = left_out("duplicate-record", image, cause, "leave one record an image")
        opening.findings.append(finding if severity == "left out" else replace(finding, severity="warning"))
    if record is None:
        return
    regions = _regions_that_count(opening, record)
    if not regions:
        remedy = "outline the tumour; tumour-free images belong into images/ + masks/ with a black mask"
        opening.leave_out("annotation-missing", image, _describe_lack(opening, record), remedy)
        return
    opening.add_case(image, regions, patient=record.patient)


def _regions_that_count(opening: Opening, record: ImageAnnotation) -> tuple[Region, ...]:
    """All regions of a record, or those of the chosen label where the regions of the dataset are labelled."""
    if opening.label is None or not any(opening.labels.values()):
        return record.regions
    return keep_label(record, opening.label)


def _describe_lack(opening: Opening, record: ImageAnnotation) -> str:
    if record.regions:
        return f"none of its {len(record.regions)} regions is labelled {opening.label!r}"
    return "no region that can be drawn" if record.undrawn else "annotated with no region"


def _describe_regions(record: ImageAnnotation) -> str:
    return json.dumps([shape_attributes(region) for region in record.regions])


def _size_of(opening: Opening, image: str) -> int:
    return (opening.tree.root / image).stat().st_size

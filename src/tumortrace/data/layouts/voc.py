"""The layout of Pascal VOC: pictures, and a folder of class masks."""

from __future__ import annotations

from tumortrace.data.annotations.records import AnnotationFile
from tumortrace.data.annotations.voc_masks import LABEL_MAP, MASK_FOLDERS, Colour, read_class_mask, read_label_map
from tumortrace.data.folders import is_picture, join, name_of
from tumortrace.data.layouts.annotated import ImageFinder, use_annotations
from tumortrace.data.layouts.opening import Opening, below
from tumortrace.data.names import stem_of
from tumortrace.errors import DataError, without_path

_OTHER_FOLDERS = ("SegmentationObject", "SegmentationObjectPNG", "SegmentationClassVisualization", "ImageSets")


def open_voc(opening: Opening, folder: str) -> None:
    """Use the class masks of a folder, if it has a folder of them: each class is a region with its name."""
    tree = opening.tree
    masks = next((join(folder, name) for name in MASK_FOLDERS if join(folder, name) in tree.children(folder)), None)
    if masks is None:
        return
    for name in _OTHER_FOLDERS:  # the objects of the same masks, and lists of names
        opening.masks.update(below(tree.files, join(folder, name)))
    names = _read_names(opening, join(folder, LABEL_MAP))
    files = [file for file in tree.files_in(masks) if is_picture(file)]
    opening.masks.update(files)
    opening.used.update(opening.masks)
    finder = ImageFinder(opening, folder)
    for file in files:
        try:
            record = read_class_mask(tree.root / file, stem_of(name_of(file)), names)
        except DataError as error:
            opening.leave_out("unreadable", file, without_path(error), "correct or remove it")
            continue
        use_annotations(opening, folder, {file: AnnotationFile((record,))}, finder)


def _read_names(opening: Opening, file: str) -> dict[Colour, str] | None:
    if file not in opening.tree.files:
        return None
    opening.used.add(file)
    try:
        return read_label_map(opening.tree.root / file)
    except DataError as error:
        opening.leave_out("not-annotations", file, without_path(error), "correct the file")
        return None

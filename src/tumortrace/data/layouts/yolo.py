"""The layout with YOLO label files, one an image."""

from __future__ import annotations

from collections.abc import Iterable

from tumortrace.data.annotations.records import AnnotationFile
from tumortrace.data.annotations.yolo import (
    NAME_FILES,
    SUFFIX,
    PosesError,
    looks_like_labels,
    read_classes,
    read_labels,
)
from tumortrace.data.folders import join, name_of
from tumortrace.data.layouts.annotated import (
    ImageFinder,
    is_within_annotations,
    list_annotation_folders,
    use_annotations,
)
from tumortrace.data.layouts.opening import Opening, ancestors, below
from tumortrace.data.names import spelling_key, stem_of
from tumortrace.data.parts import is_below_masks, read_folder_name
from tumortrace.data.patients import lie_apart
from tumortrace.data.pictures import read_size_hw
from tumortrace.data.tables import read_text
from tumortrace.errors import DataError, without_path
from tumortrace.wording import counted

_YAML = (".yaml", ".yml")
_FEWEST_NUMBERS = 5  # in a line: the class and a box


def open_yolo(opening: Opening, folder: str) -> None:
    """Use the label files in a folder, and in its folders ``labels``, that are called like a picture."""
    if is_within_annotations(opening, folder):
        return
    labels = _list_labels(opening, folder)
    if not labels:
        return
    try:
        classes = _read_names(opening, folder)
    except PosesError as error:
        opening.used |= set(labels)
        opening.faults[folder] = str(error)
        return
    finder = ImageFinder(opening, "")  # the pictures are found already, by their whole paths
    covered = []
    for file, image in labels.items():
        if image in opening.used:
            covered += [file] if _holds_labels(opening, file) else []
            continue
        content = _read(opening, file, image, classes)
        if content is not None:
            opening.used.add(file)
            use_annotations(opening, "", {file: content}, finder)
    if covered:
        opening.used |= set(covered)
        cause = f"{counted(len(covered), 'label file')} of images that have their truth from elsewhere, which is used"
        opening.leave_out("annotations-repeated", covered[0], cause, "remove the annotations that do not count")


def _list_labels(opening: Opening, folder: str) -> dict[str, str]:
    """The picture of each label file. One that fits none is no label file; one that fits several is a finding."""
    tree = opening.tree
    places = (folder, *list_annotation_folders(opening, folder))
    texts = {place: tree.files_in(place) if place == folder else below(tree.files, place) for place in places}
    texts = {place: [file for file in files if file.lower().endswith(SUFFIX)] for place, files in texts.items()}
    if not any(texts.values()):
        return {}
    pictures = [file for file in below(tree.pictures, folder) if not is_below_masks(file)]
    by_stem: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for file in pictures:
        by_stem.setdefault(spelling_key(stem_of(file)), []).append(file)
        by_name.setdefault(spelling_key(stem_of(name_of(file))), []).append(file)
    image_folders = [child for child in tree.children(folder) if read_folder_name(name_of(child)).role == "images"]
    labels: dict[str, str] = {}
    imageless: list[str] = []
    elsewhere: dict[str, str] = {}
    for place, files in texts.items():
        for file in (file for file in files if file not in opening.used):
            rest = stem_of(file[len(place) + 1 :] if place else file)
            stems = [join(each, rest) for each in (*image_folders, folder)]
            exact = next((by_stem[key] for key in map(spelling_key, stems) if key in by_stem), [])
            named = by_name.get(spelling_key(name_of(rest)), [])
            if len(exact) == 1:
                labels[file] = exact[0]
            elif exact:
                opening.used.add(file)
                cause = f"its name fits {len(exact)} images ({', '.join(exact[:3])}), so none of them uses it"
                opening.leave_out("image-ambiguous", file, cause, "give each image a name and a label file of its own")
            elif len(named) == 1 and not lie_apart(file, named[0]):
                elsewhere[file] = named[0]
            else:
                imageless.append(file)
    labelled = set(labels.values())
    imageless += [file for file, image in elsewhere.items() if image in labelled]
    _name_imageless(opening, [file for file in imageless if labels or is_below_masks(file)])
    return labels | {file: image for file, image in elsewhere.items() if image not in labelled}


def _name_imageless(opening: Opening, files: Iterable[str]) -> None:
    """Name the label files that have no picture of their own."""
    for file in (file for file in files if _holds_labels(opening, file)):
        opening.used.add(file)
        cause, remedy = "a label file without an image of its name", "add the image, or remove the label file"
        opening.leave_out("image-missing", file, cause, remedy)


def _holds_labels(opening: Opening, file: str) -> bool:
    """Whether a text holds at least a box, as label files do."""
    try:
        text = read_text(opening.tree.root / file)
    except DataError:  # named with the other files that are not read
        return False
    return looks_like_labels(text) and any(len(line.split()) >= _FEWEST_NUMBERS for line in text.splitlines())


def _read(opening: Opening, file: str, image: str, classes: dict[int, str]) -> AnnotationFile | None:
    """The content of a label file; None for another text, or where the size of the picture is unknown."""
    try:
        text = read_text(opening.tree.root / file)
        if not looks_like_labels(text):
            return None
        return read_labels(text, image, read_size_hw(opening.tree.root / image), classes)
    except DataError as error:
        opening.used |= {file, image}
        opening.leave_out("unreadable", image, without_path(error), "correct or remove it")
        return None


def _read_names(opening: Opening, folder: str) -> dict[int, str]:
    """Return the names of the classes, from the nearest file that lists them, in the folder or above.

    Raises:
        PosesError: The file describes keypoints.
    """
    for place in ancestors(join(folder, "x")):
        for file in opening.tree.files_in(place):
            if name_of(file) not in NAME_FILES and not file.lower().endswith(_YAML):
                continue
            opening.used.add(file)
            try:
                classes = read_classes(opening.tree.root / file)
            except PosesError:
                raise
            except DataError as error:
                cause, remedy = without_path(error), "correct the file, or remove it"
                opening.leave_out("not-annotations", file, cause, remedy)
                continue
            if classes:
                return classes
    return {}

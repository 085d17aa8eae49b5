"""The layout with annotation files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tumortrace.data.annotations.documents import SUFFIXES
from tumortrace.data.annotations.find import choose_annotations
from tumortrace.data.annotations.labels import count_labels, keep_label
from tumortrace.data.annotations.records import NO_IMAGE, AnnotationFile, ImageAnnotation, region_key
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.folders import is_picture, join, name_of
from tumortrace.data.layouts.opening import Opening, ancestors, below
from tumortrace.data.lookup import FileLookup
from tumortrace.data.names import spelling_key, stem_of
from tumortrace.data.parts import is_below_masks, part_in_name, part_of, read_folder_name
from tumortrace.data.patients import name_two_patients
from tumortrace.data.pictures import read_size_hw
from tumortrace.errors import DataError


def open_annotations(opening: Opening, folder: str) -> None:
    """Use the annotation files of a folder, if there are any."""
    tree = opening.tree
    files = [file for file in _list_candidates(opening, folder) if file not in opening.used]
    if not files:
        return
    opening.used |= set(files)
    images = ImageFinder(opening, folder)
    paths = [tree.root / file for file in files]
    chosen = choose_annotations(paths, images.size_of, lambda read: _name_by_parts(read, images))
    opening.findings += [
        replace(finding, file=PurePosixPath(finding.file).relative_to(tree.root.as_posix()).as_posix())
        for finding in chosen.findings
    ]
    if chosen.fault:
        opening.faults[folder] = chosen.fault
    contents = {path.relative_to(tree.root).as_posix(): content for path, content in chosen.files}
    use_annotations(opening, folder, contents, images)


def use_annotations(opening: Opening, folder: str, contents: Mapping[str, AnnotationFile], images: ImageFinder) -> None:
    """Add the images that annotation files describe.

    Args:
        opening: The dataset while it is opened.
        folder: Folder that the names of the images are relative to.
        contents: Content of each file, by its path in the dataset.
        images: Finder of the images below the folder.
    """
    matched: dict[str, list[tuple[str, ImageAnnotation]]] = {}
    labelled = {file for file, content in contents.items() if count_labels(content.images)}
    parts = _list_parts(contents)
    for file, content in contents.items():
        if not content.images and not content.findings:
            opening.leave_out("annotation-missing", file, "it holds no record of an image", "annotate the images")
        opening.findings += [_place(fault, folder, file) for fault in content.findings]
        _count_labels(opening, file, content)
        found = _match_images(opening, folder, file, content, images)
        _name_covered(opening, file, [image for image in found if image in opening.used - {file}])
        for image, records in found.items():
            matched.setdefault(image, []).extend((file, record) for record in records)
    for image, described in matched.items():
        if image not in opening.used or image in contents:
            _add_annotated(opening, image, described, labelled, parts)


_NO_PICTURES = SUFFIXES | {".txt"}


class ImageFinder:
    """The pictures below a folder, found by their names in annotation files."""

    def __init__(self, opening: Opening, folder: str) -> None:
        """Index the pictures.

        Args:
            opening: The dataset while it is opened.
            folder: The folder.
        """
        self._opening = opening
        self._folder = folder
        self._lookup = FileLookup(
            file
            for file in below(opening.tree.files, folder)
            if not is_below_masks(file)
            and file not in opening.masks
            and PurePosixPath(file).suffix.lower() not in _NO_PICTURES
        )

    def find(self, names: Sequence[str], *, image_folder: str = "") -> list[str]:
        """Return the files that the first of several names can mean that means any.

        Args:
            names: Names of one image, the most likely one first.
            image_folder: Folder of the images as the annotation file states it.
        """
        stated = PurePosixPath(join(self._folder, image_folder)).as_posix()
        folders = [each for each in (stated, self._folder) if each != "."]
        found = (self._lookup.find(name, folders=folders) for name in names)
        return next((files for files in found if files), [])

    def relative(self, file: str) -> str:
        """Return the path of a file below the folder, as an annotation file may name it."""
        return file[len(self._folder) + 1 :] if self._folder else file

    def size_of(self, name: str) -> tuple[int, int] | None:
        """Return height and width of the one image that a name means; None if there is none, or it cannot be read."""
        files = [file for file in self.find([name]) if is_picture(file)]
        try:
            return read_size_hw(self._opening.tree.root / files[0]) if len(files) == 1 else None
        except DataError:  # named when the image is read
            return None


def _choose_record(records: Sequence[ImageAnnotation], size_bytes: int) -> tuple[ImageAnnotation | None, str]:
    """Choose the record of an image among those that have its name.

    VIA tells files of one name apart by their size, so only records of the file's size count, or else those of unknown
    size. Of several that count, those with regions must have the same ones.

    Args:
        records: All of one name, at least one.
        size_bytes: Size of the image file.

    Returns:
        The record, None if it is not clear which one; and the cause of a finding if there is more than one, else "".
    """
    if len(records) == 1:
        return records[0], ""
    fitting = [record for record in records if record.size_bytes == size_bytes]
    candidates = fitting or [record for record in records if record.size_bytes == -1]
    drawn = [record for record in candidates if record.regions]
    sizes = ", ".join(str(record.size_bytes) for record in records)
    if not candidates:
        cause = f"{len(records)} records have this name, and none the file's size of {size_bytes} bytes ({sizes})"
        return None, cause
    if len({_describe_regions(record) for record in drawn}) > 1:
        return None, f"{len(drawn)} records have this name and size, but different regions"
    chosen = (drawn or candidates)[0]
    which = "the one with the file's size" if fitting and len(fitting) < len(records) else "the first with a region"
    return chosen, f"{len(records)} records have this name; {which} is used"


def list_annotation_folders(opening: Opening, folder: str) -> list[str]:
    """Return the folders directly in a folder that are called like those of masks and hold no picture."""
    return [child for child in opening.tree.children(folder) if _holds_annotations_only(opening, child)]


def _holds_annotations_only(opening: Opening, folder: str) -> bool:
    """Whether a folder is called like one of masks and holds no pictures; its files belong to the folder above."""
    return read_folder_name(name_of(folder)).role == "masks" and not below(opening.tree.pictures, folder)


def is_within_annotations(opening: Opening, folder: str) -> bool:
    """Whether a folder is one that ``_holds_annotations_only``, or lies below one."""
    return any(each and _holds_annotations_only(opening, each) for each in [folder, *ancestors(folder)])


def _list_candidates(opening: Opening, folder: str) -> list[str]:
    """Files in a folder that may be annotations, and those in a folder ``annotations`` that holds no pictures."""
    tree = opening.tree
    if is_within_annotations(opening, folder):
        return []
    files = [*tree.files_in(folder)]
    for child in list_annotation_folders(opening, folder):
        files += below(tree.files, child)
    json_first = sorted(files, key=lambda file: not file.lower().endswith(".json"))
    own = opening.own_documents
    return [file for file in json_first if PurePosixPath(file).suffix.lower() in SUFFIXES and file not in own]


def _name_by_parts(
    files: Sequence[tuple[Path, AnnotationFile]], images: ImageFinder
) -> list[tuple[Path, AnnotationFile]]:
    """Tell apart images of one name in several parts, where files are called after parts: ``instances_val.json``."""
    listed = {
        (part, spelling_key(record.filename))
        for path, content in files
        if (part := part_in_name(path.stem))
        for record in content.images
    }
    return [(path, _name_by_part(part_in_name(path.stem), content, images, listed)) for path, content in files]


def _name_by_part(
    part: str, content: AnnotationFile, images: ImageFinder, listed: Collection[tuple[str, str]]
) -> AnnotationFile:
    """Name the images of a part by their paths, and leave out those that only another part has and lists as well.

    Args:
        part: Part that the file is called after; ``""`` for none.
        content: Its content.
        images: Finder of the images.
        listed: Part and name of each image in all files.
    """
    paths: dict[str, str] = {}
    lost: set[str] = set()
    for record in content.images if part else ():
        found = images.find([record.filename, *record.other_names], image_folder=content.image_folder)
        inside = [image for image in found if part_of(image) == part]
        if len(inside) == 1 < len(found):
            paths[record.filename] = images.relative(inside[0])
        elif not inside and any((part_of(image), spelling_key(record.filename)) in listed for image in found):
            lost.add(record.filename)
    if not paths and not lost:
        return content
    cause = f"annotated as of {part.upper()}, and only another part, which lists it too, has an image of this name"
    kept = [each for each in content.images if each.filename not in lost]
    return replace(
        content,
        images=tuple(replace(each, filename=paths.get(each.filename, each.filename)) for each in kept),
        findings=(
            *(replace(fault, file=paths.get(fault.file, fault.file)) for fault in content.findings),
            *(left_out("image-missing", name, cause, "add the image or drop its record") for name in sorted(lost)),
        ),
    )


def _list_parts(contents: Mapping[str, AnnotationFile]) -> dict[str, str]:
    """The part that each file is named after, where files that list images are named after several.

    Files of one image each, such as those of labelme, are named after the image.
    """
    parts = {file: part_in_name(stem_of(name_of(file))) for file in contents}
    listed = any(len(content.images) > 1 for content in contents.values())
    return parts if listed and len({*parts.values()} - {""}) > 1 else {}


def _place(fault: Finding, folder: str, file: str) -> Finding:
    """A fault of an annotation file, with the path of the image and the name of the file."""
    name = name_of(file)
    if fault.file == NO_IMAGE:
        return replace(fault, file=file)
    return replace(fault, file=join(folder, fault.file), cause=f"{name}: {fault.cause}")


def _count_labels(opening: Opening, annotation_file: str, content: AnnotationFile) -> None:
    for name, counter in count_labels(content.images).items():
        opening.labels[name] = opening.labels[name] + counter if name in opening.labels else counter
        opening.labelled_files.append(annotation_file)


def _match_images(
    opening: Opening, folder: str, file: str, content: AnnotationFile, finder: ImageFinder
) -> dict[str, list[ImageAnnotation]]:
    """The records of each image that is there; records without an image are findings."""
    matched: dict[str, list[ImageAnnotation]] = {}
    for record in content.images:
        images = finder.find([record.filename, *record.other_names], image_folder=content.image_folder)
        images = [image for image in images if not name_two_patients(record.filename, finder.relative(image))]
        if len(images) > 1:
            images = [image for image in images if _size_of(opening, image) == record.size_bytes] or images
        name = PurePosixPath(join(folder, record.filename)).as_posix()
        if len(images) == 1:
            matched.setdefault(images[0], []).append(record)
        elif record.has_picture:
            matched.setdefault(file, []).append(record)
        elif len(images) > 1:
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


def _add_annotated(
    opening: Opening,
    image: str,
    described: list[tuple[str, ImageAnnotation]],
    labelled: Collection[str],
    parts: Mapping[str, str],
) -> None:
    """Add an image by the record that fits it; a record without any shape says that there is no tumour.

    Args:
        opening: The dataset while it is opened.
        image: The image.
        described: Its records, each with its file.
        labelled: Files whose regions are labelled; only there does the chosen label choose.
        parts: Part that each file is named after, where folders name none.
    """
    record, several = _choose_record([record for _, record in described], _size_of(opening, image))
    if several:
        find = left_out if record is None else warning
        opening.findings.append(find("duplicate-record", image, several, "leave one record an image"))
    if record is None:
        return
    file = next(file for file, each in described if each is record)
    counted = record if opening.label is None or file not in labelled else keep_label(record, opening.label)
    if not counted.regions and (record.regions or record.undrawn):
        remedy = "outline the tumour; if there is none, put the image into images/ and a black mask into masks/"
        opening.leave_out("annotation-missing", image, _describe_lack(opening, record), remedy)
        return
    if not record.regions:
        cause = f"its record in {name_of(file)} has no region, so it counts as free of tumour"
        remedy = "remove the record if the image is not annotated yet"
        opening.findings.append(warning("no-region", image, cause, remedy))
    opening.parts.setdefault(image, parts.get(file, ""))
    opening.add_case(image, counted.regions, patient=record.patient, annotation=counted)


def _describe_lack(opening: Opening, record: ImageAnnotation) -> str:
    if record.regions:
        return f"no region of {len(record.regions)} is labelled {opening.label!r}"
    return "no region that can be drawn"


def _describe_regions(record: ImageAnnotation) -> str:
    return "\n".join(map(region_key, record.regions))


def _size_of(opening: Opening, image: str) -> int:
    return (opening.tree.root / image).stat().st_size

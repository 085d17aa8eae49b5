"""The annotation files of a folder, chosen among all its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.annotations import coco, cvat, labelme, labelstudio, supervisely, via, via3, voc_boxes
from tumortrace.data.annotations.documents import describe_foreign, load_document, too_deep
from tumortrace.data.annotations.records import AnnotationFile, ImageAnnotation, Reader, Source, region_key
from tumortrace.data.findings import Finding, left_out
from tumortrace.data.names import spelling_key
from tumortrace.errors import DataError

READERS: tuple[Reader, ...] = (
    via3.read_document,
    coco.read_document,
    labelme.read_document,
    labelstudio.read_document,
    supervisely.read_document,
    cvat.read_document,
    voc_boxes.read_document,
    via.read_document,
)
"""One reader a format; the first that knows a document reads it."""


class UnknownFormatError(DataError):
    """A file in a format that no reader knows."""


@dataclass(frozen=True)
class ChosenFiles:
    """The annotation files that count in a folder.

    Attributes:
        files: Path and content of each.
        findings: One for each other file, by its path: ``not-annotations``, or ``annotations-repeated``.
        fault: Reason why no annotation file can be used; None if there is none.
    """

    files: tuple[tuple[Path, AnnotationFile], ...]
    findings: tuple[Finding, ...]
    fault: str | None


def choose_annotations(
    paths: Sequence[Path],
    size_of: Callable[[str], tuple[int, int] | None],
    name_images: Callable[[list[tuple[Path, AnnotationFile]]], list[tuple[Path, AnnotationFile]]],
) -> ChosenFiles:
    """Read the files that may be annotations, and choose those that count.

    Files about different images all count. Of files with the same annotations, such as VIA's JSON beside its CSV, the
    first counts. Files that outline one image in different ways are a fault.

    Args:
        paths: The files.
        size_of: Function that returns height and width of an image by its name; see ``Source``.
        name_images: Function that tells apart the images of files whose names occur in others too.
    """
    readable: list[tuple[Path, AnnotationFile]] = []
    findings = []
    damaged = []
    for path in paths:
        try:
            readable.append((path, read_annotations(path, size_of)))
        except UnknownFormatError as error:
            findings.append(_name_foreign(path, str(error)))
        except DataError as error:
            damaged.append((path, error))
    fault = None if readable or not damaged else str(damaged.pop(0)[1])
    findings += [_name_foreign(path, str(error)) for path, error in damaged]
    if not readable:
        return ChosenFiles((), tuple(findings), fault)
    files, repeated, fault = _drop_repeated(name_images(readable))
    return ChosenFiles(() if fault else tuple(files), (*findings, *repeated), fault)


def read_annotations(
    path: Path, size_of: Callable[[str], tuple[int, int] | None] = lambda _name: None
) -> AnnotationFile:
    """Read an annotation file in any format.

    Args:
        path: The file.
        size_of: Function that returns height and width of an image by its name; see ``Source``.

    Raises:
        UnknownFormatError: No reader knows the format.
        DataError: The file cannot be read or is damaged.
    """
    document = load_document(path)
    source = Source(path, size_of)
    try:
        for reader in READERS:
            content = reader(document, source)
            if content is not None:
                return content
    except RecursionError:
        raise too_deep(path) from None
    raise UnknownFormatError(f"{path}: {describe_foreign(document)}")


def _drop_repeated(
    readable: Sequence[tuple[Path, AnnotationFile]],
) -> tuple[list[tuple[Path, AnnotationFile]], list[Finding], str | None]:
    """Drop the files whose images others have with the same regions; say where they have different ones."""
    first: dict[str, tuple[Path, list[str]]] = {}
    kept: list[tuple[Path, AnnotationFile]] = []
    findings: list[Finding] = []
    for path, content in readable:
        drawn = _summarise(content.images)
        shared = [name for name in drawn if name in first]
        for name in shared:
            other, regions = first[name]
            if regions and drawn[name] and regions != drawn[name]:
                names = ", ".join(each.name for each, _ in readable[:5])
                cause = f"several annotation files ({names}), of which {other.name} and {path.name} differ on {name}"
                remedy = "leave the one that counts, or put each beside its own images"
                return [], findings, f"{path.parent}: {cause}; {remedy}"
        if shared and all(name in first and (first[name][1] or not regions) for name, regions in drawn.items()):
            cause = f"holds the same annotations as {first[shared[0]][0].name}, which is used"
            findings.append(left_out("annotations-repeated", str(path), cause, "nothing to do"))
            continue
        kept.append((path, content))
        first |= {name: (path, regions) for name, regions in drawn.items() if name not in first or regions}
    return kept, findings, None


def _summarise(images: Sequence[ImageAnnotation]) -> Mapping[str, list[str]]:
    """The regions of each image as values that can be compared with those of another file."""
    drawn: dict[str, list[str]] = {}
    for image in images:
        drawn.setdefault(spelling_key(image.filename), []).extend(map(region_key, image.regions))
    return {name: sorted(regions) for name, regions in drawn.items()}


def _name_foreign(path: Path, message: str) -> Finding:
    cause = message.removeprefix(f"{path}: ")
    return left_out("not-annotations", str(path), cause, "remove it if it is no annotation")

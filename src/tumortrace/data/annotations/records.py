"""Regions and labels of an image, as every annotation format is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tumortrace.data.bitmap import Bitmap
from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Ellipse, Polygon, Region

DEFAULT_CLASS = "tumour"
"""Class that is written for a region without a label."""

NO_IMAGE = "(none)"
"""What stands in a finding of an annotation file for an image without a name."""

_CLASS_ATTRIBUTES = ("label", "class", "category", "name", "type")


@dataclass(frozen=True)
class Original:
    """What a file holds of an image, kept so that the same format can be written back with nothing lost.

    Attributes:
        format: Name of the format.
        document: The file without its images.
        record: The record of the image without its shapes.
        shapes: Content of the file for each region; None where the shape before it stands for it too.
        undrawn: Shapes that are no region.
    """

    format: str
    document: object = None
    record: object = None
    shapes: tuple[object, ...] = ()
    undrawn: tuple[object, ...] = ()


@dataclass(frozen=True)
class ImageAnnotation:
    """The annotation of one image.

    Attributes:
        filename: Path of the image relative to the folder of the annotation file, with forward slashes.
        size_bytes: Size of the image file when it was annotated, -1 if unknown; VIA tells files apart by it.
        regions: Regions that the annotator drew and that can be drawn again, in their order.
        labels: Label of each region, by the name of the attribute; as many as regions, or empty if the
            file has no labels.
        patient: The patient whose slice it is, where the file says.
        undrawn: Number of regions that cannot be drawn; each is a finding.
        size_hw: Height and width of the image when it was annotated, where the file says.
        other_names: Further names that the image may have, the most likely one first.
        has_picture: Whether the annotation file holds the picture itself.
        original: Content of the file, for writing it back.
    """

    filename: str
    size_bytes: int
    regions: tuple[Region, ...]
    labels: tuple[Mapping[str, str], ...] = ()
    patient: str | None = None
    undrawn: int = 0
    size_hw: tuple[int, int] | None = None
    other_names: tuple[str, ...] = ()
    has_picture: bool = False
    original: Original | None = field(default=None, compare=False, repr=False)

    @property
    def region_labels(self) -> tuple[Mapping[str, str], ...]:
        """Label of each region, one without an attribute if the file has no labels."""
        return self.labels or ({},) * len(self.regions)


@dataclass(frozen=True)
class AnnotationFile:
    """What an annotation file holds.

    Attributes:
        images: One entry a record, in the order of the file; a name may occur more than once.
        findings: The faults of the file, each with the image it concerns.
        image_folder: Folder of the images relative to the annotation file, where the file says; ``""`` if it does not.
    """

    images: tuple[ImageAnnotation, ...]
    findings: tuple[Finding, ...] = ()
    image_folder: str = ""


@dataclass(frozen=True)
class Source:
    """An annotation file while it is read.

    Attributes:
        path: The file.
        size_of: Function that returns height and width of an image by its name in the file; None if it is not there.
    """

    path: Path
    size_of: Callable[[str], tuple[int, int] | None]


Reader = Callable[[object, Source], AnnotationFile | None]
"""Reads the document of a file (JSON values, a ``Table``, an XML element); None if it is of another format."""


@dataclass(frozen=True)
class Writer:
    """How a format is written.

    Attributes:
        encode: Function of the records of one part and the classes of the whole dataset that returns the content of
            each file by its path; an image's size is known in each record.
        list_files: Function of the images of one part that returns the paths of all files that may be written for them.
        describe: Function of the folders of the parts and the classes that returns what stands beside them.
        keeps: Shapes that are written as they are; any other is drawn or traced.
    """

    encode: Callable[[Sequence[ImageAnnotation], Sequence[str]], Mapping[str, bytes]]
    list_files: Callable[[Sequence[str]], Collection[str]]
    keeps: tuple[type, ...]
    describe: Callable[[Sequence[str], Sequence[str]], Mapping[str, bytes]] = lambda _folders, _classes: {}


def keep_regions(image: ImageAnnotation, kept: Sequence[bool]) -> ImageAnnotation:
    """Return the annotation with some of its regions only.

    Args:
        image: The annotation; its regions have labels.
        kept: Whether each region stays.
    """
    original = image.original
    if original is not None and original.shapes:
        shapes = [shape for shape, stays in zip(original.shapes, kept, strict=True) if stays]
        original = replace(original, shapes=tuple(shapes))
    regions = [region for region, stays in zip(image.regions, kept, strict=True) if stays]
    labels = [label for label, stays in zip(image.labels, kept, strict=True) if stays]
    return replace(image, regions=tuple(regions), labels=tuple(labels), original=original)


def region_key(region: Region) -> str:
    """Return a text that is the same for equal regions and different for others."""
    if isinstance(region, Polygon):
        return json.dumps(["polygon", region.points_xy.tolist()])
    if isinstance(region, Bitmap):
        digest = hashlib.sha256(region.runs.tobytes()).hexdigest()
        return json.dumps(["bitmap", region.origin_xy, region.size_hw, digest])
    if isinstance(region, Ellipse):
        return json.dumps(["ellipse", region.center_xy, region.radii_xy, region.theta_rad])
    return json.dumps(["circle", region.center_xy, region.radius])


def class_of(labels: Mapping[str, str]) -> str:
    """Return the class of a region: its label, or the first of its attributes."""
    named = [labels[name] for name in _CLASS_ATTRIBUTES if name in labels]
    return next(iter([*named, *labels.values()]), DEFAULT_CLASS)


def classes_of(image: ImageAnnotation) -> list[str]:
    """Return the class of each region of an image."""
    return [class_of(each) for each in image.region_labels]


def list_classes(images: Iterable[ImageAnnotation]) -> list[str]:
    """Return the classes of all regions in alphabetical order; the default class if there is no region."""
    return sorted({name for image in images for name in classes_of(image)}) or [DEFAULT_CLASS]


def original_of(image: ImageAnnotation, format_name: str) -> Original | None:
    """Return what a file of this format holds of an image; None where the image comes from no such file."""
    return image.original if image.original and image.original.format == format_name else None


def original_shapes(image: ImageAnnotation, format_name: str) -> list[object]:
    """Return what stood for each region in a file of the same format; None for each where there is no such file."""
    original = original_of(image, format_name)
    return [None] * len(image.regions) if original is None else list(original.shapes)

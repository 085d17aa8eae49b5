"""Regions and labels of an image, as every annotation format is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Region


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
    """

    filename: str
    size_bytes: int
    regions: tuple[Region, ...]
    labels: tuple[Mapping[str, str], ...] = ()
    patient: str | None = None
    undrawn: int = 0


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


Reader = Callable[[object], AnnotationFile | None]
"""Reads the document of a file (JSON values, or a ``Table``); None if it is of another format."""

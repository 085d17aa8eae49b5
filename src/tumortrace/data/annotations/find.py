"""The annotation file of a folder, chosen among all its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.annotations import via
from tumortrace.data.annotations.documents import describe_foreign, load_document
from tumortrace.data.annotations.records import AnnotationFile, Reader
from tumortrace.data.findings import Finding, left_out
from tumortrace.errors import DataError

READERS: tuple[Reader, ...] = (via.read_document,)
"""One reader a format; the first that knows a document reads it."""


class UnknownFormatError(DataError):
    """A file in a format that no reader knows."""


@dataclass(frozen=True)
class ChosenFile:
    """The annotation file that counts in a folder.

    Attributes:
        path: The file; None if there is none.
        content: Content of the file; None if there is none.
        findings: One for each other file, by its path: ``not-via``, or ``annotations-repeated``.
        fault: Reason why no annotation file can be used; None if there is none.
    """

    path: Path | None
    content: AnnotationFile | None
    findings: tuple[Finding, ...]
    fault: str | None


def choose_annotations(paths: Sequence[Path]) -> ChosenFile:
    """Read the files that may be annotations, and choose the one that counts.

    Several files with the same annotations, such as VIA's JSON beside its CSV, count as one: the first.
    """
    readable: list[tuple[Path, AnnotationFile]] = []
    findings = []
    damaged = []
    for path in paths:
        try:
            readable.append((path, read_annotations(path)))
        except UnknownFormatError as error:
            findings.append(_name_foreign(path, str(error)))
        except DataError as error:
            damaged.append((path, error))
    fault = None if readable or not damaged else str(damaged.pop(0)[1])
    findings += [_name_foreign(path, str(error)) for path, error in damaged]
    if not readable:
        return ChosenFile(None, None, tuple(findings), fault)
    (path, content), *others = readable
    if any(_summarise(other) != _summarise(content) for _, other in others):
        names = ", ".join(each.name for each, _ in readable)
        fault = f"{path.parent}: several annotation files ({names}); leave the one that counts"
        return ChosenFile(None, None, tuple(findings), fault)
    cause = f"holds the same annotations as {path.name}, which is used"
    again = [left_out("annotations-repeated", str(other), cause, "nothing to do") for other, _ in others]
    return ChosenFile(path, content, (*findings, *again), None)


def read_annotations(path: Path) -> AnnotationFile:
    """Read an annotation file in any format.

    Raises:
        UnknownFormatError: No reader knows the format.
        DataError: The file cannot be read or is damaged.
    """
    document = load_document(path)
    for reader in READERS:
        content = reader(document)
        if content is not None:
            return content
    raise UnknownFormatError(f"{path}: {describe_foreign(document)}")


def _name_foreign(path: Path, message: str) -> Finding:
    return left_out("not-via", str(path), message.removeprefix(f"{path}: "), "remove it if it is no annotation")


def _summarise(content: AnnotationFile) -> list[str]:
    """The annotations of a file as values that can be compared with those of another."""
    return sorted(
        json.dumps([image.filename, [via.shape_attributes(region) for region in image.regions]])
        for image in content.images
    )

"""Label files of YOLO, one an image, read and written.

Each line holds the number of a class and the outline as fractions of width and height from the image's outer corner, or
the centre and size of a box.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from tumortrace.data.annotations.records import AnnotationFile, ImageAnnotation, Writer, classes_of
from tumortrace.data.annotations.shapes import (
    EDGE,
    MOST_POINTS,
    Drawn,
    ShapeError,
    collect_shapes,
    excerpt,
    parse_number,
    read_box,
    read_outline,
    to_pixels,
    to_record,
)
from tumortrace.data.annotations.voc_boxes import name_boxes
from tumortrace.data.geometry import Polygon, Region, outline_region
from tumortrace.data.tables import read_text
from tumortrace.errors import DataError
from tumortrace.wording import counted

SUFFIX = ".txt"
DATA_FILE = "data.yaml"

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels")
"""Files that list the names of the classes, one a line."""

_MOST_BYTES = 2**20  # of a list of names
_OUTSIDE = 2.0  # fraction from which coordinates are in pixels
_POSES = re.compile(r"^kpt_shape\s*:", flags=re.MULTILINE)


class PosesError(DataError):
    """The label files of a dataset hold boxes and keypoints, which must not be read as outlines."""


def looks_like_labels(text: str) -> bool:
    """Whether a text may be a label file: every line begins with a whole number, or there is no line."""
    return all(line.split(None, 1)[0].isdecimal() for line in text.splitlines() if line.strip())


def read_labels(text: str, name: str, size_hw: tuple[int, int], classes: Mapping[int, str]) -> AnnotationFile:
    """Read the label file of one image; a file without lines says that there is no object.

    Args:
        text: Content of the file.
        name: Path of the image in its dataset.
        size_hw: Height and width of the image.
        classes: Names of the classes by their number.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    collected = collect_shapes(name, lines, lambda line: _read_line(line, size_hw, classes))
    findings = list(collected.findings)
    boxes = sum(len(line.split()) == 5 for line in lines if line not in collected.undrawn)
    findings += [name_boxes(name, boxes)] if boxes else []
    return AnnotationFile((to_record(name, collected, size_hw=size_hw),), tuple(findings))


def read_classes(path: Path) -> dict[int, str]:
    """Read the names of the classes from a ``data.yaml`` or a list of names; none if the file has no names.

    Raises:
        DataError: The file cannot be read.
        PosesError: It describes keypoints.
    """
    text = read_text(path, most_bytes=_MOST_BYTES)
    if path.suffix.lower() not in {".yaml", ".yml"}:
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    if _POSES.search(text):
        raise PosesError(
            f"{path}: kpt_shape says that the label files hold keypoints, not outlines; export them for segmentation"
        )
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ImportError:
        raise DataError(
            f"{path}: PyYAML is needed to read it; install it with: pip install 'tumortrace[formats]'"
        ) from None
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise DataError(f"{path}: not YAML ({cause[:120]}); correct the file") from None
    names = document.get("names") if isinstance(document, dict) else None
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    # A name that is a list may be one of a billion entries, by aliases within aliases.
    return {
        number: str(name) for number, name in pairs if isinstance(number, int) and isinstance(name, str | int | float)
    }


def encode_yolo(records: Sequence[ImageAnnotation], classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of one file an image, by its path; every shape but a polygon is traced on pixel edges.

    Raises:
        DataError: Two images would have one file, since its name lacks their suffix; the message lacks the folder.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    files: dict[str, bytes] = {}
    images: dict[str, str] = {}
    for record in records:
        path = _name_file(record.filename)
        if path in files:
            raise DataError(
                f"{images[path]} and {record.filename} would share the label file {path}; rename one of them"
            )
        images[path] = record.filename
        height, width = record.size_hw or (1, 1)
        lines = []
        for region, name in zip(record.regions, classes_of(record), strict=True):
            for outline in outline_region(region, (height, width)):
                points = (outline.points_xy - EDGE) / (width, height)
                lines.append(" ".join([str(numbers[name]), *map(repr, points.ravel().tolist())]) + "\n")
        files[path] = "".join(lines).encode()
    return files


def _name_file(image: str) -> str:
    """Return the path of the label file: in ``labels/`` for an image in ``images/``, or else beside the image."""
    path = PurePosixPath(image).with_suffix(SUFFIX)
    folders = list(path.parts[:-1])
    at = next((index for index in reversed(range(len(folders))) if folders[index] == "images"), None)
    if at is not None:
        folders[at] = "labels"
    return PurePosixPath(*folders, path.name).as_posix()


def describe_yolo(folders: Sequence[str], classes: Sequence[str]) -> dict[str, bytes]:
    """Return the content of ``data.yaml``, in which training programs find the classes and the parts.

    Args:
        folders: Folders of the parts; ``""`` for a dataset that is not divided.
        classes: Names of the classes in their order.
    """
    parts = {folder.lower() or "train": folder or "." for folder in folders}
    lines = ["path: .", *(f"{part}: {json.dumps(folder)}" for part, folder in parts.items()), "names:"]
    lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(classes)]  # JSON text is YAML
    return {DATA_FILE: ("\n".join(lines) + "\n").encode()}


def _read_line(line: str, size_hw: tuple[int, int], classes: Mapping[int, str]) -> Drawn:
    if line.count(" ") > 2 * MOST_POINTS:
        raise ShapeError("empty-region", f"a line of {line.count(' '):,} numbers, more than of any outline")
    first, *rest = line.split()
    if not first.isdecimal() or len(first) > 9:
        raise ShapeError("empty-region", f"its class is {excerpt(first)}, not a number")
    numbers = [parse_number(text, "a coordinate") for text in rest]
    if any(not -_OUTSIDE < number < _OUTSIDE for number in numbers):
        raise ShapeError("empty-region", "its coordinates are no fractions of width and height")
    label = classes.get(int(first), first)
    return Drawn([_read_region(numbers, size_hw)], {"class": label})


def _read_region(numbers: Sequence[float], size_hw: tuple[int, int]) -> Region:
    height, width = size_hw
    if len(numbers) == 4:
        x, y, box_width, box_height = numbers
        left, right = to_pixels(x - box_width / 2, width), to_pixels(x + box_width / 2, width)
        top, bottom = to_pixels(y - box_height / 2, height), to_pixels(y + box_height / 2, height)
        return read_box((left, top, right, bottom))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ShapeError(
            "empty-region", f"a line of {counted(len(numbers), 'coordinate')} is neither an outline nor a box"
        )
    pairs = zip(numbers[0::2], numbers[1::2], strict=True)
    return read_outline([(to_pixels(x, width), to_pixels(y, height)) for x, y in pairs])


WRITER = Writer(encode_yolo, lambda images: [*map(_name_file, images)], keeps=(Polygon,), describe=describe_yolo)

"""Reading of shapes: numbers checked, and the faults of a shape named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.records import ImageAnnotation, Original
from tumortrace.data.bitmap import Bitmap, to_bitmap
from tumortrace.data.findings import Finding, warning
from tumortrace.data.geometry import Polygon, Region
from tumortrace.errors import DataError
from tumortrace.wording import counted

T = TypeVar("T")

LARGEST_PX = 1e9
"""No picture is larger, and arithmetic on larger coordinates is no longer exact."""

EDGE = -0.5
"""Shift from a format that counts from pixel edges to pixel centres."""

MOST_SHAPES = 10_000
"""Largest number of shapes in one image."""

MOST_POINTS = 200_000
"""Largest number of vertices of one outline."""

_REMEDY = "outline it again; the other regions of the image are used"


class ShapeError(Exception):
    """A shape that cannot be drawn; its arguments are the kind of the finding and the cause."""


@dataclass(frozen=True)
class Drawn:
    """What one shape of a file gives.

    Attributes:
        regions: Its regions; several where it has several parts.
        labels: Its labels, by the name of the attribute.
        notes: Kind, cause and remedy of what the user should know of it.
    """

    regions: Sequence[Region]
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Collected:
    """The shapes of one image, read one by one.

    Attributes:
        regions: All regions.
        labels: Labels of each region.
        originals: Content of the file for each region; None where the shape before it stands for it too.
        undrawn: Shapes that gave no region.
        findings: Faults and notes, by the image.
    """

    regions: tuple[Region, ...]
    labels: tuple[Mapping[str, str], ...]
    originals: tuple[object, ...]
    undrawn: tuple[object, ...]
    findings: tuple[Finding, ...]


def collect_shapes(filename: str, shapes: Iterable[T], read: Callable[[T], Drawn]) -> Collected:
    """Read the shapes of an image; one that cannot be drawn is a finding, and the others are read.

    Args:
        filename: Name of the image.
        shapes: Content of the file for each.
        read: Function that reads one, and raises ``ShapeError`` where it cannot be drawn.

    Raises:
        DataError: There are more than of any picture.
    """
    shapes = list(shapes)
    if len(shapes) > MOST_SHAPES:
        raise DataError(f"{filename}: {len(shapes):,} regions, more than the limit of {MOST_SHAPES:,}; remove some")
    regions: list[Region] = []
    labels: list[Mapping[str, str]] = []
    originals: list[object] = []
    undrawn, findings = [], []
    for number, shape in enumerate(shapes, start=1):
        try:
            drawn = read(shape)
        except ShapeError as fault:
            kind, cause = fault.args
            undrawn.append(shape)
            findings.append(warning(kind, filename, f"region {number}: {cause}", _REMEDY))
            continue
        findings += [
            warning(kind, filename, f"region {number}: {cause}", remedy) for kind, cause, remedy in drawn.notes
        ]
        regions += drawn.regions
        labels += [drawn.labels] * len(drawn.regions)
        originals += [shape if first == 0 else None for first in range(len(drawn.regions))]
    return Collected(tuple(regions), tuple(labels), tuple(originals), tuple(undrawn), tuple(findings))


def to_record(
    filename: str,
    collected: Collected,
    *,
    size_hw: tuple[int, int] | None = None,
    other_names: tuple[str, ...] = (),
    original: Original | None = None,
) -> ImageAnnotation:
    """Make the record of an image of its shapes.

    Args:
        filename: Path of the image; see ``ImageAnnotation`` for this and the next two.
        collected: Its shapes.
        size_hw: Height and width of the image.
        other_names: Further names that the image may have.
        original: Content of the file but for the shapes, where the format can be written back.
    """
    if original is not None:
        original = replace(original, shapes=collected.originals, undrawn=collected.undrawn)
    return ImageAnnotation(
        filename,
        -1,
        collected.regions,
        collected.labels,
        undrawn=len(collected.undrawn),
        size_hw=size_hw,
        other_names=other_names,
        original=original,
    )


def read_size_hw(height: object, width: object) -> tuple[int, int] | None:
    """Return height and width that a file declares in pixels; None where they are no whole numbers above 0."""
    return (height, width) if type(height) is int and type(width) is int and min(height, width) > 0 else None


def parse_size_hw(height: str | None, width: str | None) -> tuple[int, int] | None:
    """Return height and width that a file declares as texts; None where they are no whole numbers above 0."""
    numbers = [int(text) if text and re.fullmatch("[0-9]{1,9}", text) else 0 for text in (height, width)]
    return read_size_hw(*numbers)


def to_marked(mask: NDArray[np.bool_], origin_xy: tuple[int, int] = (0, 0), *, what: str = "mask") -> Bitmap:
    """Return a mask as a region.

    Args:
        mask: Shape (H, W), bool.
        origin_xy: Column and row of its first pixel in the image.
        what: Name of such a shape in the format.

    Raises:
        ShapeError: No pixel is marked.
    """
    if not mask.any():
        raise no_area(f"a {what} without a marked pixel")
    return to_bitmap(mask, origin_xy)


def no_area(what: str) -> ShapeError:
    """Return the fault of a shape without an area.

    Args:
        what: The shape with its article.
    """
    return ShapeError("no-area", f"{what} has no area and is not drawn")


def read_outline(
    pairs: Iterable[tuple[object, object]], *, shift: float = 0.0, keys: tuple[str, str] = ("x", "y")
) -> Polygon:
    """Read the vertices of a closed outline.

    Args:
        pairs: x and y of each vertex as the file holds them.
        shift: Number that is added to each coordinate.
        keys: Names of x and y in the file.

    Raises:
        ShapeError: A coordinate is no number, there are fewer than three vertices, or all lie on one line.
    """
    points = [(read_number(x, keys[0]), read_number(y, keys[1])) for x, y in pairs]
    if len(points) > MOST_POINTS:
        raise ShapeError(
            "empty-region", f"an outline of {len(points):,} points, more than the limit of {MOST_POINTS:,}"
        )
    if len(points) < 3:
        raise ShapeError("empty-region", f"an outline of {counted(len(points), 'point')}; it needs three")
    points_xy = np.array(points) + shift
    # Not the shoelace area: that of a figure of eight can be zero, and yet there is something to draw.
    if np.linalg.matrix_rank(points_xy - points_xy[0]) < 2:
        raise ShapeError("empty-region", "all points of the outline lie on one line")
    return Polygon(points_xy)


def read_box(
    corners: tuple[float, float, float, float], *, degrees: float = 0.0, pivot_xy: tuple[float, float] | None = None
) -> Polygon:
    """Return a rectangle as a polygon that starts at its top left corner and runs clockwise on the screen.

    Args:
        corners: x and y of two opposite corners.
        degrees: Clockwise rotation.
        pivot_xy: Point that it is rotated about; its centre if None.

    Raises:
        ShapeError: The rectangle has no area.
    """
    left, right = sorted(corners[0::2])
    top, bottom = sorted(corners[1::2])
    if left == right or top == bottom:
        raise ShapeError("empty-region", f"a rectangle {right - left:g} wide and {bottom - top:g} high")
    points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if degrees:
        pivot = np.array(pivot_xy or ((left + right) / 2, (top + bottom) / 2))
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        points = (points - pivot) @ np.array([(cos, sin), (-sin, cos)]) + pivot
    return Polygon(points)


def read_pairs(points: object) -> list[tuple[object, object]]:
    """Return the vertices of a list of [x, y].

    Raises:
        ShapeError: It is no such list.
    """
    if not isinstance(points, list):
        raise ShapeError("empty-region", f"its points are {excerpt(points)}, not a list")
    pairs = [tuple(point) for point in points if isinstance(point, list) and len(point) == 2]
    if len(pairs) != len(points):
        raise ShapeError("empty-region", "one of its points is not a pair of numbers")
    return [(pair[0], pair[1]) for pair in pairs]


def read_number(value: object, key: str) -> float:
    """Return a number of pixels, degrees or per cent.

    Raises:
        ShapeError: It is no finite number, or beyond any picture.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST_PX:
        raise ShapeError("empty-region", f"{key} holds {excerpt(value)}; it must be a number of pixels")
    return float(value)


def read_length(value: object, key: str) -> float:
    """Return a number above 0.

    Raises:
        ShapeError: It is none.
    """
    length = read_number(value, key)
    if length <= 0:
        raise ShapeError("empty-region", f"{key} is {length:g}; it must be above 0")
    return length


def to_pixels(fraction: float, side_px: int) -> float:
    """Return a fraction of a side, counted from the outer edge, as a coordinate that counts from pixel centres.

    Rounding errors are removed: they would move a vertex off the pixel's centre on which it was set, and so that pixel
    in or out of the outline.
    """
    return round(fraction * side_px, 9) + EDGE


def parse_number(text: str | None, key: str) -> float:
    """Return the number that a text holds.

    Raises:
        ShapeError: It holds none, or one beyond any picture.
    """
    try:
        return read_number(float(text or ""), key)
    except ValueError:
        raise ShapeError("empty-region", f"{key} holds {excerpt(text)}; it must be a number") from None


def excerpt(value: object) -> str:
    """Return a value for a message; of anything nested, which may be deep, only its type."""
    return repr(value)[:40] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"

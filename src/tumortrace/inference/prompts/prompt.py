"""A prompt: a box around a tumour, and clicks that refine it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from tumortrace.errors import DataError
from tumortrace.inference.prompts.grid import Box, Point, cut_to_slice
from tumortrace.wording import counted

MOST_CLICKS = 1000
"""Clicks on one slice, at most."""

LEAST_BOX_PX = 1.0
"""Shortest side of a box in pixels."""


@dataclass(frozen=True)
class Prompt:
    """What a person points at.

    Attributes:
        box_xyxy: First column, first row, last column + 1, last row + 1, in pixels, within the slice.
        points_xy: Pixel centres that were clicked on, in their order.
        labels: Whether each of them marks tumour; the others mark what is none.
    """

    box_xyxy: Box
    points_xy: tuple[Point, ...] = ()
    labels: tuple[bool, ...] = ()

    @property
    def clicks(self) -> tuple[tuple[Point, bool], ...]:
        """Points with their labels."""
        return tuple(zip(self.points_xy, self.labels, strict=True))


def read_prompt(box_xyxy: object, points_xy: object, labels: object, *, size_hw: tuple[int, int], name: str) -> Prompt:
    """Check a prompt as a program gives it.

    Args:
        box_xyxy: Four numbers; opposite corners in any order. What lies outside of the slice is cut off.
        points_xy: Pairs of numbers within the slice; None for none.
        labels: Whether each point marks tumour, as a bool, 0 or 1; None takes that all do.
        size_hw: Height and width of the slice.
        name: Name of the slice, for messages.

    Raises:
        DataError: No box of at least one pixel on the slice, points outside of it or without labels, or more than
            ``MOST_CLICKS``.
    """
    box = _read_box(box_xyxy, size_hw, name)
    points = _read_points(points_xy, size_hw, name)
    marks = [True] * len(points) if labels is None else [_read_label(each, name) for each in _listed(labels)]
    if len(marks) != len(points):
        raise DataError(
            f"{name}: {counted(len(points), 'point')} and {counted(len(marks), 'label')}; give one label for each point"
        )
    return Prompt(box, tuple(points), tuple(marks))


def describe_prompts(prompts: Sequence[Prompt]) -> list[dict[str, Any]] | None:
    """Return prompts as JSON values; None for an automatic mask."""
    return [
        {"box_xyxy": list(each.box_xyxy), "points_xy": [list(point) for point in each.points_xy],
         "labels": [int(label) for label in each.labels]}
        for each in prompts
    ] or None  # fmt: skip


def _read_box(box_xyxy: object, size_hw: tuple[int, int], name: str) -> Box:
    numbers = _numbers(box_xyxy)
    if numbers is None or len(numbers) != 4:
        raise DataError(f"{name}: box {box_xyxy!r}; give four numbers: left, top, right, bottom, in pixels")
    (x0, x1), (y0, y1) = sorted(numbers[::2]), sorted(numbers[1::2])
    shown = " ".join(f"{number:g}" for number in numbers)
    if x1 - x0 < LEAST_BOX_PX or y1 - y0 < LEAST_BOX_PX:
        raise DataError(f"{name}: the box {shown} is {x1 - x0:g} x {y1 - y0:g} pixels; draw it around the tumour")
    height, width = size_hw
    cut = cut_to_slice((x0, y0, x1, y1), size_hw)
    if cut[2] - cut[0] < LEAST_BOX_PX or cut[3] - cut[1] < LEAST_BOX_PX:
        raise DataError(f"{name}: the box {shown} lies outside of the picture of {width} x {height} pixels; move it")
    return cut


def _read_points(points_xy: object, size_hw: tuple[int, int], name: str) -> list[Point]:
    listed = [] if points_xy is None else _listed(points_xy)
    if len(listed) > MOST_CLICKS:
        raise DataError(f"{name}: {len(listed)} points; give at most {MOST_CLICKS}, or outline the tumour by hand")
    height, width = size_hw
    points = []
    for each in listed:
        pair = _numbers(each)
        if pair is None or len(pair) != 2:
            raise DataError(f"{name}: point {each!r}; give pairs of numbers, column and row")
        x, y = pair
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            raise DataError(f"{name}: the point {x:g} {y:g} lies outside of the picture of {width} x {height} pixels")
        points.append((x, y))
    return points


def _listed(values: object) -> list[Any]:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]


def _numbers(values: object) -> list[float] | None:
    """Return finite numbers as floats; None if there is anything else."""
    listed = _listed(values)
    try:
        if all(isinstance(each, Real) and not isinstance(each, bool) and math.isfinite(each) for each in listed):
            return [float(each) for each in listed]
    except OverflowError:  # a whole number beyond the largest float
        pass
    return None


def _read_label(label: object, name: str) -> bool:
    if isinstance(label, bool | Real | np.bool_) and label in (0, 1):
        return bool(label)
    raise DataError(f"{name}: label {label!r}; give 1 for a point on tumour and 0 for one on no tumour")

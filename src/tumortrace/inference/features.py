"""Features of a picture, by which the gate recognises a head on MR."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.head import (
    BRAIN_DEPTH,
    SmallPicture,
    measure_depth,
    measure_solidity,
    rank,
    shrink,
    trace_outline,
)
from tumortrace.data.upright import UprightSlice, two_ends

GRAIN_PX = 256
"""Longer side of the picture on which grain is measured."""

ROW_STEP = 5
"""Every so many rows of it are measured: a median of thousands of pixels needs no more."""

_TURNS = np.linspace(0.0, 2 * np.pi, 72, endpoint=False)  # of the rays from the head's middle
_RIM = np.linspace(0.7, 1.0, 14)  # of the way from the head's middle to its edge: what lies so far out may be skull
_BENEATH = np.linspace(0.45, 0.675, 10)

Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]


class PictureFeatures(NamedTuple):
    """A picture's features. Grey values count from the darkest (0) to the brightest (1), half a percent cut off each.

    Attributes:
        colour: Share of visibly coloured pixels.
        roughness: Spread of what a slight blur takes away, as a share of the whole spread.
        dark_frame: Share of dark pixels along the four edges.
        bright_corner: Grey value of the second brightest of the four corners.
        head_area: Share of the frame that the largest bright object fills, its holes included; 0 if there is none.
        outside: Share of the brightness above the background that lies outside that object.
        solidity: Its area over that of its convex hull.
        ellipse: Overlap (IoU) with the ellipse of its own moments; a little below 1 for a head.
        elongation: Its length over its width.
        width: Width over height of the box around it.
        rectangle: Its area over that of the smallest turned rectangle around it; 0.785 for an ellipse.
        ring: Grey value that all but a twentieth of its outer ring exceeds, less the median inside.
        skull: Darkest grey value between the outer ring and the inside, over the median inside.
        air: Share of nearly black pixels inside.
        white: Share of nearly white pixels inside.
        brightness: Median inside.
        variation: Standard deviation inside over the mean.
        texture: Standard deviation inside of what a slight blur takes away.
        grain: Median size of what a slight blur takes away inside, on a larger picture.
        drawn_out: Log of the grey steps sideways over those up and down: below 0 if the grain is drawn out sideways.
    """

    colour: float
    roughness: float
    dark_frame: float
    bright_corner: float
    head_area: float
    outside: float
    solidity: float
    ellipse: float
    elongation: float
    width: float
    rectangle: float
    ring: float
    skull: float
    air: float
    white: float
    brightness: float
    variation: float
    texture: float
    grain: float
    drawn_out: float


def measure_features(upright: UprightSlice, *, colour_share: float = 0.0) -> PictureFeatures | None:
    """Measure a slice.

    Args:
        upright: The slice.
        colour_share: Fraction of its pixels that were coloured in the file.

    Returns:
        Its features, all finite; None if the slice is blank but for a few pixels, or nothing stands out of it.
    """
    if upright.head is None:
        return None
    small = upright.head.close
    detail = _detail(small.grey)
    shape = _trace(small.head)
    depth = measure_depth(small.head)
    inside = depth > BRAIN_DEPTH * depth.max()
    return PictureFeatures(
        colour=colour_share,
        roughness=float(detail.std() / small.grey.std()),
        **_measure_frame(small.grey),
        head_area=upright.head.area,
        outside=upright.head.outside,
        **_measure_shape(small.head, shape),
        **_measure_ring(small.grey, shape, small.grey[inside]),
        **_measure_inside(small.grey[inside]),
        texture=float(detail[inside].std()),
        **_measure_grain(upright.grey, small, inside),
    )


def _detail(grey: Grey) -> Grey:
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 1.0), dtype=np.float32)


def _measure_frame(grey: Grey) -> dict[str, float]:
    edge, corner = max(2, len(grey) // 24), max(3, len(grey) // 10)
    ends = [grey[:edge], grey[-edge:], grey[:, :edge], grey[:, -edge:]]
    corners = [grey[rows, columns] for rows in two_ends(corner) for columns in two_ends(corner)]
    levels = sorted(rank(values, 0.5) for values in corners)
    return {
        "dark_frame": float((np.concatenate([values.ravel() for values in ends]) < 0.25).mean()),
        "bright_corner": levels[2],
    }


class _Shape(NamedTuple):
    """An object's outline (N, 1, 2) in whole pixels, its centre (x, y) and the covariance of its pixels' places."""

    outline: NDArray[np.int32]
    centre_xy: NDArray[np.float64]
    spread: NDArray[np.float64]


def _trace(head: Mask) -> _Shape:
    pixels = head.astype(np.uint8)
    sums = cv2.moments(pixels, binaryImage=True)
    centre_xy = np.array([sums["m10"], sums["m01"]]) / sums["m00"]
    spread = np.array([[sums["mu20"], sums["mu11"]], [sums["mu11"], sums["mu02"]]]) / sums["m00"]
    # A little more than that, so that a line of pixels has an inverse.
    return _Shape(trace_outline(head), centre_xy, spread + 1e-6 * np.eye(2))


def _measure_shape(head: Mask, shape: _Shape) -> dict[str, float]:
    outline, centre_xy, spread = shape
    _, _, box_width, box_height = cv2.boundingRect(outline)
    turned_width, turned_height = cv2.minAreaRect(outline)[1]
    short, long = np.sqrt(np.linalg.eigvalsh(spread))
    return {
        "solidity": measure_solidity(outline),
        "ellipse": _overlap_with_ellipse(head, centre_xy, spread),
        "elongation": float(long / short),
        "width": box_width / box_height,
        "rectangle": cv2.contourArea(outline) / max(turned_width * turned_height, 1.0),
    }


def _overlap_with_ellipse(head: Mask, centre_xy: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """Return the IoU with the ellipse of the same centre and second moments (Mahalanobis distance at most 2)."""
    x = np.arange(head.shape[1]) - centre_xy[0]
    y = np.arange(head.shape[0])[:, None] - centre_xy[1]
    (xx, xy), (_, yy) = np.linalg.inv(spread)
    ellipse = xx * x**2 + 2 * xy * x * y + yy * y**2 <= 4.0
    return float((ellipse & head).sum() / (ellipse | head).sum())


def _measure_ring(grey: Grey, shape: _Shape, inside: Grey) -> dict[str, float]:
    """Measure rays from the inside to the edge.

    On CT bone outshines the brain, all the way around, and joins it. On MR bone is black between bright fat and the
    inside.
    """
    centre_xy = shape.centre_xy
    right, down = (shape.outline[:, 0, :] - centre_xy).T
    angles, radii = np.arctan2(down, right), np.hypot(right, down)
    order = np.argsort(angles)
    reach = np.interp(_TURNS, angles[order], radii[order], period=2 * np.pi)
    along = np.outer(reach, np.concatenate([_BENEATH, _RIM]))
    x = (centre_xy[0] + along * np.cos(_TURNS)[:, None]).astype(np.float32)
    y = (centre_xy[1] + along * np.sin(_TURNS)[:, None]).astype(np.float32)
    rays = cv2.remap(grey, x, y, cv2.INTER_LINEAR)
    peaks = len(_BENEATH) + rays[:, len(_BENEATH) :].argmax(axis=1)
    darkest = np.minimum.accumulate(rays, axis=1)[np.arange(len(_TURNS)), peaks]
    middle = rank(inside, 0.5)  # not its bright end: blood is as bright as bone
    return {
        "ring": rank(rays[np.arange(len(_TURNS)), peaks], 0.05) - middle,
        "skull": rank(darkest, 0.5) / max(middle, 1e-3),
    }


def _measure_inside(values: Grey) -> dict[str, float]:
    return {
        "air": float((values < 0.12).mean()),
        "white": float((values > 0.95).mean()),
        "brightness": rank(values, 0.5),
        "variation": float(values.std() / max(float(values.mean()), 1e-3)),
    }


def _around(inside: Mask) -> tuple[slice, slice]:
    """Return rows and columns of the box around a mask, with a margin for the blur."""
    left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
    margin = 4
    return slice(max(top - margin, 0), top + height + margin), slice(max(left - margin, 0), left + width + margin)


def _measure_grain(grey: Grey, small: SmallPicture, inside: Mask) -> dict[str, float]:
    """Measure the grain on a larger picture, of whose margins nothing is needed but what the blur takes in."""
    top, bottom, left, right = small.window
    larger = shrink(grey[top:bottom, left:right], GRAIN_PX)
    deep = cv2.resize(inside.astype(np.uint8), larger.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    around = _around(deep)
    low, high = small.ends
    values = np.clip((larger[around] - low) / (high - low), 0.0, 1.2)
    detail = _detail(values)
    here, places = values[1::ROW_STEP, 1:], deep[around][1::ROW_STEP, 1:]
    sideways = (here - values[1::ROW_STEP, :-1])[places]
    down = (here - values[: len(values) - 1 : ROW_STEP, 1:])[places]
    steps = [max(_typical_size(step), 1e-3) for step in (sideways, down)]
    grain = _typical_size(detail[1::ROW_STEP, 1:][places])
    return {"grain": grain, "drawn_out": float(np.log(steps[0] / steps[1]))}


def _typical_size(values: Grey) -> float:
    """Return the median of the absolute values; 0 without values."""
    return rank(np.abs(values), 0.5) if values.size else 0.0

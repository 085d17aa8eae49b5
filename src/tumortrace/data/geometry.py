"""Regions drawn as masks, and masks traced as outlines.

Coordinates are (x, y) in pixels, x to the right and y down, and integer coordinates are pixel centres. A pixel belongs
to a region when its centre does. ``cv2.fillPoly`` is not used for this: it also paints every pixel that the outline
touches, so its masks are too large by about half a pixel all round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.bitmap import Bitmap, draw_bitmap, split_lesions

Vertex = tuple[int, int]
"""A corner of the pixel grid as (x, y): vertex (0, 0) lies at (-0.5, -0.5), the outer corner of the first pixel."""

Edge = tuple[int, int, int]
"""A step of one pixel along the grid: x and y of the vertex where it starts, and its direction in ``_STEPS_XY``."""

_STEPS_XY = ((1, 0), (0, 1), (-1, 0), (0, -1))
_RIGHT, _DOWN, _LEFT, _UP = range(4)
_MOST_CROSSINGS = 2**22
_SPECK_SIDE_PX = 2


@dataclass(frozen=True, eq=False)
class Polygon:
    """A closed outline; inside is what it goes round at least once, as annotation tools fill it.

    Attributes:
        points_xy: Vertices in pixels, finite, shape (N, 2), N >= 3; the last one is joined to the first.
    """

    points_xy: NDArray[np.float64]


@dataclass(frozen=True)
class Ellipse:
    """An ellipse.

    Attributes:
        center_xy: Centre in pixels.
        radii_xy: Half axes in pixels along x and y before the rotation.
        theta_rad: Rotation from +x towards +y in radians (clockwise on the screen), as in VIA and the HTML canvas.
    """

    center_xy: tuple[float, float]
    radii_xy: tuple[float, float]
    theta_rad: float = 0.0


@dataclass(frozen=True)
class Circle:
    """A circle: centre and radius in pixels."""

    center_xy: tuple[float, float]
    radius: float


Region = Polygon | Ellipse | Circle | Bitmap


def rasterize(regions: Iterable[Region], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Draw the union of regions.

    Args:
        regions: Any number of regions; they may leave the image, and are cut at its border.
        size_hw: Height and width of the image in pixels.

    Returns:
        Shape (H, W), bool, True where a pixel's centre lies in a region. A centre on the very outline is inside where
        the polygon lies to its right or, on a horizontal edge, below it, so that polygons which share an edge neither
        share a pixel nor leave one out; on the outline of an ellipse or circle it is outside. A bitmap is copied. All
        False without regions, and for regions without area.
    """
    mask = np.zeros(size_hw, dtype=np.bool_)
    for region in regions:
        window = _pixel_window(region, size_hw)
        top, bottom, left, right = window
        if top < bottom and left < right:
            mask[top:bottom, left:right] |= _fill(region, window)
    return mask


def rasterize_region(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Draw one region; see ``rasterize``."""
    return rasterize([region], size_hw)


def count_overlap(region: Region, size_hw: tuple[int, int]) -> int:
    """Number of the image's pixels that the outline of a region goes round more than once in one direction."""
    top, bottom, left, right = window = _pixel_window(region, size_hw)
    if not isinstance(region, Polygon) or top >= bottom or left >= right:
        return 0
    return int((np.abs(_count_turns(region, window)) > 1).sum())


def region_bounds_xyxy(region: Region) -> tuple[float, float, float, float]:
    """The smallest upright box round a region, as left, top, right, bottom in pixels; it is not cut to any image."""
    if isinstance(region, Polygon):
        left, top = region.points_xy.min(axis=0).tolist()
        right, bottom = region.points_xy.max(axis=0).tolist()
        return left, top, right, bottom
    if isinstance(region, Bitmap):
        (first_x, first_y), (height, width) = region.origin_xy, region.size_hw
        return first_x - 0.5, first_y - 0.5, first_x + width - 0.5, first_y + height - 0.5
    ellipse = _as_ellipse(region)
    (x, y), (radius_x, radius_y) = ellipse.center_xy, ellipse.radii_xy
    cos, sin = math.cos(ellipse.theta_rad), math.sin(ellipse.theta_rad)
    reach_x = math.hypot(radius_x * cos, radius_y * sin)
    reach_y = math.hypot(radius_x * sin, radius_y * cos)
    return x - reach_x, y - reach_y, x + reach_x, y + reach_y


def is_box(region: Region) -> bool:
    """Whether a region is an upright rectangle of four vertices and more than two pixels on each side.

    The outline of a lesion of one or two pixels is such a rectangle too.
    """
    return (
        isinstance(region, Polygon)
        and len(region.points_xy) == 4
        and all(len(set(values)) == 2 and np.ptp(values) > _SPECK_SIDE_PX for values in region.points_xy.T.tolist())
    )


def region_area(region: Region) -> float:
    """Analytic area in square pixels: the shoelace formula, pi a b, the number of marked pixels.

    For a polygon that crosses itself the shoelace formula lets parts that turn the other way count as negative, so the
    drawn area can be larger.
    """
    if isinstance(region, Polygon):
        return abs(_signed_area(region))
    if isinstance(region, Bitmap):
        return float((region.runs[:, 1] - region.runs[:, 0]).sum())
    radius_x, radius_y = _as_ellipse(region).radii_xy
    return math.pi * radius_x * radius_y


def mask_to_polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Outline the lesions of a mask along the edges of their pixels.

    Drawing the outlines gives the mask back exactly: ``rasterize(mask_to_polygons(mask), mask.shape)`` equals it.

    Args:
        mask: Shape (H, W), bool.

    Returns:
        One polygon for each 8-connected component, by the row and column of their boxes; empty for an empty mask.
        Vertices lie at half-integers, only where the outline turns. A hole is joined to the outline by a
        horizontal bridge that is walked there and back and has no width.
    """
    return [_outline_component(bitmap) for bitmap in split_lesions(mask)]


def outline_region(region: Region, size_hw: tuple[int, int]) -> list[Polygon]:
    """Return a region as polygons: a polygon as it is, any other traced along the edges of the pixels that it covers.

    Args:
        region: The region.
        size_hw: Height and width of the image, which cuts what is traced.
    """
    return [region] if isinstance(region, Polygon) else mask_to_polygons(rasterize_region(region, size_hw))


def cut_holes(outline: Polygon, holes: Sequence[Polygon]) -> Polygon:
    """Cut holes out of a polygon; each is joined to its first vertex by a bridge of no width.

    Args:
        outline: Outer border.
        holes: Borders of the holes, inside the outer border and apart from each other.
    """
    ring = [*outline.points_xy]
    first, turns_right = outline.points_xy[0], _signed_area(outline) > 0
    for hole in holes:
        points = hole.points_xy[::-1] if (_signed_area(hole) > 0) == turns_right else hole.points_xy
        ring += [first, *points, points[0]]
    return Polygon(np.array([*ring, first] if holes else ring))


def _signed_area(polygon: Polygon) -> float:
    """Area by the shoelace formula, above 0 where the outline runs clockwise on the screen."""
    x, y = (polygon.points_xy - polygon.points_xy[0]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _outline_component(bitmap: Bitmap) -> Polygon:
    component = draw_bitmap(bitmap)
    ring = _join_holes(_trace_loops(component), component)
    return Polygon(_keep_corners(ring) + np.array(bitmap.origin_xy) - 0.5)


def _as_ellipse(region: Ellipse | Circle) -> Ellipse:
    return region if isinstance(region, Ellipse) else Ellipse(region.center_xy, (region.radius, region.radius))


def _pixel_window(region: Region, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows and columns of the image that a region can cover: top, bottom, left, right, the ends excluded."""
    height, width = size_hw
    left, top, right, bottom = region_bounds_xyxy(region)
    return (
        max(0, math.ceil(top)),
        min(height, math.floor(bottom) + 1),
        max(0, math.ceil(left)),
        min(width, math.floor(right) + 1),
    )


def _fill(region: Region, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    if isinstance(region, Polygon):
        return np.asarray(_count_turns(region, window) != 0)  # the non-zero rule
    if isinstance(region, Bitmap):
        top, bottom, left, right = window
        first_x, first_y = region.origin_xy
        return draw_bitmap(region)[top - first_y : bottom - first_y, left - first_x : right - first_x]
    return _fill_ellipse(region, window)


def _count_turns(polygon: Polygon, window: tuple[int, int, int, int]) -> NDArray[np.intp]:
    """Count how often the outline goes round each pixel of a window; the other way round counts as negative.

    Along a row of pixel centres, an edge that runs down adds one turn and an edge that runs up takes one off.
    """
    top, bottom, left, right = window
    starts, ends = polygon.points_xy, np.roll(polygon.points_xy, -1, axis=0)
    # From its upper to its lower end an edge gives the same crossings whichever of two neighbours it was taken from.
    falls = (starts[:, 1] <= ends[:, 1])[:, np.newaxis]
    upper, lower = np.where(falls, starts, ends), np.where(falls, ends, starts)
    # An edge owns the rows from its upper end to before its lower end, so a vertex is never counted twice.
    first_row = np.clip(np.ceil(upper[:, 1]), top, bottom).astype(np.intp)
    row_count = np.clip(np.ceil(lower[:, 1]), top, bottom).astype(np.intp) - first_row
    shape = (bottom - top, right - left + 1)
    steps = np.zeros(shape[0] * shape[1], dtype=np.intp)
    for part in _split_edges(row_count):
        edge = np.repeat(np.arange(part.start, part.stop), row_count[part])
        row = (
            first_row[edge]
            + np.arange(len(edge))
            - np.repeat(np.cumsum(row_count[part]) - row_count[part], row_count[part])
        )
        (x0, y0), (x1, y1) = upper[edge].T, lower[edge].T
        crossing_x = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
        # Crossings left of the window count from its first column on; those right of it go to a spare column.
        column = np.clip(np.ceil(crossing_x), left, right).astype(np.intp)
        place, runs_down = (row - top) * shape[1] + column - left, falls[edge, 0]
        steps += np.bincount(place[runs_down], minlength=len(steps)) - np.bincount(
            place[~runs_down], minlength=len(steps)
        )
    return np.asarray(np.cumsum(steps.reshape(shape), axis=1)[:, :-1])


def _split_edges(row_count: NDArray[np.intp]) -> list[slice]:
    """Divide the edges into parts that memory holds: an outline may cross each row of pixels 200,000 times."""
    crossed = np.cumsum(row_count) // _MOST_CROSSINGS
    ends = [0, *(np.flatnonzero(np.diff(crossed)) + 1).tolist(), len(row_count)]
    return [slice(first, last) for first, last in pairwise(ends)]


def _fill_ellipse(region: Ellipse | Circle, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    top, bottom, left, right = window
    ellipse = _as_ellipse(region)
    (center_x, center_y), (radius_x, radius_y) = ellipse.center_xy, ellipse.radii_xy
    x = np.arange(left, right) - center_x
    y = (np.arange(top, bottom) - center_y)[:, np.newaxis]
    cos, sin = math.cos(ellipse.theta_rad), math.sin(ellipse.theta_rad)
    along, across = x * cos + y * sin, y * cos - x * sin
    # Multiplied out instead of divided, a radius of zero has no inside and needs no case of its own.
    # The margin is wider than rounding, so that a centre on the very outline is outside wherever the image begins.
    edge = (radius_x * radius_y) ** 2 * (1 - 1e-12)
    return np.asarray((along * radius_y) ** 2 + (across * radius_x) ** 2 < edge)


def _trace_loops(component: NDArray[np.bool_]) -> list[list[Vertex]]:
    """Walk round one 8-connected component with its pixels on the right-hand side.

    Returns:
        Closed loops of steps of one pixel: the outer one, then one a hole, in the order of the holes' first pixels row
        by row; a hole's loop begins at the top left corner of its first pixel.
    """
    padded = np.pad(component, 1).astype(np.int8)
    down, across = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    rights: list[Edge] = [(x, y, _RIGHT) for y, x in np.argwhere(down == 1).tolist()]
    lefts: list[Edge] = [(x + 1, y, _LEFT) for y, x in np.argwhere(down == -1).tolist()]
    edges = {*rights, *lefts}
    edges.update((x, y + 1, _UP) for y, x in np.argwhere(across == 1).tolist())
    edges.update((x, y, _DOWN) for y, x in np.argwhere(across == -1).tolist())
    # The first edge of all lies on top of the outer loop; every hole has an edge that runs left, on top of it.
    loops = [_walk(edges, rights[0])]
    loops += [_walk(edges, start) for start in lefts if start in edges]
    return loops


def _walk(edges: set[Edge], start: Edge) -> list[Vertex]:
    """Take one closed loop out of the edges; the loop begins at the end of its first edge."""
    loop: list[Vertex] = []
    edge = start
    while not loop or edge != start:
        edges.remove(edge)
        x, y, direction = edge
        step_x, step_y = _STEPS_XY[direction]
        x, y = x + step_x, y + step_y
        loop.append((x, y))
        # Left before right: where two pixels touch at a corner the walk crosses over, as they are one component.
        turns = [(x, y, (direction + turn) % 4) for turn in (3, 0, 1)]
        edge = next(turn for turn in turns if turn in edges or turn == start)
    return loop


def _join_holes(loops: list[list[Vertex]], component: NDArray[np.bool_]) -> list[Vertex]:
    """Make one ring of all loops: a bridge leads from each hole's first vertex to the next loop on its left.

    That loop is the outer one or belongs to a hole that begins higher up or further left, so every hole is reached.
    """
    outer, *holes = loops
    padded = np.pad(component, 1)
    inner = padded[:-1, :-1] & padded[:-1, 1:] & padded[1:, :-1] & padded[1:, 1:]  # vertices off every loop
    waiting: dict[Vertex, list[Vertex]] = {}
    for hole in holes:
        x, y = hole[0]
        touches = not component[y - 1, x - 1]  # another loop meets this one at the corner
        anchor_x = x if touches else int(np.flatnonzero(~inner[y, :x])[-1])
        waiting[anchor_x, y] = hole
    ring: list[Vertex] = []
    stack = [iter(outer)]
    while stack:
        for vertex in stack[-1]:
            ring.append(vertex)
            if vertex in waiting:
                hole = waiting.pop(vertex)
                stack.append(iter([*hole, hole[0], vertex]))
                break
        else:
            stack.pop()
    return ring


def _keep_corners(ring: list[Vertex]) -> NDArray[np.float64]:
    """The vertices where a closed ring turns, shape (N, 2)."""
    points = np.array(ring, dtype=np.float64)
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    heading = np.sign(np.roll(points, -1, axis=0) - points)
    return np.asarray(points[(heading != np.roll(heading, 1, axis=0)).any(axis=1)])

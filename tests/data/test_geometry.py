"""Regions to masks and back: by hand on small grids, by property, and against scikit-image on the real annotations."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.draw import ellipse as skimage_ellipse
from skimage.draw import polygon2mask

from tumortrace.data.annotations.find import read_annotations
from tumortrace.data.geometry import (
    Circle,
    Ellipse,
    Polygon,
    Region,
    count_overlap,
    mask_to_polygons,
    rasterize,
    rasterize_region,
    region_area,
    region_bounds_xyxy,
)
from tumortrace.data.slice_file import read_slice

DATA = os.environ.get("TUMORTRACE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TUMORTRACE_DATA names no folder with the Br35H slices")


def polygon(*points_xy: tuple[float, float]) -> Polygon:
    return Polygon(np.array(points_xy, dtype=np.float64))


def drawn(*rows: str) -> NDArray[np.bool_]:
    """A mask from rows of '#' (inside) and '.' (outside)."""
    return np.array([[character == "#" for character in row] for row in rows])


def same_points(polygon: Polygon, expected_xy: list[tuple[float, float]]) -> bool:
    """Whether a closed outline is the expected one, wherever it begins."""
    found = [tuple(point) for point in polygon.points_xy.tolist()]
    turns = [expected_xy[start:] + expected_xy[:start] for start in range(len(expected_xy))]
    return found in turns


# Whole eighths: shifts by whole pixels are then exact, and centres often fall on the very outline.
eighths = st.integers(-40, 200).map(lambda n: n / 8)
points = st.tuples(eighths, eighths)
radii = st.integers(0, 100).map(lambda n: n / 8)
regions = st.one_of(
    st.lists(points, min_size=3, max_size=8).map(lambda xy: polygon(*xy)),
    st.builds(Ellipse, points, st.tuples(radii, radii), st.floats(-7, 7)),
    st.builds(Circle, points, radii),
)
masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


# --- regions to masks ---


def test_rectangle_from_10_to_20_has_ten_columns_and_five_rows():
    mask = rasterize_region(polygon((10, 3), (20, 3), (20, 8), (10, 8)), (12, 30))
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(10, 20))
    assert np.flatnonzero(mask.any(axis=1)).tolist() == list(range(3, 8))
    assert mask.sum() == 50


def test_triangle_by_hand():
    # Right border on x = 1 + y / 2 * 3 from (1, 0) to (7, 4): a row ends before it; the left border x = 1 is inside.
    mask = rasterize_region(polygon((1, 0), (7, 4), (1, 4)), (6, 9))
    expected = drawn(
        ".........",
        ".##......",
        ".###.....",
        ".#####...",
        ".........",
        ".........",
    )
    assert np.array_equal(mask, expected)


def test_direction_and_start_of_a_polygon_do_not_matter():
    points_xy = np.array([(1.5, 0.25), (8.0, 3.0), (4.0, 9.5), (0.0, 6.0), (3.0, 4.0)])
    expected = rasterize_region(Polygon(points_xy), (10, 10))
    assert expected.any()
    assert np.array_equal(rasterize_region(Polygon(points_xy[::-1]), (10, 10)), expected)
    assert np.array_equal(rasterize_region(Polygon(np.roll(points_xy, 2, axis=0)), (10, 10)), expected)
    assert np.array_equal(rasterize_region(Polygon(np.vstack([points_xy, points_xy[:1]])), (10, 10)), expected)


def test_a_figure_of_eight_has_both_halves_and_a_pentagram_its_middle():
    eight = rasterize_region(polygon((0, 0), (10, 10), (10, 0), (0, 10)), (10, 10))
    assert eight[5, 1]
    assert eight[5, 8]
    assert not eight[1, 5]
    assert not eight[8, 5]
    tips = [(50 + 40 * math.sin(k * 0.8 * math.pi), 50 - 40 * math.cos(k * 0.8 * math.pi)) for k in range(5)]
    star = rasterize_region(polygon(*tips), (100, 100))
    assert star[50, 50]
    assert star[25, 50]
    assert not star[30, 30]


def test_an_outline_that_goes_round_twice_is_filled_and_counted():
    # Columns 2 to 7 of rows 2 to 7, and round again over columns 3 to 6 of rows 3 to 6.
    twice = polygon((2, 2), (8, 2), (8, 8), (2, 8), (2, 2), (3, 3), (7, 3), (7, 7), (3, 7), (3, 3))
    assert rasterize_region(twice, (10, 12)).sum() == 36
    assert count_overlap(twice, (10, 12)) == 16
    assert count_overlap(twice, (5, 12)) == 8  # rows 3 and 4 of the second turn
    assert count_overlap(polygon((2, 2), (8, 2), (8, 8), (2, 8)), (10, 12)) == 0
    assert count_overlap(Circle((4.0, 4.0), 3.0), (10, 12)) == 0
    assert count_overlap(polygon((20, 2), (28, 2), (28, 8)), (10, 12)) == 0


def test_a_hole_walked_the_other_way_round_stays_open():
    ring = polygon((1, 1), (8, 1), (8, 8), (1, 8), (1, 1), (3, 3), (3, 6), (6, 6), (6, 3), (3, 3))
    mask = rasterize_region(ring, (10, 10))
    assert mask.sum() == 49 - 9
    assert not mask[3:6, 3:6].any()
    assert count_overlap(ring, (10, 10)) == 0


def test_circle_by_hand():
    mask = rasterize_region(Circle((2.0, 1.0), 1.5), (4, 6))
    expected = drawn(
        ".###..",
        ".###..",
        ".###..",
        "......",
    )
    assert np.array_equal(mask, expected)
    # Centres at a distance of exactly 1 lie on the outline, and so outside.
    assert np.argwhere(rasterize_region(Circle((2.0, 1.0), 1.0), (4, 6))).tolist() == [[1, 2]]


def test_ellipse_by_hand():
    mask = rasterize_region(Ellipse((3.0, 1.0), (3.5, 1.2)), (4, 8))
    expected = drawn(
        "..###...",
        "#######.",
        "..###...",
        "........",
    )
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("theta_rad", "inside_xy", "outside_xy"),
    [
        (math.pi / 4, (13, 13), (13, 7)),  # down to the right on the screen
        (-math.pi / 4, (13, 7), (13, 13)),
        (math.pi / 6, (14, 12), (14, 8)),  # more to the right than down
        (math.pi / 3, (12, 14), (14, 12)),  # more down than to the right
        (math.pi / 2, (10, 14), (14, 10)),
    ],
)
def test_theta_turns_from_x_towards_y(theta_rad: float, inside_xy: tuple[int, int], outside_xy: tuple[int, int]):
    mask = rasterize_region(Ellipse((10.0, 10.0), (5.0, 1.0), theta_rad), (21, 21))
    assert mask[inside_xy[1], inside_xy[0]]
    assert not mask[outside_xy[1], outside_xy[0]]


@pytest.mark.parametrize("radius", [10.0, 14.3, 40.0])
@pytest.mark.parametrize("shape", ["circle", "ellipse", "polygon"])
def test_drawn_area_is_within_one_percent_of_the_analytic_area(shape: str, radius: float):
    drawn_px = []
    analytic_px = set()
    for shift_x in np.arange(6) / 6:
        for shift_y in np.arange(6) / 6:
            x, y = 60 + float(shift_x), 55 + float(shift_y)
            corners = [(x + 1.2 * radius, y), (x, y + radius), (x - 1.1 * radius, y + 3), (x - 2, y - 1.3 * radius)]
            region: Region = {
                "circle": Circle((x, y), radius),
                "ellipse": Ellipse((x, y), (1.3 * radius, radius), 0.7),
                "polygon": polygon(*corners),
            }[shape]
            drawn_px.append(rasterize_region(region, (120, 130)).sum())
            analytic_px.add(round(region_area(region), 6))
    (analytic,) = analytic_px
    assert analytic > 2 * radius**2
    assert np.mean(drawn_px) == pytest.approx(analytic, rel=0.01)


def test_an_edge_wholly_above_the_image_marks_nothing_there():
    mask = rasterize([polygon((1.5, -3), (3.5, -2), (3.5, 1.5), (1.5, 1.5))], (3, 5))
    np.testing.assert_array_equal(mask, drawn("..##.", "..##.", "....."))


def test_rasterize_is_the_union():
    first, second = Circle((4.0, 4.0), 3.2), polygon((4, 4), (11, 4), (11, 7), (4, 7))
    size_hw = (9, 14)
    union = rasterize([first, second], size_hw)
    assert np.array_equal(union, rasterize_region(first, size_hw) | rasterize_region(second, size_hw))
    assert union.sum() > max(rasterize_region(first, size_hw).sum(), rasterize_region(second, size_hw).sum())


def test_no_region_and_no_pixel():
    assert rasterize([], (3, 5)).shape == (3, 5)
    assert not rasterize([], (3, 5)).any()
    assert rasterize([Circle((0.0, 0.0), 2.0), polygon((0, 0), (4, 0), (0, 4))], (0, 5)).shape == (0, 5)


@pytest.mark.parametrize(
    "region",
    [
        polygon((2, 2), (2, 2), (2, 2)),
        polygon((1, 3), (9, 3), (5, 3)),
        polygon((3, 1), (3, 9), (3, 5)),
        polygon((1, 1), (9, 9), (4, 4)),
        polygon((1, 1), (9, 2), (4, 8), (9, 2)),
        Circle((4.0, 4.0), 0.0),
        Ellipse((4.0, 4.0), (3.0, 0.0), 0.3),
        Ellipse((4.0, 4.0), (0.0, 3.0)),
    ],
)
def test_a_region_without_area_has_no_pixel(region: Region):
    assert region_area(region) == 0
    assert not rasterize_region(region, (12, 12)).any()


@pytest.mark.parametrize(
    "region",
    [
        polygon((-9, 2), (-2, 2), (-2, 8), (-9, 8)),
        polygon((2, 12), (8, 12), (5, 30)),
        Circle((40.0, 5.0), 9.0),
        Ellipse((5.0, -1e9), (7.0, 90.0), 1.0),
    ],
)
def test_a_region_wholly_outside_has_no_pixel(region: Region):
    assert not rasterize_region(region, (12, 12)).any()


@given(regions)
def test_a_region_is_cut_at_the_border(region: Region):
    wide = rasterize_region(_shifted(region, 60, 60), (150, 150))
    assert np.array_equal(rasterize_region(region, (9, 14)), wide[60:69, 60:74])


@given(regions, st.integers(-5, 5), st.integers(-5, 5))
def test_moving_a_region_by_whole_pixels_moves_its_mask(region: Region, shift_x: int, shift_y: int):
    there = rasterize_region(_shifted(region, 60, 60), (150, 150))
    moved = rasterize_region(_shifted(region, 60 + shift_x, 60 + shift_y), (150, 150))
    assert np.array_equal(moved, np.roll(there, (shift_y, shift_x), axis=(0, 1)))


@given(points, st.lists(st.integers(0, 4 * 96 - 1), min_size=3, max_size=10, unique=True))
def test_polygons_that_share_edges_partition_the_plane(inner: tuple[float, float], stops: list[int]):
    # A square of 12 pixels, cut into triangles from one point to stops along its border.
    apex = (max(0.0, min(12.0, inner[0])), max(0.0, min(12.0, inner[1])))
    border = [_along_border(stop) for stop in sorted({*stops, 0, 96, 192, 288})]
    triangles = [polygon(apex, one, other) for one, other in zip(border, border[1:] + border[:1], strict=True)]
    covered = np.sum([rasterize_region(triangle, (16, 16)) for triangle in triangles], axis=0)
    expected = np.zeros((16, 16), dtype=np.intp)
    expected[:12, :12] = 1
    assert np.array_equal(covered, expected)


@given(regions)
def test_bounds_hold_every_pixel(region: Region):
    shifted = _shifted(region, 60, 60)
    left, top, right, bottom = region_bounds_xyxy(shifted)
    rows, columns = np.nonzero(rasterize_region(shifted, (150, 150)))
    assert ((left <= columns) & (columns <= right) & (top <= rows) & (rows <= bottom)).all()


def test_bounds_by_hand():
    assert region_bounds_xyxy(polygon((3, -1), (7.5, 2), (4, 9))) == (3, -1, 7.5, 9)
    assert region_bounds_xyxy(Circle((3.0, 4.0), 2.0)) == (1, 2, 5, 6)
    assert region_bounds_xyxy(Ellipse((3.0, 4.0), (5.0, 1.0))) == (-2, 3, 8, 5)
    assert region_bounds_xyxy(Ellipse((3.0, 4.0), (5.0, 1.0), math.pi / 2)) == pytest.approx((2, -1, 4, 9))
    # Turned by 45 degrees the box of half axes a and b reaches sqrt((a^2 + b^2) / 2) = sqrt(50 / 2) to each side.
    assert region_bounds_xyxy(Ellipse((0.0, 0.0), (7.0, 1.0), math.pi / 4)) == pytest.approx((-5, -5, 5, 5))


def test_area_by_hand():
    assert region_area(polygon((0, 0), (4, 0), (4, 3))) == 6
    assert region_area(polygon((4, 3), (4, 0), (0, 0))) == 6
    assert region_area(polygon((1e9, 1e9), (1e9 + 3, 1e9), (1e9 + 3, 1e9 + 2), (1e9, 1e9 + 2))) == 6
    assert region_area(Circle((1.0, 2.0), 3.0)) == pytest.approx(9 * math.pi)
    assert region_area(Ellipse((1.0, 2.0), (3.0, 5.0), 0.4)) == pytest.approx(15 * math.pi)


# --- masks to polygons ---


def test_one_pixel_is_outlined_along_its_edges():
    (outline,) = mask_to_polygons(drawn("....", "..#.", "...."))
    assert same_points(outline, [(1.5, 0.5), (2.5, 0.5), (2.5, 1.5), (1.5, 1.5)])


def test_an_empty_and_a_full_mask():
    assert mask_to_polygons(np.zeros((3, 5), dtype=np.bool_)) == []
    assert mask_to_polygons(np.zeros((0, 5), dtype=np.bool_)) == []
    (outline,) = mask_to_polygons(np.ones((3, 5), dtype=np.bool_))
    assert same_points(outline, [(-0.5, -0.5), (4.5, -0.5), (4.5, 2.5), (-0.5, 2.5)])


def test_pixels_that_touch_at_a_corner_are_one_polygon():
    (outline,) = mask_to_polygons(drawn("#..", ".##"))
    # Clockwise on the screen, through the shared corner (0.5, 0.5) twice.
    corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (2.5, 0.5), (2.5, 1.5), (0.5, 1.5), (0.5, 0.5), (-0.5, 0.5)]
    assert same_points(outline, corners)


def test_a_hole_is_joined_by_a_bridge_without_width():
    mask = drawn("####", "##.#", "####", "####")
    (outline,) = mask_to_polygons(mask)
    outer = [(-0.5, -0.5), (3.5, -0.5), (3.5, 3.5), (-0.5, 3.5)]
    bridge_and_hole = [(-0.5, 0.5), (1.5, 0.5), (1.5, 1.5), (2.5, 1.5), (2.5, 0.5), (-0.5, 0.5)]
    assert same_points(outline, outer + bridge_and_hole)
    assert region_area(outline) == mask.sum()


def test_lesions_are_ordered_by_their_boxes():
    outlines = mask_to_polygons(drawn("....##", "##..##", "##....", "......", "..#..."))
    assert [region_bounds_xyxy(outline)[:2] for outline in outlines] == [(3.5, -0.5), (-0.5, 0.5), (1.5, 3.5)]


@pytest.mark.parametrize(
    ("mask", "lesions"),
    [
        (drawn("#####", "#...#", "#.#.#", "#...#", "#####"), 2),  # an island in a hole
        (drawn("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"), 2),  # with a hole itself
        (drawn("#####", "#.#.#", "#####", "##.##", "#####"), 1),  # three holes
        (drawn("####", "#.##", "##.#", "####"), 1),  # two holes that touch at a corner
        (drawn("####", ".#.#", "####"), 1),  # a hole beside a bay
        (drawn(".###", "##.#", "####"), 1),  # a hole that touches the outside at a corner
        (drawn("#.#", ".#.", "#.#"), 1),
        (drawn("#..#", "#..#", "...."), 2),
    ],
)
def test_holes_islands_and_corners_come_back(mask: NDArray[np.bool_], lesions: int):
    outlines = mask_to_polygons(mask)
    assert len(outlines) == lesions
    assert np.array_equal(rasterize(outlines, mask.shape), mask)


@given(masks)
def test_outlines_give_every_mask_back(mask: NDArray[np.bool_]):
    outlines = mask_to_polygons(mask)
    assert np.array_equal(rasterize(outlines, mask.shape), mask)
    assert len(outlines) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert sum(region_area(outline) for outline in outlines) == mask.sum()


@given(masks)
def test_outlines_turn_at_every_vertex_and_run_along_pixel_edges(mask: NDArray[np.bool_]):
    for outline in mask_to_polygons(mask):
        assert (outline.points_xy % 1 == 0.5).all()
        steps = np.roll(outline.points_xy, -1, axis=0) - outline.points_xy
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert ((steps * np.roll(steps, 1, axis=0)).sum(axis=1) == 0).all()


# --- the real annotations ---


@needs_data
@pytest.mark.parametrize("part", ["train", "val"])
def test_real_regions_agree_with_scikit_image(part: str):
    folder = Path(DATA or "") / "br35h" / part.upper()
    file = read_annotations(folder / f"annotations_{part}.json")
    records = file.images
    ious = []
    for record in records:
        size_hw = read_slice(folder / record.filename).size_hw
        for region in record.regions:
            ours, theirs = rasterize_region(region, size_hw), _draw_with_skimage(region, size_hw)
            different = ours != theirs
            assert not different.any() or not (different & ~_near_outline(theirs)).any(), (record.filename, region)
            ious.append((ours & theirs).sum() / (ours | theirs).sum())
    assert len(ious) == {"train": 564, "val": 240}[part]
    assert np.mean(ious) >= 0.97


@needs_data
def test_real_masks_come_back_from_their_outlines():
    folder = Path(DATA or "") / "br35h" / "VAL"
    file = read_annotations(folder / "annotations_val.json")
    records = file.images
    for record in records:
        truth = rasterize(record.regions, read_slice(folder / record.filename).size_hw)
        assert truth.any()
        assert np.array_equal(rasterize(mask_to_polygons(truth), truth.shape), truth)


def _draw_with_skimage(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(region, Polygon):
        return np.asarray(polygon2mask(size_hw, region.points_xy[:, ::-1]))
    if isinstance(region, Circle):
        region = Ellipse(region.center_xy, (region.radius, region.radius))
    (x, y), (radius_x, radius_y) = region.center_xy, region.radii_xy
    mask = np.zeros(size_hw, dtype=np.bool_)
    # scikit-image turns from +x towards -y.
    mask[skimage_ellipse(y, x, radius_y, radius_x, shape=size_hw, rotation=-region.theta_rad)] = True
    return mask


def _near_outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that have both kinds among themselves and their eight neighbours; all around the image is outside."""
    kernel = np.ones((3, 3), dtype=np.uint8)
    padded = np.pad(mask, 1).astype(np.uint8)
    return np.asarray(cv2.dilate(padded, kernel) != cv2.erode(padded, kernel))[1:-1, 1:-1]


def _shifted(region: Region, shift_x: float, shift_y: float) -> Region:
    if isinstance(region, Polygon):
        return Polygon(region.points_xy + np.array([shift_x, shift_y]))
    center_xy = (region.center_xy[0] + shift_x, region.center_xy[1] + shift_y)
    if isinstance(region, Circle):
        return Circle(center_xy, region.radius)
    return Ellipse(center_xy, region.radii_xy, region.theta_rad)


def _along_border(stop: int) -> tuple[float, float]:
    """A point on the border of the square from (0, 0) to (12, 12), clockwise in steps of an eighth."""
    side, along = divmod(stop, 96)
    step = along / 8
    return [(step, 0.0), (12.0, step), (12.0 - step, 12.0), (0.0, 12.0 - step)][side]

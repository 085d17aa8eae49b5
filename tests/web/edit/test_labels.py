"""Label maps of the page, against values worked out by hand and against the geometry of the Python side."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from tumortrace.data.geometry import Ellipse, Polygon, rasterize_region

Run = Callable[..., Any]


def draw_spans(spans: list[int], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, dtype=np.bool_)
    for row, first, end in zip(spans[0::3], spans[1::3], spans[2::3], strict=True):
        mask[row, first:end] = True
    return mask


def sweep(run: Run, strokes: list[dict[str, Any]]) -> list[list[int]]:
    body = "return given.strokes.map(({from, to, radius, size}) => m.sweepSpans(from, to, radius, size))"
    found: list[list[int]] = run(body, strokes=strokes)
    return found


def at(x: float, y: float) -> dict[str, float]:
    return {"x": x, "y": y}


def test_a_click_with_a_disc_of_diameter_3_paints_a_cross(run: Run) -> None:
    # Centres nearer than 1.5 px to (2, 1): the 3 x 3 block without nothing, as its corners are 1.41 px away.
    stroke = {"from": at(2, 1), "to": at(2, 1), "radius": at(1.5, 1.5), "size": {"width": 5, "height": 4}}
    smaller = stroke | {"radius": at(1.2, 1.2)}
    block, cross = sweep(run, [stroke, smaller])
    assert block == [0, 1, 4, 1, 1, 4, 2, 1, 4]
    assert cross == [0, 2, 3, 1, 1, 4, 2, 2, 3]


def test_a_centre_on_the_outline_of_the_disc_is_outside(run: Run) -> None:
    stroke = {"from": at(2, 2), "to": at(2, 2), "radius": at(2, 2), "size": {"width": 5, "height": 5}}
    assert sweep(run, [stroke])[0] == [1, 1, 4, 2, 1, 4, 3, 1, 4]  # (2, 0), (0, 2), (4, 2) and (2, 4) lie on it


@pytest.mark.parametrize("place", [at(0.49, 0.49), at(-0.5, -0.5), at(0.2, -0.3)])
def test_the_smallest_brush_paints_the_pixel_under_the_pointer(run: Run, place: dict[str, float]) -> None:
    stroke = {"from": place, "to": place, "radius": at(0.25, 0.25), "size": {"width": 3, "height": 2}}
    mask = draw_spans(sweep(run, [stroke])[0], (2, 3))
    assert np.argwhere(mask).tolist() == [[0, 0]]


def test_nothing_is_painted_outside_the_picture(run: Run) -> None:
    size = {"width": 3, "height": 2}
    places = [at(-3, 0), at(5, 1), at(1, -4), at(1, 9), at(0.5, -0.51)]
    assert sweep(run, [{"from": p, "to": p, "radius": at(0.5, 0.5), "size": size} for p in places]) == [[]] * 5


def test_swept_discs_are_all_points_near_the_way(run: Run) -> None:
    rng = np.random.default_rng(5)
    size_hw = (17, 23)
    strokes = []
    for _ in range(150):
        start, end = rng.uniform(-4, 26, 2), rng.uniform(-4, 26, 2)
        rx, ry = rng.uniform(0.8, 9), rng.uniform(0.8, 9)
        size = {"width": size_hw[1], "height": size_hw[0]}
        strokes.append({"from": at(*start), "to": at(*end), "radius": at(rx, ry), "size": size})
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    for stroke, spans in zip(strokes, sweep(run, strokes), strict=True):
        rx, ry = stroke["radius"]["x"], stroke["radius"]["y"]
        near = np.zeros(size_hw, dtype=np.bool_)
        for share in np.linspace(0, 1, 1001):  # discs set close together along the way
            x = stroke["from"]["x"] + share * (stroke["to"]["x"] - stroke["from"]["x"])
            y = stroke["from"]["y"] + share * (stroke["to"]["y"] - stroke["from"]["y"])
            near |= ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1
        assert (draw_spans(spans, size_hw) != near).sum() <= 1  # a centre that only a disc between two of them reaches


def test_clicks_are_ellipses_of_the_python_side(run: Run) -> None:
    rng = np.random.default_rng(6)
    size_hw = (13, 19)
    strokes = []
    for number in range(150):
        # Every second one in quarters of a pixel, so that centres lie on the outline.
        x, y, rx, ry = (*rng.uniform(-3, 20, 2), *rng.uniform(0.8, 8, 2))
        if number % 2:
            x, y, rx, ry = round(x * 4) / 4, round(y * 4) / 4, math.ceil(rx * 4) / 4, math.ceil(ry * 4) / 4
        size = {"width": size_hw[1], "height": size_hw[0]}
        strokes.append({"from": at(x, y), "to": at(x, y), "radius": at(rx, ry), "size": size})
    for stroke, spans in zip(strokes, sweep(run, strokes), strict=True):
        centre, radii = ((stroke[key]["x"], stroke[key]["y"]) for key in ("from", "radius"))
        np.testing.assert_array_equal(draw_spans(spans, size_hw), rasterize_region(Ellipse(centre, radii), size_hw))


def test_polygons_are_those_of_the_python_side(run: Run) -> None:
    rng = np.random.default_rng(7)
    size_hw = (14, 18)
    outlines = [rng.uniform(-4, 21, (rng.integers(3, 9), 2)) for _ in range(150)]
    outlines += [np.round(outline * 2) / 2 for outline in outlines]  # vertices and edges on pixel centres
    body = """return given.outlines.map((points) =>
        m.polygonSpans(points.map(([x, y]) => ({x, y})), {width: 18, height: 14}))"""
    for outline, spans in zip(outlines, run(body, outlines=[each.tolist() for each in outlines]), strict=True):
        np.testing.assert_array_equal(draw_spans(spans, size_hw), rasterize_region(Polygon(outline), size_hw))


def test_a_polygon_owns_its_left_and_upper_edges(run: Run) -> None:
    body = "return m.polygonSpans([{x: 1, y: 1}, {x: 3, y: 1}, {x: 3, y: 3}, {x: 1, y: 3}], {width: 5, height: 5})"
    assert run(body) == [1, 1, 3, 2, 1, 3]


def test_a_lesion_paints_on_background_alone(run: Run) -> None:
    body = """const one = map(["11..2", ".1..2", "....."]);
        m.paint(one, [0, 0, 5, 2, 1, 3], 2);
        const over = map(["11..2", ".1..2", "....."]);
        m.paint(over, [0, 0, 5], 2, {over: true});
        const erased = map(["11..2", ".1..2", "....."]);
        m.paint(erased, [0, 1, 5], 0);
        const chosen = map(["....."]);
        m.paint(chosen, [0, 0, 5], 3, {accept: (index) => index % 2 === 1});
        return [one, over, erased, chosen].map((each) => rows(each.labels, each.width))"""
    assert run(body) == [
        ["11222", ".1..2", ".22.."], ["22222", ".1..2", "....."], ["1....", ".1..2", "....."], [".3.3."],
    ]  # fmt: skip


def test_holes_are_filled_by_the_lesion_around_them(run: Run) -> None:
    # Left: a hole that is open at a corner alone. Right: a hole around another lesion. Below: one open to the border.
    grid = ["111.2222", "1.1.2..2", "11..2.32", "....2222", "11......", ".1......", "11......"]
    body = "const grid = map(given.grid); return rows(m.fillHoles(grid), grid.width)"
    filled = ["111.2222", "111.2222", "11..2232", "....2222", "11......", ".1......", "11......"]
    assert run(body, grid=grid) == filled


def test_a_hole_between_two_lesions_goes_to_the_longer_border(run: Run) -> None:
    grid = ["1112", "1..2", "1112"]
    body = "const grid = map(given.grid); return rows(m.fillHoles(grid), grid.width)"
    assert run(body, grid=grid) == ["1112", "1112", "1112"]


def test_the_union_after_filling_is_that_of_scipy(run: Run) -> None:
    rng = np.random.default_rng(8)
    masks = [rng.random((12, 15)) < 0.6 for _ in range(60)]
    grids = [["".join("1" if value else "." for value in row) for row in mask] for mask in masks]
    body = "return given.grids.map((grid) => rows(m.fillHoles(map(grid)), grid[0].length))"
    for mask, filled in zip(masks, run(body, grids=grids), strict=True):
        ours = np.array([[value != "." for value in row] for row in filled])
        np.testing.assert_array_equal(ours, ndimage.binary_fill_holes(mask))  # background seen along edges


def test_the_largest_piece_stays(run: Run) -> None:
    body = "const grid = map(given.grid); return rows(m.keepLargest(grid), grid.width)"
    assert run(body, grid=["1..22", ".1.22", "..1..", "33333"]) == [".....", ".....", ".....", "33333"]
    assert run(body, grid=["1..22", ".1.2.", "..1.."]) == [
        "1....",
        ".1...",
        "..1..",
    ]  # the upper left one
    assert run(body, grid=["...", "..."]) == ["...", "..."]


def test_specks_wholly_within_the_box_are_deleted(run: Run) -> None:
    grid = ["1....", "..2.3", "....3", "44..3"]
    body = """const grid = map(given.grid);
        return rows(m.deleteSpecks(grid, {x: given.x, y: given.y}, {x: 4.2, y: 2.1}), grid.width)"""
    assert run(body, grid=grid, x=-0.4, y=0) == [".....", "....3", "....3", "44..3"]  # lesion 3 reaches beyond it
    assert run(body, grid=grid, x=1, y=1.01) == grid  # the box begins below the centre of lesion 2
    assert run(body, grid=grid, x=9, y=9) == grid


def test_pieces_are_numbered_by_size(run: Run) -> None:
    body = "const grid = map(given.grid); return rows(m.separateLesions(grid), grid.width)"
    # Two pieces of lesion 1, and lesion 2 beside one of them: three lesions, the largest first.
    assert run(body, grid=["11.1.", "2..11", "2..1.", "....."]) == ["22.1.", "3..11", "3..1.", "....."]
    assert run(body, grid=["..", ".."]) == ["..", ".."]


def test_more_pieces_than_numbers_share_the_last_one(run: Run) -> None:
    body = """const labels = new Uint8Array(2 * 600);
        for (let x = 0; x < 600; x += 2) labels[x] = 1;
        const found = m.separateLesions({labels, width: 600, height: 2});
        return [Math.max(...found), found.filter((value) => value === 254).length, found[0], found[2]]"""
    assert run(body) == [254, 47, 1, 2]


def test_changes_are_stored_as_runs(run: Run) -> None:
    body = """const before = map(["11..", "..22"]).labels, after = map(["1333", "3.22"]).labels;
        const runs = m.diffLabels(before, after);
        const again = before.slice(), back = after.slice();
        m.applyRuns(again, runs);
        m.applyRuns(back, runs, {undo: true});
        return [[...runs], rows(again, 4), rows(back, 4), [...m.diffLabels(after, after)]]"""
    runs, again, back, none = run(body)
    assert runs == [1, 1, 1, 3, 2, 3, 0, 3]  # a run ends where the label before it changes
    assert again == ["1333", "3.22"]
    assert back == ["11..", "..22"]
    assert none == []


def test_the_next_lesion_has_the_lowest_free_number(run: Run) -> None:
    body = "return [m.unusedLabel([map(['1.3']), map(['4..'])]), m.unusedLabel([map(['...'])]), m.unusedLabel([])]"
    assert run(body) == [2, 1, 1]

"""Masks on the screen, pixel by pixel, at nine zooms and three device pixel ratios."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.web.page.conftest import END, slice_message, start_message

if TYPE_CHECKING:
    from playwright.sync_api import Page

ZOOMS = (1.0, 1.37, 2.0, 2.93, 4.0, 6.5, 9.0, 13.37, 21.0)  # CSS pixels per image pixel
AMBER, BLUE = (255, 176, 0), (86, 180, 233)
COLOURS = np.array([(0, 0, 0), AMBER, BLUE], dtype=np.uint8)

LABELS = np.array(
    [
        [1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        [0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 1, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 2],
        [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
    ],
    dtype=np.uint8,
)
"""Corners, a border of the picture, a hole, a diagonal, a single pixel, and two lesions that touch."""

DRAW = """async ({labels, zoom, options}) => {
  const { viewer } = await import("/app.js");
  viewer.slice.labels.set(labels);
  viewer.slice.edited = true;
  viewer.fit();
  viewer.zoom(zoom / viewer.scale);
  Object.assign(viewer.options, options);
  viewer.redraw();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const corner = viewer.toScreen(-0.5, -0.5);
  return [viewer.ratio, corner.x * viewer.ratio, corner.y * viewer.ratio, viewer.scale];
}"""


def shoot(page: Page, zoom: float, **options: object) -> tuple[NDArray[np.uint8], float, tuple[float, float], float]:
    """Picture of the canvas in device pixels, the ratio, the picture's first corner there, and device px per px."""
    arguments = {"labels": LABELS.ravel().tolist(), "zoom": zoom, "options": options}
    ratio, left, top, scale = page.evaluate(DRAW, arguments)
    assert scale == pytest.approx(zoom)
    data = page.locator(".viewer canvas").screenshot(scale="device", animations="disabled")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    return np.asarray(picture), ratio, (left, top), zoom * ratio


def expect_labels(shape: tuple[int, int], corner: tuple[float, float], scale: float) -> NDArray[np.uint8]:
    """Lesion that the centre of each device pixel lies in; 0 for none."""
    columns = np.floor((np.arange(shape[1]) + 0.5 - corner[0]) / scale).astype(int)
    rows = np.floor((np.arange(shape[0]) + 0.5 - corner[1]) / scale).astype(int)
    padded = np.pad(LABELS, 1)
    return padded[np.clip(rows + 1, 0, 8)][:, np.clip(columns + 1, 0, 12)]


def expect_outline(labels: NDArray[np.uint8], half: int) -> NDArray[np.bool_]:
    """Device pixels nearer than ``half`` (in rows and columns) to a grid point between two lesions or at a border."""
    padded = np.pad(labels, 1)
    around = np.stack([padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]])
    corners = (around.max(axis=0) != around.min(axis=0)).astype(np.uint8)
    size = 2 * half
    wide = cv2.dilate(corners, np.ones((size, size), np.uint8), anchor=(half - 1, half - 1))
    return np.asarray(wide[:-1, :-1] > 0)


@pytest.fixture(scope="module")
def shown(browser, base_url):
    """Pages that show the lesions, one a device pixel ratio."""
    messages = [start_message(LABELS.shape), slice_message(LABELS > 0), END]
    body = "".join(json.dumps(each) + "\n" for each in messages)
    pages = {}
    for ratio in (1, 1.5, 2):
        page = browser.new_context(viewport={"width": 1200, "height": 760}, device_scale_factor=ratio).new_page()
        page.route("**/api/segment*", lambda route: route.fulfill(body=body))
        page.goto(base_url)
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": b"a"})
        page.wait_for_selector("#work:not([hidden])")
        page.wait_for_selector("#progress", state="hidden")
        page.evaluate("for (const each of document.querySelectorAll('.corner')) each.hidden = true")
        pages[ratio] = page
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.mark.parametrize("ratio", [1, 1.5, 2])
def test_the_fill_covers_exactly_the_pixels_of_the_mask(shown, ratio):
    for zoom in ZOOMS:
        picture, measured, corner, scale = shoot(shown[ratio], zoom, outline=False, opacity=1)
        assert measured == ratio
        labels = expect_labels(picture.shape[:2], corner, scale)
        for number in (1, 2):
            drawn = (picture == COLOURS[number]).all(axis=2)
            assert np.array_equal(drawn, labels == number), f"zoom {zoom}, lesion {number}"


@pytest.mark.parametrize(("ratio", "half"), [(1, 1), (1.5, 1), (2, 2)])
def test_the_outline_runs_along_the_edges_of_the_pixels(shown, ratio, half):
    for zoom in ZOOMS:
        picture, _, corner, scale = shoot(shown[ratio], zoom, outline=True, opacity=0)
        expected = expect_outline(expect_labels(picture.shape[:2], corner, scale), half)
        drawn = (picture == COLOURS[1]).all(axis=2) | (picture == COLOURS[2]).all(axis=2)
        assert np.array_equal(drawn, expected), f"zoom {zoom}"


def test_a_point_of_the_screen_is_the_pixel_that_is_drawn_there(shown):
    for zoom in ZOOMS:
        shoot(shown[1.5], zoom)
        found = shown[1.5].evaluate(
            """async () => {
              const { viewer } = await import("/app.js");
              const box = viewer.canvas.getBoundingClientRect();
              return [[0, 0], [10, 0], [3, 6]].map(([x, y]) => {
                const at = viewer.toScreen(x, y);
                const back = viewer.toImage({ clientX: at.x + box.left, clientY: at.y + box.top });
                return [back.x, back.y];
              });
            }"""
        )
        assert np.allclose(found, [[0, 0], [10, 0], [3, 6]], atol=1e-6)

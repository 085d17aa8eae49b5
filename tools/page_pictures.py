"""Pictures of the page for the docs: ``python -m tools.page_pictures URL``.

URL is the address of a running ``tumortrace serve --model fast``. Everything that is shown is generated.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import FilePayload, Page, sync_playwright

from tumortrace.cli import run_script
from tumortrace.files import write_atomically
from tumortrace.phantoms.slices import draw_phantom

IMAGES = Path(__file__).parent.parent / "docs" / "images"
KINDS = ("bright", "ring", "multiple", "oedema", "none", "bright")
PLACE = """async ([share_x, share_y]) => {
  const { viewer } = await import("/app.js");
  const [{ x, y, diameter }] = viewer.scan.measure(viewer.slice), [rowMm] = viewer.scan.spacingMm;
  const half = 0.62 * diameter / rowMm, canvas = viewer.canvas.getBoundingClientRect();
  const at = viewer.toScreen(x + share_x * half, y + share_y * half);
  return [canvas.left + at.x, canvas.top + at.y];
}"""
"""The place on the screen of a point of a loose box around the lesion, whose corners are -1 and 1."""

COLOURS = 256
"""Colours of a picture; its file is a quarter as large as with all of them."""


def main(address: str) -> None:
    """Take pictures of a series in light colours, of single slices in dark ones, of a phone's screen, and of a box."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )

        def open_page(width: int, height: int, scheme: Literal["light", "dark"]) -> Page:
            page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
            page.goto(address)
            return page

        page = open_page(1360, 820, "light")
        _open_sample(page)
        _save(page, "app-series.png")
        page = open_page(1360, 820, "dark")
        page.set_input_files("#files", [_draw_file(index) for index in range(len(KINDS))])
        page.wait_for_selector("#work:not([hidden])")
        _wait(page)
        page.select_option("#cases select", "doubt")
        page.click(".case >> nth=0")
        page.click("[data-do=heat]")
        _save(page, "app-cases.png")
        page = open_page(390, 800, "dark")
        _open_sample(page)
        _save(page, "app-narrow.png")
        _point(open_page(1000, 660, "light"))
        browser.close()


def _point(page: Page) -> None:
    """Take three pictures: the mask while a box is drawn, after two clicks, and in the series."""
    _open_sample(page)
    page.evaluate("import('/app.js').then(({viewer}) => viewer.show(13))")
    page.click("[aria-keyshortcuts=m i]")
    page.evaluate("scrollTo(0, 0)")
    corners = [page.evaluate(PLACE, [share, share]) for share in (-1, 0.1, 1)]
    added, away = page.evaluate(PLACE, [0.55, -0.62]), page.evaluate(PLACE, [-0.62, 0.1])
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=8)
    _save(page, "app-box-drag.png")
    page.mouse.up()
    page.wait_for_function("import('/app.js').then(({viewer}) => viewer.tool.prompt)")
    page.wait_for_timeout(500)
    page.mouse.click(*added)
    page.wait_for_timeout(500)
    page.keyboard.press("i")
    page.mouse.click(*away)
    page.wait_for_timeout(500)
    _save(page, "app-box-click.png")
    page.keyboard.press("w")
    page.get_by_text("Undo goes back slice by slice").wait_for()
    _wait(page)
    _save(page, "app-box-series.png")


def _open_sample(page: Page) -> None:
    page.click("#welcome [data-open=sample]")
    page.wait_for_selector("#work:not([hidden])")
    _wait(page)


def _wait(page: Page) -> None:
    page.wait_for_selector("#progress", state="hidden")
    page.wait_for_timeout(500)  # tables wait until scrolling rests


def _draw_file(index: int) -> FilePayload:
    pixels = draw_phantom(np.random.default_rng(30 + index), size_hw=(256, 216), kind=KINDS[index]).pixels
    data = cv2.imencode(".png", pixels)[1].tobytes()
    return {"name": f"axial_{index + 1:02d}.png", "mimeType": "image/png", "buffer": data}


def _save(page: Page, name: str) -> None:
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    write_atomically(IMAGES / name, data.getvalue())


if __name__ == "__main__":
    run_script(main)

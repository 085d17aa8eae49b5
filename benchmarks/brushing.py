"""Time of one brush movement in the page: ``python -m benchmarks.brushing``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from benchmarks.page import open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIDE_PX = 512
SIZES_PX = (5, 40, 200)
MOVES = 150

AWAIT_SLICE = """async () => {
    const {viewer} = await import("/app.js");
    while (!viewer.slice) await new Promise((go) => setTimeout(go, 20));
}"""

TIME_HANDLERS = """async () => {
    const {viewer} = await import("/app.js");
    globalThis.times = [];
    for (const name of ["down", "move", "up"]) {
        const inner = viewer.tool[name].bind(viewer.tool);
        viewer.tool[name] = (...given) => {
            const started = performance.now();
            inner(...given);
            globalThis.times.push(performance.now() - started);
        };
    }
}"""


def measure() -> Table:
    """Time the handler of the brush in Chromium, with fast strokes across a picture of 512 x 512 pixels."""
    table = make_table(
        f"Brush handler at {SIDE_PX} x {SIDE_PX}, ms an event", "diameter", "events", "p50", "p95", "most"
    )
    with open_page("fast") as page:
        _open_noise(page)
        for size_px in SIZES_PX:
            times_ms = _paint(page, size_px)
            p50, p95 = np.percentile(times_ms, [50, 95])
            table.add_row(f"{size_px} px", f"{len(times_ms)}", f"{p50:.2f}", f"{p95:.2f}", f"{max(times_ms):.2f}")
    return table


def _open_noise(page: Page) -> None:
    """Open a picture that the gate rejects, so that nothing is segmented meanwhile."""
    noise = np.random.default_rng(0).integers(0, 255, (SIDE_PX, SIDE_PX), dtype=np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    page.locator("#files").set_input_files({"name": "noise.png", "mimeType": "image/png", "buffer": data})
    page.evaluate(AWAIT_SLICE)


def _paint(page: Page, size_px: int) -> list[float]:
    """Return the milliseconds of each event of strokes of 10 movements; every second stroke erases."""
    rng = np.random.default_rng(size_px)
    box = page.locator(".viewer canvas").bounding_box()
    assert box is not None
    times_ms: list[float] = []
    for stroke in range(MOVES // 10):
        page.keyboard.press("Escape")
        page.keyboard.press("e" if stroke % 2 else "b")
        page.evaluate(
            "(size) => { const input = document.querySelector('#edit input[type=range]'); input.value = size;"
            "input.dispatchEvent(new Event('input')); }",
            size_px,
        )
        page.evaluate(TIME_HANDLERS)
        places = [
            (box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in rng.uniform(0.2, 0.8, (10, 2))
        ]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places:
            page.mouse.move(*place)
        page.mouse.up()
        times_ms += page.evaluate("globalThis.times")
    return times_ms


if __name__ == "__main__":
    Console(width=100).print(measure())

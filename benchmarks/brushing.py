"""Time of one brush movement in the page: ``python -m benchmarks.brushing``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table

SIDE_PX = 512
SIZES_PX = (5, 40, 200)
MOVES = 150
CHROMIUM = "/usr/bin/chromium"

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
    """Handler of the brush on a picture of 512 x 512 pixels in Chromium: fast strokes across the whole picture."""
    table = make_table(
        f"Brush handler at {SIDE_PX} x {SIDE_PX}, ms an event", "diameter", "events", "p50", "p95", "most"
    )
    with _open_page() as page:
        for size_px in SIZES_PX:
            times_ms = _paint(page, size_px)
            p50, p95 = np.percentile(times_ms, [50, 95])
            table.add_row(f"{size_px} px", f"{len(times_ms)}", f"{p50:.2f}", f"{p95:.2f}", f"{max(times_ms):.2f}")
    return table


@contextmanager
def _open_page() -> Iterator[Page]:
    """The page of a server with a picture that the gate rejects, so that nothing is segmented meanwhile."""
    command = [sys.executable, "-m", "tumortrace", "serve", "--port", "0", "--model", "fast"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server,
        sync_playwright() as playwright,
    ):
        assert server.stdout is not None
        url = next(found[0] for line in server.stdout if (found := re.search(r"http://[\w.:]+", line)))
        picture = Path(folder) / "noise.png"
        cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (SIDE_PX, SIDE_PX), dtype=np.uint8))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.locator("#files").set_input_files(picture)
        page.evaluate(AWAIT_SLICE)
        try:
            yield page
        finally:
            browser.close()
            server.terminate()


def _paint(page: Page, size_px: int) -> list[float]:
    """Times in milliseconds of each event of strokes of 10 movements; every second stroke erases."""
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

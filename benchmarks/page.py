"""Waiting times of the page: drops, a long series, boxes and clicks, scrolling."""

from __future__ import annotations

import base64
import gzip
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import cv2
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from benchmarks.serving import run_server
from tumortrace.inference.segmenter import Segmenter
from tumortrace.phantoms.series import draw_series
from tumortrace.phantoms.slices import draw_phantom

if TYPE_CHECKING:
    from playwright.sync_api import Page

DROPS = 20
SLICES = 155
CHROMIUM = "/usr/bin/chromium"
BOX = (170, 150, 270, 250)

DROP = """async ([name, data]) => {
  const { viewer, scans } = await import("/app.js");
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { lastModified: Date.now() }));
  const before = scans.items.length;
  const started = performance.now();
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  const arrived = () => scans.items.length > before && scans.current === scans.items.at(-1) && viewer.slice;
  while (!arrived()) await frame();
  await frame();
  const first = performance.now() - started;
  while (!scans.items.at(-1).complete) await frame();
  await frame();
  return [first / 1000, (performance.now() - started) / 1000];
}"""
"""Drop a file on the page; seconds until its first slice is drawn with its mask, and until all slices are there."""

POINT = """async ([left, top, right, bottom]) => {
  const { viewer } = await import("/app.js");
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "m", bubbles: true }));
  const { tool } = viewer, redraw = viewer.redraw;
  const wait = (act) => new Promise((done) => {
    const started = performance.now();
    viewer.redraw = () => {
      viewer.redraw = redraw;
      viewer.redraw();
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
    };
    act();
  });
  const boxes = [], clicks = [];
  tool.down({ x: left, y: top });
  for (let i = 0; i < 21; i++) boxes.push(await wait(() => tool.move({ x: right + i / 2, y: bottom + i / 2 })));
  tool.up({ x: right, y: bottom });
  while (!tool.prompt) await new Promise((go) => setTimeout(go, 20));
  for (let i = 0; i < 20; i++) {
    const point = { x: left + 20 + i, y: top + 20 + i };
    clicks.push(await wait(() => { tool.down(point); tool.up(point, { altKey: i % 2 === 1 }); }));
  }
  return [boxes[0], boxes.slice(1), clicks];
}"""
"""Drag a box over the picture and click in it: milliseconds until each answer is drawn."""

SCROLL = """async () => {
  const { viewer, scans } = await import("/app.js");
  const { Scan, Slice } = await import("/scan.js");
  const size = 512, count = 60;
  const model = { name: "none", threshold: 0.5 };
  const scan = new Scan({ id: "scroll", name: "scroll", kind: "volume", files: [], item: 0, count, sizeHw: [size, size],
    spacingMm: [0.5, 0.5], stepMm: 1, model });
  for (let index = 0; index < count; index++) {
    const pixels = Uint16Array.from({ length: size * size }, (_, i) => (i * 31 + index * 997) % 4096);
    const labels = new Uint8Array(size * size);
    for (let y = 150; y < 350; y++) labels.fill(1, y * size + 150 + index, y * size + 350 - (y % 7));
    const record = { status: "ok", reason: "", review: false, confidence: 0.9, tumour: true };
    const fields = { width: size, height: size, pixels, rgb: null, slope: 1, intercept: 0, record,
      labels, automatic: labels.slice(), probability: null };
    scan.slices[index] = new Slice(index, fields);
  }
  scan.complete = true;
  scans.add(scan);
  scans.select(scan, 0);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let i = 0; i < 30; i++) await frame();
  const draws = [];
  const started = performance.now();
  let frames = 0;
  for (; performance.now() - started < 3000; frames++) {
    viewer.show((viewer.index + 1) % count);
    await frame();
  }
  const perSecond = frames / ((performance.now() - started) / 1000);
  for (let i = 0; i < 60; i++) {
    const begun = performance.now();
    viewer.show((viewer.index + 1) % count);
    viewer.draw();
    draws.push(performance.now() - begun);
  }
  return [perSecond, draws];
}"""
"""Scroll a series of 512 x 512 by a slice a frame, with mask and tables: frames a second, and milliseconds a slice."""


def measure(model: str = "default") -> Table:
    """Drop pictures and a series on the page of a server of its own, and scroll.

    Args:
        model: Model of the server.
    """
    table = make_table(f"The page, model {model}, Chromium without GPU", "what", "p50", "p95", "unit")
    with open_page(model) as page:
        pictures = [_drop(page, f"{seed}.png", _draw_png(seed))[0] for seed in range(DROPS + 1)][1:]  # one to warm up
        table.add_row(f"drop to outline, {DROPS} pictures of 512 x 512", *_quantiles(pictures), "s")
        first_box, boxes, clicks = page.evaluate(POINT, list(BOX))
        table.add_row("first box on a picture of 512 x 512", f"{first_box:.0f}", "", "ms")
        bare_boxes, bare_clicks = _point_bare()
        table.add_row("each further box", *_quantiles(boxes), "ms")
        table.add_row("each further box, bare", *_quantiles(bare_boxes), "ms")
        table.add_row("each click", *_quantiles(clicks), "ms")
        table.add_row("each click, bare", *_quantiles(bare_clicks), "ms")
        first, all_slices = _drop(page, "series.nii.gz", _draw_nifti())
        table.add_row(f"{SLICES} slices of 240 x 240: first outline", f"{first:.2f}", "", "s")
        table.add_row(f"{SLICES} slices of 240 x 240: all", f"{all_slices:.1f}", "", "s")
        frames_per_s, draws_ms = page.evaluate(SCROLL)
        table.add_row("scrolling 512 x 512, of at most 60 a second", f"{frames_per_s:.0f}", "", "frames/s")
        table.add_row("scrolling 512 x 512: one slice", *_quantiles(draws_ms), "ms")
    return table


def _quantiles(values: list[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.2f}", f"{np.quantile(values, 0.95):.2f}"


def _drop(page: Page, name: str, data: bytes) -> tuple[float, float]:
    first, complete = page.evaluate(DROP, [name, base64.b64encode(data).decode()])
    return first, complete


def _point_bare() -> tuple[list[float], list[float]]:
    """Return the milliseconds of each box and each click with ``Segmenter.point``, on one thread as in the server."""
    session = Segmenter("fast", threads=1).point(_draw(DROPS))
    left, top, right, bottom = BOX
    session.predict(BOX)
    boxes = [_time_ms(partial(session.predict, (left, top, right + i, bottom + i))) for i in range(1, 21)]
    points = [(left + 20 + i, top + 20 + i) for i in range(20)]
    labels = [i % 2 == 0 for i in range(20)]
    session.predict(BOX)
    clicks = [_time_ms(partial(session.predict, BOX, points[: i + 1], labels[: i + 1])) for i in range(20)]
    return boxes, clicks


def _time_ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _draw(seed: int) -> NDArray[np.uint8]:
    return draw_phantom(np.random.default_rng(seed), size_hw=(512, 512), kind="bright").pixels


def _draw_png(seed: int) -> bytes:
    return cv2.imencode(".png", _draw(seed))[1].tobytes()


def _draw_nifti() -> bytes:
    series = draw_series(seed=1, slices=SLICES, size_hw=(240, 240))
    image = nib.Nifti1Image(series.pixels.transpose(2, 1, 0), np.diag([-0.9, -0.9, 1.0, 1.0]))
    return gzip.compress(image.to_bytes(), 1)


@contextmanager
def open_page(model: str) -> Iterator[Page]:
    """Open the page of a server of its own in Chromium.

    Args:
        model: Model of the server.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with run_server(model) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto("http://{}:{}".format(*server.address))
        try:
            yield page
        finally:
            browser.close()


if __name__ == "__main__":
    Console(width=130).print(measure(*sys.argv[1:]))

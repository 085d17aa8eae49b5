"""Fixtures of the tests of the corrections: their modules in a blank page, without a server behind it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

BLANK = "blank.html"


class _Files(SimpleHTTPRequestHandler):
    """The files of the page, and a blank page."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def do_GET(self) -> None:
        if self.path != f"/{BLANK}":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>blank</title><main></main>")

    def log_message(self, *_args: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="session")
def static_url() -> Iterator[str]:
    """The files of the page without the API."""
    root = resources.files("tumortrace.web") / "static"
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def blank(browser: Browser, static_url: str) -> Iterator[Page]:
    """A blank page that can import the modules of the corrections."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{static_url}/{BLANK}")
    yield page
    context.close()


Run = Callable[..., Any]


@pytest.fixture(scope="session")
def run(blank: Page) -> Run:
    """Run the body of a function of (modules, map, given) in the blank page.

    ``m`` holds the exports of the modules, ``given`` the keyword arguments. ``map(rows)`` makes a label map of rows of
    digits, and ``rows(labels, width)`` is the way back. ``open(grids)`` opens a scan whose slices have these labels in
    an editor without a page around it, with a viewer that shows one screen pixel a pixel.
    """

    def call(body: str, **given: object) -> Any:  # noqa: ANN401 - what the script returns
        return blank.evaluate(f"async ([body, given]) => {{{_SCRIPT}}}", [body, given])

    return call


_SCRIPT = """
const names = ["labels", "history", "store", "tools", "downloads", "editor"];
const m = Object.assign({}, ...await Promise.all(names.map((name) => import(`/edit/${name}.js`))));
const map = (rows) => ({labels: Uint8Array.from(rows.join("").replaceAll(".", "0"), Number),
    width: rows[0].length, height: rows.length});
const rows = (labels, width) => Array.from({length: labels.length / width}, (_, y) =>
    [...labels.subarray(y * width, (y + 1) * width)].map((value) => value || ".").join(""));
class Viewer extends EventTarget {
    index = 0; tool = null; scale = 1; said = []; window = {centre: 50, width: 100};
    get slice() { return this.scan?.slices[this.index] ?? null; }
    show(index) { this.index = index; this.dispatchEvent(new Event("slicechange")); }
    say(text) { this.said.push(text); }
    redraw() {} draw() {} forget() {}
    toScreen(x, y) { return {x, y}; }
}
const open = (grids, {id = "scan", spacingMm = null, pixels = null} = {}) => {
    const slices = grids.map((grid, index) => {
        const {labels, width, height} = map(grid);
        const grey = pixels ? Uint16Array.from(pixels.flat()) : null;
        return {index, labels, automatic: labels.slice(), width, height, pixels: grey, slope: 1, edited: false};
    });
    const scan = {id, name: `${id}.png`, slices, spacingMm, files: [], get ready() { return slices.filter(Boolean); }};
    const scans = Object.assign(new EventTarget(), {items: [scan]});
    const viewer = Object.assign(new Viewer(), {scan});
    const editor = new m.Editor(viewer, scans);
    const stroke = (tool, ...points) => {
        const [first, ...rest] = points.map(([x, y]) => ({x, y}));
        tool.down(first);
        for (const point of rest) tool.move(point);
        tool.up(rest.at(-1) ?? first);
    };
    const shown = () => slices.map(({labels, width}) => rows(labels, width));
    return {editor, viewer, scan, scans, slices, stroke, shown};
};
const act = new Function("m", "map", "rows", "open", "given", `return (async () => {${body}})()`);
return act(m, map, rows, open, given);
"""

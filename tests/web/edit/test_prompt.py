"""The tool of boxes and clicks: against a server whose answers are known, and in the page against the real one."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page
from tests.web.conftest import OpenPage
from tests.web.edit.conftest import Run
from tests.web.edit.test_page import drag, open_files, place_on_screen, read_labels, wait_until
from tests.web.edit.test_page import run as run_page
from tests.web.page.test_access import find_faults

from tumortrace.data.slice import Slice
from tumortrace.inference.segmenter import Segmenter
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.web.sample import encode_sample


def png_of(rows: list[str]) -> str:
    mask = np.array([[255 * (letter != ".") for letter in row] for row in rows], np.uint8)
    return base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()


MASK = [".......", "..11...", "..111..", "......."]
MORE = [".......", "..111..", "..111..", "......."]

SERVER = """
    const {pointer} = await import("/edit/prompt.js");
    const {bytesFromBase64} = await import("/png.js");
    const asked = [], held = [];
    let mask = given.mask;
    globalThis.fetch = async (url, {body}) => {
        asked.push({prompt: JSON.parse(body.get("prompt")), grey: body.has("grey"), picture: body.get("picture")});
        if (given.hold) await new Promise((go) => held.push(go));
        if (given.gone && body.has("picture")) return new Response('{"error": "not kept any more"}', {status: 404});
        if (given.fault) return new Response('{"error": "the box lies outside of the picture"}', {status: 400});
        return new Response(bytesFromBase64(mask), {headers: {Picture: "hash"}});
    };
    const pixels = given.grids[0].map((row) => [...row].map(() => 7));
    const {editor, viewer, shown, slices} = open(given.grids, {pixels});
    viewer.scale = 10;
    const told = [], tool = pointer(editor);
    editor.addEventListener("told", ({detail}) => told.push(detail));
    const at = ([x, y]) => ({x, y});
    const settle = async () => { for (let turn = 0; turn < 40; turn++) await new Promise((go) => setTimeout(go)); };
    const box = async (...points) => {
        tool.down(at(points[0]));
        for (const point of points.slice(1)) tool.move(at(point));
        tool.up(at(points.at(-1)));
        await settle();
    };
    const click = async (point, event) => { tool.down(at(point)); tool.up(at(point), event); await settle(); };
"""
EMPTY = ["......."] * 4


def play(run: Run, body: str, **given: object) -> Any:  # noqa: ANN401 - what the script returns
    return run(SERVER + body, **{"grids": [EMPTY, EMPTY], "mask": png_of(MASK), **given})


def test_a_box_is_one_step_that_undo_takes_back(run: Run) -> None:
    body = """await box([1, 1], [4, 2], [5.2, 3]);
        const {steps} = editor.history, drawn = shown()[0], {prompted} = slices[0];
        editor.undo();
        return [drawn, steps.map(({name}) => name), prompted, shown()[0], slices[0].prompted, asked.at(-1).prompt]"""
    drawn, names, prompted, undone, after, prompt = play(run, body)
    assert (drawn, names, prompted) == (MASK, ["Box"], True)
    assert (undone, after) == (EMPTY, False)
    assert prompt == {"box_xyxy": [1, 1, 6, 4], "points_xy": [], "labels": [], "size_hw": [4, 7]}


def test_one_question_is_under_way_and_the_latest_follows(run: Run) -> None:
    body = """tool.down(at([1, 1]));
        for (const x of [2, 3, 4, 5]) { tool.move(at([x, 3])); await settle(); }
        const first = asked.length;
        tool.up(at([6, 3]));
        given.hold = false;
        held.shift()();
        await settle();
        return [first, asked.map(({prompt}) => prompt.box_xyxy[2]), editor.history.steps.length]"""
    assert play(run, body, hold=True) == [1, [3, 7], 1]


def test_grey_values_are_sent_once_and_again_when_they_are_forgotten(run: Run) -> None:
    body = """await box([1, 1], [5, 3]);
        await click([4, 1]);
        const known = asked.map(({grey, picture}) => [grey, picture]);
        given.gone = true;
        asked.length = 0;
        await click([3, 3]);
        return [known, asked.map(({grey, picture}) => [grey, picture]), editor.history.steps.length]"""
    known, later, _ = play(run, body)
    assert known[0] == [True, None]
    assert known[1:] == [[False, "hash"]] * (len(known) - 1)
    assert later == [[False, "hash"], [True, None]]


def test_clicks_refine_the_newest_box_that_is_not_undone(run: Run) -> None:
    body = """await click([3, 2]);
        await box([1, 1], [5, 3]);
        mask = given.more;
        await click([4, 1]);
        const added = shown()[0];
        mask = given.mask;
        await click([4.2, 1], {altKey: true});
        const {prompt} = asked.at(-1);
        editor.undo();
        const undone = shown()[0];
        editor.set({away: true});
        await click([2, 1]);
        return [told, added, prompt, undone, asked.at(-1).prompt, editor.history.steps.map(({name}) => name)]"""
    told, added, prompt, undone, last, names = play(run, body, more=png_of(MORE))
    assert told == ["Drag a box around the tumour first."]
    assert (added, undone) == (MORE, MORE)
    assert (prompt["points_xy"], prompt["labels"]) == ([[4, 1], [4.2, 1]], [1, 0])
    assert (last["points_xy"], last["labels"]) == ([[4, 1], [2, 1]], [1, 0])
    assert names == ["Box", "Click", "Click"]


def test_a_box_is_carried_through_a_scan_as_it_was_opened(run: Run) -> None:
    body = """const {askThrough} = await import("/edit/ask.js"), sent = [];
        globalThis.fetch = async (url) => { sent.push(url); return new Response(""); };
        const prompt = {slice: slices[0], box: [1, 1, 5, 3], points: [], labels: []};
        for (const annotated of [false, true]) await askThrough({files: [], item: 0, annotated}, prompt);
        return sent"""
    assert play(run, body) == ["api/segment", "api/annotations"]


def test_a_brush_ends_what_clicks_refine(run: Run) -> None:
    body = """await box([1, 1], [5, 3]);
        editor.set({size: 1});
        const brush = m.brush(editor);
        brush.down(at([6, 0])); brush.up(at([6, 0]));
        await click([4, 1]);
        return [told.length, shown()[0][0]]"""
    assert play(run, body) == [1, "......1"]


def test_a_cancelled_drag_and_one_that_fails_leave_no_trace(run: Run) -> None:
    body = """tool.down(at([1, 1]));
        tool.move(at([5, 3]));
        await settle();
        const growing = shown()[0];
        tool.cancel();
        const cancelled = [shown()[0], tool.busy];
        given.fault = true;
        await box([1, 1], [5, 3]);
        return [growing, cancelled, shown()[0], told, editor.history.steps.length, slices[0].edited]"""
    growing, cancelled, failed, told, steps, edited = play(run, body)
    assert (growing, cancelled, failed) == (MASK, [EMPTY, False], EMPTY)
    assert told == ["the box lies outside of the picture"]
    assert (steps, edited) == (0, False)


def test_an_answer_that_comes_after_another_slice_is_shown_paints_nothing(run: Run) -> None:
    body = """tool.down(at([1, 1]));
        tool.move(at([5, 3]));
        await settle();
        viewer.show(1);
        tool.up(at([5, 3]));
        held.forEach((go) => go());
        await settle();
        return [shown(), editor.history.steps.length]"""
    assert play(run, body, hold=True) == [[EMPTY, EMPTY], 0]


@pytest.mark.parametrize(
    ("before", "over", "wanted"),
    [
        (["33.....", "33.....", ".......", "......."], False, ["33.....", "33.1...", ".111...", "......."]),
        ([".......", "..22...", "..2....", "......."], False, [".......", "...2...", ".222...", "......."]),
        ([".......", "..22555", "..2.555", "......."], False, [".......", "...2555", ".222555", "......."]),
        ([".......", "..55555", ".......", "......."], False, [".......", "..55555", ".111...", "......."]),
        ([".......", "..55555", ".......", "......."], True, [".......", "..51555", ".111...", "......."]),
    ],
)  # fmt: skip
def test_a_mask_replaces_the_pieces_that_lie_half_in_its_box(run: Run, before, over, wanted) -> None:
    """The box covers columns 1 to 3 of rows 1 and 2; the mask is an angle in it."""
    body = """const grid = map(given.before), mask = map([".......", "...1...", ".111...", "......."]).labels;
        return rows(m.replacePieces(grid, [1, 1, 4, 3], mask, {lesion: 1, over: given.over}), 7)"""
    assert run(body, before=before, over=over) == wanted


@pytest.fixture
def head(tmp_path: Path) -> tuple[Path, np.ndarray]:
    pixels = draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels
    cv2.imwrite(str(tmp_path / "head.png"), pixels)
    return tmp_path / "head.png", pixels


def test_the_mask_of_a_drag_is_that_of_the_program(page: Page, head: tuple[Path, np.ndarray]) -> None:
    path, pixels = head
    open_files(page, path)
    page.keyboard.press("m")
    drag(page, (100, 80), (150, 120), (179, 169))
    wait_until(page, "viewer.tool.prompt")
    box = (100, 80, 180, 170)
    session = Segmenter("fast", threads=1).point(Slice(pixels, "head.png"))
    np.testing.assert_array_equal(read_labels(page)[0] > 0, session.predict(box).mask)
    assert "prompted by you" in page.locator("#notice").inner_text()
    assert find_faults(page) == []
    page.keyboard.press("i")
    page.mouse.click(*place_on_screen(page, 120, 110))
    wait_until(page, "viewer.tool.prompt.points.length === 1")
    np.testing.assert_array_equal(read_labels(page)[0] > 0, session.predict(box, [(120, 110)], [0]).mask)
    page.get_by_label("Format").select_option("dataset")
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.read("pairs.csv").decode().splitlines()[0].endswith(",prompted")


def test_a_box_and_clicks_by_touch(open_page: OpenPage, head: tuple[Path, np.ndarray]) -> None:
    page = open_page(viewport={"width": 400, "height": 740}, has_touch=True)
    path, pixels = head
    open_files(page, path)
    page.get_by_role("button", name="Box and clicks").tap()
    top, before = page.evaluate("scrollY"), read_labels(page)[0]
    touch = open_touch(page)
    touch("touchStart", (100, 80))
    touch("touchMove", (150, 120))
    touch("touchStart", (150, 120), (200, 200))  # a second finger: a pinch, and no box
    touch("touchEnd")
    assert run_page(page, "return [viewer.tool.busy, viewer.tool.prompt]") == [False, None]
    np.testing.assert_array_equal(read_labels(page)[0], before)

    run_page(page, "viewer.fit()")
    touch("touchStart", (100, 80))
    for point in [(150, 120), (179, 169)]:
        touch("touchMove", point)
    touch("touchEnd")
    wait_until(page, "viewer.tool.prompt")
    box = tuple(run_page(page, "return viewer.tool.prompt.box"))
    assert np.abs(np.array(box) - (100, 80, 180, 170)).max() <= 1  # a finger is at whole pixels of the screen
    session = Segmenter("fast", threads=1).point(Slice(pixels, "head.png"))
    np.testing.assert_array_equal(read_labels(page)[0] > 0, session.predict(box).mask)
    assert page.evaluate("scrollY") == top  # a finger on the picture does not scroll the page
    take_away = page.get_by_label("Clicks remove")  # below the picture, which stays in sight
    while not take_away.is_checked():  # Chromium takes no tap right after a drag
        page.wait_for_timeout(400)
        take_away.tap()
    page.touchscreen.tap(*place_on_screen(page, 120, 110))
    wait_until(page, "viewer.tool.prompt.points.length === 1")
    assert run_page(page, "return viewer.tool.prompt.labels") == [0]


def open_touch(page: Page) -> Callable[..., None]:
    """Return a function that sends a touch event with its fingers, each a point of the image."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        places = [place_on_screen(page, *point) for point in points]
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    return send


def test_a_box_by_keys_alone(page: Page, head: tuple[Path, np.ndarray]) -> None:
    open_files(page, head[0])
    before = read_labels(page)[0]
    page.keyboard.press("m")
    for key in ("Shift+ArrowLeft", "Shift+ArrowUp"):
        for _ in range(6):
            page.keyboard.press(key)
    page.keyboard.press("Enter")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown"):
        for _ in range(9):
            page.keyboard.press(key)
    page.keyboard.press("Enter")
    wait_until(page, "viewer.tool.prompt")
    page.keyboard.press("Shift+Enter")  # a click where the cursor is
    wait_until(page, "viewer.tool.prompt.points.length === 1")
    page.keyboard.press("Escape")
    assert run_page(page, "return viewer.tool === null")
    for _ in range(2):
        page.keyboard.press("z")
    np.testing.assert_array_equal(read_labels(page)[0], before)


def test_a_box_is_carried_through_a_series_and_stopped(page: Page, tmp_path: Path) -> None:
    (tmp_path / "sample.nii.gz").write_bytes(encode_sample())
    open_files(page, tmp_path / "sample.nii.gz")
    run_page(page, "viewer.show(13)")
    place = run_page(page, "const [{x, y}] = viewer.scan.measure(viewer.slice); return [x, y]")
    page.keyboard.press("m")
    drag(page, (place[0] - 30, place[1] - 30), place, (place[0] + 30, place[1] + 30))
    wait_until(page, "viewer.tool.prompt")
    page.get_by_role("button", name="Carry through the series").click()
    page.get_by_text("Undo goes back slice by slice").wait_for()
    prompted = run_page(page, "return viewer.scan.slices.filter(({prompted}) => prompted).map(({index}) => index)")
    assert len(prompted) >= 5
    assert prompted == list(range(prompted[0], prompted[-1] + 1))
    assert run_page(page, "return viewer.scan.slices[12].state.word") == "prompted"
    for _ in prompted[1:]:
        page.keyboard.press("z")
    assert run_page(page, "viewer.show(13); return Boolean(viewer.tool.prompt)")
    page.keyboard.press("w")
    page.keyboard.press("Escape")
    page.get_by_text("Stopped after").wait_for()
    assert not run_page(page, "return viewer.tool.carrying")
    assert run_page(page, "return viewer.scan.slices.filter(({prompted}) => prompted).length") < len(prompted)

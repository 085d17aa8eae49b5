"""Files that go to the server and come back: orientation, wrong files, folders, late and broken replies."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.web.page.conftest import MODEL, Message, slice_message, start_message, volume_message, wait_until_drawn

from tumortrace.data.geometry import rasterize
from tumortrace.phantoms.slices import draw_phantom


@pytest.fixture(scope="module")
def phantom():
    """A generated slice, taller than wide, with a bright tumour."""
    return draw_phantom(np.random.default_rng(8), size_hw=(240, 190), kind="bright")


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def choose(page, *files: tuple[str, bytes]):
    page.set_input_files("#files", [{"name": n, "mimeType": "application/octet-stream", "buffer": d} for n, d in files])


def test_a_picture_that_exif_turns_is_shown_upright_with_its_mask_in_place(page, phantom):
    stored = np.rot90(phantom.pixels)  # a reader has to turn it back by a quarter, clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, "JPEG", quality=95, exif=exif)
    choose(page, ("turned.jpg", file.getvalue()))
    page.wait_for_selector("#notice .box")
    wait_until_drawn(page)
    size_hw, labels = page.evaluate(
        'async () => { const { viewer } = await import("/app.js");'
        " return [viewer.scan.sizeHw, [...viewer.slice.labels]]; }"
    )
    assert size_hw == [240, 190]
    mask = np.array(labels).reshape(size_hw) > 0
    truth = rasterize(list(phantom.regions), phantom.pixels.shape)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.6


def test_wrong_files_are_named_and_the_others_are_segmented(page, phantom):
    choose(page, ("notes.txt", b"hello"), ("slice.png", png(phantom.pixels)), ("cut.png", png(phantom.pixels)[:500]))
    page.wait_for_selector("#work:not([hidden])")
    wait_until_drawn(page)
    cases = page.inner_text("#cases")
    assert "slice.png" in cases
    assert "cut.png" in cases
    assert "failed" in cases
    assert "notes.txt" in page.inner_text("#messages")


def test_a_file_that_is_no_picture_leaves_a_plain_message(page):
    choose(page, ("notes.txt", b"hello"))
    page.wait_for_selector("#messages li")
    wait_until_drawn(page)
    assert "notes.txt" in page.inner_text("#messages")
    assert page.is_visible("#welcome")
    page.click("#messages button")
    assert page.locator("#messages li").count() == 0


def test_a_photograph_is_rejected_with_the_reason(page):
    colours = np.random.default_rng(1).integers(0, 255, (120, 100, 3), dtype=np.uint8)
    choose(page, ("photo.png", png(colours)))
    page.wait_for_selector("#notice .bad")
    wait_until_drawn(page)
    assert "Not a brain MR slice" in page.inner_text("#notice")
    assert page.evaluate('async () => (await import("/app.js")).viewer.slice.rgb !== null')


def test_the_sample_arrives_with_a_tumour(page):
    page.click("#welcome [data-open=sample]")
    page.wait_for_selector("#work:not([hidden])")
    wait_until_drawn(page)
    assert page.locator("#slices tbody tr").count() >= 10
    assert "mm³" in page.inner_text("#lesions")


def test_dropped_files_and_folders_are_read_with_their_paths(page, reply_with):
    reply_with(page, [start_message((8, 8)), slice_message(np.eye(8, dtype=np.bool_))])
    found = page.evaluate("""async () => {
      const { collectDropped } = await import("/files.js");
      const file = (name) => new File(["a"], name);
      const entry = (path) => ({ isFile: true, fullPath: path, file: (done) => done(file(path.split("/").pop())) });
      const portions = (entries) => ({ readEntries: (done) => done(entries.splice(0, 2)) });
      const folder = (path, children) =>
        ({ isFile: false, fullPath: path, createReader: () => portions([...children]) });
      const study = folder("/study", [entry("/study/IM10"), entry("/study/IM2"), entry("/study/.hidden"),
        folder("/study/more", [entry("/study/more/IM1")])]);
      const items = [{ kind: "file", webkitGetAsEntry: () => study }, { kind: "string" },
        { kind: "file", webkitGetAsEntry: () => null, getAsFile: () => file("single.png") }];
      const { files, hidden } = await collectDropped({ items });
      return [files.map(({ path }) => path), hidden];
    }""")
    assert found == [["single.png", "study/IM2", "study/IM10", "study/more/IM1"], 1]


def test_a_drop_on_the_page_is_segmented(page, reply_with):
    reply_with(page, [start_message((8, 8)), slice_message(np.eye(8, dtype=np.bool_))])
    page.evaluate("""() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["a"], "a.png"));
      const fire = (type) =>
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
      fire("dragover");
      if (document.querySelector("#drop").hidden) throw new Error("the page does not say that it takes the files");
      fire("drop");
    }""")
    page.wait_for_selector("#notice .box")
    assert page.is_hidden("#drop")
    assert "1 lesion" in page.inner_text("#notice")


def test_a_drop_that_the_browser_cannot_read_is_said(page):
    page.evaluate("""() => {
      const file = (_, fail) => fail(new DOMException("A file could not be read", "NotReadableError"));
      const items = [{ kind: "file", webkitGetAsEntry: () => ({ isFile: true, fullPath: "/a.png", file }) }];
      const drop = new Event("drop", { bubbles: true, cancelable: true });
      document.body.dispatchEvent(Object.assign(drop, { dataTransfer: { types: ["Files"], items } }));
    }""")
    page.wait_for_selector("#messages li")
    assert "A file could not be read" in page.inner_text("#messages")


STREAMS = """() => {
  window.streams = [];
  window.fetch = (url) => {
    let control;
    const body = new ReadableStream({ start: (given) => (control = given) });
    window.streams.push((message) => control.enqueue(new TextEncoder().encode(JSON.stringify(message) + "\\n")));
    return Promise.resolve(new Response(body));
  };
}"""
"""Replies that a test sends piece by piece, and that go on when the page has cancelled the request."""


def send(page, stream, *messages: Message):
    for message in messages:
        page.evaluate("([stream, message]) => window.streams[stream](message)", [stream, message])
    page.wait_for_timeout(60)


def state(page):
    return page.evaluate(
        'async () => (await import("/app.js")).scans.items.map((scan) =>'
        " [scan.name, scan.ready.map((slice) => slice.index), scan.ready.map((slice) => slice.areaPx)])"
    )


def expect_scans(page, wanted):
    """Wait until the page has read what it got, and compare."""
    for _ in range(100):
        if state(page) == wanted:
            break
        page.wait_for_timeout(50)
    assert state(page) == wanted


def two_slices(area, *, index):
    mask = np.zeros((8, 8), dtype=np.bool_)
    mask[1, 1 : 1 + area] = True
    return slice_message(mask, index=index)


def test_slices_appear_while_others_are_awaited(page):
    page.evaluate(STREAMS)
    choose(page, ("a.nii", b"a"))
    page.wait_for_function("() => window.streams.length === 1")
    send(page, 0, start_message((8, 8), slices=(2,)), two_slices(3, index=0))
    page.locator("#progress", has_text="1 of 2 slices").wait_for()
    page.locator("#notice", has_text="3 px").wait_for()
    page.focus(".viewer")
    page.keyboard.press("ArrowDown")
    page.locator(".wait", has_text="not ready yet").wait_for()
    send(page, 0, two_slices(2, index=1))
    page.locator(".wait").wait_for(state="hidden")
    page.locator("#notice", has_text="2 px").wait_for()


def test_late_replies_of_a_cancelled_upload_change_nothing(page):
    page.evaluate(STREAMS)
    choose(page, ("a.nii", b"a"))
    page.wait_for_function("() => window.streams.length === 1")
    send(page, 0, start_message((8, 8), slices=(2,)), two_slices(3, index=0))
    page.click("#progress button")
    send(page, 0, two_slices(2, index=1))
    wait_until_drawn(page)
    expect_scans(page, [["case 0", [0], [3]]])
    assert "stopped" in page.inner_text("#cases")


def test_the_other_cases_of_an_upload_go_on_when_one_is_removed(page):
    page.evaluate(STREAMS)
    choose(page, ("a.nii", b"a"), ("b.nii", b"b"))
    page.wait_for_function("() => window.streams.length === 1")
    send(page, 0, start_message((8, 8), slices=(2, 2)), two_slices(3, index=0))
    page.click("[aria-label='Remove case 0']")
    send(page, 0, two_slices(4, index=1), {**two_slices(2, index=0), "item": 1})
    expect_scans(page, [["case 1", [0], [2]]])
    page.click("[aria-label='Remove case 1']")  # nothing is left to wait for
    send(page, 0, {**two_slices(2, index=1), "item": 1})
    wait_until_drawn(page)
    expect_scans(page, [])


def test_late_replies_of_a_replaced_upload_change_nothing(page):
    page.evaluate(STREAMS)
    file = "new File(['a'], 'a.nii', {lastModified: 5})"
    begin = f'async () => {{ (await import("/app.js")).uploads.start([{{file: {file}, path: "a.nii"}}]); }}'
    page.evaluate(begin)
    page.wait_for_function("() => window.streams.length === 1")
    send(page, 0, start_message((8, 8), slices=(2,)), two_slices(3, index=0))
    page.evaluate(begin)
    page.wait_for_function("() => window.streams.length === 2")
    send(page, 1, start_message((8, 8), slices=(2,)), two_slices(5, index=0))
    send(page, 0, two_slices(2, index=1))
    expect_scans(page, [["case 0", [0], [5]]])
    assert "5 px" in page.inner_text("#notice")


def test_a_corrected_case_is_not_replaced_by_the_same_file(page):
    page.evaluate(STREAMS)
    file = "new File(['a'], 'a.png', {lastModified: 5})"
    begin = f'async () => {{ (await import("/app.js")).uploads.start([{{file: {file}, path: "a.png"}}]); }}'
    page.evaluate(begin)
    page.wait_for_function("() => window.streams.length === 1")
    send(page, 0, start_message((8, 8)), two_slices(3, index=0))
    page.evaluate(
        'async () => { const { viewer } = await import("/app.js");'
        " while (!viewer.slice) await new Promise((next) => setTimeout(next, 10));"
        " viewer.slice.edited = true; }"
    )
    page.evaluate(begin)
    page.wait_for_function("() => window.streams.length === 2")
    send(page, 1, start_message((8, 8)), two_slices(5, index=0))
    expect_scans(page, [["case 0", [0], [3]]])
    assert "with your corrections" in page.inner_text("#messages")


def test_a_connection_that_breaks_off_is_said(page):
    start = json.dumps(start_message((8, 8), slices=(2,)))
    page.route("**/api/segment*", lambda route: route.fulfill(body=start + "\n" + '{"type": "sli'))
    choose(page, ("a.nii", b"a"))
    page.wait_for_selector("#messages li")
    assert "broke off" in page.inner_text("#messages")
    assert page.is_visible("#welcome")


def test_a_busy_server_is_asked_again(page):
    tries = []

    def answer(route) -> None:
        tries.append(1)
        if len(tries) == 1:
            route.fulfill(status=503, headers={"retry-after": "1"}, json={"error": "busy"})
        else:
            messages = [start_message((8, 8)), slice_message(np.eye(8, dtype=np.bool_))]
            route.fulfill(body="".join(json.dumps(each) + "\n" for each in messages))

    page.route("**/api/segment*", answer)
    choose(page, ("a.png", b"a"))
    page.wait_for_selector("#notice .box")
    assert len(tries) == 2
    assert page.locator("#messages li").count() == 0


def test_a_picture_of_unknown_size_that_fails_is_listed(page, show):
    failed = {"type": "slice", "item": 0, "slice_index": 0, "mask_png": None, "record": {
        "file": "a.png", "slice_index": None, "status": "error", "reason": "a.png: truncated", "tumour": None,
        "confidence": None, "review": True, "area_px": None, "area_mm2": None, "lesions": []}}  # fmt: skip
    start = {"type": "start", "model": MODEL, "skipped": [], "items": [start_message((1, 1))["items"][0]]}
    start["items"][0]["size_hw"] = None
    show(page, [start, failed])
    assert "could not be read" in page.inner_text("#notice")
    assert "a.png: truncated" in page.inner_text("#notice")
    assert page.inner_text("#lesions p") == "Unknown: not segmented."
    assert page.inner_text(".viewer .scale") == ""  # there is no picture to magnify
    assert page.is_disabled("#edit .edit-tools button >> nth=0")


@pytest.mark.parametrize(
    ("status", "said"),
    [("ok", "no tumour on 2 slices"), ("rejected", "not segmented"), ("error", "not readable")],
)
def test_a_series_without_masks_is_not_called_free_of_tumour(page, show, status, said):
    empty = np.zeros((8, 8), dtype=np.bool_)
    slices = [slice_message(empty, index=index, status=status, reason="why") for index in range(2)]
    show(page, [start_message((8, 8), slices=(2,)), *slices, volume_message(status=status, reason="why")])
    page.wait_for_function("text => document.querySelector('#cases ol .quiet')?.textContent === text", arg=said)


def test_a_rejected_picture_yields_no_black_mask(page, show):
    rejected = slice_message(np.zeros((8, 8), dtype=np.bool_), status="rejected", reason="no brain")
    show(page, [start_message((8, 8)), rejected])
    page.click("#edit .edit-download button")
    page.wait_for_function("() => document.querySelector('#edit').textContent.includes('nothing was segmented')")


def test_the_case_that_is_shown_is_in_sight_in_a_narrow_list(open_page, show):
    page = open_page(viewport={"width": 400, "height": 860})
    empty = np.zeros((8, 8), dtype=np.bool_)
    cases = [slice_message(empty, item=item) for item in range(4)]
    show(page, [start_message((8, 8), slices=(1,) * 4), *cases])
    page.evaluate('async () => { const {scans} = await import("/app.js"); scans.select(scans.items[3]); }')
    page.wait_for_function(
        """() => { const current = document.querySelector("#cases li:nth-child(4) [aria-current]");
        if (!current) return false;
        const {left, right} = current.getBoundingClientRect();
        const list = document.querySelector("#cases ol").getBoundingClientRect();
        return left >= list.left - 1 && right <= list.right + 1; }"""
    )


@pytest.mark.parametrize("field", ["centre", "width"])
def test_numbers_of_the_window_are_not_cut_off(page, show, field):
    pixels = np.full((8, 8), 12345, dtype=np.uint16)
    pixels[:4] = 54321
    show(page, [start_message((8, 8)), slice_message(np.zeros((8, 8), dtype=np.bool_), pixels=pixels)])
    seen, needed = page.evaluate(f"""() => {{ const input = document.querySelector('[name={field}]');
        return [input.clientWidth, input.scrollWidth]; }}""")
    assert len(page.input_value(f"[name={field}]")) == 5
    assert needed <= seen


def test_the_list_of_cases_follows_a_correction(page, show):
    mask = np.zeros((16, 16), dtype=np.bool_)
    mask[4:9, 4:9] = mask[12, 12] = True  # 25 pixels and a speck
    show(page, [start_message((16, 16)), slice_message(mask)])
    wait = "said => document.querySelector('#cases ol').textContent.includes(said)"
    page.wait_for_function(wait, arg="tumour, 26 px")
    page.keyboard.press("k")  # keep the largest piece
    page.wait_for_function(wait, arg="tumour, 25 px")
    assert "corrected" in page.inner_text("#cases ol")


def test_skipped_files_are_counted_in_one_message(page, show):
    empty = slice_message(np.zeros((8, 8), dtype=np.bool_))
    show(page, [{**start_message((8, 8)), "skipped": [f"p/{number}.dcm" for number in range(140)]}, empty])
    (message,) = page.locator("#messages li span").all_inner_texts()
    assert message == "Skipped 140 files: p/0.dcm, p/1.dcm, p/2.dcm ..."


def test_cases_of_one_name_are_told_apart_by_their_folders(page, show):
    start = start_message((8, 8), slices=(1, 1, 1))
    for item, name in zip(start["items"], ["all/P01/t1", "all/P02/ses-1/t1", "all/flair"], strict=True):
        item["name"] = name
    show(page, [start, *(slice_message(np.zeros((8, 8), dtype=np.bool_), item=item) for item in range(3))])
    titles = page.locator("#cases b")
    assert titles.all_inner_texts() == ["P01/t1", "P02/ses-1/t1", "flair"]
    assert page.inner_text(".viewer .name") == "P01/t1"
    page.click("[aria-label='Remove P02/ses-1/t1']")
    page.wait_for_function("() => document.querySelectorAll('#cases b').length === 2")
    assert titles.all_inner_texts() == ["t1", "flair"]


def test_a_corrected_lesion_has_no_confidence(page, show):
    """It was that of the automatic mask."""
    mask = np.zeros((16, 16), dtype=np.bool_)
    mask[4:9, 4:9] = mask[12, 12] = True
    show(page, [start_message((16, 16)), slice_message(mask)])
    cells = page.locator("#lesions table:not([hidden]) td:last-child")
    expect(cells).to_have_text(["1.00", "1.00"])
    page.keyboard.press("k")
    expect(cells).to_have_text([""])

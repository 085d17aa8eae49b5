"""Correcting a mask in the page itself: pointer, keyboard, downloads, and work that survives."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Dialog, Error, Locator, Page, expect
from tests.web.conftest import write_dicom

from tumortrace.phantoms.slices import draw_phantom

SIZE_HW = (48, 64)


def write_noise(path: Path, seed: int = 0) -> Path:
    """A picture that the gate rejects at once: nothing is segmented, and every pixel can be painted by hand."""
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 90, SIZE_HW, dtype=np.uint8))
    return path


def write_scan(path: Path, count: int = 3) -> Path:
    stack = np.random.default_rng(1).integers(0, 90, (64, 48, count), dtype=np.uint8)
    image = nib.Nifti1Image(stack, np.diag([-2.0, -2.0, 5.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def open_files(page: Page, *paths: Path) -> None:
    page.locator("#files").set_input_files(paths)
    page.wait_for_selector("#work:not([hidden])")
    run(page, "for (const scan of m.scans.items) while (!scan.complete) await new Promise((go) => setTimeout(go, 20))")


def run(page: Page, body: str, **given: object) -> Any:  # noqa: ANN401 - what the script returns
    script = f"async (given) => {{ const m = await import('/app.js'); const {{viewer}} = m; {body} }}"
    return page.evaluate(script, given)


def wait_until(page: Page, condition: str) -> None:
    """Wait until an expression of the page is true; ``wait_for_function`` takes any promise for true."""
    waiting = f"for (let t = 0; !({condition}); t++) {{ if (t > 1500) throw new Error('waited in vain'); "
    run(page, waiting + "await new Promise((go) => setTimeout(go, 20)); }")


def read_labels(page: Page) -> list[NDArray[np.uint8]]:
    """The labels of all slices of the scan that is shown."""
    slices = run(page, "return viewer.scan.ready.map(({labels, width}) => [[...labels], width])")
    return [np.array(labels, dtype=np.uint8).reshape(-1, width) for labels, width in slices]


def place_on_screen(page: Page, x: float, y: float) -> tuple[float, float]:
    """Screen coordinates of a point of the image, in CSS pixels of the page."""
    found = run(
        page,
        "const at = viewer.toScreen(given.x, given.y), box = viewer.canvas.getBoundingClientRect();"
        "return [box.left + at.x, box.top + at.y]",
        x=x,
        y=y,
    )
    return found[0], found[1]


def drag(page: Page, *points: tuple[float, float]) -> None:
    first, *rest = [place_on_screen(page, *point) for point in points]
    page.mouse.move(*first)
    page.mouse.down()
    for point in rest:
        page.mouse.move(*point)
    page.mouse.up()


def test_tools_by_pointer_and_wheel(page: Page, tmp_path: Path) -> None:
    open_files(page, write_noise(tmp_path / "a.png"))
    page.keyboard.press("b")
    run(page, "document.querySelector('#edit input[type=range]').value = 1;"
        "document.querySelector('#edit input[type=range]').dispatchEvent(new Event('input'))")  # fmt: skip
    drag(page, (2, 3), (9, 3))
    expected = np.zeros(SIZE_HW, np.uint8)
    expected[3, 2:10] = 1
    np.testing.assert_array_equal(read_labels(page)[0], expected)
    page.mouse.move(*place_on_screen(page, 30, 20))
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -100)
    page.mouse.wheel(0, -100)
    page.keyboard.up("Shift")
    assert page.locator("#edit output").first.inner_text() == "3 px"
    page.mouse.down()
    page.mouse.up()
    expected[19:22, 29:32] = 1
    np.testing.assert_array_equal(read_labels(page)[0], expected)
    page.get_by_role("button", name="Add with a polygon").click()
    for corner in [(39.5, 9.5), (49.5, 9.5), (49.5, 19.5), (39.5, 19.5), (39.5, 9.5)]:
        page.mouse.click(*place_on_screen(page, *corner))
    expected[10:20, 40:50] = 1
    np.testing.assert_array_equal(read_labels(page)[0], expected)
    page.get_by_role("button", name="Delete specks in a box").click()
    drag(page, (0, 0), (35, 30))
    expected[:, :36] = 0
    np.testing.assert_array_equal(read_labels(page)[0], expected)
    page.locator("#lesions").get_by_text("100 px").wait_for()  # the table follows
    for _ in range(4):
        page.get_by_role("button", name="Undo").click()
    assert not read_labels(page)[0].any()
    page.keyboard.press("Control+Shift+z")
    assert np.count_nonzero(read_labels(page)[0]) == 8


@pytest.mark.parametrize(
    ("ratio", "zooms"), [(1, (1, 1.5, 2, 3, 8, 32)), (1.5, (1, 1.5, 3, 6, 16)), (3, (1, 1.5, 4, 32))]
)
def test_a_click_paints_the_pixel_that_is_seen_under_it(open_page, tmp_path: Path, ratio: float, zooms) -> None:
    """The place of a bright pixel is measured in a screenshot, not asked of the page."""
    target_x, target_y = 37, 11
    pixels = np.zeros(SIZE_HW, np.uint8)
    pixels[target_y, target_x] = 255
    pixels[0, 0] = 1
    cv2.imwrite(str(tmp_path / "dot.png"), pixels)
    page = open_page(device_scale_factor=ratio)
    open_files(page, tmp_path / "dot.png")
    run(page, "viewer.set({outline: false, opacity: 0}); viewer.setWindow(128, 256)")
    for zoom in zooms:
        run(page, "viewer.zoom(given.zoom / viewer.scale); viewer.centre(given.x, given.y); viewer.draw()",
            zoom=zoom, x=target_x + 3, y=target_y - 2)  # fmt: skip
        middle, half = place_on_screen(page, target_x, target_y), 2 * zoom + 6
        clip = {"x": round(middle[0] - half), "y": round(middle[1] - half), "width": 2 * half, "height": 2 * half}
        shot = cv2.imdecode(np.frombuffer(page.screenshot(clip=clip, scale="device"), np.uint8), cv2.IMREAD_GRAYSCALE)
        rows, columns = np.nonzero(shot > 0.75 * shot.max())
        seen = clip["x"] + (columns.mean() + 0.5) / ratio, clip["y"] + (rows.mean() + 0.5) / ratio
        page.keyboard.press("b")
        run(page, "const size = document.querySelector('#edit input[type=range]'); size.value = 1;"
            "size.dispatchEvent(new Event('input'))")  # fmt: skip
        page.mouse.click(*seen)
        page.keyboard.press("Escape")
        painted = np.argwhere(read_labels(page)[0]).tolist()
        page.keyboard.press("z")
        assert painted == [[target_y, target_x]], (zoom, ratio)


class Presses:
    """A keyboard that counts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0

    def __call__(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.page.keyboard.press(key)
            self.count += 1


def test_a_lesion_is_corrected_and_downloaded_by_keys_alone(page: Page, tmp_path: Path) -> None:
    head = draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright")
    cv2.imwrite(str(tmp_path / "head.png"), head.pixels)
    open_files(page, tmp_path / "head.png")
    (before,) = read_labels(page)
    press = Presses(page)
    press("g")  # to the lesion
    press("e")
    press("Enter")  # the eraser is down
    press("Shift+ArrowRight", 3)
    press("ArrowDown", 5)
    press("Enter")
    (erased,) = read_labels(page)
    assert np.count_nonzero(erased) < np.count_nonzero(before)
    press("z")
    np.testing.assert_array_equal(read_labels(page)[0], before)
    press("y")
    press("b")
    press("]", 4)
    press("Shift+Enter")
    press("f")
    press("p")
    for move, times in (("ArrowUp", 2), ("Shift+ArrowRight", 2), ("Shift+ArrowDown", 2)):
        press(move, times)
        press("Enter")
    press("Shift+Enter")
    press("k")
    (after,) = read_labels(page)
    assert not np.array_equal(after, erased)
    with page.expect_download() as download:
        press("Control+s")
    assert press.count <= 60
    download.value.save_as(tmp_path / "saved.png")
    assert download.value.suggested_filename == "head_mask.png"
    saved = cv2.imread(str(tmp_path / "saved.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(saved, (after > 0) * 255)


def test_keys_for_fields_and_buttons_stay_theirs(page: Page, tmp_path: Path) -> None:
    open_files(page, write_noise(tmp_path / "a.png"))
    page.locator("#edit select").first.focus()
    page.keyboard.press("b")
    assert run(page, "return viewer.tool === null")
    page.get_by_role("button", name="Brush", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Brush", exact=True).get_attribute("aria-pressed") == "true"
    assert not read_labels(page)[0].any()


def write_files(folder: Path, files: list[tuple[str, bytes]]) -> list[Path]:
    paths = [folder / name.rpartition("/")[2] for name, _ in files]
    for path, (_, data) in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


@pytest.mark.parametrize("to", ["png", "via", "coco", "nifti", "seg", "dataset"])
def test_downloads_are_identical_when_dropped_again(page: Page, tmp_path: Path, to: str) -> None:
    scan = write_files(tmp_path, write_dicom()) if to == "seg" else [write_scan(tmp_path / "scan.nii.gz")]
    open_files(page, *scan)
    run(
        page,
        """
        viewer.scan.slices.forEach((slice, index) => {
            for (let at = 0; at < slice.labels.length; at++) slice.labels[at] = (at * 7 + index) % 5 ? 0 : 1 + (at % 3);
            slice.edited = true;
        });
        viewer.redraw();
    """,
    )
    drawn = read_labels(page)
    page.get_by_label("Format").select_option(to)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    page.reload()
    alone = to == "dataset" or to in {"via", "coco"}  # zips with pictures of the slices
    open_files(page, *([saved] if alone else [*scan, saved]))
    again = [read_slice(page, index) for index in range(3)] if alone else read_labels(page)
    for one, other in zip(drawn, again, strict=True):
        if to in {"png", "dataset"}:  # they keep the mask
            np.testing.assert_array_equal(one > 0, other > 0)
        else:
            np.testing.assert_array_equal(one, other)


def test_a_mask_is_named_as_its_picture_and_opens_with_it(page: Page, tmp_path: Path) -> None:
    picture = write_noise(tmp_path / "Sch\u00e4del 1.png")
    open_files(page, picture)
    page.keyboard.press("b")
    drag(page, (2, 3), (40, 30))
    drawn = read_labels(page)[0]
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    assert download.value.suggested_filename == "Sch\u00e4del 1_mask.png"
    download.value.save_as(tmp_path / "Sch\u00e4del 1_mask.png")
    page.reload()
    open_files(page, picture, tmp_path / "Sch\u00e4del 1_mask.png")
    np.testing.assert_array_equal(read_labels(page)[0] > 0, drawn > 0)


def test_masks_of_a_volume_leave_rejected_slices_out(page: Page, tmp_path: Path) -> None:
    open_files(page, write_scan(tmp_path / "scan.nii.gz"))
    assert run(page, "return viewer.scan.slices.map(({state}) => state.kind)") == ["bad"] * 3
    run(page, "viewer.scan.slices[1].labels[70] = 1; viewer.scan.slices[1].edited = true; viewer.redraw();")
    page.get_by_label("Format").select_option("png")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "scan_0002_mask.png"


def test_a_dataset_holds_what_somebody_corrected_alone(page: Page, tmp_path: Path) -> None:
    open_files(page, write_noise(tmp_path / "a.png"), write_noise(tmp_path / "b.png", 1))
    page.get_by_label("Format").select_option("dataset")
    page.keyboard.press("Control+s")
    page.get_by_text("A dataset holds corrected and accepted slices: correct or accept one first.").wait_for()
    page.keyboard.press("b")
    drag(page, (5, 5), (20, 9))
    run(page, "m.scans.select(m.scans.items[1])")
    drag(page, (5, 5), (20, 9))
    page.locator(".badge", has_text="corrected").nth(1).wait_for()
    page.keyboard.press("z")
    page.locator(".case", has_text="b.png").get_by_text("rejected").wait_for()
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert [name for name in archive.namelist() if name.startswith("masks/")] == ["masks/a_mask.png"]
    page.keyboard.press("Escape")  # the dialog with the command that trains
    run(page, "m.scans.select(m.scans.items[0])")
    page.keyboard.press("z")
    page.wait_for_timeout(200)  # "Saved in this browser." would replace the message
    page.keyboard.press("Control+s")
    page.get_by_text("A dataset holds corrected and accepted slices: correct or accept one first.").wait_for()


def test_a_mask_that_is_right_is_accepted_for_the_dataset(page: Page, tmp_path: Path) -> None:
    head = draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright")
    cv2.imwrite(str(tmp_path / "head.png"), head.pixels)
    open_files(page, tmp_path / "head.png", write_noise(tmp_path / "noise.png"))
    accept, badge = page.get_by_role("button", name="Accept mask"), page.locator(".badge", has_text="accepted")
    run(page, "m.scans.select(m.scans.items[1])")
    expect(accept).to_be_disabled()  # it was rejected, so there is no mask
    page.keyboard.press("q")
    run(page, "m.scans.select(m.scans.items[0])")
    accept.click()
    badge.wait_for()
    assert badge.count() == 1
    expect(accept).to_be_disabled()
    page.keyboard.press("z")
    badge.wait_for(state="detached")
    page.keyboard.press("y")
    badge.wait_for()
    page.get_by_text("Saved in this browser.").wait_for()
    page.get_by_label("Format").select_option("dataset")
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    with zipfile.ZipFile(download.value.path()) as archive:
        (name,) = [name for name in archive.namelist() if name.startswith("masks/")]
        mask = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, read_slice(page, 0) > 0)
    assert mask.any()
    page.reload()
    page.get_by_role("button", name="Restore").click()
    badge.wait_for()


def read_slice(page: Page, item: int) -> NDArray[np.uint8]:
    body = "const {labels, width} = m.scans.items[given.item].slices[0]; return [[...labels], width]"
    labels, width = run(page, body, item=item)
    return np.array(labels, dtype=np.uint8).reshape(-1, width)


def test_work_is_restored_after_a_crash_with_and_without_the_files(page: Page, tmp_path: Path) -> None:
    picture = write_noise(tmp_path / "work.png")
    open_files(page, picture)
    page.keyboard.press("b")
    drag(page, (5, 5), (20, 9))
    drag(page, (40, 30), (50, 20), (30, 25))
    page.keyboard.press("z")
    (drawn,) = read_labels(page)
    page.get_by_text("Saved in this browser.").wait_for()
    page.wait_for_timeout(100)
    context, url = page.context, page.url
    crash(page)
    again = context.new_page()
    again.goto(url)
    again.get_by_role("button", name="Restore").click()  # without the files
    again.wait_for_selector("#work:not([hidden])")
    wait_until(again, "viewer.slice?.edited")
    np.testing.assert_array_equal(read_labels(again)[0], drawn)
    again.keyboard.press("y")
    assert np.count_nonzero(read_labels(again)[0]) > np.count_nonzero(drawn)
    again.keyboard.press("z")
    again.keyboard.press("z")
    assert not read_labels(again)[0].any()
    again.keyboard.press("y")
    again.wait_for_timeout(300)
    again.reload()
    open_files(again, picture)  # with the files
    assert not read_labels(again)[0].any()
    again.get_by_role("button", name="Restore").click()
    wait_until(again, "viewer.slice?.edited")
    np.testing.assert_array_equal(read_labels(again)[0], drawn)
    forget_all = again.get_by_role("button", name="Forget saved work")
    assert answer(again, forget_all, accept=False) == "Delete all saved work from this browser?"
    again.reload()
    forget = again.get_by_role("button", name="Forget", exact=True)
    assert answer(again, forget, accept=False) == "Delete the saved correction of work.png?"
    again.wait_for_timeout(200)
    answer(again, forget, accept=True)
    forget.wait_for(state="detached")
    again.reload()
    again.wait_for_selector("#welcome:not([hidden])")
    again.wait_for_timeout(200)
    assert again.locator(".edit-banner").is_hidden()


def test_work_whose_files_were_not_stored_says_so(page: Page, tmp_path: Path) -> None:
    open_files(page, write_noise(tmp_path / "large.png"))
    page.evaluate(
        """() => {
            const {put} = IDBObjectStore.prototype;
            IDBObjectStore.prototype.put = function (value, key) {
                if (this.name === "files") throw new DOMException("", "QuotaExceededError");
                return put.call(this, value, key);
            };
        }"""
    )
    page.keyboard.press("b")
    drag(page, (5, 5), (20, 9))
    page.get_by_text("in this browser").wait_for()
    page.wait_for_timeout(200)
    page.reload()
    page.get_by_role("button", name="Restore").click()
    page.locator("#messages").get_by_text("The files of this work were not stored.").wait_for()


def test_work_that_was_undone_is_not_offered_and_yet_forgotten(page: Page, tmp_path: Path) -> None:
    open_files(page, write_noise(tmp_path / "a.png"))
    page.keyboard.press("b")
    drag(page, (5, 5), (20, 9))
    page.get_by_text("Saved in this browser").wait_for()
    page.keyboard.press("z")
    page.wait_for_timeout(200)
    page.reload()
    page.wait_for_selector("#welcome:not([hidden])")
    page.wait_for_timeout(200)
    assert page.locator(".edit-banner").is_hidden()
    open_files(page, tmp_path / "a.png")
    answer(page, page.get_by_role("button", name="Forget saved work"), accept=True)
    page.get_by_text("Saved work was deleted").wait_for()
    count = """async () => {
        const opening = indexedDB.open("tumortrace"), names = ["work", "files", "bases", "steps"];
        await new Promise((go) => { opening.onsuccess = go; });
        const stores = opening.result.transaction(names), counts = [];
        for (const name of names) {
            const counting = stores.objectStore(name).count();
            await new Promise((go) => { counting.onsuccess = go; });
            counts.push(counting.result);
        }
        return counts;
    }"""
    assert page.evaluate(count) == [0, 0, 0, 0]


def test_a_tool_rests_on_a_case_that_cannot_be_read(page: Page, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(write_noise(tmp_path / "a.png").read_bytes()[:500])
    open_files(page, tmp_path / "a.png", cut)
    page.wait_for_selector("#progress", state="hidden")
    brush = page.locator("#edit .edit-tools button").first
    page.keyboard.press("b")
    page.wait_for_selector(".viewer.edit-brush")
    run(page, "m.scans.select(m.scans.items[1])")
    page.wait_for_selector(".viewer:not(.edit-brush)")  # the pointer is seen again
    assert (brush.is_disabled(), brush.get_attribute("aria-pressed")) == (True, "false")
    drag(page, (0, 0), (3, 3))
    assert not run(page, "return viewer.scan.edited")
    run(page, "m.scans.select(m.scans.items[0])")
    page.wait_for_selector(".viewer.edit-brush")
    assert brush.get_attribute("aria-pressed") == "true"
    drag(page, (5, 5), (20, 9))
    assert read_labels(page)[0].any()


def test_restoring_one_of_several_cases_leaves_the_offers_of_the_others(page: Page, tmp_path: Path) -> None:
    pictures = [write_noise(tmp_path / f"{number}.png", number) for number in range(6)]
    open_files(page, *pictures)
    page.wait_for_selector("#progress", state="hidden")
    page.keyboard.press("b")
    for number in range(6):
        run(page, "m.scans.select(m.scans.items[given.number])", number=number)
        drag(page, (5, 5), (20, 9))
    page.get_by_text("Saved in this browser.").wait_for()
    page.wait_for_timeout(200)
    page.reload()
    banner = page.locator(".edit-banner")
    banner.get_by_text("and 2 more").wait_for()
    assert banner.get_by_role("button", name="Restore").count() == 4
    banner.get_by_role("button", name="Restore").first.click()
    wait_until(page, "viewer.slice?.edited")
    banner.get_by_text("and 1 more").wait_for()


def test_a_page_with_strokes_that_were_not_saved_asks_before_it_is_left(page: Page, tmp_path: Path) -> None:
    refuse = """() => {
        IDBObjectStore.prototype.put = () => { throw new DOMException("", "QuotaExceededError"); };
    }"""
    open_files(page, write_noise(tmp_path / "a.png"))
    page.evaluate(refuse)
    page.keyboard.press("b")
    drag(page, (5, 5), (20, 9))
    page.get_by_text("Not saved in this browser (QuotaExceededError).").wait_for()
    with page.expect_event("dialog") as asked, suppress(Error):
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    with page.expect_download():
        page.keyboard.press("Control+s")
    page.get_by_text("Downloaded").wait_for()
    with page.expect_event("close"):
        page.close(run_before_unload=True)


def answer(page: Page, button: Locator, *, accept: bool) -> str:
    """Click a button that asks something, and answer; the question is returned."""
    questions = []

    def reply(dialog: Dialog) -> None:
        questions.append(dialog.message)
        (dialog.accept if accept else dialog.dismiss)()

    page.once("dialog", reply)
    button.click()
    (question,) = questions
    return question


def crash(page: Page) -> None:
    """Kill the process of a tab without warning, as the system does when memory runs out."""
    with page.expect_event("crash"), suppress(Error):
        page.goto("chrome://crash")

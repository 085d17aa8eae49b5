"""What the viewer shows: window, threshold, heat map, zoom, tables and warnings."""

from __future__ import annotations

import numpy as np
from tests.web.page.conftest import slice_message, start_message, volume_message

VIEWER = 'const { viewer } = await import("/app.js");'


def look(page, code):
    return page.evaluate(f"async () => {{ {VIEWER} {code} }}")


def grey_at(page, x, y):
    """Grey value on the screen at the centre of an image pixel."""
    return look(
        page,
        f"""viewer.draw(); const at = viewer.toScreen({x}, {y});
        return [...viewer.context.getImageData(at.x * viewer.ratio, at.y * viewer.ratio, 1, 1).data].slice(0, 3);""",
    )


def square(size=16, *, top=4, left=6, side=5):
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask


def test_sixteen_bit_values_are_windowed_in_the_page(page, show):
    pixels = np.full((8, 8), 1000, dtype=np.uint16)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = 0, 40_000, 65_535
    empty = np.zeros((8, 8), dtype=np.bool_)
    show(page, [start_message((8, 8)), slice_message(empty, pixels=pixels)])
    # The darkest and brightest pixel are each more than half a per cent of 64.
    assert look(page, "return [viewer.window.centre, viewer.window.width]") == [65_535 / 2, 65_535]
    look(page, "viewer.setWindow(20000, 40000)")
    assert grey_at(page, 0, 0) == [0, 0, 0]
    assert grey_at(page, 5, 5) == [6, 6, 6]  # 1000 / 40000 * 255 = 6.4
    assert grey_at(page, 2, 0) == [255, 255, 255]
    look(page, "viewer.setWindow(1000, 100)")
    assert grey_at(page, 5, 5) == [128, 128, 128]
    page.fill("[name=centre]", "980")
    page.press("[name=centre]", "Enter")
    assert grey_at(page, 5, 5) == [179, 179, 179]  # (1000 - 930) / 100 * 255 = 178.5
    page.click("[name=automatic]")
    assert look(page, "return viewer.window.width") == 65_535


def test_a_drag_changes_window_and_level(page, show):
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256
    show(page, [start_message((16, 16)), slice_message(square(), pixels=pixels)])
    before = look(page, "return viewer.window")
    box = page.locator(".viewer canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30, steps=3)
    page.mouse.up()
    after = look(page, "return viewer.window")
    assert after["width"] > before["width"]
    assert after["centre"] > before["centre"]
    assert not after["automatic"]


def test_slope_and_intercept_of_the_pixels_are_applied(page, show):
    message = slice_message(np.zeros((8, 8), dtype=np.bool_), pixels=np.full((8, 8), 300, dtype=np.uint16))
    message["pixels"].update(slope=0.5, intercept=-100.0)  # so the grey value is 50
    show(page, [start_message((8, 8)), message])
    look(page, "viewer.setWindow(50, 10)")
    assert grey_at(page, 3, 3) == [128, 128, 128]
    look(page, "viewer.setWindow(60, 10)")
    assert grey_at(page, 3, 3) == [0, 0, 0]


def test_the_own_threshold_shows_the_mask_of_the_server_and_others_cut_the_probability(page, show):
    levels = np.zeros((16, 16), dtype=np.uint8)
    levels[4:9, 6:11] = 200
    levels[4, 6] = 240
    levels[12, 12] = 140  # above the threshold of 0.5, but not in the mask that the server sent
    show(page, [start_message((16, 16)), slice_message(square(), levels=levels)])
    count = "return viewer.slice.areaPx"
    assert look(page, count) == 25
    move_threshold(page, 94)
    assert look(page, count) == 1
    move_threshold(page, 51)
    assert look(page, count) == 26
    assert "0.51" in page.inner_text("#display label:first-of-type output")
    move_threshold(page, 50)
    assert look(page, count) == 25
    assert "default" in page.inner_text("#display label:first-of-type output")


def test_the_threshold_leaves_a_corrected_slice_alone(page, show):
    show(page, [start_message((16, 16)), slice_message(square())])
    look(page, "viewer.slice.labels[0] = 1; viewer.slice.fixed = true; viewer.redraw()")
    move_threshold(page, 99)
    assert look(page, "return viewer.slice.areaPx") == 26
    assert page.is_visible("#display p")


def move_threshold(page, hundredths):
    page.locator("[name=threshold]").fill(str(hundredths))
    page.wait_for_timeout(50)


def test_the_heat_map_colours_what_is_likely(page, show):
    levels = np.zeros((16, 16), dtype=np.uint8)
    levels[8, 8] = 255
    show(page, [start_message((16, 16)), slice_message(np.zeros((16, 16), dtype=np.bool_), levels=levels)])
    assert grey_at(page, 8, 8) == [0, 0, 0]
    page.click("[data-do=heat]")
    assert page.get_attribute("[data-do=heat]", "aria-pressed") == "true"
    red, green, blue = grey_at(page, 8, 8)
    assert red > 180
    assert red >= green > blue
    assert grey_at(page, 2, 2) == [0, 0, 0]


def test_the_wheel_zooms_about_the_pointer(page, show):
    show(page, [start_message((16, 16)), slice_message(square())])
    box = page.locator(".viewer canvas").bounding_box()
    at = (box["x"] + box["width"] / 2 + 90, box["y"] + box["height"] / 2 - 60)
    page.mouse.move(*at)
    where = f"return viewer.toImage({{clientX: {at[0]}, clientY: {at[1]}}})"
    before, scale = look(page, where), look(page, "return viewer.scale")
    page.mouse.wheel(0, -200)
    page.wait_for_function(f"async () => {{ {VIEWER} return viewer.scale > {scale} }}")
    after = look(page, where)
    assert abs(after["x"] - before["x"]) * scale < 1
    assert abs(after["y"] - before["y"]) * scale < 1
    page.click("[data-do=fit]")
    assert look(page, "return viewer.scale") == scale


def test_space_and_drag_pans(page, show):
    show(page, [start_message((16, 16)), slice_message(square())])
    box = page.locator(".viewer canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = look(page, "return viewer.toScreen(0, 0)")
    page.focus(".viewer")
    page.keyboard.down(" ")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 31, y - 12)
    page.mouse.up()
    page.keyboard.up(" ")
    after = look(page, "return viewer.toScreen(0, 0)")
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (31, -12)


def series(*, spacing=True):
    """Five slices: a lesion of 9 px on slices 2 to 4, one more of 4 px on slice 3, slice 4 to be checked."""
    masks = [np.zeros((16, 16), dtype=np.bool_) for _ in range(5)]
    for mask in masks[1:4]:
        mask[3:6, 3:6] = True
    masks[2][10:12, 10:12] = True
    place = {"spacing_mm": [0.5, 2.0], "step_mm": 3.0} if spacing else {}
    messages = [
        slice_message(mask, index=i, **({"review": True, "reason": "low confidence (0.31)"} if i == 3 else {}))
        for i, mask in enumerate(masks)
    ]
    return [start_message((16, 16), slices=(5,), **place), *messages, volume_message()]


def test_tables_state_areas_and_volumes(page, show):
    show(page, series())
    assert "2 / 5" in page.inner_text(".corner.place") or "3 / 5" in page.inner_text(".corner.place")
    lesions = page.locator("#lesions table").first.locator("tbody tr")
    assert lesions.all_inner_texts() == ["1\t81 mm³\t2-4", "2\t12 mm³\t3"]  # 27 and 4 voxels of 3 mm3
    page.click("#slices tbody tr:nth-child(3)")
    assert page.inner_text(".corner.place") == "3 / 5"
    rows = page.locator("#lesions table").nth(1).locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[:3] for row in rows] == [["1", "9 mm²", "6.18 mm"], ["2", "4 mm²", "4.12 mm"]]
    slices = page.locator("#slices tbody tr").all_inner_texts()
    assert slices[2].split("\t")[:2] == ["3", "13 mm²"]
    assert slices[3].split("\t")[3] == "check"


def test_without_spacing_tables_state_pixels(page, show):
    show(page, series(spacing=False))
    rows = page.locator("#lesions table").first.locator("tbody tr").all_inner_texts()
    assert rows == ["1\t27 px\t2-4", "2\t4 px\t3"]


def test_a_lesion_is_brought_into_view(page, show):
    show(page, series())
    page.click("#slices tbody tr:nth-child(1)")
    page.click("#lesions table >> nth=0 >> tbody tr:nth-child(2)")
    assert page.inner_text(".corner.place") == "3 / 5"
    page.click("#lesions table >> nth=1 >> tbody tr:nth-child(2)")
    middle = look(page, "return viewer.fromScreen(viewer.canvas.clientWidth / 2, viewer.canvas.clientHeight / 2)")
    assert abs(middle["x"] - 10.5) < 0.1
    assert abs(middle["y"] - 10.5) < 0.1


def test_the_next_doubtful_slice_is_found_by_button_and_key(page, show):
    show(page, series())
    page.click("#slices tbody tr:nth-child(1)")
    page.click("[data-do=doubtful]")
    assert page.inner_text(".corner.place") == "4 / 5"
    assert "Low confidence (0.31)." in page.inner_text("#notice")
    page.focus(".viewer")
    page.keyboard.press("Home")
    page.keyboard.press("N")
    assert page.inner_text(".corner.place") == "4 / 5"


def test_a_key_that_finds_nothing_says_so_until_the_next_one(page, show):
    show(page, [start_message((16, 16)), slice_message(square())])
    page.keyboard.press("n")
    said = page.locator("#say")
    assert said.inner_text() == "No doubtful slice."
    assert is_seen(said)
    page.keyboard.press("o")
    assert not is_seen(said)
    page.keyboard.press("k")
    assert said.inner_text() == "Keep largest: nothing to change."
    assert is_seen(said)
    page.mouse.click(5, 5)
    assert not is_seen(said)


def test_the_only_doubtful_slice_is_said_to_be_the_only_one(page, show):
    show(page, [start_message((16, 16)), slice_message(square(), review=True, reason="low confidence (0.31)")])
    page.click("[data-do=doubtful]")
    assert page.inner_text("#say") == "No other doubtful slice."


def is_seen(said):
    """Whether a line is large enough to be read, and in the window."""
    box, window = said.bounding_box(), said.page.viewport_size
    return box["width"] > 50 and box["y"] > 0 and box["y"] + box["height"] <= window["height"]


def test_a_series_asks_only_for_the_doubtful_slices_that_are_left(page, show):
    doubts = [{"review": True, "reason": "low confidence (0.31)"}] * 2
    slices = [slice_message(square(), index=i, **doubt) for i, doubt in enumerate([*doubts, {}])]
    reason = "1 lesion dropped: too thin; 2 slices with tumour are to be reviewed"
    show(page, [start_message((16, 16), slices=(3,)), *slices, volume_message(review=True, reason=reason)])
    banner, badge = page.locator("#notice .box").first, page.locator("#cases .badge")
    assert banner.inner_text() == (
        "Tumour on 3 of 3 slices: check it\n\n1 lesion dropped: too thin.\n\n2 slices with tumour to review."
    )
    for number, left in [(1, "check"), (2, "accepted")]:
        page.click(f"#slices tbody tr:nth-child({number})")
        page.click("text=Accept mask")
        page.locator("#notice .good").wait_for()
        page.locator("#cases .badge", has_text=left).wait_for()
    assert badge.count() == 1
    assert banner.inner_text() == "Tumour on 3 of 3 slices: check it\n\n1 lesion dropped: too thin."
    page.keyboard.press("z")
    page.locator("#notice", has_text="1 slice with tumour to review.").wait_for()


def test_a_rejected_picture_says_why(page, show):
    reason = "not a brain MR slice: it is in colour"
    rejected = slice_message(np.zeros((16, 16), dtype=np.bool_), status="rejected", reason=reason, review=True)
    show(page, [start_message((16, 16)), rejected])
    assert "Not segmented" in page.inner_text("#notice")
    assert "Not a brain MR slice: it is in colour." in page.inner_text("#notice")
    assert "rejected" in page.inner_text("#cases")


def test_neighbours_that_drop_a_lesion_change_mask_and_record(page, show):
    messages = series()
    changed = slice_message(np.zeros((16, 16), dtype=np.bool_), index=3, review=True, reason="dropped a lesion")
    messages[-1] = volume_message(changed=[changed], review=True, reason="1 lesion dropped: too thin")
    show(page, messages)
    assert page.locator("#lesions table").first.locator("tbody tr").first.inner_text() == "1\t54 mm³\t2-3"
    assert "1 lesion dropped: too thin." in page.inner_text("#notice")


def test_research_use_is_said_once(page, show):
    show(page, series())
    assert page.inner_text("body").count("Research use only") == 1

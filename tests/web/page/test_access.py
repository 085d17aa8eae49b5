"""The page by keyboard alone, on a narrow screen, in both themes, and for a screen reader."""

from __future__ import annotations

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from tests.web.conftest import CHROMIUM, FLAGS
from tests.web.page.conftest import slice_message, start_message, volume_message


def series(spacing_mm=1.0):
    masks = [np.zeros((16, 16), dtype=np.bool_) for _ in range(4)]
    masks[1][2:6, 2:6] = masks[2][2:6, 2:6] = masks[2][10:12, 10:12] = True
    reviewed = {"review": True, "reason": "low confidence (0.31)"}
    slices = [slice_message(mask, index=i, **(reviewed if i == 2 else {})) for i, mask in enumerate(masks)]
    start = start_message((16, 16), slices=(4,), spacing_mm=[spacing_mm] * 2, step_mm=2.0)
    return [start, *slices, volume_message(review=True, reason="1 slice with tumour is to be reviewed")]


def rejected():
    message = slice_message(np.zeros((16, 16), dtype=np.bool_), status="rejected", reason="not a brain MR slice: noise")
    return [start_message((16, 16)), message]


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])  # colours and layout are independent
def test_axe_finds_nothing_serious(open_page, show, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    assert find_faults(page) == []
    show(page, series())
    page.evaluate("document.querySelector('#messages').innerHTML = ''")
    assert find_faults(page) == []
    page.keyboard.press("?")
    assert find_faults(page) == []
    page.keyboard.press("Escape")
    page.unroute_all()
    show(page, rejected())
    page.wait_for_selector("#notice .bad")
    assert find_faults(page) == []


def find_faults(page):
    """Rules that are broken, with their elements; minor and moderate ones are left out."""
    found = Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", [360, 480, 760, 1000, 1600])
def test_nothing_is_wider_than_the_screen(open_page, show, width):
    page = open_page(viewport={"width": width, "height": 740})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    show(page, series())
    assert page.evaluate(overflow) <= 0
    box = page.locator(".viewer canvas").bounding_box()
    assert box["width"] >= min(width, 600) - 40
    assert box["height"] >= 250


@pytest.mark.parametrize("width", [360, 800, 1000, 1400])
def test_nothing_sticks_out_of_its_panel(open_page, show, width):
    page = open_page(viewport={"width": width, "height": 800})
    show(page, series(spacing_mm=12.0))
    expect(page.locator("#lesions")).to_contain_text("2,304 mm²")
    assert find_overflow(page) == []


def test_the_page_follows_the_size_of_text_that_a_person_set(browser, base_url, show):
    larger = "--blink-settings=defaultFontSize=32"  # twice the usual one
    reader = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, larger])
    page = reader.new_page(viewport={"width": 1000, "height": 800})
    page.goto(base_url)
    show(page, series(spacing_mm=12.0))
    sizes = page.evaluate(
        "['body', '.foot', 'select', 'th'].map((one) => getComputedStyle(document.querySelector(one)).fontSize)"
    )
    overflow = find_overflow(page)
    reader.close()
    assert all(float(size.removesuffix("px")) >= 24 for size in sizes), sizes
    assert overflow == []


def find_overflow(page):
    """Elements whose content is wider than they are, although they do not scroll; the page itself among them."""
    return page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll("main, main :is(div, section, table, button)")]
            .filter((one) => one.clientWidth && one.scrollWidth > one.clientWidth + 1)
            .filter((one) => one === document.documentElement || getComputedStyle(one).overflowX === "visible")
            .map((one) => one.outerHTML.slice(0, 80))"""
    )


def test_controls_are_large_enough_for_a_thumb(open_page, show):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    show(page, series())
    page.keyboard.press("t")  # its range of grey values has a slider
    controls = "button, select, input:not([type=checkbox]), label:has([type=checkbox])"
    for control in page.locator(f":is({controls}):visible").all():
        box = control.bounding_box()
        assert min(box["width"], box["height"]) >= 24, control.evaluate("(one) => one.outerHTML")  # WCAG 2.2, 2.5.8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fields_and_text_on_the_scan_have_enough_contrast(open_page, show, scheme):
    page = open_page(color_scheme=scheme)
    show(page, series())
    for field in ("#display [name=centre]", ".edit-download select"):
        border, inside = read_colours(page, field, ["borderTopColor", "backgroundColor"])
        (outside,) = read_colours(page, "#edit", ["backgroundColor"])
        assert min(contrast(border, inside), contrast(border, outside)) >= 3, field  # WCAG 2.2, 1.4.11
    for corner in (".name", ".place", ".grey", ".scale"):
        text, ground = read_colours(page, corner, ["color", "backgroundColor"])
        assert contrast(text, ground) >= 4.5, corner  # WCAG 2.2, 1.4.3; over a white scan


def read_colours(page, selector, names):
    """Colours of an element, laid over white where they are not opaque."""
    style = "(one, names) => names.map((name) => getComputedStyle(one)[name].match(/[\\d.]+/g).map(Number))"
    for red, green, blue, *rest in page.locator(selector).first.evaluate(style, names):
        opacity = rest[0] if rest else 1.0
        yield [opacity * part + (1 - opacity) * 255 for part in (red, green, blue)]


def contrast(one, other):
    """Contrast ratio of two colours after WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    """Relative luminance after WCAG 2.2."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_is_chosen_can_be_seen_in_forced_colours(open_page, show):
    page = open_page(forced_colors="active")
    show(page, [start_message((16, 16), slices=(1, 1)), *(slice_message(draw_square(), item=item) for item in (0, 1))])
    page.keyboard.press("b")
    (chosen,) = read_colours(page, ".edit-tools [aria-pressed=true]", ["backgroundColor"])
    (other,) = read_colours(page, ".edit-tools [aria-pressed=false]", ["backgroundColor"])
    assert contrast(chosen, other) >= 3
    style = "(one) => getComputedStyle(one).borderLeftWidth"
    widths = [
        page.locator(selector).evaluate(style) for selector in (".case[aria-current]", ".case:not([aria-current])")
    ]
    assert widths == ["4px", "0px"]
    (swatch,) = read_colours(page, "#lesions .swatch", ["backgroundColor"])
    assert swatch == [255, 176, 0]  # the colour of lesion 1 on the scan


def draw_square():
    mask = np.zeros((16, 16), dtype=np.bool_)
    mask[2:6, 2:6] = True
    return mask


def test_a_series_is_opened_and_read_by_keyboard_alone(page, reply_with):
    reply_with(page, series())
    tab_to(page, "[data-open=sample]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#work:not([hidden])")
    page.wait_for_selector("#progress", state="hidden")
    assert page.evaluate("document.activeElement.className") == "viewer"
    place = ".corner.place"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert page.inner_text(place) == "2 / 4"
    page.keyboard.press("End")
    assert page.inner_text(place) == "4 / 4"
    page.keyboard.press("n")
    assert page.inner_text(place) == "3 / 4"
    before = page.inner_text(".corner.scale")
    page.keyboard.press("+")
    assert page.inner_text(".corner.scale") != before
    page.keyboard.press("0")
    assert page.inner_text(".corner.scale") == before
    page.keyboard.press("o")
    assert page.get_attribute("[data-do=outline]", "aria-pressed") == "false"
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert page.is_hidden("#keys")
    tab_to(page, "[name=threshold]")
    page.keyboard.press("ArrowRight")
    assert "0.51" in page.inner_text("#display")
    tab_to(page, "#slices .link")
    page.keyboard.press("ArrowUp")
    assert page.inner_text(place) == "2 / 4"


def tab_to(page, selector):
    """Press Tab until an element has the focus, which has to be seen there."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            assert page.evaluate(
                "() => { const style = getComputedStyle(document.activeElement);"
                " return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; }"
            )
            return
    pytest.fail(f"{selector} cannot be reached with Tab")


def test_a_slice_is_announced_when_scrolling_stops(page, show):
    show(page, series())
    page.focus(".viewer")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    # On a busy machine the steps may be so slow that a slice before it is announced too.
    page.wait_for_function("() => document.querySelector('#say').textContent === 'Slice 3 of 4: tumour, check it.'")


def test_motion_is_reduced_where_that_is_asked_for(open_page):
    page = open_page(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.button')).transitionDuration") == "0s"

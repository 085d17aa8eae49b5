"""The audit as a page: leaks side by side, groups, threshold, faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumortrace.copies.audit import describe_pair
from tumortrace.copies.find import CopyPair
from tumortrace.copies.registration import lay_mask, lay_pixels
from tumortrace.copies.survey import Survey
from tumortrace.data.slice import read_slice
from tumortrace.errors import DataError
from tumortrace.files import Document
from tumortrace.inference.overlay import to_display
from tumortrace.metrics.overlap import count_pixels
from tumortrace.reporting import html
from tumortrace.reporting.charts import draw_group_sizes, draw_similarities
from tumortrace.reporting.html import Chapter, Section
from tumortrace.wording import counted

SHOWN = 12
"""Number of pairs side by side, one per slice."""

FIRST_RGB, SECOND_RGB = (240, 228, 66), (0, 158, 230)

_COPIES = (
    "Copies may be turned, mirrored, cropped, resized or re-contrasted. Each was found by registering one picture with "
    "the other. A score on a part that shares slices with the training part measures how well a model remembers them."
)
_PANEL_PX = 280
_THUMBNAIL_PX = 92
_FINDINGS = 200
_MEMBERS = 24


def write_audit_page(survey: Survey, document: Document, out: Path) -> None:
    """Write one self-contained page.

    Args:
        survey: A survey of the dataset.
        document: Content of ``audit.json``.
        out: The page.

    Raises:
        DataError: Another file than a page of tumortrace stands at ``out``.
    """
    sections = [
        Section("What was found", _summary(document)),
        Section("Copies side by side", _pairs(survey)),
        Section("How copies are recognised", _threshold(document)),
        Section("The largest groups", _groups(survey, document)),
        Section("Faults of the data", html.findings(document["findings"], shown=_FINDINGS, file="findings.json")),
    ]
    title = f"Audit of {Path(document['root']).resolve().name}"
    html.write_page(out, html.page(title, str(document["root"]), [Chapter("", sections)]))


def _summary(document: Document) -> Markup:
    leaks = [
        (
            f"{pair['images']} of {pair['of']}",
            f"{pair['part']} {_show(pair['images'])} a slice that is in {pair['with']}",
        )
        for pair in document["shared"]
    ]
    slices = "different slice" if document["groups"] == 1 else "different slices"
    boxes = [(str(document["groups"]), f"{slices} among {counted(document['n'], 'image')}"), *leaks]
    return html.headline(boxes) + Markup().join(map(html.paragraph, _sentences(document)))


def _show(images: int) -> str:
    return "image shows" if images == 1 else "images show"


def _sentences(document: Document) -> list[str]:
    sentences = [_COPIES]
    lookup = (document["baselines"] or {}).get("nearest_training_mask")
    if lookup:
        sides = ", ".join(f"{s['mean_dice']:.3f} on {name} ({s['n']})" for name, s in lookup.items() if s["n"])
        sentences.append(
            f"Copying the mask of the most similar TRAIN slice, without a network, reaches mean Dice {sides}. A model "
            "below that does not beat a lookup table."
        )
    agreement = document["agreement"]
    if agreement:
        sentences.append(
            f"Copies were outlined independently: two outlines of one slice agree at mean Dice "
            f"{agreement['dice']['mean']:.3f} (95 % interval {html.interval(agreement['dice']['ci95'])}, "
            f"{counted(agreement['pairs'], 'pair')} of {counted(agreement['groups'], 'slice')}). No model can honestly "
            "score above that."
        )
    if document["patients_across_parts"]:
        names = ", ".join(document["patients_across_parts"][:10])
        number = len(document["patients_across_parts"])
        verb = "is" if number == 1 else "are"
        more = ", ..." if number > 10 else ""
        sentences.append(f"{counted(number, 'patient')} {verb} in more than one part: {names}{more}.")
    return sentences


def _pairs(survey: Survey) -> Markup:
    chosen = _choose(survey)
    if not chosen:
        return html.paragraph("No picture is a copy of another.")
    across = any(_is_across(survey, pair) for pair in chosen)
    words = "across parts" if across else "within the folder"
    text = (
        f"The most similar pairs {words}, one a slice. Left: the first as it is. Right: the second, laid onto the "
        "first. Both outlines are drawn on both."
    )
    key = html.colour_key([("outline of the first", FIRST_RGB), ("outline of the second", SECOND_RGB)])
    return html.paragraph(text) + key + html.gallery(_draw_pair(survey, pair) for pair in chosen)


def _is_across(survey: Survey, pair: CopyPair) -> bool:
    return survey.cases[pair.first].record.part != survey.cases[pair.second].record.part


def _choose(survey: Survey) -> list[CopyPair]:
    """Choose pairs across parts before those within one, the most similar first, one per group."""
    ordered = sorted(survey.pairs, key=lambda pair: (not _is_across(survey, pair), -pair.similarity))
    by_group: dict[str, CopyPair] = {}
    for pair in ordered:
        by_group.setdefault(survey.groups[pair.first], pair)
    return list(by_group.values())[:SHOWN]


def _draw_pair(survey: Survey, pair: CopyPair) -> Markup:
    first, second = survey.cases[pair.first], survey.cases[pair.second]
    try:
        one, two = (read_slice(case.record.image_path).pixels for case in (first, second))
    except DataError:
        return html.paragraph(f"{first.record.case_id} or {second.record.case_id} can no longer be read.")
    laid = lay_pixels(two.astype(np.float32), pair.to_second, first.size_hw)
    panels = [to_display(one), to_display(np.clip(laid, 0, 65535).astype(np.uint16))]
    words = describe_pair(survey, pair)
    names = f"{first.record.case_id} and {second.record.case_id}"
    caption = f"{names}: similarity {pair.similarity:.3f}; the first is: {words}"
    outlines: list[tuple[NDArray[np.bool_], tuple[int, int, int]]] = []
    if first.packed_truth is not None and second.packed_truth is not None:
        own, other = first.truth(), lay_mask(second.truth(), pair.to_second, first.size_hw)
        outlines = [(own, FIRST_RGB), (other, SECOND_RGB)]
        dice = count_pixels(other, own).dice
        caption += "" if np.isnan(dice) else f"; Dice of the two outlines {dice:.3f}"
    drawn = [_draw_outlines(panel, outlines) for panel in panels]
    gap = np.full((drawn[0].shape[0], 8, 3), 255, dtype=np.uint8)
    return html.picture(np.concatenate([drawn[0], gap, drawn[1]], axis=1), alt="Two copies of a slice", caption=caption)


def _draw_outlines(
    grey: NDArray[np.uint8], outlines: Sequence[tuple[NDArray[np.bool_], tuple[int, int, int]]]
) -> NDArray[np.uint8]:
    """Draw the slice at the panel's size, with outlines two pixels wide."""
    scale = _PANEL_PX / max(grey.shape)
    size_wh = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    large = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    picture = np.repeat(np.asarray(large, dtype=np.uint8)[:, :, None], 3, axis=2)
    for mask, rgb in outlines:
        enlarged = cv2.resize(mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
        contours, _ = cv2.findContours(enlarged, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, rgb, 2)
    return picture


def _threshold(document: Document) -> Markup:
    threshold = document["same_slice"]
    counts, edges = document["similarities"]["counts"], document["similarities"]["edges"]
    near = sum(n for n, edge in zip(counts, edges, strict=False) if abs(edge + 0.0125 - threshold) < 0.05)
    caption = (
        f"Similarity after registration of the pairs that a coarse comparison picked. Pairs of {threshold} or more are "
        f"copies; {near} of {sum(counts)} lie within 0.05 of that."
    )
    chart = html.chart(draw_similarities(document), alt="Histogram of similarities", caption=caption)
    sizes = html.chart(draw_group_sizes(document), alt="Sizes of groups", caption="Images that show the same slice.")
    return chart + sizes


def _groups(survey: Survey, document: Document) -> Markup:
    by_name = {case.record.case_id: case for case in survey.cases}
    shown = Markup()
    for group in document["largest_groups"]:
        files = group["files"]
        tiles = [by_name[file].thumbnail for file in files[:_MEMBERS]]
        left_out = f"; {len(tiles)} of {len(files)} drawn" if len(files) > len(tiles) else ""
        parts = ", ".join(f"{name or 'undivided'} {count}" for name, count in group["parts"].items())
        caption = (
            f"{group['group']}: {counted(group['size'], 'image')} ({parts}){left_out}. "
            f"{group['linked_share']:.0%} of its pairs are copies directly, the others through other members; the "
            f"least similar direct pair has {group['lowest_similarity']:.3f}."
        )
        shown += html.picture(_tile(tiles), alt=f"Members of {group['group']}", caption=caption)
    words = (
        f"Members as they are in the folder, at most {_MEMBERS} per group. Check for yourself that each group shows "
        "one slice."
    )
    return html.paragraph(words) + shown if shown else Markup()


def _tile(tiles: Sequence[NDArray[np.uint8]], columns: int = 8) -> NDArray[np.uint8]:
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    fitted = [np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for tile in tiles]
    fitted = [np.pad(tile, 2, constant_values=255) for tile in fitted]
    blank = np.full_like(fitted[0], 255)
    width = min(columns, len(fitted))
    fitted += [blank] * (-len(fitted) % width)
    rows = [np.concatenate(fitted[start : start + width], axis=1) for start in range(0, len(fitted), width)]
    return np.concatenate(rows)

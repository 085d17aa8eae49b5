"""The audit as a page: leaks side by side, groups, threshold, faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumortrace.copies.agreement import ABOVE_THE_ANNOTATORS
from tumortrace.copies.compare import CopyPair
from tumortrace.copies.survey import Survey
from tumortrace.json_csv import Document
from tumortrace.reporting import cells, html
from tumortrace.reporting.charts import draw_group_sizes, draw_similarities
from tumortrace.reporting.copy_pictures import FIRST_RGB, SECOND_RGB, draw_pair
from tumortrace.reporting.html import Chapter, Section
from tumortrace.reporting.shared_slices import describe_shared
from tumortrace.wording import counted, listed, percent

SHOWN = 12
"""Number of pairs side by side, one per slice."""

_COPIES = (
    "Copies may be turned, mirrored, cropped, resized or re-contrasted. Each was found by registering one picture with "
    "the other. A score on a part that shares slices with the training part measures how well a model remembers them."
)
_THUMBNAIL_PX = 92
_FINDINGS = 200
_MEMBERS = 24
_COLUMNS = 8  # of the members of a group


def write_audit_page(survey: Survey, document: Document, out: Path, *, doubtful: Markup | None = None) -> None:
    """Write one self-contained page.

    Args:
        survey: A survey of the dataset.
        document: Content of ``audit.json``.
        out: The page.
        doubtful: Section on doubtful outlines; None if none was judged.

    Raises:
        DataError: Another file than a page of tumortrace stands at ``out``.
    """
    sections = [
        Section("What was found", _summary(document)),
        *(
            Section(f"{pair['first']} and {pair['second']}", describe_shared(survey, pair))
            for pair in document["across"]
        ),
        *([Section("Doubtful outlines", doubtful)] if doubtful else []),
        Section("Copies side by side", _pairs(survey)),
        Section("How copies are recognised", _threshold(document)),
        Section("The largest groups", _groups(survey, document)),
        Section("Faults of the data", html.findings(document["findings"], shown=_FINDINGS, file="findings.json")),
    ]
    names = [dataset["name"] for dataset in document["datasets"]]
    title = f"Audit of {Path(document['root']).resolve().name if len(names) == 1 else listed(names)}"
    lead = str(document["root"]) if len(names) == 1 else f"{counted(len(names), 'dataset')} compared with each other"
    html.write_page(out, html.page(title, lead, [Chapter("", sections)]))


def _summary(document: Document) -> Markup:
    leaks = [
        (
            f"{pair['images']} of {pair['of']}",
            f"{pair['part']} {_show(pair['images'], pair['of'])} a slice that is in {pair['with']}",
        )
        for pair in document["shared"]
    ]
    slices = "different slice" if document["groups"] == 1 else "different slices"
    across = [
        (
            str(pair["slices"]),
            f"{'slice is' if pair['slices'] == 1 else 'slices are'} in {pair['first']} and in {pair['second']}",
        )
        for pair in document["across"]
    ]
    boxes = [(str(document["groups"]), f"{slices} among {counted(document['n'], 'image')}"), *leaks, *across]
    datasets = document["datasets"]
    each = html.table(
        ["dataset", "parts", "images", "different slices"],
        [[one["name"], cells.parts(one["parts"]), one["n"], one["groups"]] for one in datasets],
        text_columns=2,
    )
    words = Markup().join(map(html.paragraph, _sentences(document)))
    return html.headline(boxes) + (each if len(datasets) > 1 else Markup()) + words


def _show(images: int, of: int) -> str:
    """Return the words behind "1 of 6 VAL": the noun counts all images, the verb those that are meant."""
    return f"{'image' if of == 1 else 'images'} {'shows' if images == 1 else 'show'}"


def _sentences(document: Document) -> list[str]:
    sentences = [_COPIES]
    lookup = (document["baselines"] or {}).get("nearest_training_mask")
    if lookup:
        scored = {side: scores for side, scores in lookup.items() if scores["n"]}
        sides = ", ".join(
            f"{cells.number(each['mean_dice'])} on {side} ({each['n'] - each['undefined']})"
            for side, each in scored.items()
        )
        sentences.append(
            f"Copying the mask of the most similar TRAIN slice, without a network, reaches mean Dice {sides}; a "
            "tumour marked on a tumour-free image counts as 0. A model below that on the same images is no better than "
            "a lookup table."
        )
    agreement = document["agreement"]
    if agreement:
        sentences.append(
            f"Two outlines of one slice, unless one is a copy of the other, agree at mean Dice "
            f"{agreement['dice']['mean']:.3f} (95 % interval {cells.interval(agreement['dice']['ci95'])}, "
            f"{counted(agreement['pairs'], 'pair')} of {counted(agreement['groups'], 'slice')}, "
            f"{cells.independent_groups(agreement)}). {ABOVE_THE_ANNOTATORS}"
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
        return html.paragraph("No copies were found.")
    where = " across parts" if any(_is_across(survey, pair) for pair in chosen) else ""
    text = (
        f"The most similar pairs{where}, one a slice. Left: the first as it is. Right: the second, laid onto the "
        "first. Both outlines are drawn on both."
    )
    key = html.colour_key([("outline of the first", FIRST_RGB), ("outline of the second", SECOND_RGB)])
    return html.paragraph(text) + key + html.gallery(draw_pair(survey, pair) for pair in chosen)


def _is_across(survey: Survey, pair: CopyPair) -> bool:
    first, second = (case.record for case in survey.cases_of(pair))
    return first.source == second.source and first.part != second.part


def _choose(survey: Survey) -> list[CopyPair]:
    """Choose pairs across parts before those within one, the most similar first, one per group."""
    ordered = sorted(survey.pairs, key=lambda pair: (not _is_across(survey, pair), -pair.similarity))
    by_group: dict[str, CopyPair] = {}
    for pair in ordered:
        by_group.setdefault(survey.groups[pair.first], pair)
    return list(by_group.values())[:SHOWN]


def _threshold(document: Document) -> Markup:
    threshold = document["same_slice"]
    counts, edges = document["similarities"]["counts"], document["similarities"]["edges"]
    near = sum(n for n, edge in zip(counts, edges, strict=False) if abs(edge + 0.0125 - threshold) < 0.05)
    caption = (
        f"Similarity after registration of the pairs that a coarse comparison picked. Pairs of {threshold} or more are "
        f"copies; {near} of {sum(counts)} lie within 0.05 of that."
    )
    if any(counts):
        chart = html.chart(draw_similarities(document), alt="Histogram of similarities", caption=caption)
    else:
        chart = html.paragraph("The coarse comparison picked no pair that might be copies.")
    sizes = html.chart(draw_group_sizes(document), alt="Sizes of groups", caption="Images that show the same slice.")
    return chart + sizes


def _groups(survey: Survey, document: Document) -> Markup:
    by_name = {case.record.case_id: case for case in survey.cases}
    shown = Markup()
    for group in document["largest_groups"]:
        files = group["files"]
        tiles = [by_name[file].thumbnail for file in files[:_MEMBERS]]
        left_out = f"; {len(tiles)} of {len(files)} drawn" if len(files) > len(tiles) else ""
        share = group["linked_share"]
        linked = "All" if share == 1 else percent(share)
        others = "" if share == 1 else ", the others through other members"
        caption = (
            f"{group['group']}: {counted(group['size'], 'image')} ({cells.parts(group['parts'])}){left_out}. "
            f"{linked} of its pairs are direct copies{others}; the least similar direct pair has "
            f"{group['lowest_similarity']:.3f}."
        )
        shown += html.picture(_tile(tiles), alt=f"Members of {group['group']}", caption=caption)
    words = (
        f"Members as they are in the folder, at most {_MEMBERS} per group. Check for yourself that each group shows "
        "one slice."
    )
    return html.paragraph(words) + shown if shown else Markup()


def _tile(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    fitted = [np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for tile in tiles]
    fitted = [np.pad(tile, 2, constant_values=255) for tile in fitted]
    blank = np.full_like(fitted[0], 255)
    width = min(_COLUMNS, len(fitted))
    fitted += [blank] * (-len(fitted) % width)
    rows = [np.concatenate(fitted[start : start + width], axis=1) for start in range(0, len(fitted), width)]
    return np.concatenate(rows)

"""The section of an audit on the slices that two datasets share."""

from __future__ import annotations

from markupsafe import Markup

from tumortrace.copies.survey import Survey
from tumortrace.json_csv import Document
from tumortrace.reporting import cells, html
from tumortrace.reporting.copy_pictures import FIRST_RGB, SECOND_RGB, draw_pair
from tumortrace.wording import counted, percent

_CONFLICTS = 20


def describe_shared(survey: Survey, pair: Document) -> Markup:
    """Return what two datasets share: which part leaks into which, and how their annotators agree.

    Args:
        survey: A survey of both.
        pair: An entry of ``across`` in ``audit.json``.
    """
    if not pair["slices"]:
        return html.paragraph("No slice is in both.")
    shared = html.table(
        ["images of", "that show a slice of", "number", "of"],
        [[each["part"], each["with"], each["images"], each["of"]] for each in pair["shared"]],
        text_columns=2,
    )
    words = (
        f"{counted(pair['slices'], 'slice')} {'is' if pair['slices'] == 1 else 'are'} in both datasets. For "
        "a model trained on one dataset, the images of the other that are counted here are training slices too, "
        "whatever the published split."
    )
    return html.paragraph(words) + shared + _classes(pair) + _agreement(survey, pair)


def _agreement(survey: Survey, pair: Document) -> Markup:
    agreement = pair["agreement"]
    if not agreement and not pair["copied"]:
        return html.paragraph("No shared slice has an outlined tumour in both, so annotators cannot be compared.")
    copied = (
        f"{counted(pair['copied'], 'pair')} of outlines left out: one is a copy of the other." if pair["copied"] else ""
    )
    if not agreement:
        return html.paragraph(f"Annotators cannot be compared. {copied}")
    rows = [["all", *_dice_cells(agreement)]]
    for name, kinds in agreement["by"].items():
        rows += [[f"by {name}"]] if kinds else []
        rows += [[kind, *_dice_cells(scores)] for kind, scores in kinds.items()]
    words = (
        "Two outlines of one slice, one from each dataset, the second laid onto the first. Small tumours fill less "
        f"than 2 % of the frame of {pair['first']}, large ones more than 8 %. Copies, and slices "
        f"of one named patient, are one group. {copied}"
    )
    widths = cells.explain_widths(row[-1] for row in rows)
    table = html.table(["", "Dice", "95 % interval", "median", "below 0.5", "pairs", "groups", "note"], rows)
    note = html.paragraph(widths) if widths else Markup()
    return html.heading("Agreement of the annotators") + html.paragraph(words) + table + note + _examples(survey, pair)


def _dice_cells(scores: Document) -> list[str]:
    dice = scores["dice"]
    numbers = [cells.number(dice["mean"]), cells.interval(dice["ci95"]), cells.number(dice["median"])]
    return [*numbers, percent(scores["below_half"]), str(scores["pairs"]), *cells.groups(scores)]


def _examples(survey: Survey, pair: Document) -> Markup:
    """Draw shared slices from the worst to the best agreement."""
    by_ids = {frozenset(case.record.case_id for case in survey.cases_of(each)): each for each in survey.pairs}
    chosen = [
        (example, by_ids[frozenset((example["first"], example["second"]))]) for example in pair["agreement"]["examples"]
    ]
    key = html.colour_key(
        [(f"outline of {pair['first']}", FIRST_RGB), (f"outline of {pair['second']}", SECOND_RGB)],
    )
    words = "From the worst to the best agreement, in even steps of rank."
    drawn = [
        draw_pair(survey, each if survey.cases[each.first].record.case_id == example["first"] else each.turned())
        for example, each in chosen
    ]
    return html.paragraph(words) + key + html.gallery(drawn)


def _classes(pair: Document) -> Markup:
    classes = pair["classes"]
    if not classes["compared"]:
        return Markup()
    conflicts = classes["conflicts"]
    compared = counted(classes["compared"], "pair")
    words = (
        f"Both datasets name the class of the tumour in {compared} of copies; they differ in {len(conflicts) or 'none'}"
    )
    if not conflicts:
        return html.paragraph(f"{words}.")
    rows = [[one["first"], one["first_class"], one["second"], one["second_class"]] for one in conflicts[:_CONFLICTS]]
    more = f" The first {_CONFLICTS} are shown; findings.json names all." if len(conflicts) > _CONFLICTS else ""
    head = [pair["first"], "class there", pair["second"], "class there"]
    return html.paragraph(f"{words}.{more}") + html.table(head, rows, text_columns=4)

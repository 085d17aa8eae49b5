"""The section of an audit's page that shows doubtful outlines."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.survey import Survey
from tumortrace.errors import DataError
from tumortrace.evaluation.doubtful import APART, KINDS, LIST, TABLE, Doubt, HeldOutModels, predict_held_out
from tumortrace.inference.overlay import to_display
from tumortrace.json_csv import Document
from tumortrace.reporting import cells, html
from tumortrace.reporting.copy_pictures import FIRST_RGB, SECOND_RGB, draw_outlines
from tumortrace.wording import counted

SHOWN = 24
"""Number of outlines with a picture."""


def draw_doubts(document: Document, doubts: Sequence[Doubt], held_out: HeldOutModels, survey: Survey) -> Markup:
    """Draw the section: how many outlines are contradicted in which way, and pictures of the most doubtful ones.

    Args:
        document: Entry ``doubtful`` of ``audit.json``.
        doubts: Doubts from ``find_doubtful``, the most doubtful first.
        held_out: Models that judged them.
        survey: Survey of the dataset.
    """
    rows = [[kind, words, document["kinds"].get(kind, 0)] for kind, words in KINDS.items()]
    table = html.table(["kind", "meaning", "outlines"], rows, text_columns=2)
    key = html.colour_key([("outline of the dataset", FIRST_RGB), ("mask of the held-out model", SECOND_RGB)])
    by_name = {case.record.case_id: case for case in survey.cases}
    figures = [_draw(doubt, held_out, by_name[doubt.file]) for doubt in doubts[:SHOWN]]
    return html.paragraph(_explain(document)) + table + key + html.gallery(figures)


def _explain(document: Document) -> str:
    missing = counted(document["not_judged"], "annotated image")
    others = f" Not judged: {missing} in no fold, or changed since." if document["not_judged"] else ""
    doubts = cells.doubt_models(document)
    advice = f"That is {doubts}." if doubts else "A model may be wrong: look at each outline before you omit it."
    return (
        f"Each of {document['judged']} outlines was judged by a model that was not trained on its slice "
        f"({document['crossval']}). The models contradict {document['contradicted']} of them: the doubt is at least "
        f"{document['contradicted_from']}, and outline and mask share less than half (Dice below {APART}). {advice} "
        f"{TABLE} lists all outlines; {LIST} names the contradicted ones: strike those that are right, then give it to "
        f"train --exclude.{others}"
    )


def _draw(doubt: Doubt, held_out: HeldOutModels, surveyed: SurveyedCase) -> Markup:
    try:
        case, prediction = predict_held_out(held_out, surveyed)
    except DataError:
        return html.paragraph(f"{doubt.file} can no longer be read.")
    outlines = [(case.truth, FIRST_RGB), (prediction.mask, SECOND_RGB)]
    caption = f"{doubt.file}: doubt {doubt.doubt:.2f}, Dice {doubt.dice:.2f}; {doubt.reason}"
    picture = draw_outlines(to_display(case.slice.pixels), outlines)
    return html.picture(picture, alt=f"Outline and mask of {doubt.file}", caption=caption)

"""Several evaluations set side by side on the images that all of them hold, and on no others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tumortrace.metrics.intervals import mean_interval
from tumortrace.reporting import html
from tumortrace.reporting.charts import Dot, draw_dots
from tumortrace.reporting.words import counted

Rows = Sequence[Mapping[str, str]]


def draw_side_by_side(evaluations: Sequence[tuple[str, Rows]]) -> str:
    """Mean Dice of each evaluation on the same images, as markup.

    Args:
        evaluations: Two or more: name, and rows of ``per_image.csv``.
    """
    files, which = same_images([rows for _, rows in evaluations])
    dots = [_dot(name, rows, files) for name, rows in evaluations]
    dots = [dot for dot in dots if not math.isnan(dot.mean)]
    if not dots:
        return html.paragraph("These evaluations have no scored image in common: nothing can be set side by side.")
    caption = (
        f"All on {which}. Intervals that overlap say little about a difference on the same images: use tumortrace "
        "compare for that."
    )
    figure = draw_dots(dots, xlabel=f"mean Dice on {which}")
    return html.chart(figure, alt="Mean Dice of several evaluations on the same images", caption=caption)


def same_images(tables: Sequence[Rows]) -> tuple[list[str], str]:
    """The images to compare on: those clean for every model; all common ones where none is.

    Args:
        tables: Rows of ``per_image.csv`` of each evaluation.

    Returns:
        Their names, and which these are, in words.
    """
    hashes = [{row["file"]: row["sha256"] for row in rows} for rows in tables]
    common = [file for file, sha256 in hashes[0].items() if all(each.get(file) == sha256 for each in hashes)]
    clean = [{row["file"] for row in rows if row["clean"] == "true"} for rows in tables]
    known = [file for file in common if all(file in each for each in clean)]
    if known:
        return known, f"the same {counted(len(known), 'image')}, clean for every model"
    return common, f"the same {counted(len(common), 'image')}, not known to be clean for every model"


def _dot(name: str, rows: Rows, files: Sequence[str]) -> Dot:
    by_file = {row["file"]: row for row in rows}
    chosen = [by_file[file] for file in files]
    dices = np.array([float(row["dice"] or "nan") for row in chosen])
    if np.isnan(dices).all():
        return Dot(name, math.nan, None)
    interval = mean_interval(dices, [row["group"] or row["file"] for row in chosen])
    return Dot(name, float(np.nanmean(dices)), None if math.isnan(interval[0]) else interval)

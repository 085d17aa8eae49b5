"""Several evaluations side by side, on the images that all of them hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from tumortrace.evaluation.folder import ImageRow, StoredEvaluation
from tumortrace.metrics.intervals import mean_interval
from tumortrace.reporting import html
from tumortrace.reporting.charts import Dot, draw_dots
from tumortrace.wording import counted


def draw_side_by_side(evaluations: Sequence[StoredEvaluation]) -> Markup:
    """Draw the mean Dice of each evaluation on the same images.

    Args:
        evaluations: Two or more.
    """
    files, which = same_images([evaluation.rows for evaluation in evaluations])
    dots = [_dot(evaluation, files) for evaluation in evaluations]
    dots = [dot for dot in dots if not math.isnan(dot.mean)]
    if not dots:
        cause = f"have no Dice on {which}" if files else "share no scored image"
        return html.paragraph(f"These evaluations {cause}, so they cannot be set side by side.")
    caption = (
        f"All on {which}. Overlapping intervals say little about a difference on the same images; use tumortrace "
        f"compare for that.{_count_empty(evaluations, files)}"
    )
    figure = draw_dots(dots, xlabel=f"mean Dice on {which}")
    return html.chart(figure, alt="Mean Dice of several evaluations on the same images", caption=caption)


def same_images(tables: Sequence[Sequence[ImageRow]]) -> tuple[list[str], str]:
    """Choose the images to compare on: those clean for every model, or all common ones where none is.

    Args:
        tables: The rows of each evaluation.

    Returns:
        Their names, and which these are, in words.
    """
    hashes = [{row.file: row.sha256 for row in rows} for rows in tables]
    common = [file for file, sha256 in hashes[0].items() if all(each.get(file) == sha256 for each in hashes)]
    clean = [{row.file for row in rows if row.clean} for rows in tables]
    known = [file for file in common if all(file in each for each in clean)]
    if known:
        return known, f"the same {counted(len(known), 'image')}, clean for every model"
    return common, f"the same {counted(len(common), 'image')}, not known to be clean for every model"


def _count_empty(evaluations: Sequence[StoredEvaluation], files: Sequence[str]) -> str:
    """Count the images that are in the means of some models alone, as a sentence; empty if there are none."""
    chosen = set(files)
    empty = Counter(
        row.file for each in evaluations for row in each.rows if row.file in chosen and math.isnan(row.dice)
    )
    count = sum(models < len(evaluations) for models in empty.values())
    if not count:
        return ""
    verb, them = ("counts", "it") if count == 1 else ("count", "them")
    return (
        f" {counted(count, 'tumour-free image')} {verb} only for models that mark something on {them}, as a Dice of 0."
    )


def _dot(evaluation: StoredEvaluation, files: Sequence[str]) -> Dot:
    by_file = {row.file: row for row in evaluation.rows}
    chosen = [by_file[file] for file in files]
    dices = np.array([row.dice for row in chosen])
    if np.isnan(dices).all():
        return Dot(evaluation.name, math.nan, None)
    interval = mean_interval(dices, [row.group for row in chosen])
    return Dot(evaluation.name, float(np.nanmean(dices)), None if math.isnan(interval[0]) else interval)

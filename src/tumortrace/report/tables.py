"""Tables for a terminal."""

from __future__ import annotations

import math
from dataclasses import astuple

from rich.box import SIMPLE
from rich.table import Table

from tumortrace.trust.evaluation import Evaluation, baseline_spreads, summarise_scores
from tumortrace.trust.metrics import Spread


def table_of_scores(evaluation: Evaluation) -> Table:
    """The report's Table I for a model with the Dice of each trivial baseline below; fits a terminal of 80 columns."""
    count = len(evaluation.scores)
    table = Table(
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        title=f"{evaluation.model['name']} on {count} images, threshold {evaluation.threshold:g}",
    )
    table.add_column("metric", no_wrap=True)
    for heading in ("mean", "median", "min", "max", "5 %", "95 %", "undef."):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric, spread in summarise_scores(score.counts for score in evaluation.scores).items():
        table.add_row(metric.replace("dice", "Dice").replace("iou", "IoU"), *_cells(spread))
    table.add_row("Dice without a network:")
    for name, metrics in baseline_spreads(evaluation).items():
        table.add_row(f"  {name.replace('_', ' ')}", *_cells(metrics["dice"]))
    return table


def _cells(spread: Spread) -> list[str]:
    *values, undefined = astuple(spread)
    return [*("-" if math.isnan(value) else f"{value:.3f}" for value in values), str(undefined)]

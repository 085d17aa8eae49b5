"""A comparison of models as tables for a terminal of 80 columns."""

from __future__ import annotations

import math

from rich.table import Table

from tumortrace.evaluation.compare import Comparison, Difference
from tumortrace.metrics.intervals import FEW, FEWEST_GROUPS
from tumortrace.reporting.cells import number, p_value
from tumortrace.reporting.tables import NAMES, open_table
from tumortrace.wording import counted


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the models with their mean Dice, the differences of every pair, and the spread over seeds if known."""
    title = f"{counted(comparison.n, 'common image')}; {len(comparison.left_out)} left out"
    models = open_table(title, "model")
    models.add_column("mean Dice", justify="right")  # also the reason why an image was left out
    for name, mean in zip(comparison.names, comparison.means, strict=True):
        models.add_row(name, number(mean))
    for file, reason in comparison.left_out[:5]:
        models.add_row(f"left out: {file}", reason)
    if len(comparison.left_out) > 5:
        models.add_row(f"and {len(comparison.left_out) - 5} more", "--json names all")
    return [models, _table_of_differences(comparison), *_tables_of_seeds(comparison)]


def _table_of_differences(comparison: Comparison) -> Table:
    title = (
        "First minus second, on the same images (HD95: lower is better); p of a sign-flip test over groups; Holm: p "
        "adjusted for the pairs of models, not for the metrics; +/-: images with a difference above and below 0"
    )
    table = open_table(title, "", numbers=("mean", "95 % interval", "p", "Holm", "n", "+/-"))
    pair = ("", "")
    for row in sorted(comparison.differences, key=lambda row: (row.first, row.second)):
        if (row.first, row.second) != pair:
            pair = (row.first, row.second)
            table.add_section()
            table.add_row(f"{row.first} - {row.second}")
        table.add_row(f"  {NAMES[row.metric]}", *_cells(row))
    return table


def power_lines(comparison: Comparison) -> list[str]:
    """Return a line for each pair of models: the smallest difference in mean Dice that these images would show."""
    return [
        f"{row.first} - {row.second}: {_describe_power(row)}"
        for row in comparison.differences
        if row.metric == "dice" and not math.isnan(row.detectable)
    ]


def _describe_power(row: Difference) -> str:
    if row.groups < FEWEST_GROUPS:
        return (
            f"no difference can be shown with {counted(row.groups, 'group')}: p is never below {2 / 2**row.groups:.2g}."
        )
    return (
        f"with these {counted(row.groups, 'group')}, a true difference in mean Dice below {row.detectable:.3f} is "
        f"missed more often than one time in five.{_warn_of_few(row.groups)}"
    )


def _warn_of_few(groups: int) -> str:
    return " The groups are few: intervals and this difference are mostly too small; rely on p." if groups < FEW else ""


def alarm_lines(comparison: Comparison) -> list[str]:
    """Return a line for each pair of models with tumour-free images that only one marks: no difference counts these."""
    return [
        f"{row.first} - {row.second}: tumour-free images that only one of them marks ({row.first} {row.only_first}, "
        f"{row.second} {row.only_second}) have a Dice of 0 in its mean, and are not in the difference."
        for row in _list_one_sided(comparison, "dice")
    ]


def miss_lines(comparison: Comparison) -> list[str]:
    """Return a line for each pair of models with tumours that only one leaves unmarked: HD95 does not count these."""
    return [
        f"{row.first} - {row.second}: images with a tumour that only one of them leaves empty ({row.first} "
        f"{row.only_second}, {row.second} {row.only_first}) have no HD95, and are not in its difference."
        for row in _list_one_sided(comparison, "hd95")
    ]


def _list_one_sided(comparison: Comparison, metric: str) -> list[Difference]:
    """List the differences of a metric that omit images which have it for one of the two models alone."""
    return [row for row in comparison.differences if row.metric == metric and (row.only_first or row.only_second)]


def training_lines(comparison: Comparison) -> list[str]:
    """Return a line for each model whose score is no evidence, because of what it was trained on."""
    lines = []
    counts = zip(comparison.names, comparison.trained_on, comparison.known_trained_on, strict=True)
    for name, count, known in counts:
        if known:
            least = "at least " if count is None else ""
            what = (
                "is a training slice of the model, a copy of one, or a slice of a training patient"
                if known == 1
                else "are training slices of the model, copies of one, or slices of the same patients as these"
            )
            images = f"{least}{known} of these {counted(comparison.n, 'image')}"
            lines.append(f"{name}: {images} {what}: its score is likely too high.")
        elif count is None:
            lines.append(f"{name}: it is unknown which of these images the model was trained on.")
    return lines


def _tables_of_seeds(comparison: Comparison) -> list[Table]:
    if not comparison.seeds:
        return []
    title = "The same settings and training slices under several seeds: mean Dice"
    table = open_table(title, "models", "seeds", "mean", "standard deviation")
    for spread in comparison.seeds:
        seeds = ", ".join(map(str, spread.seeds))
        table.add_row(", ".join(spread.models), seeds, number(spread.mean), number(spread.deviation))
    return [table]


def _cells(row: Difference) -> list[str]:
    low, high = row.ci95
    interval = "-" if math.isnan(low) else f"{low:+.3f} to {high:+.3f}"
    counts = [str(row.n), f"{row.higher}/{row.lower}"]
    return [f"{row.mean:+.3f}" if row.n else "-", interval, p_value(row.p), p_value(row.p_holm), *counts]

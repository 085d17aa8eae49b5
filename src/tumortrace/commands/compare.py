"""The command that compares evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tumortrace
from tumortrace.commands.output import console, print_json


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Folders that evaluate wrote.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON, and nothing else.")] = False,
) -> None:
    """Compare evaluations of the same cases.

    Differences come with intervals and permutation tests, adjusted by Holm for the pairs of models.

    Example: tumortrace compare runs/first-val runs/second-val
    """
    result = tumortrace.compare(folders)
    from tumortrace.evaluation.compare import comparison_document
    from tumortrace.reporting.paired_table import (
        alarm_lines,
        comparison_tables,
        miss_lines,
        power_lines,
        training_lines,
    )

    if as_json:
        print_json(comparison_document(result))
        return
    for table in comparison_tables(result):
        console.print(table)
    for line in power_lines(result) + alarm_lines(result) + miss_lines(result) + training_lines(result):
        console.print(line)

"""The command that divides a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tumortrace
from tumortrace.commands.options import LabelOption, NegativesOption, SeveralData
from tumortrace.commands.output import console, exit_if_unreadable, report_findings


def split(
    data: SeveralData,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The split, one JSON file.")],
    negatives: NegativesOption = None,
    label: LabelOption = None,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="K", min=2, help="K folds instead of train, val and test.")
    ] = None,
) -> None:
    """Divide a dataset so that no copy is on two sides.

    Known patients are kept together too. A TEST part stays out of folds.

    Example: tumortrace split br35h --out folds.json --folds 5
    """
    from tumortrace.copies.split_files import describe_check
    from tumortrace.reporting.tables import table_of_split

    result = tumortrace.split(data, folds=folds, negatives=negatives, label=label, out=out)
    report_findings(result.findings, listed_in="the audit.json that tumortrace audit writes")
    console.print(table_of_split(result.document))
    console.print(f"Written to {out}; {describe_check(result.document)}")
    exit_if_unreadable(result.findings)

"""The command that cross-validates a configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import tumortrace
from tumortrace.choices import By
from tumortrace.commands.options import (
    LabelOption,
    NegativesOption,
    RayOption,
    SetOption,
    SeveralData,
)
from tumortrace.commands.output import console, exit_if_unreadable, name_next_command, print_scores, report_findings
from tumortrace.wording import command_line


def crossval(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="NAME|FILE", help="default, fast, narrow, paper, smoke, or TOML file [default]."
        ),
    ] = None,
    overrides: SetOption = None,
    folds: Annotated[int | None, typer.Option("--folds", metavar="K", min=2, help="Number of folds [5].")] = None,
    by: Annotated[By, typer.Option("--by", help="Folds of groups, or hold out one source (DATA).")] = "groups",
    negatives: NegativesOption = None,
    label: LabelOption = None,
    ray: RayOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-crossval].")] = None,
) -> None:
    """Train and score every fold; call it again to continue.

    Each case is scored by a model that was trained on no copy of it.

    Example: tumortrace crossval br35h --config fast --folds 5 --out runs/br35h-crossval
    """
    folder = out or Path("runs") / f"{Path(config or 'default').stem}-crossval"
    with name_next_command(lambda: sys.argv[1:]):
        result = tumortrace.crossval(
            data,
            out=folder,
            config=config,
            overrides=overrides or (),
            folds=folds,
            by=by,
            negatives=negatives,
            label=label,
            ray=ray,
        )
    report_findings(result.findings, listed_in=folder / "summary.json")
    print_scores(result.summary)
    console.print(
        f"Written to {folder}: per_image.csv, summary.json, split.json, a run folder for each fold",
        f"Settings with the fitted threshold, temperature and confidence: {folder / 'calibrated.toml'}",
        f"Read it as a page: {command_line('report', folder)}",
        sep="\n",
    )
    exit_if_unreadable(result.findings)

"""The command that writes a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tumortrace
from tumortrace.choices import Colours
from tumortrace.commands.output import console, log


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN|DIR...", help="Runs, evaluations, cross-validations.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="The page [DIR/report.html].")] = None,
    colours: Annotated[
        Colours, typer.Option("--colours", help="safe: for colour-blind eyes and grey print; or the student paper's.")
    ] = "safe",
) -> None:
    """Write one self-contained page on runs and evaluations.

    The page opens offline and prints well.

    Example: tumortrace report runs/first runs/first-val --out first.html
    """
    result = tumortrace.report(folders, out=out, colours=colours)
    for note in result.notes:
        log.print(f"note: {note}")
    console.print(f"Written: {result.path}")

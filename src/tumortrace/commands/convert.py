"""The command that turns annotations into masks, and masks into annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace.commands.options import LabelOption
from tumortrace.commands.output import console, report_findings

Target = Literal["masks", "via"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A dataset, or a folder of masks.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write to.")],
    to: Annotated[Target, typer.Option("--to", help="Masks as PNG, or VIA annotations.")],
    label: LabelOption = None,
) -> None:
    """Turn annotations into masks, or masks into annotations.

    Example: tumortrace convert br35h br35h-masks --to masks
    """
    from tumortrace.data.convert import convert_to_masks, convert_to_via

    result = (convert_to_masks if to == "masks" else convert_to_via)(source, destination, label=label)
    report_findings(result.findings, kept_in=destination / "findings.json")
    console.print(f"{result.count} cases written to {destination}")
    if result.failed:
        raise typer.Exit(1)

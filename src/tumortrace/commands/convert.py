"""The command that turns annotations into masks, and masks into annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace.commands.options import LabelOption
from tumortrace.commands.output import console, report_findings
from tumortrace.wording import counted

Target = Literal["masks", "via", "coco", "labelme", "cvat", "labelstudio", "yolo"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A dataset, or a folder of masks.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write to.")],
    to: Annotated[Target, typer.Option("--to", help="Masks as PNG, or annotations in the format of a tool.")],
    label: LabelOption = None,
) -> None:
    """Turn annotations into masks or another tool's format, and back.

    Example: tumortrace convert br35h br35h-masks --to masks
    """
    from tumortrace.data.convert import convert_to_annotations, convert_to_masks

    if to == "masks":
        result = convert_to_masks(source, destination, label=label)
    else:
        result = convert_to_annotations(source, destination, to, label=label)
    report_findings(result.findings, listed_in=destination / "findings.json")
    console.print(f"{counted(result.count, 'case')} written to {destination}")
    if result.failed:
        raise typer.Exit(1)

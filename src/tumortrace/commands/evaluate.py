"""The command that scores a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tumortrace
from tumortrace.choices import Part
from tumortrace.commands.options import DataArgument, FoldOption, LabelOption, ModelOption, SplitOption
from tumortrace.commands.output import choose_model, console, exit_if_unreadable, print_scores, report_findings
from tumortrace.wording import command_line


def evaluate(  # noqa: PLR0913, PLR0917 - the options of the command
    data: DataArgument,
    model: ModelOption = None,
    part: Annotated[Part, typer.Option("--part", help="Which part of the data.")] = "test",
    split: SplitOption = None,
    fold: FoldOption = None,
    label: LabelOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/MODEL-DATA-PART].")] = None,
) -> None:
    """Score a model, with intervals, beside trivial baselines.

    Scores are given on all images and on the clean ones, which have no copy, mirrored or re-contrasted, in what the
    model was trained on.

    Example: tumortrace evaluate br35h --model runs/first --part val --out runs/first-val
    """
    from tumortrace.inference.model import open_model

    opened = open_model(choose_model(model))
    folder = out or Path("runs") / f"{opened.name}-{data.resolve().name}-{part}"
    result = tumortrace.evaluate(data, model=opened, part=part, split=split, fold=fold, label=label, out=folder)
    report_findings(result.findings, listed_in=folder / "summary.json")
    print_scores(result.summary)
    console.print(f"Written to {folder}: {', '.join(result.files)}")
    console.print(f"Read it as a page: {command_line('report', folder)}")
    exit_if_unreadable(result.findings)

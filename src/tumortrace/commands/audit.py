"""The command that looks a dataset over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace import api
from tumortrace.commands.options import LabelOption
from tumortrace.commands.output import console, exit_if_unreadable, report_findings


def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, annotated or not.")],
    label: LabelOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-audit].")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json on stdout, and nothing else.")] = False,
    fail_on: Annotated[
        Literal["leakage"] | None, typer.Option("--fail-on", help="Exit with status 1 if a part leaks into TRAIN.")
    ] = None,
) -> None:
    """Find leaked copies, the annotators' agreement, and faults.

    Example: tumortrace audit br35h --out runs/br35h-audit
    """
    folder = out or Path("runs") / f"{data.resolve().name}-audit"
    result = api.audit(data, label=label, out=folder)
    if as_json:
        print(json.dumps(result.document, indent=2))  # noqa: T201 - the document itself, untouched by rich
    else:
        from tumortrace.reporting.tables import tables_of_audit

        for table in tables_of_audit(result.document):
            console.print(table)
        report_findings(result.findings, kept_in=folder / "findings.json")
        console.print(f"Written to {folder}: audit.html, audit.json, groups.csv, findings.json")
    if fail_on and result.leaks:
        raise typer.Exit(1)
    exit_if_unreadable(result.findings)

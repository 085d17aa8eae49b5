"""The command that looks a dataset over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tumortrace
from tumortrace.commands.options import LabelOption
from tumortrace.commands.output import console, exit_if_unreadable, log, print_json, report_findings
from tumortrace.errors import ConfigError
from tumortrace.wording import counted

if TYPE_CHECKING:
    from tumortrace.api.answers import AuditResult

KINDS = ("leakage", "faults")
"""What ``--fail-on`` takes."""


def audit(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA...", help="Folders of images, annotated or not; several are compared with each other."
        ),
    ],
    label: LabelOption = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="CROSSVAL", help="Judge outlines by the models of a cross-validation on DATA."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAMES-audit].")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json on stdout, and nothing else.")] = False,
    fail_on: Annotated[
        str,
        typer.Option("--fail-on", metavar="KINDS", help="Exit with status 1 on leakage, faults, or leakage,faults."),
    ] = "",
) -> None:
    """Find leaked copies, agreement, doubtful outlines and faults.

    Example: tumortrace audit figshare brisc --out runs/figshare-brisc-audit
    """
    kinds = _read_kinds(fail_on)
    folder = out or Path("runs") / f"{'-'.join(each.resolve().name for each in data)}-audit"
    result = tumortrace.audit(data, label=label, run=run, out=folder)
    if as_json:
        print_json(result.document)
    else:
        from tumortrace.reporting.tables import tables_of_audit

        for table in tables_of_audit(result.document):
            console.print(table)
        report_findings(result.findings, listed_in=folder / "findings.json")
        lists = ", doubtful.csv, doubtful.txt" if run else ""
        console.print(f"Written to {folder}: audit.html, audit.json, groups.csv, findings.json{lists}")
    failed = [line for kind in kinds for line in _describe_failure(kind, result)]
    for line in failed:
        log.print(f"Failed: {line}")
    if failed:
        raise typer.Exit(1)
    exit_if_unreadable(result.findings)


def _read_kinds(fail_on: str) -> list[str]:
    """The kinds that ``--fail-on`` lists, separated by commas."""
    kinds = [kind.strip() for kind in fail_on.split(",") if kind.strip()]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"--fail-on {fail_on}: {unknown[0]!r} is none of {', '.join(KINDS)}")
    return kinds


def _describe_failure(kind: str, result: AuditResult) -> tuple[str, ...]:
    if kind == "leakage":
        return result.leakage
    count = len(result.faults)
    return (f"{counted(count, 'fault')} in the data",) if count else ()

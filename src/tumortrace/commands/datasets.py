"""Commands about data: look it over, divide it, turn it into another format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace.commands.options import NegativesOption, SeveralData
from tumortrace.commands.output import console, exit_if_unreadable, report_findings
from tumortrace.errors import TumortraceError, require_extra

Target = Literal["masks", "via"]


def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, annotated or not.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-audit].")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json on stdout, and nothing else.")] = False,
    fail_on: Annotated[
        Literal["leakage"] | None, typer.Option("--fail-on", help="End with 1 if a part leaks into TRAIN.")
    ] = None,
) -> None:
    """Find copies within and across splits, the annotators' agreement, and every fault of a dataset.

    Example: tumortrace audit br35h --out runs/br35h-audit
    """
    require_extra("report", purpose="draw the audit's page")
    from tumortrace.copies.audit import audit_document, write_audit
    from tumortrace.copies.survey import survey_cases
    from tumortrace.data.dataset import open_any, refuse_inside
    from tumortrace.reporting.audit_page import write_audit_page
    from tumortrace.reporting.tables import tables_of_audit

    folder = out or Path("runs") / f"{data.resolve().name}-audit"
    refuse_inside(folder, data)
    dataset = open_any(data)
    survey = survey_cases(dataset.records)
    document = audit_document(dataset, survey)
    write_audit(document, survey, folder)
    write_audit_page(survey, document, folder / "audit.html")
    if as_json:
        print(json.dumps(document, indent=2))  # noqa: T201 - the document itself, untouched by rich
    else:
        for table in tables_of_audit(document):
            console.print(table)
        report_findings((*dataset.findings, *survey.findings), kept_in=folder / "findings.json")
        console.print(f"Written to {folder}: audit.html, audit.json, groups.csv, findings.json")
    if fail_on and any(part["images"] for part in document["leaked"].values()):
        raise typer.Exit(1)
    exit_if_unreadable(survey.findings)


def split(
    data: SeveralData,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The split, one JSON file.")],
    negatives: NegativesOption = None,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="K", min=2, help="K folds instead of train, val and test.")
    ] = None,
) -> None:
    """Divide a dataset so that no copy and no patient is on two sides; a TEST part that is there stays out of folds.

    Example: tumortrace split br35h --out folds.json --folds 5
    """
    from tumortrace.copies.splits import make_folds, make_parts, write_split
    from tumortrace.copies.survey import survey_cases
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.reporting.tables import table_of_split

    for root in data:
        refuse_inside(out, root)
    if out.is_dir():  # told before the minutes that a survey takes
        raise TumortraceError(f"--out {out} is a folder; name a file, for example {out / 'split.json'}")
    dataset = open_datasets(data, negatives=negatives)
    records = [record for record in dataset.records if folds is None or record.part != "test"]
    survey = survey_cases(records)
    made = make_parts(survey) if folds is None else make_folds(survey, folds=folds)
    document = write_split(made, survey, out)
    report_findings((*dataset.findings, *survey.findings), kept_in=out, shown=3)
    console.print(table_of_split(document))
    console.print(f"Written to {out}; checked: no copy and no patient is on two sides")
    exit_if_unreadable(survey.findings)


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A dataset, or a folder of masks.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write to.")],
    to: Annotated[Target, typer.Option("--to", help="Masks as PNG, or VIA annotations.")],
) -> None:
    """Turn annotations into masks, or masks into annotations.

    Example: tumortrace convert br35h br35h-masks --to masks
    """
    from tumortrace.data.convert import convert_to_masks, convert_to_via

    result = (convert_to_masks if to == "masks" else convert_to_via)(source, destination)
    report_findings(result.findings, kept_in=destination / "findings.json")
    console.print(f"{result.count} cases written to {destination}")
    if result.failed:
        raise typer.Exit(1)

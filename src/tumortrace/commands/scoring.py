"""Commands that judge: score a model, compare scores, write them up."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace.commands.dividing import divide
from tumortrace.commands.options import DataArgument, FoldOption, ModelOption, Part, SplitOption
from tumortrace.commands.output import console, exit_if_unreadable, log, print_scores, report_findings
from tumortrace.errors import DataError, require_extra
from tumortrace.run_folder import CONFIG, MODEL

Colours = Literal["safe", "report"]

DRAWN = ("comparisons", "figures", "gallery")
"""Folders of pictures that an evaluation writes."""


def evaluate(
    data: DataArgument,
    model: ModelOption = "default",
    part: Annotated[Part, typer.Option("--part", help="Which part of the data.")] = "test",
    split: SplitOption = None,
    fold: FoldOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/MODEL-PART].")] = None,
) -> None:
    """Score a model: Table I with intervals, on all images and on the clean ones, beside trivial baselines.

    Clean images have no copy, mirrored or re-contrasted, in what the model was trained on.

    Example: tumortrace evaluate br35h --model runs/first --part val --out runs/first-val
    """
    require_extra("report", purpose="draw an evaluation's figures")
    from tumortrace.copies.survey import survey_cases
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.data.fingerprint import hash_part
    from tumortrace.evaluation.evaluate import evaluate as score
    from tumortrace.evaluation.provenance import caution, trace_training
    from tumortrace.evaluation.summary import write_evaluation
    from tumortrace.inference.model import open_model
    from tumortrace.reporting.cases import write_case_figures, write_comparison, write_gallery

    opened = open_model(model)
    folder = out or Path("runs") / f"{opened.name}-{data.resolve().name}-{part}"
    refuse_inside(folder, data)
    _refuse_run(folder)
    dataset = divide(open_datasets([data]), split, fold, selecting=False)
    records = dataset.select(part)
    # Outlines of training slices have a say in the annotators' agreement; other parts stay closed.
    scored = {record.case_id for record in records}
    survey = survey_cases([record for record in dataset.records if record.case_id in scored or record.part == "train"])
    shown = hash_part({case.record.case_id: case.sha256 for case in survey.cases if case.record.case_id in scored})
    _make_room(folder, model=opened.sha256, data=shown)
    provenance = trace_training(opened, dataset)
    result = score(
        opened,
        records,
        survey,
        memory=provenance.memory,
        baselines=provenance.baselines,
        on_case=lambda case, prediction: write_comparison(case, prediction, out=folder),
    )
    result = dataclasses.replace(result, findings=(*dataset.findings, *result.findings))
    document = write_evaluation(result, folder)
    figures = write_case_figures(result, records, opened, out=folder)
    write_gallery(result, records, out=folder)
    report_findings(result.findings, kept_in=folder / "summary.json")
    print_scores(document)
    for note in caution(result, provenance):
        log.print(f"note: {note}")
    written = ["per_image.csv", "summary.json", "comparisons/", *(str(path.relative_to(folder)) for path in figures)]
    console.print(f"Written to {folder}: {', '.join(written)}\nRead it as a page: tumortrace report {folder}")
    exit_if_unreadable(result.findings)


def _refuse_run(folder: Path) -> None:
    for name in (CONFIG, MODEL):
        if (folder / name).exists():
            raise DataError(f"{folder}: a training run, it has {name}; choose another --out for the evaluation")


def _make_room(folder: Path, *, model: str, data: str) -> None:
    """Remove the pictures of the same evaluation, if it is there already; refuse to mix with another one."""
    summary = folder / "summary.json"
    if not summary.exists() and not (folder / "per_image.csv").exists():
        return
    try:
        document = json.loads(summary.read_text(encoding="utf-8"))
        earlier = (document["model"]["sha256"], document["data"]["sha256"])
    except (OSError, KeyError, TypeError, ValueError):
        raise DataError(f"{folder}: holds scores of unknown origin; choose another --out, or remove them") from None
    if earlier != (model, data):
        what = "model" if earlier[0] != model else "dataset or part"
        raise DataError(f"{folder}: holds the evaluation of another {what}; choose another --out, or remove it")
    for name in DRAWN:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Folders that evaluate wrote.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON, and nothing else.")] = False,
) -> None:
    """Compare evaluations of the same cases: differences with intervals, permutation tests, Holm over many.

    Example: tumortrace compare runs/first-val runs/second-val
    """
    require_extra("report", purpose="compare evaluations")
    from tumortrace.evaluation.compare import compare_evaluations, comparison_document
    from tumortrace.reporting.paired_table import comparison_tables

    result = compare_evaluations(folders)
    if as_json:
        print(json.dumps(comparison_document(result), indent=2))  # noqa: T201 - the document itself
        return
    for table in comparison_tables(result):
        console.print(table)


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN|DIR...", help="Runs, evaluations, cross-validations.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="The page [DIR/report.html].")] = None,
    colours: Annotated[
        Colours, typer.Option("--colours", help="For all eyes and grey print, or those of the report.")
    ] = "safe",
) -> None:
    """Write one self-contained page on runs and evaluations; it opens offline and prints well.

    Example: tumortrace report runs/first runs/first-val --out first.html
    """
    require_extra("report", purpose="draw the page's figures")
    from tumortrace.reporting.page import write_report

    page = out or folders[-1] / "report.html"
    for line in write_report(folders, page, colours=colours):
        log.print(f"note: {line}")
    console.print(f"Written: {page}")

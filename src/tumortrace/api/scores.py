"""Functions for programs: score models, compare scores and report on them.

Heavy libraries are imported by the function that needs them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tumortrace.api.answers import EvaluationResult, ReportResult
from tumortrace.api.arguments import Data, FilePath, check_output, divide, list_folders, open_data
from tumortrace.choices import Colours, Part
from tumortrace.errors import DataError, require_extra
from tumortrace.files import sync_folders_once
from tumortrace.locks import lock_folder

if TYPE_CHECKING:
    from tumortrace.evaluation.compare import Comparison
    from tumortrace.inference.model import Model


def evaluate(  # noqa: PLR0913 - the settings of an evaluation
    data: Data,
    *,
    model: FilePath | Model = "default",
    part: Part = "test",
    split: FilePath | None = None,
    fold: int | None = None,
    label: str | None = None,
    out: FilePath | None = None,
) -> EvaluationResult:
    """Score a model on one part of a dataset, on all images and on those without a copy in its training set.

    Args:
        data: Data to score.
        model: ``"default"``, a run folder, an ``.onnx`` file, or an opened model.
        part: The part that is scored.
        split: File that ``split`` wrote; its sides replace the parts of the dataset.
        fold: Number of the fold that was held out; it becomes the part ``"test"``.
        label: Label of the regions that are tumour; None takes all regions.
        out: Folder for tables, pictures and ``summary.json``; None writes nothing.

    Raises:
        TumortraceError: The extra ``report`` is not installed.
        DataError: The dataset lacks the part, no case can be read, or ``out`` holds something else.
        ModelError: There is no such model.
    """
    require_extra("report", purpose="score a model and draw the figures")
    from tumortrace.copies.survey import survey_cases
    from tumortrace.evaluation.evaluate import evaluate as score
    from tumortrace.evaluation.folder import claim_folder, refuse_run_folder, write_evaluation
    from tumortrace.evaluation.provenance import trace_training
    from tumortrace.evaluation.summary import summary_document
    from tumortrace.inference.model import Model, open_model

    folder = check_output(out, data)
    if folder is not None:
        refuse_run_folder(folder)
    opened = model if isinstance(model, Model) else open_model(str(model))
    dataset = divide(open_data(data, None, label), split, fold, selecting=False)
    records = dataset.select(part)
    # Outlines of training slices count in the annotators' agreement; other parts stay closed.
    scored = {record.case_id for record in records}
    survey = survey_cases([record for record in dataset.records if record.case_id in scored or record.part == "train"])
    provenance = trace_training(opened, survey, scored=scored)
    if folder is None:
        result = score(opened, records, survey, provenance)
        result = dataclasses.replace(result, findings=(*dataset.findings, *result.findings))
        return EvaluationResult(result, summary_document(result), result.findings)
    from tumortrace.reporting.cases import CasePictures

    hashes = {case.record.case_id: case.sha256 for case in survey.cases if case.record.case_id in scored}
    with lock_folder(folder), sync_folders_once():
        claim_folder(folder, model=opened.sha256, hashes=hashes)
        pictures = CasePictures(folder)
        result = score(opened, records, survey, provenance, on_case=pictures.add)
        result = dataclasses.replace(result, findings=(*dataset.findings, *result.findings))
        figures = pictures.write()
        summary = write_evaluation(result, folder)  # last: it says that the evaluation is finished
    files = ("per_image.csv", "summary.json", "comparisons/", *(str(path.relative_to(folder)) for path in figures))
    return EvaluationResult(result, summary, result.findings, files)


def compare(folders: FilePath | Sequence[FilePath]) -> Comparison:
    """Compare evaluations of the same cases, with intervals and permutation tests.

    Args:
        folders: Two or more folders that ``evaluate`` wrote.

    Raises:
        DataError: Fewer than two, or they share no case.
    """
    require_extra("report", purpose="compare evaluations")
    from tumortrace.evaluation.compare import compare_evaluations

    return compare_evaluations([Path(folder) for folder in list_folders(folders)])


def report(
    folders: FilePath | Sequence[FilePath], *, out: FilePath | None = None, colours: Colours = "safe"
) -> ReportResult:
    """Write one self-contained page on runs, evaluations and cross-validations.

    Args:
        folders: Runs, evaluations and cross-validations; or one of them.
        out: The page; None writes ``report.html`` into the last folder.
        colours: ``"safe"`` for all eyes and grey print, or those of the student paper.

    Raises:
        DataError: There is no folder, or one holds neither a finished run nor an evaluation.
    """
    require_extra("report", purpose="draw the page's figures")
    from tumortrace.reporting.page import write_report

    sources = [Path(folder) for folder in list_folders(folders)]
    if not sources:
        raise DataError("no folder to report on; give what train, evaluate or crossval wrote")
    page = Path(out) if out is not None else sources[-1] / "report.html"
    return ReportResult(page, tuple(write_report(sources, page, colours=colours)))

"""Functions for programs: open, audit and divide datasets.

Heavy libraries are imported by the function that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tumortrace.api.answers import AuditResult, SplitResult
from tumortrace.api.arguments import Data, FilePath, check_output, list_folders, open_data
from tumortrace.data.dataset import Dataset, open_apart, open_datasets
from tumortrace.errors import DataError, require_extra
from tumortrace.locks import lock_folder


def open_dataset(*folders: FilePath, negatives: FilePath | None = None, label: str | None = None) -> Dataset:
    """Open one or several folders of annotated images as one dataset, without decoding the images.

    Args:
        folders: Br35H layout, images with one annotation file, or ``images/`` and ``masks/``.
        negatives: Folder of images known to hold no tumour.
        label: Label of the regions that are tumour, where annotations hold several; None takes all regions.

    Raises:
        DataError: A folder is missing, of unknown layout, or holds no usable case.
    """
    tumour_free = Path(negatives) if negatives else None
    return open_datasets([Path(folder) for folder in folders], negatives=tumour_free, label=label)


def audit(
    data: FilePath | Sequence[FilePath],
    *,
    label: str | None = None,
    run: FilePath | None = None,
    out: FilePath | None = None,
) -> AuditResult:
    """Find copies within and across splits and datasets, the annotators' agreement, and every fault.

    Args:
        data: Folder of images, annotated or not; or several, which are compared with each other too.
        label: Label of the regions that are tumour; None takes all regions.
        run: Folder of a finished cross-validation on the same data. Its models judge the outlines that they were not
            trained on. None judges no outline.
        out: Folder for ``audit.json``, ``audit.html``, ``groups.csv``, ``findings.json`` and, with ``run``,
            ``doubtful.csv`` and ``doubtful.txt``; None writes nothing.

    Raises:
        TumortraceError: The extra ``report`` is not installed.
        DataError: A folder cannot be opened or is given twice; or ``out`` lies inside one, another run writes there, or
            it holds files that no audit wrote, or a ``doubtful.txt`` that was edited.
        ModelError: ``run`` is no finished cross-validation, or one on other data.
    """
    require_extra("report", purpose="audit a dataset")
    folder = check_output(out, data)
    if folder is not None:
        _refuse_foreign_files(folder, doubts=run is not None)  # before the survey, which takes minutes
    with nullcontext() if folder is None else lock_folder(folder):
        return _audit(data, label, run, folder)


def _refuse_foreign_files(folder: Path, *, doubts: bool) -> None:
    """Refuse a folder in which an audit would replace files that no audit wrote, or that were edited since."""
    from tumortrace.copies.audit import refuse_foreign_audit
    from tumortrace.evaluation.doubtful import refuse_edited_list
    from tumortrace.reporting.html import refuse_foreign_page

    refuse_foreign_page(folder / "audit.html")
    refuse_foreign_audit(folder)
    if doubts:
        refuse_edited_list(folder)


def _audit(
    data: FilePath | Sequence[FilePath], label: str | None, run: FilePath | None, folder: Path | None
) -> AuditResult:
    from tumortrace.copies.audit import audit_document, write_audit
    from tumortrace.copies.survey import survey_cases
    from tumortrace.evaluation.doubtful import describe_doubts, find_doubtful, open_crossval, write_doubts

    dataset = open_apart([Path(root) for root in list_folders(data)], label=label)
    held_out = open_crossval(Path(run)) if run is not None else None
    survey = survey_cases((*dataset.records, *dataset.unannotated), as_pictures=True)
    document = audit_document(dataset, survey)
    doubts = find_doubtful(held_out, survey) if held_out else ()
    if held_out:
        document["doubtful"] = describe_doubts(doubts, crossval=held_out.folder, survey=survey)
    if folder is not None:
        from tumortrace.reporting.audit_page import write_audit_page
        from tumortrace.reporting.doubtful_section import draw_doubts

        write_audit(document, survey, folder)
        if held_out:
            write_doubts(doubts, folder)
        section = draw_doubts(document["doubtful"], doubts, held_out, survey) if held_out else None
        write_audit_page(survey, document, folder / "audit.html", doubtful=section)
    return AuditResult(document, survey, (*dataset.findings, *survey.findings), doubts)


def split(
    data: Data,
    *,
    folds: int | None = None,
    negatives: FilePath | None = None,
    label: str | None = None,
    out: FilePath | None = None,
) -> SplitResult:
    """Divide a dataset so that no copy and no patient is on two sides.

    Args:
        data: Dataset to divide; a TEST part stays out of folds.
        folds: Number of folds; None divides into train, val and test.
        negatives: Folder of images known to hold no tumour.
        label: Label of the regions that are tumour; None takes all regions.
        out: The split file to write; None writes nothing.

    Raises:
        DataError: Too few different slices, or ``out`` is a folder, another file or lies inside the data.
    """
    from tumortrace.copies.split_files import check_split, refuse_foreign, split_document, write_split
    from tumortrace.copies.splits import make_folds, make_parts
    from tumortrace.copies.survey import survey_cases

    path = check_output(out, data, negatives, file=True)
    if path is not None and path.is_dir():  # checked before the survey, which takes minutes
        raise DataError(f"--out {path} is a folder; name a file, for example {path / 'split.json'}")
    if path is not None:
        refuse_foreign(path)
    dataset = open_data(data, negatives, label)
    survey = survey_cases([record for record in dataset.records if folds is None or record.part != "test"])
    made = make_parts(survey) if folds is None else make_folds(survey, folds=folds)
    check_split(made, survey)
    document = split_document(made, survey) if path is None else write_split(made, survey, path)
    return SplitResult(made, document, (*dataset.findings, *survey.findings))

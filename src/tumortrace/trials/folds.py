"""The folds of a trial, kept in its folder."""

from __future__ import annotations

from pathlib import Path

from tumortrace.choices import By
from tumortrace.copies.split_files import read_split, write_split
from tumortrace.copies.splits import Split, leave_sources_out, make_folds
from tumortrace.copies.survey import Survey
from tumortrace.errors import DataError
from tumortrace.run_folder import SPLIT


def keep_split(survey: Survey, *, folds: int, by: By, out: Path) -> Split:
    """Return the folds in a folder's ``split.json``, which is written first if it is missing.

    Args:
        survey: Survey of all cases.
        folds: Number of folds, if ``by`` is ``"groups"``.
        by: ``"groups"``: folds that share no copy and no patient; ``"source"``: one fold for each dataset.
        out: The folder of ``split.json``.

    Raises:
        DataError: Too few different slices, or the folder has other folds: the data or the number of folds changed.
    """
    fresh = leave_sources_out(survey) if by == "source" else make_folds(survey, folds=folds)
    if not (out / SPLIT).is_file():
        write_split(fresh, survey, out / SPLIT)
        return fresh
    kept = read_split(out / SPLIT)
    if kept != fresh:
        raise DataError(f"{out / SPLIT}: was made from other data or for other folds; choose another --out")
    return kept

"""The sides that a split gives to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tumortrace.errors import TumortraceError

if TYPE_CHECKING:
    from tumortrace.data.dataset import Dataset


def divide(dataset: Dataset, split: Path | None, fold: int | None, *, selecting: bool) -> Dataset:
    """Lay the sides of ``--split`` and ``--fold`` on a dataset; without them it stays as it is."""
    if split is None:
        if fold is not None:
            raise TumortraceError("--fold is a fold of a split; give its file with --split")
        return dataset
    from tumortrace.copies.splits import apply_split, read_split

    return apply_split(dataset, read_split(split), fold=fold, selecting=selecting)

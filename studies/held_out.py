"""Held-out slices of a cross-validation, and the gains of ways to segment them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import make_table
from rich.table import Table

from studies.screening import leave_out_copies
from tumortrace.copies.splits import Split
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.metrics.intervals import mean_interval
from tumortrace.run_folder import TRAINING_INDEX


class Scored(NamedTuple):
    """A held-out slice.

    Attributes:
        source: Its dataset.
        group: Name of its group of copies and patients.
        healthy: Whether it has no tumour.
        values: A value for each way: Dice or, of a healthy one, 1.0 for a false alarm and 0.0 for none.
    """

    source: str
    group: str
    healthy: bool
    values: tuple[float, ...]


def list_trained(crossval: Path, split: Split) -> list[str]:
    """Return the folds of a cross-validation whose models are there; ``studies.calibrate`` makes a folder of one."""
    return [side for side in split.sides if (crossval / f"fold-{side}").is_dir()]


def take_held_out(parts: Dataset, run: Path, *, every: int) -> list[CaseRecord]:
    """Return every so many of a fold's slices, without copies of training slices, which are printed.

    Args:
        parts: Slices with the fold as TEST.
        run: Run folder of the model that was trained without the fold.
        every: One of so many slices is taken, then the copies are left out.
    """
    return leave_out_copies(parts.select("test")[::every], load_training_index(run / TRAINING_INDEX))


def tabulate_gains(title: str, first: str, others: Sequence[str], scored: Sequence[Scored]) -> Table:
    """Return a row for each source, one for all slices with tumour, and one for those without.

    Args:
        title: Title of the table.
        first: Heading of the first way, which the others are paired with.
        others: Headings of the others.
        scored: Slices with a value for each way.
    """
    table = make_table(title, "slices", "n", first, *others)
    ill = [one for one in scored if not one.healthy]
    rows = {source: [one for one in ill if one.source == source] for source in sorted({one.source for one in ill})}
    rows |= {"all with tumour": ill, "tumour-free: false alarms": [one for one in scored if one.healthy]}
    for name, part in rows.items():
        if part:
            mean = sum(one.values[0] for one in part) / len(part)
            table.add_row(name, str(len(part)), f"{mean:.3f}", *(_gain(part, way + 1) for way in range(len(others))))
    return table


def _gain(part: Sequence[Scored], way: int) -> str:
    gains = [one.values[way] - one.values[0] for one in part]
    low, high = mean_interval(gains, [one.group for one in part], shares=False)
    interval = "" if math.isnan(low) else f" ({low:+.4f} to {high:+.4f})"
    return f"{sum(gains) / len(gains):+.4f}{interval}"

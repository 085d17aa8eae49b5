"""Units of work as rows of a Ray dataset: numbers and paths, no pixels."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial

import pyarrow as pa
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from tumortrace.inference.fingerprint import take_fingerprint
from tumortrace.inference.units import Unit

ID, NUMBER, UNIT = "id", "number", "unit"
"""Columns: what a unit is and what its files are now; its number in the order of a run; the unit itself."""


class UnitsSource(Datasource):
    """A source of units, a few in each block. A block is what is written at once, and done again after a kill."""

    def __init__(self, units: Sequence[Unit], *, block: int) -> None:
        """Make a source.

        Args:
            units: All units of a run.
            block: Number of units of a block.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._units = units
        self._block = block

    def estimate_inmemory_data_size(self) -> int:
        """Return the size of all rows in bytes, roughly."""
        return 500 * len(self._units)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """Return a task for each block, whatever number Ray would like."""
        del parallelism, data_context
        starts = range(0, len(self._units), self._block)
        return [
            self._make_task(start, list(self._units[start : start + self._block]), per_task_row_limit)
            for start in starts
        ]

    def _make_task(self, start: int, units: list[Unit], limit: int | None) -> ReadTask:
        size = BlockMetadata(num_rows=len(units), size_bytes=500 * len(units), input_files=None, exec_stats=None)
        return ReadTask(partial(_read_rows, start, units), size, per_task_row_limit=limit)


def make_id(number: int, unit: Unit) -> str:
    """Return the text by which Ray knows whether a unit is done: it changes with the unit's files."""
    found = take_fingerprint(unit)
    return f"{number}-{found.times if found else ''}"


def _read_rows(start: int, units: list[Unit]) -> list[pa.Table]:
    numbers = range(start, start + len(units))
    rows = {
        ID: [make_id(number, unit) for number, unit in zip(numbers, units, strict=True)],
        NUMBER: list(numbers),
        UNIT: [pickle.dumps(unit) for unit in units],
    }
    return [pa.table(rows)]

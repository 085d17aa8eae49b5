"""Units of work as rows of a Ray dataset: numbers and paths, no pixels."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from tumortrace.cluster.listing import read_listing, write_listing
from tumortrace.inference.batch.fingerprint import take_fingerprint
from tumortrace.inference.batch.units import Unit, Units, count_slices

ID, NUMBER, UNIT = "id", "number", "unit"
"""Columns: what a unit is and what its files are now; its number in the order of a run; the unit itself."""

_ROW_BYTES = 500  # of a row, roughly


@dataclass(frozen=True)
class Block:
    """Units that follow each other: what is written at once, and done again after a kill.

    Attributes:
        start: Number of the first one.
        count: Number of them.
        units: Volumes or refused scans; empty for pictures.
        place: Begin and end of the lines of pictures in the listing.
    """

    start: int
    count: int
    units: tuple[Unit, ...] = ()
    place: tuple[int, int] = (0, 0)

    def read(self, listing: Path) -> Sequence[Unit]:
        """Return the units."""
        return self.units or read_listing(listing, *self.place)


class UnitsSource(Datasource):
    """A source of units, a task for each block."""

    def __init__(self, units: Units, *, listing: Path, block: int) -> None:
        """Make a source, and write the listing of its pictures.

        Args:
            units: All units of a run.
            listing: File for the pictures, which all nodes see.
            block: Number of pictures, or of slices of volumes, of a block.

        Raises:
            OSError: The listing cannot be written.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._listing = listing.absolute()
        self._blocks = list(_divide(units, listing, block))

    def estimate_inmemory_data_size(self) -> int:
        """Return the size of all rows in bytes, roughly."""
        return sum(_ROW_BYTES * block.count for block in self._blocks)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """Return a task for each block, whatever number Ray would like."""
        del parallelism, data_context
        return [self._make_task(block, per_task_row_limit) for block in self._blocks]

    def _make_task(self, block: Block, limit: int | None) -> ReadTask:
        size = BlockMetadata(
            num_rows=block.count, size_bytes=_ROW_BYTES * block.count, input_files=None, exec_stats=None
        )
        return ReadTask(partial(_read_rows, self._listing, block), size, per_task_row_limit=limit)


def make_id(number: int, unit: Unit) -> str:
    """Return the text by which Ray knows whether a unit is done: it changes with the unit's files."""
    found = take_fingerprint(unit)
    return f"{number}-{found.times if found else ''}"


def _divide(units: Units, listing: Path, block: int) -> Iterator[Block]:
    """Yield blocks of refused scans, pictures and volumes in their order; a long volume is a block of its own."""
    inputs = units.inputs
    first = len(inputs.refused)
    for start in range(0, first, block):
        refused = inputs.refused[start : start + block]
        yield Block(start, len(refused), refused)
    places = write_listing(listing, inputs.pictures, block=block)
    for rank, place in enumerate(pairwise(places)):
        start = rank * block
        yield Block(first + start, min(block, len(inputs.pictures) - start), place=place)
    start, some = first + len(inputs.pictures), list[Unit]()
    for number, volume in enumerate(inputs.volumes, 1):
        some.append(volume)
        if count_slices(some) >= block or number == len(inputs.volumes):
            yield Block(start, len(some), tuple(some))
            start += len(some)
            some.clear()


def _read_rows(listing: Path, block: Block) -> list[pa.Table]:
    units = block.read(listing)
    numbers = range(block.start, block.start + block.count)
    rows = {
        ID: [make_id(number, unit) for number, unit in zip(numbers, units, strict=True)],
        NUMBER: list(numbers),
        UNIT: [pickle.dumps(unit) for unit in units],
    }
    return [pa.table(rows)]

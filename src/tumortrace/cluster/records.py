"""Records of a run on a cluster, read back in the order of the units."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tumortrace.cluster.units_source import ID, NUMBER, make_id
from tumortrace.inference.batch.units import Units

RECORD = "record"
"""Column of the records, as JSON."""

AT_ONCE = 1000
"""Records that are read at a time."""


def read_rows(folder: Path, units: Units, columns: list[str]) -> Iterator[dict[str, Any] | None]:
    """Yield the row of each unit in their order; None without one of its files as they are now.

    Args:
        folder: Folder of the Parquet files; it need not exist.
        units: All units.
        columns: Columns to read, ``ID`` among them.
    """
    files = [(path, *_find_numbers(path)) for path in folder.glob("*.parquet")]
    for start in range(0, len(units), AT_ONCE):
        end = min(start + AT_ONCE, len(units))
        rows: dict[str, dict[str, Any]] = {}
        for path, first, last in files:
            if first < end and last >= start:
                here = (pc.field(NUMBER) >= start) & (pc.field(NUMBER) < end)
                rows |= {row[ID]: row for row in pq.read_table(path, columns=columns, filters=here).to_pylist()}
        for number, unit in enumerate(units[start:end], start):
            yield rows.get(make_id(number, unit))


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file; 0 while it is being written."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _find_numbers(path: Path) -> tuple[int, int]:
    """Return the smallest and the largest number of a file's units; none of a file whose writer was killed."""
    try:
        numbers = pq.read_table(path, columns=[NUMBER])[NUMBER]
    except (pa.ArrowException, OSError):
        return 0, -1
    ends = pc.min_max(numbers).as_py()
    return (ends["min"], ends["max"]) if len(numbers) else (0, -1)

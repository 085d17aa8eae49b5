"""Records of a run on a cluster, in a Parquet file for each block of units.

A file appears whole or not at all, under a name that its units give it. So a block that is done twice counts once.
"""

from __future__ import annotations

import hashlib
import io
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tumortrace.files import write_atomically
from tumortrace.inference.batch.fingerprint import take_fingerprint
from tumortrace.inference.batch.units import Unit, Units
from tumortrace.inference.results.unit_record import UnitRecord

ID, NUMBER, RECORD = "id", "number", "record"
"""Columns: what a unit is and what its files were; its number in the order of a run; its record as JSON."""

FAILED = '"status": "error"'
"""Text in the record of a unit that failed, in whole or in part."""

AT_ONCE = 1000
"""Records that are read at a time."""


def make_id(number: int, unit: Unit) -> str:
    """Return the text by which a unit's record is known: it changes with the unit's files."""
    found = take_fingerprint(unit)
    return f"{number}-{found.times if found else ''}"


def write_records(folder: Path, numbers: Sequence[int], ids: Sequence[str], records: Sequence[UnitRecord]) -> None:
    """Write the records of a block into a file of their own.

    Args:
        folder: Folder of the records.
        numbers: Numbers of the units.
        ids: ``make_id`` of each, from before it was segmented.
        records: Record of each.

    Raises:
        OSError: The disk is full or fails.
    """
    texts = [json.dumps(record.to_json()) for record in records]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    _write_table(
        folder / f"{numbers[0]:010}-{digest}.parquet", pa.table({ID: ids, NUMBER: list(numbers), RECORD: texts})
    )


def forget_failures(folder: Path) -> None:
    """Remove the records of units that failed: disk, bucket or worker may have been the cause, and work now.

    Args:
        folder: Folder of the records; it need not exist.

    Raises:
        OSError: The disk is full or fails.
    """
    for path in folder.glob("*.parquet"):
        try:
            table = _read_table(path)
        except (pa.ArrowException, OSError):
            continue  # its units come again
        kept = table.filter(pc.invert(pc.match_substring(table[RECORD], FAILED)))
        if not kept.num_rows:
            path.unlink()
        elif kept.num_rows < table.num_rows:
            _write_table(path, kept)


def _read_table(path: Path, **options: Any) -> pa.Table:  # noqa: ANN401 - those of pyarrow
    """Read a table, or a part of it; given a path, pyarrow takes none that is not UTF-8."""
    with path.open("rb") as file:
        return pq.read_table(file, **options)


def _write_table(path: Path, table: pa.Table) -> None:
    data = io.BytesIO()
    pq.write_table(table, data)
    write_atomically(path, data.getvalue())


def read_records(folder: Path, units: Units) -> Iterator[UnitRecord | None]:
    """Yield the record of each unit in their order; None without one of its files as they are now.

    Args:
        folder: Folder of the records; it need not exist.
        units: All units.
    """
    files = [(path, *_find_numbers(path)) for path in folder.glob("*.parquet")]
    for start in range(0, len(units), AT_ONCE):
        end = min(start + AT_ONCE, len(units))
        texts: dict[str, str] = {}
        for path, first, last in files:
            if first < end and last >= start:
                here = (pc.field(NUMBER) >= start) & (pc.field(NUMBER) < end)
                rows = _read_table(path, columns=[ID, RECORD], filters=here).to_pylist()
                texts |= {row[ID]: row[RECORD] for row in rows}
        for number, unit in enumerate(units[start:end], start):
            text = texts.get(make_id(number, unit))
            yield None if text is None else UnitRecord.from_json(json.loads(text))


def list_unfinished(folder: Path, units: Units, out: Path) -> array[int]:
    """Return the numbers of the units without a record, or whose mask is gone.

    Args:
        folder: Folder of the records; it need not exist.
        units: All units.
        out: Folder of the masks.
    """
    records = enumerate(read_records(folder, units))
    return array("q", (number for number, record in records if record is None or _lacks_mask(record, out)))


def _lacks_mask(record: UnitRecord, out: Path) -> bool:
    parts = (part for part in (*record.images, record.volume) if part and part["mask"])
    return any(not (out / part["mask"]).is_file() for part in parts)


def _find_numbers(path: Path) -> tuple[int, int]:
    """Return the smallest and the largest number of a file's units; none of a damaged file, whose units come again."""
    try:
        ends = pc.min_max(_read_table(path, columns=[NUMBER])[NUMBER]).as_py()
    except (pa.ArrowException, OSError):
        return 0, -1
    return ends["min"], ends["max"]

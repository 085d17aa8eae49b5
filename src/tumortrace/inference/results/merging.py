"""``results.json`` and ``results.csv``, made of the records of all units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from tumortrace.inference.results.results_json import ResultsWriter
from tumortrace.inference.results.unit_record import Record, UnitRecord

_AT_ONCE = 1000  # records that are written at a time


def write_results(model: Record, records: Iterable[UnitRecord], skipped: Sequence[str], *, out: Path) -> None:
    """Write both files of results, each atomically, as a single run over the same inputs writes them.

    Args:
        model: Model that the results come from, as ``describe.describe_model`` returns it.
        records: Records of all units in the order of ``units.Units``, drawn a thousand at a time.
        skipped: Files without a record, as ``batch.list_skipped`` returns them.
        out: Folder of the results, locked.

    Raises:
        OSError: The disk is full or fails; the old results stay.
    """
    results = ResultsWriter(model, out, whole=False)
    passed = list(skipped)
    left = iter(records)
    try:
        while some := list(islice(left, _AT_ONCE)):
            results.add(*some)
            passed += [record.passed for record in some if record.passed]
    except BaseException:
        results.discard()
        raise
    results.finish(passed)

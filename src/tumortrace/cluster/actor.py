"""A worker of a cluster that segments blocks of units with a model of its own."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.cluster.blocks import Block
from tumortrace.cluster.records import make_id, write_records
from tumortrace.cluster.site import Site, enter_site
from tumortrace.cluster.work_folder import WorkFolder
from tumortrace.data.findings import Finding
from tumortrace.files import sync_folders_once, write_in
from tumortrace.inference.batch.folder import one_opencv_thread
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.units import Unit, segment_unit, segment_units
from tumortrace.inference.results.describe import describe_failure, describe_volume_failure
from tumortrace.inference.results.unit_files import write_unit
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import limit_cores, usable_cores
from tumortrace.wording import counted

BLOCK, DONE = "block", "done"
"""Columns: a pickled block; the number of its units that were segmented."""

DEATHS = 3
"""Workers that may die on a unit which they segment alone before it counts as failed."""


class SegmentActor:
    """A model on a worker.

    A block is segmented as in a run on one machine: one unit waits for the disk while the next one is segmented. Where
    a worker died on a block, its units are then taken one by one, so that the one which kills is known.
    """

    def __init__(self, segmenter: Segmenter, settings: SegmentSettings, work: WorkFolder, site: Site) -> None:
        """Take the model to a worker.

        Args:
            segmenter: Segmenter, opened with ``threads=1``.
            settings: Settings of the run.
            work: Folder of what is under way.
            site: Place where the run was started.

        Raises:
            TumortraceError: As ``enter_site``.
        """
        enter_site(site)
        limit_cores(1)
        self._segmenter, self._settings, self._out, self._work = segmenter, settings, site.out, work
        # A worker that seems dead may still live, and write the same files as the one in its place.
        self._writing = work.writing / uuid.uuid4().hex

    def __call__(self, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Segment the units of each block, and write their masks and records."""
        blocks: list[Block] = [pickle.loads(block) for block in rows[BLOCK]]  # noqa: S301 - from our own driver
        with write_in(self._writing):
            return {DONE: np.array([self._segment(block) for block in blocks])}

    def _segment(self, block: Block) -> int:
        units = block.read(self._work.listing)
        ids = [make_id(number, unit) for number, unit in zip(block.numbers, units, strict=True)]
        begun = self._work.begun / f"block-{block.numbers[0]}"
        died = begun.exists()
        begun.touch()
        with one_opencv_thread(), sync_folders_once():
            records = list(self._segment_each(block.numbers, units) if died else self._segment_together(units))
        write_records(self._work.records, block.numbers, ids, records)
        begun.unlink(missing_ok=True)
        return len(records)

    def _segment_together(self, units: Sequence[Unit]) -> Iterator[UnitRecord]:
        workers = usable_cores() + 1  # as in segment_inputs
        with closing(segment_units(self._segmenter, units, self._settings, workers=workers)) as results:
            for done in results:
                yield write_unit(done, self._out).record

    def _segment_each(self, numbers: Sequence[int], units: Sequence[Unit]) -> Iterator[UnitRecord]:
        for number, unit in zip(numbers, units, strict=True):
            begun = self._work.begun / str(number)
            deaths = begun.stat().st_size if begun.exists() else 0
            if deaths >= DEATHS:
                yield _describe_death(unit, deaths)
                continue
            with begun.open("ab") as file:
                file.write(b".")
            yield write_unit(segment_unit(self._segmenter, unit, self._settings), self._out).record
            begun.unlink(missing_ok=True)


def _describe_death(unit: Unit, deaths: int) -> UnitRecord:
    """Describe a unit that nobody survived."""
    file = unit.path if isinstance(unit, PictureFile) else unit.file
    times = counted(deaths + 1, "time")  # once beside others
    reason = f"{file}: its worker died {times} on it; segment it alone to see why, or remove it"
    if isinstance(unit, PictureFile):
        return UnitRecord(images=({**describe_failure(reason, file=file), "seconds": None},))
    volume = describe_volume_failure(reason, file=file)
    if isinstance(unit, Finding):
        return UnitRecord(volume=volume)
    return UnitRecord(volume={**volume, "series_uid": unit.volume.series_uid})

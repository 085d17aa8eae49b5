"""Segment an archive on a Ray cluster: paths in, masks and records out.

Each actor writes the files of its units into the shared folder under the names that the single run gives them, and
then their records, a Parquet file a block: what is recorded before a kill is not done again. When all records are there
they become the results of the single run, in its order.
"""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from array import array
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from tumortrace.cluster.actor import BLOCK, DONE, SegmentActor
from tumortrace.cluster.blocks import divide_units
from tumortrace.cluster.connect import connect, start_aside
from tumortrace.cluster.records import forget_failures, list_unfinished, read_records
from tumortrace.cluster.site import Site, check_nodes
from tumortrace.cluster.work_folder import WorkFolder
from tumortrace.errors import DataError, TumortraceError
from tumortrace.inference.batch.find_inputs import Inputs
from tumortrace.inference.batch.folder import (
    CLUSTER_WORK,
    describe_folder,
    list_skipped,
    one_opencv_thread,
    refuse_overwriting,
    summarise,
)
from tumortrace.inference.batch.journal import list_journals
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.shards import describe_session
from tumortrace.inference.batch.units import Units
from tumortrace.inference.results.merging import write_results
from tumortrace.inference.results.tally import RunTally, SegmentSummary
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.segmenter import Segmenter
from tumortrace.json_csv import write_json
from tumortrace.locks import lock_folder
from tumortrace.progress import open_progress, tell
from tumortrace.wording import counted

ROUNDS = 3
"""Times in a row that the units which are left are begun again without one of them being done."""

BLOCKS = 200
"""Blocks of a run, if they then have from ``FEWEST_UNITS`` to ``MOST_UNITS``."""

FEWEST_UNITS, MOST_UNITS = 128, 1000
"""Units of a block: fewer cost more than they are worth, and of more, more are done again after a kill."""

POLL_SECONDS = 1.0
"""Time after which a wait listens for an interruption."""


def segment_on_cluster(
    address: str, segmenter: Segmenter, inputs: Inputs, *, out: Path, settings: SegmentSettings
) -> SegmentSummary:
    """Segment all inputs as ``segment_all`` does, on a cluster.

    A second call after a kill continues: units with a record of the same model, settings and files, without a failure
    and with their masks, are not done again.

    Args:
        address: Address as ``connect`` takes it.
        segmenter: Segmenter, opened with ``threads=1``: each actor takes one core.
        inputs: Inputs as ``find_inputs`` returns them, on paths that all nodes share.
        out: Folder for the results, which all nodes share.
        settings: Settings of the run.

    Raises:
        DataError: As ``segment_all``.
        OSError: The disk is full or fails; what was finished is kept.
        TumortraceError: The cluster cannot be used, or its workers die on whatever they are given.
    """
    run = _Run(segmenter, Units(inputs), settings, out)
    session = describe_session(segmenter, run.units, settings)
    with lock_folder(out), one_opencv_thread():
        refuse_overwriting(inputs, run.units, out)
        describe_folder(inputs, segmenter, settings, out)
        _keep_session(run, {"session": session.digest})
        with connect(address):
            check_nodes(Site.of(out))
            _segment_all(run)
        tally = RunTally()
        write_results(session.model, _count(run, tally), list_skipped(inputs), out=out)
        shutil.rmtree(run.work.path)
        for path in list_journals(out):  # of shards, whose results have been replaced
            path.unlink()
    return summarise(tally, inputs, out)


@dataclass(frozen=True)
class _Run:
    """What a run does."""

    segmenter: Segmenter
    units: Units
    settings: SegmentSettings
    out: Path

    @property
    def work(self) -> WorkFolder:
        """The folder of what is under way."""
        return WorkFolder((self.out / CLUSTER_WORK).absolute())


def _keep_session(run: _Run, session: dict[str, str]) -> None:
    """Keep what an earlier run of the same session has done, and nothing else; what failed there is tried again."""
    path = run.work.path / "session.json"
    kept = None
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
    if kept == session:
        forget_failures(run.work.records)
        return
    shutil.rmtree(run.work.path, ignore_errors=True)
    run.work.begun.mkdir(parents=True)
    write_json(path, session)  # last: a folder with it is complete


def _segment_all(run: _Run) -> None:
    """Begin units until all are done; a round may lose some with a node."""
    left, rounds = list_unfinished(run.work.records, run.units, run.out), ROUNDS
    tell(f"{counted(len(left), 'unit')} of {len(run.units)} to segment on the cluster")
    while left:
        _segment_round(run, left)
        before, left = len(left), list_unfinished(run.work.records, run.units, run.out)
        rounds = ROUNDS if len(left) < before else rounds - 1
        if not rounds:
            raise TumortraceError(
                f"{run.out}: {counted(len(left), 'unit')} not segmented, because workers die; see ray status, then run "
                f"the same command again; to begin anew, remove {run.work.path}"
            )


def _segment_round(run: _Run, left: array[int]) -> None:
    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    slots = max(int(ray.cluster_resources().get("CPU", 1)), 1)  # type: ignore[no-untyped-call]
    size = _choose_block(len(run.units), slots)
    blocks = divide_units(run.units, left, listing=run.work.listing, size=size)
    rows = ray.data.from_items([{BLOCK: pickle.dumps(block)} for block in blocks], override_num_blocks=len(blocks))
    counts = rows.map_batches(
        SegmentActor,
        fn_constructor_args=(run.segmenter, run.settings, run.work, Site.of(run.out)),
        batch_size=None,
        compute=ActorPoolStrategy(min_size=1, max_size=slots),
        num_cpus=1,
    )
    try:
        _follow(counts, total=len(run.units), left=len(left))
    except ray.exceptions.RayError as error:
        _raise_cause(error)


def _choose_block(units: int, slots: int) -> int:
    """Return the number of units of a block; a small archive is still divided among all actors."""
    return min(max(units // BLOCKS, FEWEST_UNITS), MOST_UNITS, -(-units // (2 * slots)))


def _follow(counts: Dataset, *, total: int, left: int) -> None:
    """Wait for a round, with a bar that counts the units of the blocks that are done."""
    with open_progress() as progress:
        task = progress.add_task("Segmenting", total=total, completed=total - left, note="")

        def draw() -> None:
            for row in counts.iter_rows():
                progress.advance(task, row[DONE])

        answer = start_aside(draw)
        while not answer.done():
            wait([answer], timeout=POLL_SECONDS)
        answer.result()


def _raise_cause(error: BaseException) -> None:
    """Raise what a worker met and the user can fix; a node that was lost is no error, the next round does the rest."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TumortraceError | OSError):
            raise cause from None
        cause = getattr(cause, "cause", None) or cause.__cause__
    if isinstance(error, ray.exceptions.RayTaskError):
        raise error


def _count(run: _Run, tally: RunTally) -> Iterator[UnitRecord]:
    """Yield the records of all units in their order, and count them."""
    for record in read_records(run.work.records, run.units):
        if record is None:
            raise DataError(f"{run.out}: a file was changed while it was segmented; run the same command again")
        tally.count(record)
        yield record

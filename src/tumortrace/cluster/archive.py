"""Segment an archive on a Ray cluster: paths in, masks and records out.

Each actor writes the files of its units into the shared folder under the names that the single run gives them. The
records go into Parquet files, whose blocks Ray Data writes exactly once: a block that was written before a kill is not
done again. When all are there they become the results of the single run, in its order.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

from tumortrace.cluster.actor import SegmentActor
from tumortrace.cluster.connect import connect, start_aside
from tumortrace.cluster.records import RECORD, count_rows, read_rows
from tumortrace.cluster.site import Site, check_nodes
from tumortrace.cluster.units_source import ID, UnitsSource
from tumortrace.errors import DataError, TumortraceError
from tumortrace.files import write_json
from tumortrace.inference.batch.find_inputs import Inputs
from tumortrace.inference.batch.folder import (
    CLUSTER_WORK,
    describe_folder,
    list_skipped,
    one_opencv_thread,
    refuse_boxes,
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
from tumortrace.locks import lock_folder
from tumortrace.progress import open_progress, tell
from tumortrace.wording import counted

ROUNDS = 3
"""Times in a row that the units which are left are begun again without one of them being done."""

BLOCKS = 200
"""Blocks of a run, if they then have from ``FEWEST_UNITS`` to ``MOST_UNITS``."""

FEWEST_UNITS, MOST_UNITS = 256, 1000
"""Units of a block: fewer cost more than they are worth, and of more, more are done again after a kill."""

SLOTS_A_WRITER = 16
"""Actors for each process that lists units, and each that writes records; these take no core of their own."""

POLL_SECONDS = 1.0
"""Time between two looks at what is done."""


def segment_on_cluster(
    address: str, segmenter: Segmenter, inputs: Inputs, *, out: Path, settings: SegmentSettings
) -> SegmentSummary:
    """Segment all inputs as ``segment_all`` does, on a cluster.

    A second call after a kill continues: units whose block is written, of the same model, settings and files, are not
    done again.

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
    refuse_boxes(settings.boxes, inputs)
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
        shutil.rmtree(run.work)
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
    def work(self) -> Path:
        """The folder of what is under way."""
        return self.out / CLUSTER_WORK

    @property
    def records(self) -> Path:
        """The folder of the records."""
        return self.work / "records"

    @property
    def begun(self) -> Path:
        """The folder of what was begun, by which a worker that died is noticed."""
        return self.work / "begun"


def _keep_session(run: _Run, session: dict[str, str]) -> None:
    """Keep what an earlier run of the same session has done if its masks are still there, and nothing else."""
    path = run.work / "session.json"
    with suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="utf-8")) == session and not _lacks_mask(run):
            return
    shutil.rmtree(run.work, ignore_errors=True)
    write_json(path, session)
    run.begun.mkdir()


def _lacks_mask(run: _Run) -> bool:
    """Whether a record names a mask that is gone. Ray takes its unit for done, so all must begin anew."""
    rows = read_rows(run.records, run.units, [ID, RECORD])
    records = (UnitRecord.from_json(json.loads(row[RECORD])) for row in rows if row is not None)
    parts = (part for record in records for part in (*record.images, record.volume) if part and part["mask"])
    return any(not (run.out / part["mask"]).is_file() for part in parts)


def _segment_all(run: _Run) -> None:
    """Begin units until all are done; a round may lose some with a node."""
    left, rounds = _count_left(run), ROUNDS
    tell(f"{counted(left, 'unit')} of {len(run.units)} to segment on the cluster")
    while left:
        _segment_round(run)
        before, left = left, _count_left(run)
        rounds = ROUNDS if left < before else rounds - 1
        if not rounds:
            raise TumortraceError(
                f"{run.out}: {counted(left, 'unit')} not segmented, because workers die; see ray status, then run the "
                f"same command again; to begin anew, remove {run.work}"
            )


def _segment_round(run: _Run) -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.checkpoint_config = CheckpointConfig(
        ID, str((run.work / "done").absolute()), delete_checkpoint_on_success=False
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    slots = max(int(ray.cluster_resources().get("CPU", 1)), 1)  # type: ignore[no-untyped-call]
    block = _choose_block(len(run.units), slots)
    source = UnitsSource(run.units, listing=run.work / "pictures.jsonl", block=block)
    few = max(slots // SLOTS_A_WRITER, 2)
    rows = ray.data.read_datasource(source, num_cpus=0, concurrency=few)
    records = rows.map_batches(
        SegmentActor,
        fn_constructor_args=(run.segmenter, run.settings, run.begun, Site.of(run.out)),
        batch_size=None,
        compute=ActorPoolStrategy(min_size=1, max_size=slots),
        num_cpus=1,
    )
    try:
        place = str(run.records.absolute())
        _wait(start_aside(lambda: records.write_parquet(place, ray_remote_args={"num_cpus": 0}, concurrency=few)), run)
    except ray.exceptions.RayError as error:
        _raise_cause(error)


def _choose_block(units: int, slots: int) -> int:
    """Return the number of units of a block; a small archive is still divided among all actors."""
    return min(max(units // BLOCKS, FEWEST_UNITS), MOST_UNITS, -(-units // (2 * slots)))


def _wait(answer: Future[None], run: _Run) -> None:
    """Wait for a round, with a bar that counts the records on disk."""
    counts: dict[Path, int] = {}
    with open_progress() as progress:
        task = progress.add_task("Segmenting", total=len(run.units), note="")
        while not answer.done():
            wait([answer], timeout=POLL_SECONDS)
            files = [] if progress.disable else run.records.glob("*.parquet")
            counts |= {path: count_rows(path) for path in files if not counts.get(path)}
            progress.update(task, completed=sum(counts.values()))
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


def _count_left(run: _Run) -> int:
    """Count the units without a record."""
    return sum(row is None for row in read_rows(run.records, run.units, [ID]))


def _count(run: _Run, tally: RunTally) -> Iterator[UnitRecord]:
    """Yield the records of all units in their order, and count them."""
    for row in read_rows(run.records, run.units, [ID, RECORD]):
        if row is None:
            raise DataError(f"{run.out}: a file was changed while it was segmented; run the same command again")
        record = UnitRecord.from_json(json.loads(row[RECORD]))
        tally.count(record)
        yield record

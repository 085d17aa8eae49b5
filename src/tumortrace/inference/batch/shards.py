"""One shard of a run: every N-th unit of work, and the merging of all.

N processes on any machines share the inputs. Each shard finds all inputs, and names them, as the single run does. It
takes those whose number modulo N is its own, and keeps their records in a journal. The shard that ends last merges the
journals into the results of the single run.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

import tumortrace
from tumortrace.errors import DataError
from tumortrace.files import sync_folders_once
from tumortrace.inference.batch.find_inputs import Inputs
from tumortrace.inference.batch.fingerprint import (
    Fingerprint,
    digest_units,
    hash_file,
    hash_picture,
    make_key,
    take_fingerprint,
)
from tumortrace.inference.batch.folder import (
    describe_folder,
    forget_cluster,
    keep_unit,
    list_skipped,
    one_opencv_thread,
    refuse_overwriting,
    summarise,
)
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.journal import (
    JOURNAL,
    JournalIndex,
    JournalReader,
    JournalWriter,
    Session,
    has_finished,
    list_journals,
    read_index,
    read_places,
)
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.units import Unit, Units, count_slices, segment_units
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.results.describe import describe_model
from tumortrace.inference.results.merging import write_results
from tumortrace.inference.results.tally import RunTally, SegmentSummary, ShardCounts
from tumortrace.inference.results.unit_files import UnitDone
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.segmenter import Segmenter
from tumortrace.json_csv import Document
from tumortrace.locks import START_SECONDS, hold_folder, lock_shard
from tumortrace.progress import track

_AT_ONCE = 10_000  # records of all shards that are read at a time

MERGE_SECONDS = 600.0
"""Longest time that a shard waits for another one to merge."""


@dataclass(frozen=True)
class Shard:
    """One of several processes that share the inputs.

    Attributes:
        index: Its number, from 1.
        count: Number of all.
    """

    index: int
    count: int

    def journal(self, out: Path) -> Path:
        """Return its journal in the folder of the results."""
        return out / JOURNAL.format(index=self.index, count=self.count)


def read_shard(text: str) -> Shard:
    """Read ``I/N``.

    Raises:
        DataError: Not two whole numbers, or I is none from 1 to N.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise DataError(f"--shard {text}; give I/N, shard I of N, with I from 1 to N, for example 1/4")
    return Shard(index, count)


def segment_shard(
    segmenter: Segmenter,
    inputs: Inputs,
    shard: Shard,
    *,
    out: Path,
    settings: SegmentSettings | None = None,
    workers: int = 1,
) -> SegmentSummary:
    """Segment one shard of the inputs, and merge all shards if it is the last to finish.

    Writes the files of its units, as ``segment_all`` does, and their records into its journal. Where an earlier
    session, of any number of shards, was finished or killed, units that it has done are taken over: a record of the
    same model and settings, no failure, the same content of the input, and files that nobody has changed.

    Args:
        segmenter: Segmenter, opened with ``threads=1`` if there are several workers.
        inputs: All inputs, as ``find_inputs`` returns them in every shard.
        shard: The shard.
        out: Folder for the results, the same for all shards.
        settings: Settings of the run; None takes the defaults.
        workers: Number of pictures or slices that are decoded and segmented at a time.

    Raises:
        DataError: As ``segment_all``; or the same shard, or one of another number of shards, is running.
        OSError: The disk is full or fails; what was finished is kept.
    """
    settings = settings or SegmentSettings()
    work = _Work(segmenter, Units(inputs), settings, out, workers)
    mine = range(shard.index - 1, len(work.units), shard.count)
    session = describe_session(segmenter, work.units, settings)
    with lock_shard(out, shard.index, shard.count), one_opencv_thread():
        refuse_overwriting(inputs, (work.units[number] for number in mine), out)
        forget_cluster(out)
        if settings.options.bids:
            with hold_folder(out, seconds=START_SECONDS):  # other shards write the same file
                describe_folder(inputs, segmenter, settings, out)
        tally, own = RunTally(), read_index(shard.journal(out))
        journal = JournalWriter(own, session)
        with _open_earlier(own, session, out) as earlier:
            left = _take_over(work, mine, earlier, journal, tally)
        _segment(work, left, journal, tally)
        journal.finish(len(mine))
        unfinished = _merge(work, shard, session)
    counts = ShardCounts(shard.index, shard.count, len(mine) - len(left), unfinished)
    return replace(summarise(tally, inputs, out), shard=counts)


def describe_session(segmenter: Segmenter, units: Sequence[Unit], settings: SegmentSettings) -> Session:
    """Return what the records of a run depend on.

    Args:
        segmenter: The segmenter.
        units: All units.
        settings: Settings of the run.
    """
    model = segmenter.prompt_model if settings.boxes else segmenter.model
    choices = {**asdict(settings), "tta": segmenter.tta, "gate": segmenter.gate, "version": tumortrace.__version__}
    return Session(digest_units(units), describe_model(model), json.loads(json.dumps(choices)))


@dataclass(frozen=True)
class _Work:
    """What a run does, whatever its shards."""

    segmenter: Segmenter
    units: Units
    settings: SegmentSettings
    out: Path
    workers: int


@dataclass(frozen=True)
class _Earlier:
    """A journal from which records are taken over."""

    index: JournalIndex
    reader: JournalReader


@contextmanager
def _open_earlier(own: JournalIndex, session: Session, out: Path) -> Iterator[list[_Earlier]]:
    """Open the journals whose records may be taken over: the shard's own, then those of other numbers of shards."""
    indexes = [own, *(read_index(path) for path in _list_other_journals(out, own.path))]
    with ExitStack() as opened:
        yield [
            _Earlier(index, opened.enter_context(closing(JournalReader(index.path))))
            for index in indexes
            if index.session and index.session.gives_same_records(session)
        ]


def _list_other_journals(out: Path, own: Path) -> list[Path]:
    """Journals of other numbers of shards."""
    suffix = own.name.rpartition("-of-")[2]
    return [path for path in list_journals(out) if path.name.rpartition("-of-")[2] != suffix]


def _take_over(
    work: _Work, numbers: range, earlier: Sequence[_Earlier], journal: JournalWriter, tally: RunTally
) -> array[int]:
    """Take over the units that were done before; return the numbers of the others."""
    if not earlier:
        return array("q", numbers)
    left = array("q")
    found = map_in_order(partial(_find_line, work, earlier, journal.path), numbers, workers=work.workers)
    with closing(track(found, "Comparing with the earlier run", total=len(numbers))) as lines:
        for number, line, is_own in lines:
            if line is None:
                left.append(number)
                continue
            if not (is_own and journal.holds(line["key"])):
                rest = {name: value for name, value in line.items() if name not in {"unit", "key"}}
                journal.add(number, line["key"], rest)
            tally.count(UnitRecord.from_json(line))
    return left


def _find_line(work: _Work, earlier: Sequence[_Earlier], own: Path, number: int) -> tuple[int, Document | None, bool]:
    """Find the line of a unit that need not be done again, and whether it stands in the shard's own journal."""
    unit = work.units[number]
    key = int(make_key(unit), 16)
    for each in earlier:
        place = each.index.lines.get(key)
        line = None if place is None else each.reader.read(place)
        if line is not None and _fits(unit, line, work.out):
            return number, line, each.index.path == own
    return number, None, False


def _fits(unit: Unit, line: Document, out: Path) -> bool:
    """Whether the input and its files are what they were, and nothing had failed."""
    failed = [record for record in (*line["images"], line["volume"]) if record and record["status"] == "error"]
    now = take_fingerprint(unit)
    if failed or now is None or line["bytes"] != now.bytes:
        return False
    if line["times"] != now.times and not (isinstance(unit, PictureFile) and line["sha256"] == hash_picture(unit)):
        return False
    return all(hash_file(out / name) == sha256 for name, sha256 in line["files"].items())


def _segment(work: _Work, numbers: Sequence[int], journal: JournalWriter, tally: RunTally) -> None:
    """Segment units; write their files and lines."""
    prints: deque[Fingerprint | None] = deque()  # as they are before a file is read, in the order of the units

    def draw() -> Iterator[Unit]:
        for number in numbers:
            unit = work.units[number]
            prints.append(take_fingerprint(unit))
            yield unit

    total = count_slices(work.units[number] for number in numbers)
    drawn = segment_units(work.segmenter, draw(), work.settings, workers=work.workers, total=total)
    with sync_folders_once(), closing(drawn) as results:
        for number, done in zip(numbers, results, strict=True):
            add = partial(_add, journal, number, make_key(work.units[number]), prints.popleft())
            tally.count(keep_unit(done, work.out, journal, add=add))


def _add(journal: JournalWriter, number: int, key: str, found: Fingerprint | None, done: UnitDone) -> None:
    files = {name: hashlib.sha256(data).hexdigest() for name, data in done.files.items()}
    known = {"bytes": found and found.bytes, "times": found and found.times, "sha256": done.sha256, "files": files}
    journal.add(number, key, {**known, **done.record.to_json()})


def _merge(work: _Work, shard: Shard, session: Session) -> tuple[int, ...]:
    """Merge all shards if they have finished; return the numbers of those that have not, over these inputs."""
    with hold_folder(work.out, seconds=MERGE_SECONDS):
        paths = [Shard(index, shard.count).journal(work.out) for index in range(1, shard.count + 1)]
        left = [index for index, path in enumerate(paths, 1) if not has_finished(path, session)]
        if not left:
            records = _read_records(paths, len(work.units))
            write_results(session.model, records, list_skipped(work.units.inputs), out=work.out)
            for path in _list_other_journals(work.out, paths[0]):
                path.unlink()
    return tuple(left)


def _read_records(paths: Sequence[Path], units: int) -> Iterator[UnitRecord]:
    """Yield the records of all units in their order; one journal is open at a time."""
    count = len(paths)
    ranks = [len(range(at, units, count)) for at in range(count)]
    places = [read_places(path, count=count, units=rank) for path, rank in zip(paths, ranks, strict=True)]
    step = max(1, _AT_ONCE // count)
    for start in range(0, max(ranks), step):
        columns = [_read_some(path, own[start : start + step]) for path, own in zip(paths, places, strict=True)]
        for row in zip_longest(*columns):
            yield from (record for record in row if record is not None)


def _read_some(path: Path, places: Sequence[int]) -> list[UnitRecord]:
    with closing(JournalReader(path)) as reader:
        return [UnitRecord.from_json(reader.read(place)) for place in places]

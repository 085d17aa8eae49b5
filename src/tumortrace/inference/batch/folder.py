"""Segment many pictures and volumes; each has a record whatever happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Protocol

import cv2

from tumortrace.errors import DataError
from tumortrace.files import sync_folders_once
from tumortrace.inference.batch.find_inputs import Inputs
from tumortrace.inference.batch.found_files import place_of
from tumortrace.inference.batch.journal import list_journals, read_journal_masks
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.units import Unit, Units, count_slices, names_of, segment_units
from tumortrace.inference.results.bids import DESCRIPTION, describe_dataset
from tumortrace.inference.results.results_json import open_results, read_masks
from tumortrace.inference.results.signed import is_signed
from tumortrace.inference.results.tally import Counts, RunTally, SegmentSummary
from tumortrace.inference.results.unit_files import UnitDone, remove_files, write_unit
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.segmenter import Segmenter
from tumortrace.json_csv import write_json
from tumortrace.locks import LOCK, lock_folder

CLUSTER_WORK = ".tumortrace-ray"
"""Folder of what a run on a cluster has done so far, in that of its results."""


def segment_all(
    segmenter: Segmenter,
    inputs: Inputs,
    *,
    out: Path,
    settings: SegmentSettings | None = None,
    workers: int = 1,
) -> SegmentSummary:
    """Segment pictures and volumes; one that fails has the reason in its record, and the others go on.

    Writes ``NAME_mask.png`` (0 and 255, the picture's own size) or ``NAME_mask.nii.gz``, ``NAME_overlay.png`` on
    demand, ``results.json`` and ``results.csv``, the last two also when the run is interrupted or the disk is full.
    What is rejected has no mask. Masks and overlays of earlier runs among the pictures are skipped. Few pictures are
    in memory at a time; of a volume, its masks.

    Args:
        segmenter: Segmenter, opened with ``threads=1`` if there are several workers.
        inputs: Pictures and volumes as ``find_inputs`` returns them.
        out: Folder for the results.
        settings: Settings of the run; None takes the defaults.
        workers: Number of pictures or slices that are decoded and segmented at a time.

    Raises:
        DataError: Another run writes into ``out``, a file that would be replaced there is not ours, or ``out`` holds
            masks of other pictures.
        OSError: The disk is full or fails; what was finished is kept.
    """
    settings = settings or SegmentSettings()
    units, tally = Units(inputs), RunTally()
    skipped = list_skipped(inputs)
    with lock_folder(out), one_opencv_thread():
        refuse_overwriting(inputs, units, out)
        forget_cluster(out)
        model = segmenter.prompt_model if settings.boxes else segmenter.model
        with (
            open_results(model, skipped, out=out) as results,
            sync_folders_once(),
            closing(segment_units(segmenter, units, settings, workers=workers, total=count_slices(units))) as done,
        ):
            describe_folder(inputs, segmenter, settings, out)
            for one in done:
                record = keep_unit(one, out, results, add=lambda unit: results.add(unit.record))
                tally.count(record)
                skipped += [record.passed] if record.passed else []
        for path in list_journals(out):  # of shards, whose results have been replaced
            path.unlink()
    return summarise(tally, inputs, out)


class Counting(Protocol):
    """What records are added to.

    Attributes:
        count: Number of records so far.
    """

    count: int


def keep_unit(done: UnitDone, out: Path, records: Counting, *, add: Callable[[UnitDone], None]) -> UnitRecord:
    """Write a unit's files and its record, both or neither; files of an earlier run stay until they are replaced.

    Args:
        done: The unit.
        out: Folder of the results.
        records: Records that are written; one more afterwards.
        add: Function that writes the unit's record to them.

    Returns:
        Its record; that of a failure where its files could not be written.
    """
    before = records.count
    earlier = {name for name in done.names if os.path.lexists(out / name)}
    try:
        done = write_unit(done, out)
        add(done)
    except BaseException:  # an interruption too leaves no mask that the results do not name
        if records.count == before:
            remove_files([name for name in done.names if name not in earlier], out)
        raise
    return done.record


def list_skipped(inputs: Inputs) -> list[str]:
    """Return the files among inputs that have no record: other types, objects that are no scan, our own masks."""
    objects = dict.fromkeys(finding.file for finding in inputs.passed)
    return [*inputs.skipped, *objects, *inputs.own]


def forget_cluster(out: Path) -> None:
    """Remove the records of a run on a cluster that was stopped; their masks are about to be replaced.

    Args:
        out: Folder of the results, locked.
    """
    shutil.rmtree(out / CLUSTER_WORK, ignore_errors=True)


def describe_folder(inputs: Inputs, segmenter: Segmenter, settings: SegmentSettings, out: Path) -> None:
    """Write what BIDS wants to know of the folder of the results, where its names are asked for."""
    if settings.options.bids and inputs.volumes:
        write_json(out / DESCRIPTION, describe_dataset(segmenter.model))


def summarise(tally: RunTally, inputs: Inputs, out: Path) -> SegmentSummary:
    """Return the counts of a run.

    Args:
        tally: Counts of its units.
        inputs: Its inputs.
        out: Folder of the results.
    """
    return SegmentSummary(
        **tally.pictures.values(),
        out=out,
        volumes=Counts(**tally.volumes.values()),
        slices=tally.slices,
        skipped=len(inputs.skipped),
        objects=tuple(f"{each.file}: {each.cause}" for each in inputs.passed),
        own=len(inputs.own) + len(tally.passed),
    )


def refuse_overwriting(inputs: Inputs, units: Iterable[Unit], out: Path) -> None:
    """Refuse to replace what tumortrace did not write, and to leave masks beside results that do not name them.

    Args:
        inputs: All inputs, whose masks may lie in the folder.
        units: Units whose files will be written.
        out: Folder of the results.

    Raises:
        DataError: One of both.
    """
    if set(os.listdir(out)) <= {LOCK}:
        return
    names = [name for unit in units for name in names_of(unit)]
    names += [DESCRIPTION] if any(item.bids for item in inputs.volumes) else []
    for name in names:
        path = out / name
        if os.path.lexists(path) and not is_signed(path):
            raise DataError(f"{path}: tumortrace did not write this file, or it was changed; choose another --out")
    others = _find_others(inputs, out)
    if others:
        cause = f"holds masks of other pictures ({len(others)}), such as {others[0]}"
        raise DataError(f"{out}: {cause}; choose another --out, or remove them")


def _find_others(inputs: Inputs, out: Path) -> list[str]:
    """Find the masks in a folder that earlier results name for other inputs than these; a series may lose slices."""
    earlier = [read_masks(out), *map(read_journal_masks, list_journals(out))]
    ours: set[int] | None = None  # by their hashes: there may be a million
    volumes = {item.mask for item in inputs.volumes}
    others: set[str] = set()
    known: set[str] = set()
    for file, mask in chain.from_iterable(earlier):
        ours = _hash_masks(inputs) if ours is None else ours
        if hash((place_of(file), mask)) not in ours:
            others.add(mask)
        elif mask in volumes:
            known.add(mask)
    return sorted(mask for mask in others - known if os.path.exists(out / mask))


def _hash_masks(inputs: Inputs) -> set[int]:
    hashes = {hash((place_of(picture.path), name)) for picture in inputs.pictures for name in picture.files[:1]}
    for item in inputs.volumes:
        hashes |= {hash((place_of(str(source.path)), item.mask)) for source in item.volume.sources}
    return hashes


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: its own would wait for those that segment."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)

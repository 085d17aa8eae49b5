"""Counts of what became of the pictures and volumes of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tumortrace.inference.results.unit_record import Record, UnitRecord

NAMED = 10
"""Number of pictures of each kind that a summary names; ``results.json`` names all."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of pictures, or of volumes.

    Attributes:
        ok: Number of segmented ones.
        tumours: Number of these with a tumour.
        review: Number to review, as in ``results.json``; rejected and failed ones are among them.
        rejected: Number of those that are no brain MR.
        failed: Number of those that could not be segmented.
        doubtful: First ``NAMED`` segmented ones to review, each with its reasons.
        rejections: First ``NAMED`` rejected ones, each with its reason.
        failures: Files that could not be read or written, each with its reason.
    """

    ok: int = 0
    tumours: int = 0
    review: int = 0
    rejected: int = 0
    failed: int = 0
    doubtful: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of all."""
        return self.ok + self.rejected + self.failed


@dataclass(frozen=True)
class ShardCounts:
    """What became of one shard of a run.

    Attributes:
        index: Its number, from 1.
        count: Number of all shards.
        taken: Number of its pictures and volumes that an earlier session had done.
        unfinished: Numbers of the shards that have not finished; empty if all were merged into ``results.json``.
    """

    index: int
    count: int
    taken: int
    unfinished: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SegmentSummary(Counts):
    """What became of one run: of its pictures, and beside them of its volumes.

    Attributes:
        out: Folder of the results.
        volumes: Counts of the DICOM series and NIfTI files.
        slices: Number of their slices.
        skipped: Number of files of other types.
        objects: DICOM files that are no scan of their own (reports, segmentations, plans, copies, an index) and were
            skipped, each with its reason.
        sent: Number of DICOM-SEGs that an archive has stored; None if none were to be sent.
        own: Number of masks and overlays of earlier runs that lay among the inputs and were skipped.
        shard: Shard that the counts are of; None for the whole run.
        unused_rows: Faults of the rows of a table of boxes that are no picture's.
    """

    out: Path
    volumes: Counts = field(default_factory=Counts)
    slices: int = 0
    skipped: int = 0
    objects: tuple[str, ...] = ()
    sent: int | None = None
    own: int = 0
    shard: ShardCounts | None = None
    unused_rows: tuple[str, ...] = ()

    @property
    def all_failures(self) -> tuple[str, ...]:
        """What could not be used, read or written, of boxes, pictures and volumes."""
        return self.unused_rows + self.failures + self.volumes.failures


@dataclass
class Tally:
    """What became of pictures, or of volumes, so far."""

    ok: int = 0
    tumours: int = 0
    review: int = 0
    rejected: int = 0
    failed: int = 0
    doubtful: list[str] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, record: Record, problems: Sequence[str] = ()) -> None:
        """Add one picture or volume.

        Args:
            record: Its record.
            problems: Faults of slices or files although there is a mask.
        """
        self.review += record["review"]
        self.failures += problems
        line = f"{record['file']}: {record['reason']}"
        if record["status"] == "ok":
            self.ok += 1
            self.tumours += bool(record["lesions"])
            if record["review"] and len(self.doubtful) < NAMED:
                self.doubtful.append(line)
        elif record["status"] == "rejected":
            self.rejected += 1
            if len(self.rejections) < NAMED:
                self.rejections.append(line)
        else:
            self.failed += 1
            self.failures.append(record["reason"])

    def values(self) -> dict[str, Any]:
        """Return the fields of ``Counts`` as they stand."""
        return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(self).items()}


@dataclass
class RunTally:
    """What became of the units of a run so far.

    Attributes:
        pictures: Counts of pictures.
        volumes: Counts of volumes and refused scans.
        slices: Number of slices of the volumes.
        passed: Masks and overlays of earlier runs, which were skipped.
    """

    pictures: Tally = field(default_factory=Tally)
    volumes: Tally = field(default_factory=Tally)
    slices: int = 0
    passed: list[str] = field(default_factory=list)

    def count(self, unit: UnitRecord) -> None:
        """Add one unit."""
        if unit.volume is not None:
            self.volumes.count(unit.volume, unit.problems)
            self.slices += len(unit.images)
        elif unit.passed:
            self.passed.append(unit.passed)
        else:
            self.pictures.count(unit.images[0])

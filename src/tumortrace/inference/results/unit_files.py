"""Files of one unit of work, a picture or a volume, and their writing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.files import is_disk_fault, write_atomically
from tumortrace.inference.results.describe import describe_failure, describe_volume_failure
from tumortrace.inference.results.unit_record import Record, UnitRecord


@dataclass(frozen=True, eq=False)
class UnitDone:
    """One unit that was segmented: its record, and its files, not yet written.

    Attributes:
        record: Records of it.
        files: Content of its files by their names within the output folder.
        names: Names of all files that a run may write for it; those that are not in ``files`` are removed.
        sha256: SHA-256 of the picture's file; empty for a volume, and where the file could not be read.
    """

    record: UnitRecord
    files: Mapping[str, bytes] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    sha256: str = ""


def write_unit(done: UnitDone, out: Path) -> UnitDone:
    """Write the files of a unit, each atomically, and remove those that an earlier run left; all or none.

    Args:
        done: The unit.
        out: Folder of the results.

    Returns:
        The same, or a failure without files where their names are not possible.

    Raises:
        OSError: The disk is full or fails.
    """
    try:
        for name in done.names:
            if name in done.files:
                write_atomically(out / name, done.files[name])
            elif os.path.lexists(out / name):
                (out / name).unlink()
    except (OSError, DataError) as error:
        if is_disk_fault(error):
            raise
        remove_files(done.names, out)
        return _fail_to_write(done, (error.strerror if isinstance(error, OSError) else None) or str(error))
    return done


def remove_files(names: Iterable[str], out: Path) -> None:
    """Remove files that a run may have written for a unit."""
    for name in names:
        if os.path.lexists(out / name):
            with suppress(OSError):
                (out / name).unlink()


def _fail_to_write(done: UnitDone, cause: str) -> UnitDone:
    """Return a unit as a failure, because its files cannot be written: of its slices nothing is left either.

    Args:
        done: The unit.
        cause: Cause, for the message.
    """
    main = done.record.main or {}
    what = "picture" if done.record.volume is None else "scan"
    return fail(done, f"{main.get('file')}: the files for it cannot be written ({cause}); rename the {what}")


def fail(done: UnitDone, reason: str) -> UnitDone:
    """Return a unit as a failure without files.

    Args:
        done: The unit.
        reason: One line that names its file.
    """
    images = tuple(_fail(image, reason) for image in done.record.images)
    volume = done.record.volume
    if volume is not None:
        volume = {**describe_volume_failure(reason, file=volume["file"]), "series_uid": volume["series_uid"]}
    return replace(done, record=UnitRecord(images, volume), files={})


def _fail(image: Record, reason: str) -> Record:
    kept = {key: image[key] for key in ("slice_index", "seconds")}
    return {**describe_failure(reason, file=image["file"]), **kept}

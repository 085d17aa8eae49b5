"""Write the files and records of segmented volumes, all of a volume or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.findings import Finding
from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.inference.results import (
    Record,
    ResultsWriter,
    describe_slice,
    describe_volume,
    describe_volume_failure,
)
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.volume_files import VolumeFile, VolumeOptions, encode_files, encode_volume_seg
from tumortrace.inference.volume_predict import SliceResult, VolumePrediction, combine_slices
from tumortrace.inference.writing import is_disk_fault


@dataclass(frozen=True)
class WrittenVolume:
    """A volume that is done.

    Attributes:
        record: Its record.
        problems: Faults of slices or files although there is a mask.
    """

    record: Record
    problems: tuple[str, ...] = ()


def write_volume(  # noqa: PLR0913 - a volume, and how and where to write it
    item: VolumeFile,
    slices: Sequence[SliceResult],
    results: ResultsWriter,
    *,
    segmenter: Segmenter,
    out: Path,
    options: VolumeOptions,
    overlay: bool,
) -> WrittenVolume:
    """Combine the slices of a volume; write its files, its record and those of its slices, or none of them.

    Args:
        item: The volume.
        slices: A result for each slice, in order.
        results: Writer of the records.
        segmenter: Segmenter that made the results.
        out: Folder of the results.
        options: Files to write beside the mask.
        overlay: Whether to write a contact sheet.

    Raises:
        OSError: The disk is full or fails.
    """
    prediction = combine_slices(item.volume, slices, gate=segmenter.gate)
    count = results.count
    try:
        written, records = _write_files(item, prediction, segmenter, out=out, options=options, overlay=overlay)
        results.add_volume(written.record, records)
    except BaseException:  # an interruption too leaves no mask that the results do not name
        if results.count == count:
            _remove(item.names, out)
        raise
    return written


def add_refused(finding: Finding, results: ResultsWriter) -> WrittenVolume:
    """Record a scan that cannot be opened.

    Args:
        finding: The scan and the reason.
        results: Writer of the records.
    """
    record = describe_volume_failure(f"{finding.file}: {finding.cause}; {finding.remedy}", file=finding.file)
    results.add_volume(record, [])
    return WrittenVolume(record)


def describe_all(
    item: VolumeFile, prediction: VolumePrediction, *, reasons: Sequence[str]
) -> tuple[Record, list[Record]]:
    """Describe a volume and its slices.

    Args:
        item: The volume.
        prediction: Prediction for it.
        reasons: Reasons for the review, the rejection or the failure.

    Returns:
        The record of the volume, and one for each slice.
    """
    mask = None if prediction.rejected or prediction.failed else item.mask
    rejection = prediction.reasons[0] if prediction.rejected else ""
    records = [describe_slice(one, item, mask=mask, reason=rejection) for one in prediction.slices]
    return describe_volume(prediction, item, mask=mask, reasons=reasons), records


def _write_files(
    item: VolumeFile,
    prediction: VolumePrediction,
    segmenter: Segmenter,
    *,
    out: Path,
    options: VolumeOptions,
    overlay: bool,
) -> tuple[WrittenVolume, list[Record]]:
    """Write a volume's files; return what became of it, and the records of its slices."""
    problems = [one.reasons[0] for one in prediction.slices if one.failed][:1]
    reasons = list(prediction.reasons)
    written: set[str] = set()
    whole = not (prediction.rejected or prediction.failed)
    try:
        if whole:
            for name, data in encode_files(item, prediction, model=segmenter.model, options=options, overlay=overlay):
                write_atomically(out / name, data)
                written.add(name)
            refusal = _write_seg(item, prediction, segmenter, out=out, options=options, written=written)
            reasons += refusal
            problems += refusal
        _remove([name for name in item.names if name not in written], out)
    except (OSError, DataError) as error:
        if is_disk_fault(error):
            raise
        _remove(item.names, out)
        cause = error.strerror if isinstance(error, OSError) else str(error)
        failure = f"{item.file}: the files for it cannot be written ({cause}); rename the scan"
        return _fail(item, prediction, failure)
    record, records = describe_all(item, prediction, reasons=reasons)
    return WrittenVolume(record, tuple(problems) if whole else ()), records


def _write_seg(
    item: VolumeFile,
    prediction: VolumePrediction,
    segmenter: Segmenter,
    *,
    out: Path,
    options: VolumeOptions,
    written: set[str],
) -> list[str]:
    """Write a volume's DICOM-SEG where one is asked for; return why it cannot be made, empty if it can."""
    try:
        data = encode_volume_seg(item, prediction, model=segmenter.model, options=options)
    except DataError as error:
        return [str(error)]
    if data is not None:
        write_atomically(out / item.seg, data)
        written.add(item.seg)
    return []


def _fail(item: VolumeFile, prediction: VolumePrediction, failure: str) -> tuple[WrittenVolume, list[Record]]:
    """Records of a volume whose files cannot be written: of its slices nothing is left either."""
    lost = [SliceResult(one.index, one.mask, one.values, reasons=(failure,), failed=True) for one in prediction.slices]
    record = {**describe_volume_failure(failure, file=item.file), "series_uid": item.volume.series_uid}
    return WrittenVolume(record), [describe_slice(one, item, mask=None) for one in lost]


def _remove(names: Sequence[str], out: Path) -> None:
    for name in names:
        if os.path.lexists(out / name):
            with suppress(OSError):
                (out / name).unlink()

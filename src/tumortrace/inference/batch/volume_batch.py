"""Files and records of segmented volumes, all of a volume or none."""

from __future__ import annotations

from collections.abc import Sequence

from tumortrace.data.findings import Finding
from tumortrace.errors import DataError
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.explain import explain_failure
from tumortrace.inference.results.describe import describe_slice, describe_volume, describe_volume_failure
from tumortrace.inference.results.unit_files import UnitDone, fail
from tumortrace.inference.results.unit_record import Record, UnitRecord
from tumortrace.inference.results.volume_files import VolumeFile, encode_files, encode_volume_seg
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.volume_predict import SliceResult, VolumePrediction, combine_slices


def finish_volume(
    item: VolumeFile, slices: Sequence[SliceResult], segmenter: Segmenter, settings: SegmentSettings
) -> UnitDone:
    """Combine the slices of a volume: its record, those of its slices, and its files.

    Args:
        item: The volume.
        slices: A result for each slice, in order.
        segmenter: Segmenter that made the results.
        settings: Settings of the run.

    Returns:
        A failure with its reason where the files cannot be made.
    """
    prediction = combine_slices(item.volume, slices, gate=segmenter.gate)
    if prediction.rejected or prediction.failed:
        record, records = describe_all(item, prediction, reasons=prediction.reasons)
        return UnitDone(UnitRecord(tuple(records), record), names=item.names)
    problems = [one.reasons[0] for one in prediction.slices if one.failed][:1]
    try:
        files, refusals = _encode(item, prediction, segmenter, settings)
    except Exception as error:  # noqa: BLE001 - a file that is gone by now, or whatever a library says; the others go on
        record, records = describe_all(item, prediction, reasons=[])
        done = UnitDone(UnitRecord(tuple(records), record), names=item.names)
        return fail(done, explain_failure(error, item.file))
    record, records = describe_all(item, prediction, reasons=[*prediction.reasons, *refusals])
    return UnitDone(UnitRecord(tuple(records), record, (*problems, *refusals)), files, item.names)


def describe_refused(finding: Finding) -> Record:
    """Describe a scan that cannot be opened.

    Args:
        finding: The scan and the reason.
    """
    return describe_volume_failure(f"{finding.file}: {finding.cause}; {finding.remedy}", file=finding.file)


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


def _encode(
    item: VolumeFile, prediction: VolumePrediction, segmenter: Segmenter, settings: SegmentSettings
) -> tuple[dict[str, bytes], list[str]]:
    """Make the files of a volume; with them why its DICOM-SEG cannot be made, empty if it can."""
    model, options = segmenter.model, settings.options
    files = dict(encode_files(item, prediction, model=model, options=options, overlay=settings.overlay))
    try:
        seg = encode_volume_seg(item, prediction, model=model, options=options)
    except DataError as error:
        return files, [str(error).removeprefix(f"{item.file}: ")]
    return files if seg is None else {**files, item.seg: seg}, []

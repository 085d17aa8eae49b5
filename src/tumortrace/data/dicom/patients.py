"""Which DICOM series are of one patient, without showing who it is."""

from __future__ import annotations

from tumortrace.data.dicom.stream import parse
from tumortrace.data.volume import Volume


def read_patient_key(volume: Volume) -> str:
    """Return what two DICOM series of one patient have in common, which is never shown; empty for other scans.

    Args:
        volume: The series.

    Raises:
        DataError: Its header can no longer be read.
    """
    if volume.kind != "dicom":
        return ""
    header = parse(volume.sources[0].path, ("PatientID", "StudyInstanceUID")).dataset
    return str(header.get("PatientID") or "").strip() or str(header.get("StudyInstanceUID") or "")

"""The one annotation file of a folder, picked from all that stands beside the images."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tumortrace.data.annotations.via import ViaRecord, read_via
from tumortrace.data.findings import Finding
from tumortrace.data.geometry import Region
from tumortrace.errors import DataError


def read_annotations(folder: Path) -> tuple[dict[str, tuple[Region, ...]], list[Finding]]:
    """Read the folder's one VIA file; hidden files are passed over.

    Returns:
        The regions by the image's path within the folder; and the faults of the file, among them ``not-via`` for other
        JSON or CSV files beside it.

    Raises:
        DataError: There is no VIA file, none that can be read, or more than one.
    """
    candidates = _list_files(folder, "*.json") or _list_files(folder, "*.csv")
    if not candidates:
        raise DataError(
            f"{folder}: no VIA annotations (*.json or *.csv) and no images/ + masks/ folders; is this the data?"
        )
    readable = []
    findings: list[Finding] = []
    for path in candidates:
        try:
            readable.append((path, read_via(path)))
        except DataError as error:
            if len(candidates) == 1:
                raise
            cause = str(error).removeprefix(f"{path}: ")
            findings.append(Finding("not-via", "left out", path.name, cause, "take it away if it is no annotation"))
    if not readable:
        raise DataError(f"{candidates[0]}: {findings[0].cause}")
    if len(readable) > 1:
        names = ", ".join(path.name for path, _ in readable)
        raise DataError(f"{folder}: several annotation files ({names}); leave the one that counts")
    _, (via_records, via_findings) = readable[0]
    regions, twins = _unite_spellings(via_records)
    return regions, findings + via_findings + twins


def _list_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _unite_spellings(records: list[ViaRecord]) -> tuple[dict[str, tuple[Region, ...]], list[Finding]]:
    """Regions by the plain spelling of each path: ``./a.png`` is ``a.png``, and where both stand the first is used."""
    regions: dict[str, tuple[Region, ...]] = {}
    findings = []
    for record in records:
        name = PurePosixPath(record.filename).as_posix()
        if name in regions:
            cause = f"annotated again as {record.filename!r}; the first record is used"
            findings.append(Finding("duplicate-record", "warning", name, cause, "leave one record an image"))
        else:
            regions[name] = record.regions
    return regions, findings

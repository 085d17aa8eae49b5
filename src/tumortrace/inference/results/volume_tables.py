"""Tables of volumes and of their lesions, in millilitres."""

from __future__ import annotations

from collections.abc import Iterable

from tumortrace.inference.results.unit_record import Record
from tumortrace.json_csv import encode_csv

VOLUMES, LESIONS = "volumes.csv", "lesions.csv"

VOLUME_COLUMNS = (
    "file", "series_uid", "mask", "status", "reason", "review", "volume_ml", "lesions", "largest_diameter_mm", "slices",
    "slices_with_tumour",
)  # fmt: skip
"""Columns of ``volumes.csv``; ``lesions`` is their number."""

LESION_COLUMNS = (
    "file", "series_uid", "lesion", "volume_ml", "x_mm", "y_mm", "z_mm", "first_slice", "last_slice", "confidence",
)  # fmt: skip
"""Columns of ``lesions.csv``; lesions count from 1 in each volume, slices from 0."""


def encode_volume_tables(volumes: Iterable[Record]) -> dict[str, bytes]:
    """Return both files by their names: a row a volume, and a row a lesion. What is unknown is an empty cell.

    Args:
        volumes: Records of volumes, as ``results.json`` holds them.
    """
    volume_rows, lesion_rows = [], []
    for record in volumes:
        volume_rows.append(_describe_volume(record))
        lesion_rows += [_describe_lesion(record, number) for number in range(1, len(record["lesions"]) + 1)]
    return {
        VOLUMES: encode_csv(volume_rows, columns=VOLUME_COLUMNS),
        LESIONS: encode_csv(lesion_rows, columns=LESION_COLUMNS),
    }


def _describe_volume(record: Record) -> Record:
    same = {name: record[name] for name in VOLUME_COLUMNS if name in record}
    return same | {
        "review": str(record["review"]).lower(),
        "volume_ml": _to_ml(record["volume_mm3"]),
        "lesions": len(record["lesions"]) if record["status"] == "ok" else None,
    }


def _describe_lesion(record: Record, number: int) -> Record:
    lesion = record["lesions"][number - 1]
    x, y, z = lesion["centroid_mm"] or (None, None, None)
    return {
        "file": record["file"],
        "series_uid": record["series_uid"],
        "lesion": number,
        "volume_ml": _to_ml(lesion["volume_mm3"]),
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "first_slice": lesion["first_slice"],
        "last_slice": lesion["last_slice"],
        "confidence": lesion["confidence"],
    }


def _to_ml(volume_mm3: float | None) -> float | None:
    return None if volume_mm3 is None else volume_mm3 / 1000

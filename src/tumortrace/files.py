"""Atomic writing of files."""

from __future__ import annotations

from pathlib import Path

from tumortrace.errors import DataError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file through a neighbour that is renamed over it, so that no reader ever sees half of it.

    Raises:
        DataError: A folder stands in its place.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, and a file should be written there; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.partial")
    neighbour.write_bytes(data)
    neighbour.replace(path)

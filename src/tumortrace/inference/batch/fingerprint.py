"""Fingerprints of inputs: whether a file is the one that was segmented before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.findings import Finding
from tumortrace.errors import DataError
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.batch.units import Unit
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.regular_files import open_regular


@dataclass(frozen=True)
class Fingerprint:
    """Size and time of what a unit is read from.

    Attributes:
        bytes: Size of all its files.
        times: Digest of their sizes and times of change, 16 hexadecimal digits.
    """

    bytes: int
    times: str


def identify(unit: Unit) -> str:
    """Return the file of a unit and the name of its results as one text, different for all units of a run."""
    name = "" if isinstance(unit, Finding) else unit.name
    path = unit.path if isinstance(unit, PictureFile) else unit.file
    return f"{path}\0{name}"


def make_key(unit: Unit) -> str:
    """Return the key of a unit: 16 hexadecimal digits of the SHA-256 of ``identify``."""
    return _digest(identify(unit))


def digest_units(units: Iterable[Unit]) -> str:
    """Return the SHA-256 of all units' files and names, in their order."""
    digest = hashlib.sha256()
    for unit in units:
        digest.update(_encode(identify(unit)) + b"\n")
    return digest.hexdigest()


def take_fingerprint(unit: Unit) -> Fingerprint | None:
    """Return size and time of what a unit is read from; None where it cannot be read or is a refused scan."""
    if isinstance(unit, Finding) or (isinstance(unit, PictureFile) and unit.fault):
        return None
    try:
        source = unit.source if isinstance(unit, PictureFile) else None
        stamps = [source.stamp()] if source else [_stamp(path) for path in _list_files(unit)]
    except (OSError, ValueError, DataError):
        return None
    return Fingerprint(sum(size for size, _ in stamps), _digest(repr(stamps)))


def hash_picture(picture: PictureFile) -> str:
    """Return the SHA-256 of a picture's file; empty where it cannot be read."""
    try:
        return hashlib.sha256(picture.read()).hexdigest()
    except DataError:
        return ""


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file; empty where it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def _list_files(unit: PictureFile | VolumeFile) -> list[Path]:
    if isinstance(unit, PictureFile):
        return [Path(unit.path)]
    paths = dict.fromkeys(source.path for source in unit.volume.sources)
    if unit.volume.kind == "nifti":  # header and voxels may be files of their own
        from tumortrace.data.nifti.header import pair

        paths = dict.fromkeys(half for path in paths for half in pair(path))
    return list(paths)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _digest(text: str) -> str:
    return hashlib.sha256(_encode(text)).hexdigest()[:16]


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogatepass")

"""Hashes of cases by their content."""

from __future__ import annotations

import hashlib

import numpy as np

from tumortrace.data.cases import Case, CaseRecord
from tumortrace.data.slice import Slice
from tumortrace.errors import DataError


def hash_case(case: Case) -> str:
    """SHA-256 of what a case shows: the size, grey values and truth on its own grid."""
    digest = _digest(case.slice)
    digest.update(np.packbits(case.truth).tobytes())
    return digest.hexdigest()


def hash_slice(image: Slice) -> str:
    """SHA-256 of a picture alone: its size and grey values."""
    return _digest(image).hexdigest()


def check_unchanged(record: CaseRecord, sha256: str) -> None:
    """Check that a case is what it was when a split was made of it.

    Args:
        record: Place of the case on disk, with the expected hash.
        sha256: Hash of what it is now (``hash_case``).

    Raises:
        DataError: Picture or truth changed.
    """
    if record.expected_sha256 and record.expected_sha256 != sha256:
        raise DataError(
            f"{record.case_id}: picture or annotation changed since the split was made (its SHA-256 differs); restore "
            "it, or split the data again"
        )


def hash_part(hashes: dict[str, str]) -> str:
    """One SHA-256 for several cases: of their names and hashes by case_id, in order of the names."""
    lines = "".join(f"{case_id} {digest}\n" for case_id, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _digest(image: Slice) -> hashlib._Hash:
    digest = hashlib.sha256(repr((image.size_hw, str(image.pixels.dtype))).encode())
    digest.update(np.ascontiguousarray(image.pixels).tobytes())
    return digest

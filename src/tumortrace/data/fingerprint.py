"""What data a number was measured on: hashes of cases by content, whatever files held them."""

from __future__ import annotations

import hashlib

import numpy as np

from tumortrace.data.dataset import Case


def hash_case(case: Case) -> str:
    """SHA-256 of what a case shows: the size, grey values and truth on its own grid."""
    digest = hashlib.sha256(repr((case.slice.size_hw, str(case.slice.pixels.dtype))).encode())
    digest.update(np.ascontiguousarray(case.slice.pixels).tobytes())
    digest.update(np.packbits(case.truth).tobytes())
    return digest.hexdigest()


def hash_part(hashes: dict[str, str]) -> str:
    """One SHA-256 for several cases: of their names and hashes by case_id, in order of the names."""
    lines = "".join(f"{case_id} {digest}\n" for case_id, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()

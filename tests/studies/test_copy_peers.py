"""The columns of other tools, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from studies import copy_peers

CHANGE = next(iter(copy_peers.PLANTS))


def plant(patients: dict[str, str], *of: str) -> dict[str, Any]:
    """Copies ``x0``, ``x1`` ... of these slices, all changed in one way."""
    return {
        "planted": [{"file": f"x{n}", "change": CHANGE, "of": name} for n, name in enumerate(of)],
        "patients": patients,
    }


def test_the_threshold_joins_a_fraction_of_the_pairs_of_strangers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copy_peers, "FALSE_SHARE", 1 / 2)
    document = plant({"a": "p", "b": "p", "c": "q", "d": ""}, "a", "a")
    found = {"pairs": [("x0", "c", 3.0), ("x1", "c", 5.0), ("x0", "d", 1.0), ("x0", "a", 9.0)]}
    # Of 8 pairs, 2 are of strangers (with c): one may be joined, that at 3, and the other at 5 may not.
    threshold = copy_peers._choose_threshold(found, document)
    assert 4.9 < threshold < 5.0


def test_slices_of_unknown_patients_are_neither_found_nor_strangers():
    document = plant({"a": "", "b": "", "c": "q"}, "a", "c")
    pairs = [("x0", "b", 1.0), ("x0", "c", 1.0), ("x1", "c", 1.0)]
    counted = copy_peers._count({"pairs": pairs, "seconds": 2.4}, document, lambda _distance: True)
    assert counted[CHANGE] == 1  # x1 alone: its own slice
    assert counted["pairs of strangers"] == 0
    assert counted["CPU seconds"] == 2

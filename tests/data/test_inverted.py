"""Masks that paint the background are told wherever cases are read, by the name of their source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tumortrace.copies.survey import describe_cases
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import open_datasets
from tumortrace.data.inverted import find_inverted
from tumortrace.data.slice import write_png


def write_pairs_of(folder: Path, painted: list[float]) -> Path:
    """Slices of 10 x 8 pixels, each with a mask that paints so much of the frame from its top on."""
    rng = np.random.default_rng(0)
    for number, share in enumerate(painted):
        mask = np.zeros((10, 8), np.uint8)
        mask[: round(share * 10)] = 255
        write_png(folder / "images" / f"{number}.png", rng.integers(1, 255, (10, 8)).astype(np.uint8))
        write_png(folder / "masks" / f"{number}.png", mask)
    return folder


def test_the_median_decides_for_each_source():
    shares = {"a": [0.1, 0.9, 0.8, 1.0, 0.1], "b": [0.9, 0.1, 0.1, 0.9, 0.0], "c": [0.5] * 9, "few": [1.0] * 4}
    (finding,) = find_inverted(shares)
    assert (finding.kind, finding.severity, finding.file) == ("masks-inverted", "warning", "a")
    assert finding.cause == "of 5 masks, half paint 80% of the frame or more as tumour"
    assert "0 must be background" in finding.remedy
    assert find_inverted({"": [1.0] * 5})[0].file == "masks"
    assert find_inverted({}) == []


@pytest.mark.parametrize(
    ("painted", "kinds"), [([0.9, 1.0, 0.0, 0.0, 0.6], ["masks-inverted"]), ([0.9, 0.0, 0.1, 0.0, 0.6], [])]
)
def test_both_ways_of_reading_tell(tmp_path: Path, painted: list[float], kinds: list[str]):
    records = open_datasets([write_pairs_of(tmp_path / "clinic", painted)]).records
    read = [finding for _, _, faults in read_cases(records) for finding in faults]
    assert [finding.kind for finding in read] == [finding.kind for finding in describe_cases(records).findings] == kinds
    assert all(finding.file == "clinic" for finding in read)


def test_a_mask_that_cannot_be_read_last_does_not_hide_it(tmp_path: Path):
    records = open_datasets([write_pairs_of(tmp_path / "clinic", [1.0] * 6)]).records
    (tmp_path / "clinic" / "masks" / "5.png").write_bytes(b"")
    assert [f.kind for _, _, faults in read_cases(records) for f in faults] == ["unreadable", "masks-inverted"]

"""Masks that paint the background are told wherever cases are read, by the name of their source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tumortrace.copies.described import describe_cases
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import open_datasets
from tumortrace.data.mask_checks import MaskSummary, find_doubtful_masks, summarise_mask
from tumortrace.data.png_writing import write_png


def write_pairs_of(folder: Path, painted: list[float]) -> Path:
    """Slices of 10 x 8 pixels, each with a mask that paints so much of the frame from its top on."""
    rng = np.random.default_rng(0)
    for number, share in enumerate(painted):
        mask = np.zeros((10, 8), np.uint8)
        mask[: round(share * 10)] = 255
        write_png(folder / "images" / f"{number}.png", rng.integers(1, 255, (10, 8)).astype(np.uint8))
        write_png(folder / "masks" / f"{number}.png", mask)
    return folder


def summaries(source: str, painted: list[float]) -> list[MaskSummary]:
    return [
        MaskSummary(f"{source}{number}.png", source, share, 0.0, np.full((32, 32), share > 0))
        for number, share in enumerate(painted)
    ]


def block(rows: slice, columns: slice, size_hw: tuple[int, int] = (64, 64)) -> np.ndarray:
    mask = np.zeros(size_hw, np.bool_)
    mask[rows, columns] = True
    return mask


def test_the_median_decides_for_each_source():
    shares = {"a": [0.1, 0.9, 0.8, 1.0, 0.1], "b": [0.9, 0.1, 0.1, 0.9, 0.0], "c": [0.5] * 9, "few": [1.0] * 4}
    looks = [look for source, painted in shares.items() for look in summaries(source, painted)]
    (finding,) = [finding for finding in find_doubtful_masks(looks) if finding.kind == "masks-inverted"]
    assert (finding.kind, finding.severity, finding.file) == ("masks-inverted", "warning", "a")
    assert finding.cause == "of 5 masks, half mark 80 % of the frame or more as tumour"
    assert "0 must be background" in finding.remedy
    assert find_doubtful_masks(summaries("", [1.0] * 5))[0].file == "masks"
    assert find_doubtful_masks([]) == []


def test_few_inverted_masks_among_many_are_named_and_a_large_tumour_is_not():
    tumour = block(slice(20, 30), slice(20, 40))
    masks = {
        "v0": ~tumour,
        "r0": tumour,
        "r1": block(slice(8, 60), slice(4, 60)),
        "r2": tumour,
        "r3": tumour,
        "v1": ~tumour,
    }
    findings = find_doubtful_masks([summarise_mask(f"{name}.png", mask) for name, mask in masks.items()])
    assert [(f.kind, f.severity, f.file) for f in findings] == [
        ("masks-inverted", "warning", "v0.png"),
        ("masks-inverted", "warning", "v1.png"),
    ]
    assert findings[0].cause == "its mask marks 95 % of the frame"


def test_what_is_kept_of_a_mask():
    look = summarise_mask("a.png", block(slice(0, 2), slice(None), (8, 4)), source="clinic")
    assert (look.case_id, look.source, look.marked) == ("a.png", "clinic", 0.25)
    assert look.marked_border == pytest.approx((4 + 0 + 2 + 2) / 24)
    assert look.coarse[:8].all()
    assert not look.coarse[8:].any()
    last_column, last_row = block(slice(0, 3), slice(3, 4), (8, 4)), block(slice(7, 8), slice(0, 1), (8, 4))
    assert summarise_mask("b.png", last_column).marked_border == pytest.approx((1 + 0 + 0 + 3) / 24)
    assert summarise_mask("c.png", last_row).marked_border == pytest.approx((0 + 1 + 1 + 0) / 24)


def test_a_blank_mask_between_two_slices_of_one_tumour_is_named():
    tumour, elsewhere, blank = (
        block(slice(20, 30), slice(20, 40)),
        block(slice(50, 60), slice(2, 9)),
        block(slice(0), slice(0)),
    )
    series = {"p/s1": tumour, "p/s2": blank, "p/s3": tumour, "p/s4": blank, "p/s5": elsewhere, "p/s6": blank}
    looks = [summarise_mask(f"{name}.png", mask) for name, mask in reversed(series.items())]
    (finding,) = find_doubtful_masks(looks)
    assert (finding.kind, finding.severity, finding.file) == ("mask-blank", "warning", "p/s2.png")
    apart = {
        "p/s1": tumour,
        "q/s2": blank,
        "p/s3": tumour,
        "p/s10": blank,
        "p/s11": blank,
        "p/s12": blank,
        "p/s13": tumour,
    }
    assert find_doubtful_masks([summarise_mask(f"{name}.png", mask) for name, mask in apart.items()]) == []


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

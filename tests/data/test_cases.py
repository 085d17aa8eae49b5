"""What reading a case finds: lost regions, outlines drawn twice, blank images and damaged masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumortrace.data.cases import read_case, read_cases
from tumortrace.data.dataset import open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError


def write_outlines(folder: Path, *outlines: tuple[list[float], list[float]]) -> Path:
    """One image of 20 x 30 pixels with regions, each given by its x and its y values."""
    write_png(folder / "a.png", np.arange(600, dtype=np.uint16).reshape(20, 30) // 3)
    regions = [
        {"shape_attributes": {"name": "polygon", "all_points_x": x, "all_points_y": y}, "region_attributes": {}}
        for x, y in outlines
    ]
    record = {"filename": "a.png", "size": -1, "regions": regions, "file_attributes": {}}
    (folder / "via.json").write_text(json.dumps({"a": record}), encoding="utf-8")
    return folder


def test_a_region_between_two_columns_of_pixel_centres_is_named(tmp_path: Path):
    square = ([1.5, 5.5, 5.5, 1.5], [2.5, 2.5, 7.5, 7.5])  # columns 2 to 5, rows 3 to 7
    sliver = ([12.2, 12.8, 12.8, 12.2], [3, 3, 9, 9])
    case, findings = read_case(open_dataset(write_outlines(tmp_path, square, sliver)).records[0])
    assert case.truth.sum() == 4 * 5
    assert [(finding.kind, finding.severity) for finding in findings] == [("region-lost", "warning")]
    assert "region 2 of 2" in findings[0].cause


def test_an_outline_that_goes_round_twice_is_filled_and_named(tmp_path: Path):
    twice = ([1.5, 9.5, 9.5, 1.5] * 2, [2.5, 2.5, 8.5, 8.5] * 2)  # columns 2 to 9, rows 3 to 8
    case, findings = read_case(open_dataset(write_outlines(tmp_path, twice)).records[0])
    assert case.truth.sum() == 8 * 6
    assert [finding.kind for finding in findings] == ["outline-overlaps"]


@pytest.mark.parametrize("truth", ["mask", "regions", "none"])
def test_an_image_that_its_tag_turns_is_named_if_it_has_a_truth(tmp_path: Path, truth: str):
    """A turn by 180 degrees keeps the size, so that nothing else shows on which grid the tumour was drawn."""
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)).save(
        tmp_path / "a.png", exif=exif
    )
    if truth == "mask":
        write_png(tmp_path / "a_mask.png", np.pad(np.full((2, 3), 255, np.uint8), ((4, 14), (5, 22))))
    else:
        shape = {"name": "rect", "x": 5, "y": 4, "width": 3, "height": 2}
        regions = [{"shape_attributes": shape, "region_attributes": {}}] if truth == "regions" else []
        record = {"filename": "a.png", "size": -1, "regions": regions, "file_attributes": {}}
        (tmp_path / "via.json").write_text(json.dumps({"a": record}), encoding="utf-8")
    _, findings = read_case(open_dataset(tmp_path).records[0])
    assert [finding.kind for finding in findings] == (["image-turned"] if truth != "none" else [])


def test_a_tumour_on_a_black_image_is_named(tmp_path: Path):
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[2:4, 3:6] = 255
    write_png(tmp_path / "images" / "k.png", np.zeros((6, 8), dtype=np.uint8))
    write_png(tmp_path / "masks" / "k.png", mask)
    _, findings = read_case(open_dataset(tmp_path).records[0])
    assert [(finding.kind, finding.file) for finding in findings] == [("image-blank", "images/k.png")]


@pytest.mark.parametrize(
    ("damage", "cause"),
    [(lambda _png: b"", "the file is empty"), (lambda png: png[:-20], "truncated")],
    ids=["empty", "cut"],
)
def test_a_damaged_mask_is_not_blamed_on_its_image(damage: Callable[[bytes], bytes], cause: str, tmp_path: Path):
    write_png(tmp_path / "images" / "k.png", np.full((6, 8), 9, dtype=np.uint8))
    write_png(tmp_path / "masks" / "k.png", np.eye(6, 8, dtype=np.uint8))
    path = tmp_path / "masks" / "k.png"
    path.write_bytes(damage(path.read_bytes()))
    (record,) = open_dataset(tmp_path).records
    with pytest.raises(DataError, match=rf"its mask masks/k\.png cannot be used: .*{cause}"):
        read_case(record)


def test_an_antialiased_mask_is_left_out_with_its_number_of_grey_values(tmp_path: Path):
    write_png(tmp_path / "images" / "k.png", np.full((6, 8), 9, dtype=np.uint8))
    write_png(tmp_path / "masks" / "k.png", np.tile(np.uint8([0, 0, 60, 190, 255, 255, 190, 0]), (6, 1)))
    ((_, case, findings),) = read_cases(open_dataset(tmp_path).records)
    assert case is None
    assert [finding.kind for finding in findings] == ["unreadable"]
    assert "not a binary mask (4 grey values" in findings[0].cause

"""BRISC's outlines on the grid of their twins in figshare, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from studies.doubtful_worth import lay, read_second

from tumortrace.data.png_writing import write_png


def test_a_mirrored_outline_is_turned_back_and_enlarged(tmp_path: Path):
    mask = np.zeros((2, 3), np.uint8)
    mask[0, 0] = 255
    write_png(tmp_path / "mask.png", mask)
    same = np.zeros((4, 6), np.bool_)
    same[:2, :2] = True
    assert np.array_equal(lay(tmp_path / "mask.png", (4, 6), mirrored=False), same)
    assert np.array_equal(lay(tmp_path / "mask.png", (4, 6), mirrored=True), same[:, ::-1])


def test_only_twins_that_were_found_by_the_picture_count(tmp_path: Path):
    rows = ["mask,twin_figshare,twin_transform,link", "a.png,7,mirrored,image", "b.png,7,same,outline", "c.png,,,"]
    (tmp_path / "pairs.csv").write_text("\n".join([*rows, "d.png,7,same,image"]))
    assert read_second(tmp_path) == {"0007.jpg": [(tmp_path / "a.png", True), (tmp_path / "d.png", False)]}

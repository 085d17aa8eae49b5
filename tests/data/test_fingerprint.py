"""Data are told apart by what they show, not by the files that hold them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.fingerprint import hash_case, hash_part

TRUTH = np.array([[0, 1, 1, 0], [0, 0, 1, 0]], dtype=bool)  # 2 rows, 4 columns


def write_case(
    folder: Path, pixels: NDArray[np.uint8], truth: NDArray[np.bool_], *, name: str = "a.png", case_id: str = "a.png"
) -> CaseRecord:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), pixels)
    cv2.imwrite(str(folder / f"{name}_mask.png"), truth.astype(np.uint8) * 255)
    return CaseRecord(case_id, "train", folder / name, folder / f"{name}_mask.png")


def grey(*, seed: int = 0, size_hw: tuple[int, int] = (2, 4)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size_hw).astype(np.uint8)


def hash_of(record: CaseRecord) -> str:
    return hash_case(read_case(record)[0])


def test_hash_does_not_depend_on_the_file_format(tmp_path: Path):
    png = write_case(tmp_path, grey(), TRUTH, name="a.png")
    tiff = write_case(tmp_path, grey(), TRUTH, name="a.tif")
    assert png.image_path.read_bytes() != tiff.image_path.read_bytes()
    assert hash_of(png) == hash_of(tiff)


def test_hash_changes_with_one_grey_value(tmp_path: Path):
    changed = grey()
    changed[1, 3] ^= 1
    assert hash_of(write_case(tmp_path, grey(), TRUTH)) != hash_of(write_case(tmp_path, changed, TRUTH))


def test_hash_changes_with_one_pixel_of_truth(tmp_path: Path):
    changed = TRUTH.copy()
    changed[1, 3] = True
    assert hash_of(write_case(tmp_path, grey(), TRUTH)) != hash_of(write_case(tmp_path, grey(), changed))


def test_hash_tells_the_same_bytes_in_another_shape_or_depth_apart(tmp_path: Path):
    flat, eight = np.zeros((2, 4), dtype=np.uint8), np.ones((2, 4), dtype=bool)
    hashes = {
        hash_of(write_case(tmp_path, flat, eight)),
        hash_of(write_case(tmp_path, flat.reshape(4, 2), eight.reshape(4, 2))),
        hash_of(write_case(tmp_path, np.zeros((2, 4), dtype=np.uint16), eight)),
    }
    assert len(hashes) == 3


def test_hash_of_a_part_depends_on_names_and_cases_but_not_on_their_order():
    hashes = {"a": "1" * 64, "b": "2" * 64}
    assert hash_part(hashes) == hash_part({"b": "2" * 64, "a": "1" * 64})
    others = [{"a": "2" * 64, "b": "1" * 64}, {"a": "1" * 64}, {"a": "1" * 64, "c": "2" * 64}, {}]
    assert len({hash_part(each) for each in (hashes, *others)}) == 5

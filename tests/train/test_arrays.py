from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.dataset import CaseRecord, read_case
from tumortrace.data.geometry import Circle
from tumortrace.errors import DataError
from tumortrace.train.arrays import hash_case, hash_part, prepare_part

RECIPE = Recipe(size_hw=(4, 8))

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


def test_shapes_types_and_standardised_values(tmp_path: Path):
    records = (
        write_case(tmp_path, grey(size_hw=(9, 5)), np.ones((9, 5), dtype=bool), name="a.png", case_id="a"),
        write_case(tmp_path, grey(size_hw=(3, 20)) // 8, np.ones((3, 20), dtype=bool), name="b.png", case_id="b"),
    )
    part = prepare_part(records, RECIPE, name="TRAIN")
    assert part.images.shape == (2, 1, 4, 8)
    assert part.images.dtype == torch.float32
    assert part.truths.shape == (2, 4, 8)
    assert part.truths.dtype == torch.uint8
    assert len(part) == 2
    assert not part.findings
    for image in part.images:
        assert image.mean().item() == pytest.approx(0, abs=1e-6)
        assert image.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_a_constant_picture_is_all_zeros(tmp_path: Path):
    record = write_case(tmp_path, np.full((2, 4), 90, dtype=np.uint8), TRUTH)
    assert prepare_part((record,), RECIPE, name="TRAIN").images.abs().max() == 0


def test_truth_twice_as_large_repeats_each_pixel(tmp_path: Path):
    part = prepare_part((write_case(tmp_path, grey(), TRUTH),), RECIPE, name="TRAIN")
    assert part.truths[0].tolist() == [
        [0, 0, 1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0],
    ]


def test_truth_stays_binary_at_any_ratio(tmp_path: Path):
    truth = grey(seed=3, size_hw=(11, 7)) > 127
    part = prepare_part((write_case(tmp_path, grey(size_hw=(11, 7)), truth),), RECIPE, name="TRAIN")
    assert part.truths.unique().tolist() == [0, 1]


def test_an_unreadable_case_is_left_out_with_a_finding(tmp_path: Path):
    first = write_case(tmp_path, grey(seed=1), TRUTH, name="a.png", case_id="TRAIN/a.png")
    broken = write_case(tmp_path, grey(seed=2), TRUTH, name="b.png", case_id="TRAIN/b.png")
    last = write_case(tmp_path, grey(seed=3), ~TRUTH, name="c.png", case_id="TRAIN/c.png")
    broken.image_path.write_bytes(broken.image_path.read_bytes()[:40])

    part = prepare_part((first, broken, last), RECIPE, name="TRAIN")

    assert list(part.hashes) == ["TRAIN/a.png", "TRAIN/c.png"]
    (finding,) = part.findings
    assert (finding.kind, finding.severity, finding.file) == ("unreadable", "left out", "TRAIN/b.png")
    alone = prepare_part((last,), RECIPE, name="TRAIN")
    assert torch.equal(part.images[1], alone.images[0])
    assert torch.equal(part.truths[1], alone.truths[0])


def test_a_warning_leaves_its_case_in(tmp_path: Path):
    written = write_case(tmp_path, grey(), TRUTH)
    record = CaseRecord("a.png", "train", written.image_path, (Circle((0.0, 0.0), 2.5),))
    part = prepare_part((record,), RECIPE, name="TRAIN")
    assert len(part) == 1
    assert [finding.kind for finding in part.findings] == ["region-outside"]


def test_no_cases_give_empty_arrays():
    part = prepare_part((), RECIPE, name="VAL")
    assert part.images.shape == (0, 1, 4, 8)
    assert part.truths.shape == (0, 4, 8)
    assert len(part) == 0
    assert part.hashes == {}


def test_not_one_readable_case_ends_the_run(tmp_path: Path):
    record = CaseRecord("TRAIN/gone.png", "train", tmp_path / "gone.png", tmp_path / "gone_mask.png")
    with pytest.raises(DataError, match=r"^TRAIN: not one of 2 cases can be read; first: TRAIN/gone\.png: "):
        prepare_part((record, record), RECIPE, name="TRAIN")


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

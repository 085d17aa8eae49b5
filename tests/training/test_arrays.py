from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.cases import CaseRecord
from tumortrace.data.geometry import Circle
from tumortrace.errors import DataError
from tumortrace.progress import show_progress
from tumortrace.training import large_arrays
from tumortrace.training.arrays import evenly_spaced, prepare_part, prepare_training_part

RECIPE = Recipe(size_hw=(4, 8))

TRUTH = np.array([[0, 1, 1, 0], [0, 0, 1, 0]], dtype=bool)  # 2 rows, 4 columns


def write_case(
    folder: Path,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    *,
    name: str = "a.png",
    case_id: str = "a.png",
    source: str = "",
) -> CaseRecord:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), pixels)
    cv2.imwrite(str(folder / f"{name}_mask.png"), truth.astype(np.uint8) * 255)
    return CaseRecord(case_id, "train", folder / name, folder / f"{name}_mask.png", source=source)


def grey(*, seed: int = 0, size_hw: tuple[int, int] = (2, 4)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size_hw).astype(np.uint8)


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
    first = write_case(tmp_path, grey(seed=1), TRUTH, name="a.png", case_id="TRAIN/a.png", source="x")
    broken = write_case(tmp_path, grey(seed=2), TRUTH, name="b.png", case_id="TRAIN/b.png")
    last = write_case(
        tmp_path, grey(seed=3, size_hw=(80, 60)), np.ones((80, 60), dtype=bool), case_id="c", name="c.png", source="z"
    )
    broken.image_path.write_bytes(broken.image_path.read_bytes()[:40])

    part = prepare_part((first, broken, last), RECIPE, name="TRAIN")

    assert list(part.hashes) == ["TRAIN/a.png", "c"]
    (finding,) = part.findings
    assert (finding.kind, finding.severity, finding.file) == ("unreadable", "left out", "TRAIN/b.png")
    alone = prepare_part((last,), RECIPE, name="TRAIN")
    assert torch.equal(part.images[1], alone.images[0])
    assert torch.equal(part.truths[1], alone.truths[0])
    assert part.sources == ("x", "z")
    assert part.features[1] == alone.features[0]
    assert part.acquisitions[1] == alone.acquisitions[0]
    assert (part.features[0], part.acquisitions[0]) != (part.features[1], part.acquisitions[1])


def test_a_warning_leaves_its_case_in(tmp_path: Path):
    written = write_case(tmp_path, grey(), TRUTH)
    record = CaseRecord("a.png", "train", written.image_path, (Circle((0.0, 0.0), 2.5),))
    part = prepare_part((record,), RECIPE, name="TRAIN")
    assert len(part) == 1
    assert [finding.kind for finding in part.findings] == ["region-outside"]


def test_no_more_memory_is_taken_than_the_arrays_hold(tmp_path: Path):
    record = write_case(tmp_path, grey(), TRUTH)
    recipe = Recipe(size_hw=(256, 128))
    tracemalloc.start()
    try:
        part = prepare_part((record,) * 30, recipe, name="TRAIN")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert part.images.is_contiguous()
    assert peak_bytes < 1.5 * (part.images.nbytes + part.truths.nbytes)


def test_slices_that_a_file_holds_are_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first = write_case(tmp_path, grey(seed=1), TRUTH, name="a.png", case_id="a")
    broken = CaseRecord("b", "train", tmp_path / "gone.png", tmp_path / "gone_mask.png")
    last = write_case(tmp_path, grey(seed=3), TRUTH[:, ::-1], name="c.png", case_id="c")
    records = (first, broken, last)
    in_memory = prepare_part(records, RECIPE, name="TRAIN")
    monkeypatch.setattr(large_arrays, "memory_bytes", lambda: 1)
    with show_progress():
        parts = [
            prepare_part(records, RECIPE, name="TRAIN", near=tmp_path),
            prepare_training_part(records, RECIPE, near=tmp_path)[0],
        ]
    assert capsys.readouterr().err.count("too much for a memory") == 4  # slices and masks of both
    for part in parts:
        assert len(part) == 2
        assert torch.equal(part.images, in_memory.images)
        assert torch.equal(part.truths, in_memory.truths)
        assert part.with_tumour.tolist() == [True, True]


def test_no_cases_give_empty_arrays():
    part = prepare_part((), RECIPE, name="VAL")
    assert part.images.shape == (0, 1, 4, 8)
    assert part.truths.shape == (0, 4, 8)
    assert len(part) == 0
    assert part.hashes == {}


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, "a"), (2, "ag"), (3, "adg"), (4, "aceg"), (5, "acdeg"), (7, "abcdefg"), (9, "abcdefg")]
)
def test_some_items_are_spaced_evenly_from_the_first_to_the_last(count: int, chosen: str):
    assert evenly_spaced("abcdefg", count) == list(chosen)
    assert evenly_spaced("", count) == []


def test_not_one_readable_case_ends_the_run(tmp_path: Path):
    record = CaseRecord("TRAIN/gone.png", "train", tmp_path / "gone.png", tmp_path / "gone_mask.png")
    with pytest.raises(DataError, match=r"^TRAIN: not one of 2 cases can be read; first: TRAIN/gone\.png: "):
        prepare_part((record, record), RECIPE, name="TRAIN")

"""The lookup table copies the right mask the right way round; all background scores what it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.data.dataset import Case, CaseRecord
from tumortrace.data.slice import Slice, write_png
from tumortrace.errors import DataError
from tumortrace.trust.baselines import NearestMask, score_all_background
from tumortrace.trust.metrics import PixelCounts, count_pixels
from tumortrace.trust.similarity import ORIENTATIONS, orient

DrawHead = Callable[..., NDArray[np.uint8]]


def boot(size_hw: tuple[int, int] = (170, 140)) -> NDArray[np.bool_]:
    """A mask off the centre that no turn or flip maps on itself."""
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[40:110, 30:50] = True
    mask[90:110, 50:75] = True
    return mask


def write_case(folder: Path, name: str, pixels: NDArray[np.uint8], truth: NDArray[np.bool_]) -> CaseRecord:
    write_png(folder / f"{name}.png", pixels)
    write_png(folder / f"{name}_mask.png", truth.astype(np.uint8) * np.uint8(255))
    return CaseRecord(f"TRAIN/{name}.png", "train", folder / f"{name}.png", folder / f"{name}_mask.png")


def write_training(folder: Path, draw_head: DrawHead) -> list[CaseRecord]:
    """Two other slices with the whole frame as mask, around the slice with the boot; the first of all is broken."""
    broken = CaseRecord("TRAIN/broken.png", "train", folder / "broken.png", folder / "broken_mask.png")
    everything = np.ones((170, 140), dtype=np.bool_)
    return [
        broken,
        write_case(folder, "before", draw_head(2), everything),
        write_case(folder, "boot", draw_head(1), boot()),
        write_case(folder, "after", draw_head(3), everything),
    ]


@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_mask_of_a_turned_and_resized_copy_is_found_and_fits(
    tmp_path: Path,
    draw_head: DrawHead,
    turns: int,
    flip: bool,  # noqa: FBT001 - a parameter
):
    nearest = NearestMask(write_training(tmp_path, draw_head))
    size_wh = (230, 205)
    pixels = cv2.resize(orient(draw_head(1), turns=turns, flip=flip), size_wh, interpolation=cv2.INTER_LINEAR)
    turned = np.ascontiguousarray(orient(boot(), turns=turns, flip=flip)).astype(np.uint8)
    truth = cv2.resize(turned, size_wh, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    mask, case_id, match = nearest.predict(np.asarray(pixels))
    assert mask.dtype == np.bool_
    assert mask.shape == (205, 230)
    assert case_id == "TRAIN/boot.png"
    assert (match.turns, match.flip) == (turns, flip)
    assert match.similarity > 0.9
    assert count_pixels(mask, truth).dice > 0.9


def test_training_slice_itself_gets_its_own_mask(tmp_path: Path, draw_head: DrawHead):
    mask, _, match = NearestMask(write_training(tmp_path, draw_head)).predict(draw_head(1))
    assert np.array_equal(mask, boot())
    assert match.similarity == pytest.approx(1.0, abs=1e-5)


def test_nothing_is_copied_outside_the_head(tmp_path: Path, draw_head: DrawHead):
    nearest = NearestMask(write_training(tmp_path, draw_head))
    mask, case_id, _ = nearest.predict(np.pad(draw_head(2), ((50, 0), (0, 60))))
    assert case_id == "TRAIN/before.png"
    assert mask.any()
    assert not mask[:50].any()
    assert not mask[:, 140:].any()


def test_training_part_that_cannot_be_read_is_an_error(tmp_path: Path):
    record = CaseRecord("TRAIN/none.png", "train", tmp_path / "none.png", tmp_path / "none_mask.png")
    with pytest.raises(DataError, match="not one of 2 training cases can be read"):
        NearestMask([record, record])


def test_all_background_misses_all_tumour_and_nothing_else(tmp_path: Path):
    truth = np.zeros((3, 5), dtype=np.bool_)
    truth[1, 1:4] = True
    record = CaseRecord("x.png", "test", tmp_path / "x.png", tmp_path / "x_mask.png")
    case = Case(record, Slice(np.zeros((3, 5), dtype=np.uint8), "x.png"), truth)
    assert score_all_background(case) == PixelCounts(tp=0, fp=0, fn=3, tn=12)

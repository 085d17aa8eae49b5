"""The lookup table copies the right mask the right way round; the others score what they must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.described import describe_cases
from tumortrace.copies.lookup import HeadFrame, copy_mask
from tumortrace.copies.similarity import ORIENTATIONS, References, orient, signature
from tumortrace.copies.training_index import TrainingIndex, build_training_index
from tumortrace.data.cases import Case, CaseRecord, read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.data.slice import Slice
from tumortrace.evaluation.baselines import Baselines, find_brightest_blob, mean_head_mask
from tumortrace.metrics.overlap import PixelCounts, count_pixels

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


def boot(size_hw: tuple[int, int] = (170, 140)) -> NDArray[np.bool_]:
    """A mask off the centre that no turn or flip maps on itself."""
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[40:110, 30:50] = True
    mask[90:110, 50:75] = True
    return mask


@pytest.fixture
def memory(draw_head: DrawHead, write_case: WriteCase) -> TrainingIndex:
    """Two other slices with the whole frame as mask, around the slice with the boot."""
    everything = np.ones((170, 140), dtype=np.bool_)
    records = [write_case(f"s{seed}", draw_head(seed), boot() if seed == 1 else everything) for seed in (2, 1, 3)]
    return build_training_index(describe_cases(records))


def copy_nearest(pixels: NDArray[np.uint8], memory: TrainingIndex) -> tuple[NDArray[np.bool_], str]:
    (match,) = References(memory.head_signatures()).find_nearest(signature(pixels)[None])
    return copy_mask(match, memory.head_masks[match.index], HeadFrame.of_head(pixels)), memory.names[match.index]


@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_mask_of_a_turned_and_resized_copy_is_found_and_fits(
    memory: TrainingIndex,
    draw_head: DrawHead,
    turns: int,
    flip: bool,  # noqa: FBT001 - a parameter
):
    size_wh = (230, 205)
    pixels = cv2.resize(orient(draw_head(1), turns=turns, flip=flip), size_wh, interpolation=cv2.INTER_LINEAR)
    turned = np.ascontiguousarray(orient(boot(), turns=turns, flip=flip)).astype(np.uint8)
    truth = cv2.resize(turned, size_wh, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    mask, name = copy_nearest(np.asarray(pixels, dtype=np.uint8), memory)
    assert mask.dtype == np.bool_
    assert mask.shape == (205, 230)
    assert name == "s1.png"
    assert count_pixels(mask, truth).dice > 0.9


def test_nothing_is_copied_outside_the_head(memory: TrainingIndex, draw_head: DrawHead):
    mask, name = copy_nearest(np.pad(draw_head(2), ((50, 0), (0, 60))), memory)
    assert name == "s2.png"
    assert mask.any()
    assert not mask[:50].any()
    assert not mask[:, 140:].any()


def test_values_are_laid_into_the_head_alone():
    place = HeadFrame((6, 9), (2, 1, 4, 3))  # column 2, row 1, 4 wide, 3 high
    laid = place.lay(np.array([[7.0, 7.0], [7.0, 7.0]]))
    assert laid.shape == (6, 9)
    assert (laid[1:4, 2:6] == 7).all()
    assert laid.sum() == 7 * 12


def test_the_mean_mask_is_cut_where_it_fits_the_training_masks_best(memory: TrainingIndex):
    mean, level = mean_head_mask(memory)
    assert mean.max() == pytest.approx(1.0)
    assert mean.min() == pytest.approx(2 / 3)
    # Two of three masks are everything: cutting below 2/3 takes all of the head, which fits them perfectly.
    assert level <= 2 / 3


def test_the_brightest_blob_is_found_whatever_the_bits(draw_head: DrawHead):
    pixels = cv2.GaussianBlur(draw_head(1), (0, 0), 9)
    blob = np.zeros(pixels.shape, dtype=np.bool_)
    blob[70:100, 50:75] = True
    pixels = np.where(blob, 255, pixels // 2).astype(np.uint8)
    for each in (pixels, pixels.astype(np.uint16) * 200):
        assert count_pixels(find_brightest_blob(each), blob).dice > 0.9


@pytest.mark.parametrize(
    "pixels", [np.zeros((5, 7), np.uint8), np.full((5, 7), 9, np.uint16), np.ones((1, 1), np.uint8)]
)
def test_a_constant_picture_has_no_brightest_blob(pixels: NDArray[np.uint8]):
    blob = find_brightest_blob(pixels)
    assert blob.shape == pixels.shape
    assert not blob.any()


def test_every_baseline_is_scored(memory: TrainingIndex, draw_head: DrawHead):
    record = CaseRecord("x", "", Path("x.png"), None)
    case = Case(record, Slice(draw_head(1), "x"), boot())
    scores = Baselines(memory).score(case)
    assert set(scores) == {"all_background", "brightest_blob", "mean_mask", "nearest_training_mask"}
    area = int(boot().sum())
    assert scores["all_background"] == PixelCounts(tp=0, fp=0, fn=area, tn=170 * 140 - area)
    assert scores["nearest_training_mask"].dice > 0.98
    assert set(Baselines(None).score(case)) == {"all_background", "brightest_blob"}


def test_copying_beats_everything_on_the_given_split_of_br35h(br35h: Path):
    dataset = open_dataset(br35h)
    baselines = Baselines(build_training_index(describe_cases(dataset.select("train"))))
    cases = [read_case(record)[0] for record in dataset.select("val")[::8]]
    dices = {name: [] for name in ("nearest_training_mask", "mean_mask", "brightest_blob")}
    for case in cases:
        scores = baselines.score(case)
        for name, values in dices.items():
            values.append(scores[name].dice)
    means = {name: np.mean(values) for name, values in dices.items()}
    assert means["nearest_training_mask"] > 0.85 > means["brightest_blob"] > means["mean_mask"] > 0.1

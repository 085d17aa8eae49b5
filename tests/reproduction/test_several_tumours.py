"""Shapes and lesions by hand, what is pasted and what is repeated; and both parts of the experiment from end to end."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from reproduction.by_lesions import (
    ScoredSlice,
    compactness,
    count_components,
    mean_compactness,
    read_crossval,
    tabulate_by_lesions,
)
from reproduction.pasted_lesions import inside_head, paste, paste_slices
from reproduction.several_tumours import (
    ARMS,
    OVERSAMPLED,
    PASSES,
    PASTED,
    PLAIN,
    draw,
    finish_training,
    lay_out,
    make_arm,
    oversample,
    summarise,
)
from reproduction.size import SIZES, SMALL
from reproduction.tables import read_table

from reproduction import by_lesions, pasted_lesions, several_tumours
from tumortrace.config import load_config
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import open_datasets
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import DataError
from tumortrace.evaluation.evaluate import Evaluation
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.metrics.lesions import LesionCounts
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.training.arrays import PreparedPart

SIDE = 96
TINY = ("recipe.size_hw=[64, 64]", "network.widths=[4, 8, 8]", "training.device=cpu", "training.threads=1")


def disk(row: int, column: int, radius: float, side: int = SIDE) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def head(*lesions: np.ndarray, grey: float = 0.9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A round head on black with bright lesions, and their united truth."""
    truth = np.any([np.zeros((SIDE, SIDE), bool), *lesions], axis=0)
    noise = np.random.default_rng(seed).normal(0, 0.02, truth.shape)
    image = np.where(disk(48, 48, 40), np.where(truth, grey, 0.5) + noise, 0.0).astype(np.float32)
    return image, truth


def part_of(*slices: tuple[np.ndarray, np.ndarray]) -> PreparedPart:
    images = torch.from_numpy(np.stack([image for image, _ in slices])).unsqueeze(1)
    truths = torch.from_numpy(np.stack([truth for _, truth in slices]).astype(np.uint8))
    names = [f"y{number}.jpg" for number in range(len(slices))]
    return PreparedPart(
        images, truths, ("data",) * len(slices), {name: name for name in names}, (None,) * len(slices), ()
    )


@pytest.fixture
def part() -> PreparedPart:
    """Three slices of one lesion and one of two."""
    return part_of(
        head(disk(36, 40, 6), seed=1),
        head(disk(60, 50, 5), seed=2),
        head(disk(48, 30, 4), disk(48, 62, 5), seed=3),
        head(disk(50, 60, 7), seed=4),
    )


def test_compactness_of_a_square_by_hand():
    square = np.zeros((20, 20), dtype=bool)
    square[4:14, 5:15] = True  # 36 steps straight on along the centres, 4 turns
    assert compactness(square) == pytest.approx(4 * math.pi * 100 / (0.98 * 36 - 0.091 * 4 + math.pi) ** 2)
    large = np.ones((400, 400), dtype=bool)
    assert compactness(large) == pytest.approx(math.pi / 4 / 0.98**2, abs=0.005)


@pytest.mark.parametrize("radius", [8.5, 15.5, 40])
def test_compactness_of_a_disk_is_about_one(radius: float):
    assert compactness(disk(48, 48, radius)) == pytest.approx(1, abs=0.05)


def test_compactness_does_not_depend_on_the_direction():
    upright, turned = (np.zeros((300, 300), dtype=np.uint8) for _ in range(2))
    cv2.fillPoly(upright, [np.array([(100, 50), (140, 50), (140, 250), (100, 250)])], 1)
    corners = cv2.boxPoints(((150.0, 150.0), (40.0, 200.0), 30.0)).round().astype(np.int32)
    cv2.fillPoly(turned, [corners], 1)
    assert compactness(upright > 0) == pytest.approx(compactness(turned > 0), rel=0.06)


def test_compactness_of_a_line_and_of_a_pixel():
    line = np.zeros((5, 200), dtype=bool)
    line[2, 10:190] = True
    assert compactness(line) < 0.02
    pixel = np.zeros((5, 5), dtype=bool)
    pixel[2, 2] = True
    assert compactness(pixel) == 1.0


def test_the_mean_over_lesions_does_not_fall_with_their_number():
    one, two = disk(30, 30, 10), disk(30, 30, 10) | disk(70, 70, 10)
    assert mean_compactness(two) == pytest.approx(mean_compactness(one))
    assert math.isnan(mean_compactness(np.zeros((4, 4), dtype=bool)))


def test_components_are_counted_across_corners():
    truths = torch.zeros(3, 4, 6, dtype=torch.uint8)
    truths[1, 0, 0] = truths[1, 1, 1] = 1  # touch at a corner: one lesion
    truths[2, 0, 0] = truths[2, 2, 2] = truths[2, 0, 5] = 1
    assert count_components(truths).tolist() == [0, 1, 3]


def test_oversampling_repeats_slices_of_several_lesions_exactly():
    indices = oversample(np.array([1, 2, 0, 3]), times=3)
    assert indices.tolist() == [0, 1, 1, 1, 2, 3, 3, 3]
    assert oversample(np.array([1, 2]), times=1).tolist() == [0, 1]
    twice = lay_out(indices, 16, np.random.default_rng(0))
    assert np.bincount(twice).tolist() == [2, 6, 2, 6]


def test_what_is_left_of_the_last_pass_is_dropped():
    laid = lay_out(np.arange(5), 12, np.random.default_rng(0))
    assert sorted(laid[:5].tolist()) == sorted(laid[5:10].tolist()) == [0, 1, 2, 3, 4]
    assert len(set(laid[10:].tolist())) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_pasted_lesion_lies_in_the_head_and_leaves_the_own_one_alone(seed: int):
    image, truth = head(disk(36, 40, 6), seed=1)
    donor = head(disk(70, 60, 5), seed=2)
    result = paste((image, truth), donor, np.random.default_rng(seed))
    assert result is not None
    changed, united = result
    new = united & ~truth
    assert (united | truth == united).all()
    assert new.sum() == donor[1].sum()
    assert cv2.connectedComponents(united.astype(np.uint8), connectivity=8)[0] - 1 == 2
    assert (new <= inside_head(image, depth=pasted_lesions.DEPTH)).all()
    np.testing.assert_array_equal(changed[truth], image[truth])
    np.testing.assert_array_equal(changed[~pasted_lesions.widen(new, 3)], image[~pasted_lesions.widen(new, 3)])
    assert changed[new].mean() > image[new].mean() + 0.2  # as much brighter than its surroundings as it was


def test_a_pasted_lesion_takes_the_brightness_of_its_place():
    target, donor = head(disk(36, 40, 6), seed=1), head(disk(60, 50, 6), seed=2)
    results = [paste(target, (image, donor[1]), np.random.default_rng(0)) for image in (donor[0], 0.7 * donor[0] + 0.1)]
    assert all(result is not None for result in results)
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5)  # the donor's own scale does not matter


def test_the_head_is_found_and_a_picture_without_one_is_all_inside():
    image, _ = head()
    whole, deep = inside_head(image, depth=0), inside_head(image, depth=0.5)
    assert not (deep & ~whole).any()
    assert 0.8 < whole.sum() / disk(48, 48, 40).sum() < 1.2
    assert 0.1 < deep.sum() / whole.sum() < 0.5
    assert inside_head(np.zeros((32, 32), dtype=np.float32), depth=0.2).all()


def test_a_slice_without_room_is_skipped_and_counted():
    full = head(disk(48, 48, 30), seed=1)
    assert paste(full, head(disk(48, 48, 12), seed=2), np.random.default_rng(0)) is None
    images, truths, skipped = paste_slices(
        part_of(full, head(disk(48, 48, 28))), ["a", "b"], 2, np.random.default_rng(0)
    )
    assert images.shape == truths.shape == (0, SIDE, SIDE)
    assert skipped == 2 * pasted_lesions.TRIES


def test_copies_of_a_slice_give_it_no_lesion(part: PreparedPart):
    images, _, skipped = paste_slices(part, ["a"] * 4, 3, np.random.default_rng(0))
    assert (len(images), skipped) == (0, 0)


def test_pasting_depends_on_the_seed_alone(part: PreparedPart):
    before = part.images.clone(), part.truths.clone()
    first, again, other = (paste_slices(part, list("abcd"), 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert count_components(torch.from_numpy(first[1])).tolist() == [2] * 4
    assert first[0].std(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    assert torch.equal(part.images, before[0])
    assert torch.equal(part.truths, before[1])


def test_all_arms_are_as_long_and_differ_in_what_they_hold(part: PreparedPart):
    arms = {arm: make_arm(arm, part, list("abcd"), seed=0) for arm in ARMS}
    assert {len(arm) for arm in arms.values()} == {PASSES * len(part)}
    assert len({arm.hashes["drawn"] for arm in arms.values()}) == 3
    several = {name: (count_components(arm.truths) > 1).sum() for name, arm in arms.items()}
    assert several[PLAIN] == PASSES
    assert several[OVERSAMPLED] > several[PLAIN] < several[PASTED]
    as_they_are = {image.numpy().tobytes() for image in part.images}
    assert {image.numpy().tobytes() for image in arms[OVERSAMPLED].images} <= as_they_are
    assert not {image.numpy().tobytes() for image in arms[PASTED].images} <= as_they_are


def test_gains_by_hand():
    plain = [
        {"group": "a", "lesions": 1, "lesions_found": 1, "dice": 0.5},
        {"group": "b", "lesions": 2, "lesions_found": 1, "dice": 0.25},
        {"group": "c", "lesions": 3, "lesions_found": 1, "dice": 0.5},
        {"group": "d", "lesions": 0, "lesions_found": 0, "dice": math.nan},
    ]
    better = [row | {"lesions_found": row["lesions"], "dice": row["dice"] + 0.125 * row["lesions"]} for row in plain]
    rows = {(row["arm"], row["held_out"]): row for row in summarise({PLAIN: plain, PASTED: better})}
    several = rows[PASTED, "several lesions"]
    assert (several["slices"], several["groups"], several["lesions"]) == (2, 2, 5)
    assert several["dice_gain"] == pytest.approx((0.25 + 0.375) / 2)
    assert several["found"] == 1.0
    assert several["found_gain"] == pytest.approx(3 / 5)
    assert several["dice_gain_low"] < several["dice_gain"] < several["dice_gain_high"]
    assert rows[PLAIN, "all"]["slices"] == 4
    assert rows[PLAIN, "all"]["dice"] == pytest.approx(1.25 / 3)
    assert rows[PLAIN, "all"]["dice_gain"] == 0.0
    assert math.isnan(rows[PLAIN, "all"]["found_gain_low"])


def test_the_table_by_lesions_by_hand():
    slices = [
        ScoredSlice("one", "a", 1, 1, 0.9, 0.1, 0.8),
        ScoredSlice("one", "b", 1, 0, 0.6, 0.1, 0.0),
        ScoredSlice("one", "c", 4, 2, 0.3, 0.1, 0.4),
        ScoredSlice("two", "d", 2, 2, 0.2, 0.1, 0.6),
    ]
    rows = {(row["source"], row["value"]): row for row in tabulate_by_lesions(slices)}
    assert rows["all", "1 lesion"]["dice"] == pytest.approx(0.4)
    assert rows["all", "all"]["share_of_lesions_found"] == pytest.approx(5 / 8)
    assert rows["one", "3 or more"]["slices"] == 1
    assert rows["two", "3 or more"]["slices"] == 0
    assert math.isnan(rows["two", "3 or more"]["dice"])
    thirds = [rows["one", label]["dice"] for label in by_lesions.THIRDS]
    assert thirds == pytest.approx([0.4, 0.0, 0.8])


def write_crossval(folder, dataset, make_score, **fields: str):
    """Scores as a cross-validation leaves them: every slice is clean and has a Dice of one half."""
    scores = []
    for record, case, _ in read_cases(dataset.records):
        lesions = count_components(torch.from_numpy(case.truth[None].astype(np.uint8))).item()
        counts = LesionCounts(lesions, 1, 1, 1)
        own = {"lesions": counts, "sha256": hash_case(case), "file": record.case_id} | fields
        scores.append(make_score(own.pop("file"), PixelCounts(1, 1, 1, 1), **own))
    write_evaluation(Evaluation(tuple(scores), (), {"name": "m", "sha256": ""}, 0.5), folder)


def test_a_crossval_is_scored_on_its_own_slices_alone(phantom_data, make_score, tmp_path):
    dataset = open_datasets([phantom_data])
    write_crossval(tmp_path / "cv", dataset, make_score)
    slices = read_crossval(tmp_path / "cv", dataset)
    assert len(slices) == 19
    assert sum(each.lesions > 1 for each in slices) == 4
    assert all(0 < each.compactness <= 1 for each in slices)
    write_crossval(tmp_path / "elsewhere", dataset, make_score, file="elsewhere/y1.jpg")
    with pytest.raises(DataError, match="lack"):
        read_crossval(tmp_path / "elsewhere", dataset)
    write_crossval(tmp_path / "changed", dataset, make_score, sha256="of another truth")
    with pytest.raises(DataError, match="is not the slice"):
        read_crossval(tmp_path / "changed", dataset)
    with pytest.raises(DataError, match=r"summary\.json: cannot be read"):
        read_crossval(tmp_path, dataset)


def test_both_parts_from_end_to_end_and_nothing_twice(phantom_data, make_score, tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "small", replace(SMALL, settings=TINY))
    write_crossval(tmp_path / "cv", open_datasets([phantom_data]), make_score)
    ask = {"out": tmp_path / "runs", "into": tmp_path, "epochs": PASSES, "slices": 0, "negatives": None}
    several_tumours.main([phantom_data], crossval=tmp_path / "cv", train=phantom_data, **ask)
    files = sorted(path.name for path in (tmp_path / "results" / "several_tumours").iterdir())
    assert files == sorted(f"{arm}-fold-{fold}.csv" for arm in ARMS for fold in (1, 2, 3))
    rows = read_table(tmp_path / "results" / "several_tumours.csv")
    assert [(row["arm"], row["slices"]) for row in rows if row["held_out"] == "all"] == [
        (arm, "14") for arm in ARMS
    ]  # TEST is not opened
    assert read_table(tmp_path / "results" / "by_lesions.csv")[0]["slices"] == "19"
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".png", ".svg"}
    monkeypatch.setattr(several_tumours, "fit", None)  # calling it would fail
    several_tumours.main([], crossval=None, train=phantom_data, **ask)
    with pytest.raises(TypeError):
        several_tumours.main([], crossval=None, train=phantom_data, **ask | {"epochs": 2 * PASSES})


def test_what_is_finished_is_read(part: PreparedPart, tmp_path, monkeypatch):
    config = load_config("narrow", (*TINY, f"training.epochs={PASSES}", "recipe.size_hw=[96, 96]"))
    groups = dict(zip(part.hashes, "abcd", strict=True))
    ask = {"config": config, "run": tmp_path / "run", "path": tmp_path / "plain-fold-1.csv"}
    rows = finish_training(PLAIN, (part, part), groups, **ask)
    assert [(row["file"], row["group"], row["lesions"]) for row in rows] == [
        ("y0.jpg", "a", 1), ("y1.jpg", "b", 1), ("y2.jpg", "c", 2), ("y3.jpg", "d", 1),
    ]  # fmt: skip
    assert {row["steps"] for row in rows} == {PASSES}  # 16 slices laid out, 4 a step
    monkeypatch.setattr(several_tumours, "fit", None)
    assert finish_training(PLAIN, (part, part), groups, **ask) == rows


def test_the_figure_shows_what_there_is():
    empty, full = draw([], []), draw(tabulate_by_lesions([ScoredSlice("one", "a", 1, 1, 0.9, 0.1, 0.8)]), [])
    assert [axes.get_legend() for axes in empty.axes] == [None, None]
    assert [text.get_text() for text in full.axes[0].get_legend().get_texts()] == ["all sources", "one"]

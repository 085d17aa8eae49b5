"""The losses of reproduction/dice_collapse, by hand, by brute force and against MONAI; and the rows' machinery."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from monai.losses.dice import DiceLoss
from reproduction.collapsed_losses import (
    EPSILON,
    LOSSES,
    best_constant,
    cross_entropy,
    loss_of_constant,
    paper_dice,
)
from reproduction.dice_collapse import (
    ROWS,
    Row,
    build,
    choose_threshold,
    draw,
    mean_dice,
    outcome,
    rate_at,
    read_numbers,
    summarise,
    tabulate_constants,
    train_row,
    write_table,
)

from reproduction import dice_collapse
from tumortrace.training.arrays import PreparedPart

PROBABILITY = torch.tensor(
    [[[0.2, 0.8, 0.1], [0.4, 0.1, 0.5]], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]], dtype=torch.float64
)
TRUTH = torch.tensor([[[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 0]]])
# Of the first slice: sum(p t) 1.3, sum(p) 2.1, sum(p^2) 1.11, sum(t) 2; sum(q u) 3.2, sum(q) 3.9, sum(q^2) 2.91.
# Of the second:      sum(p t) 0.5, sum(p) 3.0, sum(p^2) 1.50, sum(t) 1; sum(q u) 2.5, sum(q) 3.0, sum(q^2) 1.50.
BY_HAND = {
    "paper": 1 - (2.6 / 3.11 + 6.4 / 6.91 + 1.0 / 2.5 + 5.0 / 6.5) / 4,
    "batch": 1 - ((3.6 + EPSILON) / (5.61 + EPSILON) + (11.4 + EPSILON) / (13.41 + EPSILON)) / 2,
    "foreground": 1 - (2.6 / 3.11 + 1.0 / 2.5) / 2,
    "unsquared": 1 - (2.6 / 4.1 + 6.4 / 7.9 + 1.0 / 4.0 + 5.0 / 8.0) / 4,
    "pooled channels": 1 - (9.0 / 10.02 + 6.0 / 9.0) / 2,
    "pooled channels, batch": 1 - (15.0 + EPSILON) / (19.02 + EPSILON),
    "pooled channels, unsquared": (1.5 / 6 + 3.0 / 6) / 2,  # the mean of abs(p - t)
    "batch foreground": 1 - (3.6 + EPSILON) / (8.1 + EPSILON),
    "cross-entropy": -math.log(0.8 * 0.8 * 0.9 * 0.6 * 0.9 * 0.5 * 0.5**6) / 12,
}
SHARES = [0.01, 0.05, 0.2, 0.4]


def constant_output(share: float, *, like: tuple[int, ...]) -> torch.Tensor:
    """Logits of a network that gives every pixel the same probability: float64 of shape ``like``, (N, 2, H, W)."""
    logits = torch.zeros(like, dtype=torch.float64)
    logits[:, 1] = math.log(share / (1 - share))
    return logits


def logits_of(probability: torch.Tensor) -> torch.Tensor:
    """Logits (N, 2, H, W) whose softmax gives these probabilities of tumour."""
    return torch.stack([(1 - probability).log(), probability.log()], dim=1)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_hand(name: str):
    expected = sum(BY_HAND[part] for part in name.split(" + "))
    assert LOSSES[name](logits_of(PROBABILITY), TRUTH).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("paper", {"squared_pred": True, "smooth_nr": 0, "smooth_dr": 0}),
        ("batch", {"squared_pred": True, "batch": True, "smooth_nr": EPSILON, "smooth_dr": EPSILON}),
        ("foreground", {"squared_pred": True, "include_background": False, "smooth_nr": 0, "smooth_dr": 0}),
        ("unsquared", {"smooth_nr": 0, "smooth_dr": 0}),
        ("batch foreground", {"include_background": False, "batch": True}),
    ],
)
def test_losses_are_monais_where_it_has_them(name: str, options: dict[str, bool]):
    rng = np.random.default_rng(4)
    logits = torch.from_numpy(rng.normal(size=(3, 2, 5, 7)))
    truths = torch.from_numpy(rng.integers(0, 2, size=(3, 5, 7)))
    reference = DiceLoss(softmax=True, to_onehot_y=True, **options)(logits, truths.unsqueeze(1))
    assert LOSSES[name](logits, truths).item() == pytest.approx(reference.item(), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_output_costs_nothing(name: str):
    sure = torch.stack([30.0 - 60 * TRUTH, 60.0 * TRUTH - 30], dim=1).double()
    assert LOSSES[name](sure, TRUTH).item() == pytest.approx(0, abs=1e-9)


def test_a_slice_without_tumour_teaches_the_reports_foreground_nothing():
    logits = constant_output(0.3, like=(1, 2, 2, 3)).requires_grad_()
    LOSSES["foreground"](logits, torch.zeros(1, 2, 3, dtype=torch.int64)).backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_pooled_channels_score_all_background_by_its_share():
    nothing = constant_output(1e-12, like=(2, 2, 4, 5))
    truths = torch.zeros(2, 4, 5, dtype=torch.int64)
    truths[0, 0, :1], truths[1, 0, :3] = 1, 1
    assert LOSSES["pooled channels"](nothing, truths).item() == pytest.approx((1 / 20 + 3 / 20) / 2, rel=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("p", [0.03, 0.4, 0.9])
def test_the_loss_of_a_constant_is_the_loss(name: str, p: float):
    truths = torch.zeros(2, 4, 5, dtype=torch.int64)
    truths[0, 0, :1], truths[1, 1, :3] = 1, 1
    direct = LOSSES[name](constant_output(p, like=(2, 2, 4, 5)), truths).item()
    assert loss_of_constant(name, p, [1 / 20, 3 / 20]) == pytest.approx(direct, abs=2e-6)  # EPSILON of 4 tumour pixels


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shares", [*([share] for share in SHARES), SHARES])
def test_best_constant_by_brute_force(name: str, shares: list[float]):
    grid = np.linspace(0, 1, 100_001)
    least = grid[loss_of_constant(name, grid, shares).argmin()]
    assert best_constant(name, shares) == pytest.approx(least, abs=2e-5)


def test_the_reports_best_constant_is_the_root_of_the_odds():
    assert best_constant("paper", 0.1) == pytest.approx(1 / 4)  # odds of 1 to 9, their root 1 to 3
    assert best_constant("paper", 0.2) == pytest.approx(1 / 3)  # 1 to 4, 1 to 2
    assert best_constant("paper", 0.04) == pytest.approx(0.17, abs=0.001)
    assert loss_of_constant("paper", 1 / 4, 0.1) == pytest.approx(5 / 13)  # 1 / (2 + 2 * 0.3)
    assert loss_of_constant("paper", 0.0, 0.1) == pytest.approx(1 / 1.9)


def test_cross_entropy_of_a_certain_constant_is_infinite():
    assert np.isinf(loss_of_constant("cross-entropy", [0.0, 1.0], 0.1)).all()


def test_no_constant_marks_anything_below_one_half():
    for name in ("paper", "foreground", "unsquared", "pooled channels", "cross-entropy"):
        assert best_constant(name, 0.2) < 0.5
    assert best_constant("batch foreground", 0.2) == 1.0


def test_gradients_vanish_at_saturation_under_dice_and_not_under_cross_entropy():
    truth = torch.tensor([[[0, 1, 0], [0, 0, 0]]])
    p = 1 / (1 + math.exp(20.0))
    slopes = {}
    for loss in (paper_dice, cross_entropy):
        logits = constant_output(p, like=(1, 2, 2, 3)).requires_grad_()
        loss(logits, truth).backward()
        assert logits.grad is not None
        slopes[loss.__name__] = logits.grad[0, 1, 0, 1].item()  # of the tumour pixel's tumour logit
    # With p near 0, n = 6 pixels, one of them tumour and B = 5 not: the tumour's Dice rises by 2 / 1 for each p, the
    # background's by 2 * 2 * B / (n + B)^2 for each q less; softmax hands on p (1 - p) of it.
    assert slopes["paper_dice"] == pytest.approx(-(2 + 4 * 5 / 11**2) / 2 * p * (1 - p), rel=1e-6)
    assert abs(slopes["paper_dice"]) < 3e-9
    assert slopes["cross_entropy"] == pytest.approx(-1 / 6, rel=1e-6)


def test_the_constants_of_all_losses_are_tabled():
    rows = tabulate_constants(np.array([0.02, 0.05, 0.1]))
    assert {row["loss"] for row in rows} == set(LOSSES)
    assert all(row["loss_there"] <= min(row["loss_all_background"], row["loss_at_half"]) for row in rows)


def test_rows_have_losses_and_names_for_files():
    assert all(row.loss in LOSSES for row in ROWS.values())
    assert all(name == name.lower() and " " not in name for name in ROWS)


def test_warm_up_rises_over_a_tenth():
    assert [rate_at(Row("", warm_up=True), step, steps=20) for step in (0, 1, 2, 19)] == [5e-5, 1e-4, 1e-4, 1e-4]
    assert rate_at(Row(""), 0, steps=20) == 1e-4


def test_changes_of_the_network():
    plain, begun = (build(Row("", start=start, seed=3), share=0.2, attractor=0.5) for start in (None, "share"))
    assert begun.head.bias.tolist() == pytest.approx([0.0, math.log(0.25)])
    assert torch.equal(begun.head.weight, plain.head.weight)
    normed = build(Row("", decoder_norm=True, seed=3), share=0.2, attractor=0.5)
    added = [module for module in normed.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert [norm.num_features for norm in added] == [8, 16, 32, 64, 128, 64, 32, 16, 8]
    assert torch.equal(normed.head.weight, plain.head.weight)


def test_dice_and_threshold_by_hand():
    probability = torch.tensor([[[0.2, 0.19, 0.1], [0.18, 0.1, 0.1]]])
    truth = torch.tensor([[[True, True, False], [False, False, False]]])
    assert mean_dice(probability, truth, threshold=0.5) == 0.0
    assert mean_dice(probability, truth, threshold=0.15) == pytest.approx(4 / 5)
    assert 0.18 < choose_threshold(probability, truth) <= 0.19  # a third of the pixels


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "all background"), (9e-4, "all background"), (0.05, "some of both"), (1.0, "all tumour")]
)
def test_outcome(share: float, said: str):
    assert outcome({"above_half": share}) == said


@pytest.fixture
def part() -> PreparedPart:
    """Six slices of noise, each with a square of tumour that is brighter."""
    rng = np.random.default_rng(0)
    truths = np.zeros((6, 32, 48), dtype=np.uint8)
    truths[:, 5:12, 20:30] = 1
    images = torch.from_numpy(rng.normal(size=truths.shape).astype(np.float32) + truths).unsqueeze(1)
    return PreparedPart(images, torch.from_numpy(truths), ("data",) * 6, {}, (None,) * 6, ())


def test_a_row_is_measured_before_and_after_and_repeats_bit_for_bit(part: PreparedPart):
    _, numbers = train_row(ROWS["slow-to-1e-3"], part, part, epochs=2)
    _, again = train_row(ROWS["slow-to-1e-3"], part, part, epochs=2)
    assert [each.epoch for each in numbers] == [0, 1, 2]
    assert list(map(repr, numbers)) == list(map(repr, again))  # NaN is not equal to itself
    first, *_, last = numbers
    assert math.isnan(first.train_loss)
    assert last.held_out_loss < first.held_out_loss
    share = 70 / (32 * 48)
    assert last.probability == pytest.approx(share * last.inside + (1 - share) * last.outside, rel=1e-4)


def test_a_finished_row_is_not_trained_again(part: PreparedPart, tmp_path, monkeypatch):
    table = tmp_path / "results"
    dice_collapse._finish_row("pooled", part, part, epochs=1, table=table, out=tmp_path)
    numbers = read_numbers(table / "pooled.csv")
    assert [each["epoch"] for each in numbers] == [0, 1]
    assert (tmp_path / "pooled.safetensors").is_file()
    monkeypatch.setattr(dice_collapse, "train_row", None)  # calling it would fail
    dice_collapse._finish_row("pooled", part, part, epochs=1, table=table, out=tmp_path)
    with pytest.raises(TypeError):
        dice_collapse._finish_row("pooled", part, part, epochs=2, table=table, out=tmp_path)
    assert summarise({"pooled": numbers})[0]["learnt_from"] == 6
    assert draw(np.array([0.02, 0.05, 0.1]), {"pooled": numbers}).subfigs


def test_what_is_written_is_read(tmp_path):
    numbers = dice_collapse.EpochNumbers(1, 6, 0.25, math.nan, 0.5, 0.125, 0.75, 0.0, 0.5, 0.625, 0.1875, 1e-9)
    write_table(tmp_path / "row.csv", [asdict(numbers)])
    (read,) = read_numbers(tmp_path / "row.csv")
    assert math.isnan(read.pop("held_out_loss"))
    assert read == {key: value for key, value in asdict(numbers).items() if key != "held_out_loss"}
    assert read_numbers(tmp_path / "other.csv") == []

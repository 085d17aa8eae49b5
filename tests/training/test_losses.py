from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from tumortrace.config import Loss
from tumortrace.training.losses import make_loss

TWO_MAPS: Loss = "where_and_whether"
ALL: tuple[Loss, ...] = tuple(name for name in get_args(Loss) if not name.endswith(TWO_MAPS))


def logits_of(*probabilities: float) -> Tensor:
    """One row of pixels with these probabilities of tumour, shape (1, 2, 1, W)."""
    tumour = torch.tensor([math.log(p / (1 - p)) for p in probabilities])
    return torch.stack([torch.zeros_like(tumour), tumour])[None, :, None, :]


def truths_of(*values: int) -> Tensor:
    return torch.tensor(values)[None, None, :]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", -(math.log(0.8) + math.log(0.6) + math.log(0.9)) / 3),
        # Three pixels: 0.003 are added above and below, and half of it in Tversky's fraction.
        ("dice", 1 - (2 * (0.8 + 0.6) + 0.003) / (0.8 + 0.6 + 0.1 + 2 + 0.003)),
        # The tumour channel alone, with MONAI's 1e-5 above and below, and the cross-entropy.
        (
            "pooled_dice_cross_entropy",
            1 - (2.8 + 1e-5) / (3.5 + 1e-5) - (math.log(0.8) + math.log(0.6) + math.log(0.9)) / 3,
        ),
        ("tversky", 1 - (1.4 + 0.0015) / (1.4 + 0.3 * 0.1 + 0.7 * (0.2 + 0.4) + 0.0015)),
        # MONAI averages the focal loss over both channels, which are each other's complement.
        ("focal", -(0.04 * math.log(0.8) + 0.16 * math.log(0.6) + 0.01 * math.log(0.9)) / 6),
    ],
)
def test_values_by_hand(name: Loss, expected: float):
    value = make_loss(name)(logits_of(0.8, 0.6, 0.1), truths_of(1, 1, 0))
    assert value.item() == pytest.approx(expected, abs=2e-5)


def test_dice_and_cross_entropy_are_added():
    logits, truths = logits_of(0.8, 0.6, 0.1), truths_of(1, 1, 0)
    parts = [make_loss("dice")(logits, truths), make_loss("cross_entropy")(logits, truths)]
    assert make_loss("dice_cross_entropy")(logits, truths).item() == pytest.approx(sum(map(float, parts)))


@pytest.mark.parametrize("name", ALL)
def test_a_better_mask_costs_less(name: Loss):
    loss, truths = make_loss(name), truths_of(1, 1, 0, 0)
    costs = [
        loss(logits_of(*p), truths).item()
        for p in [(0.99, 0.99, 0.01, 0.01), (0.7, 0.6, 0.4, 0.2), (0.1, 0.2, 0.9, 0.9)]
    ]
    assert costs == sorted(costs)
    assert len(set(costs)) == 3


@pytest.mark.parametrize("name", ALL)
def test_a_slice_without_tumour_counts(name: Loss):
    loss, nothing = make_loss(name), truths_of(0, 0, 0, 0)
    clean, painted = loss(logits_of(0.01, 0.01, 0.01, 0.01), nothing), loss(logits_of(0.9, 0.9, 0.01, 0.01), nothing)
    assert clean.item() < painted.item()


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_paints_the_tumour_and_clears_the_rest(name: Loss):
    logits = logits_of(0.4, 0.6).requires_grad_()
    make_loss(name)(logits, truths_of(1, 0)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1, 0, 0] < 0 < logits.grad[0, 1, 0, 1]
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", ["dice", "tversky"])
def test_overlap_is_taken_in_each_slice_and_averaged(name: Loss):
    loss = make_loss(name)
    first, second = (logits_of(0.9, 0.1, 0.3), truths_of(1, 0, 0)), (logits_of(0.2, 0.6, 0.7), truths_of(0, 1, 1))
    together = loss(torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))
    assert together.item() == pytest.approx((loss(*first) + loss(*second)).item() / 2)


def test_pooled_overlap_is_taken_over_the_batch():
    loss = make_loss("pooled_dice_cross_entropy")
    logits = torch.cat([logits_of(0.9, 0.1), logits_of(0.2, 0.1)])
    truths = torch.cat([truths_of(1, 0), truths_of(0, 0)])
    whole = loss(logits_of(0.9, 0.1, 0.2, 0.1), truths_of(1, 0, 0, 0))
    assert loss(logits, truths).item() == pytest.approx(whole.item(), abs=1e-5)


def test_a_thousandth_of_the_frame_painted_on_a_tumour_free_slice_costs_half():
    """A slice of 1,000 pixels of which one is painted for certain: 1 - s / (1 + s) with s = 1."""
    logits = torch.full((1, 2, 1, 1000), 0.0)
    logits[:, 1] = -60.0
    logits[0, 1, 0, 7] = 60.0
    assert make_loss("dice")(logits, torch.zeros(1, 1, 1000, dtype=torch.int64)).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "where_name", "weight"),
    [(TWO_MAPS, "unified_focal", 2), ("overlap_where_and_whether", "dice_cross_entropy", 1)],
)
def test_of_two_maps_the_first_learns_where_and_the_second_whether(name: Loss, where_name: Loss, weight: int):
    where, whether, truths = logits_of(0.8, 0.6, 0.1), logits_of(0.7, 0.2, 0.3), truths_of(1, 1, 0)
    loss = make_loss(name)(torch.cat([where, whether], dim=1), truths)
    expected = weight * make_loss(where_name)(where, truths) + make_loss("dice_cross_entropy")(whether, truths)
    assert loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", [TWO_MAPS, "overlap_where_and_whether"])
def test_a_slice_without_tumour_teaches_the_second_map_alone(name: Loss):
    logits = torch.cat([logits_of(0.8, 0.6), logits_of(0.7, 0.2)], dim=1).repeat(2, 1, 1, 1).requires_grad_()
    truths = torch.tensor([[[1, 0]], [[0, 0]]])
    make_loss(name)(logits, truths).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().min() > 0
    assert not logits.grad[1, :2].any()
    assert logits.grad[1, 2:].abs().min() > 0


def test_a_batch_without_any_tumour_has_a_gradient():
    logits = torch.cat([logits_of(0.8, 0.6), logits_of(0.7, 0.2)], dim=1).requires_grad_()
    make_loss(TWO_MAPS)(logits, truths_of(0, 0)).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 2:].any()

"""Two ways that a benchmark puts side by side do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks import training
from benchmarks.load import average_quarters
from torch import Tensor, nn

from tumortrace.config import load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.training.arrays import prepare_part
from tumortrace.training.compute import Compute
from tumortrace.training.team import ALONE


class Watched(nn.Module):
    """A network that notes size and precision of what it computes."""

    def __init__(self, seen: set[tuple[object, ...]]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 1)
        self.seen = [seen]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images)
        self.seen[0].add((tuple(logits.shape[2:]), logits.dtype))
        return logits


def test_the_second_quarter_of_a_load_begins_where_the_first_one_ends():
    assert average_quarters([9, 9, 1, 3, 9, 9, 5, 7]) == (2, 6)


def test_the_training_loop_and_its_bare_arithmetic_compute_alike(phantom_data: Path, monkeypatch: pytest.MonkeyPatch):
    config = load_config("fast", [*training.ONE_FULL_EPOCH, "recipe.size_hw=[64, 64]"])
    compute = Compute(torch.device("cpu"), "bf16-mixed", ALONE)
    part = prepare_part(open_dataset(phantom_data).select("train")[:2], config.recipe, name="slices")
    bare: set[tuple[object, ...]] = set()
    monkeypatch.setattr(training, "_network", lambda _config: Watched(bare))
    training._rate_of_bare_steps(training._batches(part, config, device=compute.device), config, compute=compute)
    loop: set[tuple[object, ...]] = set()
    monkeypatch.setattr(training, "_network", lambda _config: Watched(loop))
    training._run_loop(part, config, compute=compute)
    assert bare == loop == {((64, 64), torch.bfloat16)}

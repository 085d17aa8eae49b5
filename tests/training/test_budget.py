"""Epochs that fit into a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tumortrace.config import Config
from tumortrace.training import budget
from tumortrace.training.budget import fit_epochs


def test_a_fast_computer_changes_nothing(settings: Callable[..., Config]):
    config = settings(epochs=3, epoch_slices=6)
    before = torch.get_rng_state()
    assert fit_epochs(config, slices=6, minutes=10) is config
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("seconds", "epochs", "coarse"), [(0.5, 12, 8), (1.0, 6, 5), (60.0, 1, 0)])
@pytest.mark.usefixtures("shown")
def test_a_slow_one_has_fewer_epochs(
    settings: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    epochs: int,
    coarse: int,
):
    monkeypatch.setattr(budget, "_time_slice", lambda _: seconds)
    config = settings(epochs=20, coarse_epochs=8, epoch_slices=10)
    fitted = fit_epochs(config, slices=999, minutes=1)
    changed = replace(config.training, epochs=epochs, coarse_epochs=coarse)
    assert fitted == replace(config, training=changed)
    assert f"{epochs} epoch{'s' if epochs > 1 else ''} of 20 fit into 1 min" in capsys.readouterr().err


def test_without_a_number_of_its_own_an_epoch_has_all_slices(
    settings: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(budget, "_time_slice", lambda _: 0.5)
    config = settings(epochs=20, epoch_slices=0)
    assert fit_epochs(config, slices=40, minutes=1).training.epochs == 3

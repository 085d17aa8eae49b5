"""The length of an improvement's training."""

from __future__ import annotations

import pytest

from tumortrace.improvement.settings import settings_of
from tumortrace.inference.model import open_model


@pytest.mark.parametrize(
    ("overrides", "coarse"),
    [
        ([], 4),
        (["training.epochs=20"], 4),
        (["training.epochs=3"], 1),
        (["training.epochs=1"], 0),
        (["training.epochs=3", "training.coarse_epochs=3"], 3),
    ],
)
def test_who_sets_the_epochs_alone_still_has_some_at_full_size(overrides: list[str], coarse: int):
    assert settings_of(open_model("fast"), iter(overrides)).training.coarse_epochs == coarse

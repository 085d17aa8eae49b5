"""The length of an improvement's training."""

from __future__ import annotations

import pytest

from tumortrace.errors import ConfigError
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


@pytest.mark.parametrize("change", ["recipe.threshold=0.3", "recipe.size_hw=[64, 64]"])
def test_the_recipe_of_the_model_stays(change: str):
    with pytest.raises(ConfigError, match="keeps the recipe of fast; omit settings of recipe"):
        settings_of(open_model("fast"), ["training.epochs=3", change])

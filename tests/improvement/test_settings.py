"""The length of an improvement's training."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tumortrace.config import load_config
from tumortrace.errors import ConfigError
from tumortrace.improvement.lineage import DOCUMENT
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


def test_a_training_is_short_and_the_learning_rate_is_lowered_once(tmp_path: Path):
    shipped, known = open_model("fast"), load_config("fast")
    settings = settings_of(shipped)
    training = settings.training
    assert (training.epochs, training.epoch_slices) == (8, 320)
    assert (training.keep, training.threads, training.label) == ("last", 0, "")
    assert training.learning_rate == pytest.approx(0.3 * known.training.learning_rate)
    assert settings.recipe == shipped.recipe
    assert settings.network == replace(known.network, pretrained=False)
    for suffix in (".onnx", ".safetensors"):
        shutil.copy(shipped.path.with_suffix(suffix), tmp_path)
    (tmp_path / DOCUMENT).write_text("{}")  # what an improvement leaves beside its model
    improved = open_model(str(tmp_path / "fast.onnx"))
    assert settings_of(improved).training.learning_rate == known.training.learning_rate


@pytest.mark.parametrize("change", ["recipe.threshold=0.3", "recipe.size_hw=[64, 64]"])
def test_the_recipe_of_the_model_stays(change: str):
    with pytest.raises(ConfigError, match="keeps the recipe of fast; omit settings of recipe"):
        settings_of(open_model("fast"), ["training.epochs=3", change])

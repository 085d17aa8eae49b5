"""The settings with which a model is trained further."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tumortrace.config import Config, config_names, load_config, override
from tumortrace.errors import ConfigError, ModelError
from tumortrace.improvement.lineage import DOCUMENT
from tumortrace.inference.model import Model
from tumortrace.run_folder import CONFIG
from tumortrace.training.warm_start import find_weights

EPOCHS, COARSE_EPOCHS, EPOCH_SLICES = 8, 4, 320
"""Length of a training, the same for few and for many corrected cases."""

RATE = 0.3
"""Highest learning rate, as a fraction of the one that the model was trained with."""

MINUTES = 7.0
"""Time for the epochs; with reading, comparing and scoring it stays below ten minutes on two cores."""


def settings_of(model: Model, overrides: Iterable[str] = ()) -> Config:
    """Return the settings that train a model further: its own network and recipe, and a short training.

    Thresholds, temperature and confidence stay as the model has them: nothing is fitted on what is held out. Corrected
    cases have labels of their own, so that all of their regions count.

    Args:
        model: A shipped model, or one in a run folder.
        overrides: Single settings, each ``"section.key=value"``.

    Raises:
        ModelError: The model has no weights that can be trained on, or its settings are not known.
        ConfigError: An unknown setting, or a recipe other than the model's.
    """
    find_weights(model)
    known = load_config(find_config(model))
    base = replace(known, recipe=model.recipe, network=replace(known.network, pretrained=False))
    training = replace(
        base.training,
        epochs=EPOCHS,
        coarse_epochs=COARSE_EPOCHS,
        epoch_slices=EPOCH_SLICES,
        learning_rate=base.training.learning_rate * (1 if _was_improved(model) else RATE),
        keep="last",
        threads=0,
        label="",
    )
    given = tuple(overrides)
    epochs = override(replace(base, training=training), given).training.epochs
    training = replace(training, coarse_epochs=min(COARSE_EPOCHS, epochs // 2))  # some are at full size in any case
    chosen = override(replace(base, training=training), given)
    if chosen.recipe != model.recipe:
        raise ConfigError(
            f"--set {' '.join(given)}: an improvement keeps the recipe of {model.name}; omit settings of recipe"
        )
    return chosen


def _was_improved(model: Model) -> bool:
    """Return whether a model is from such a training itself, at the lower rate."""
    return model.path.with_name(DOCUMENT.name).is_file()


def find_config(model: Model) -> str:
    """Return the configuration of a model: the file in its run folder, or the shipped one of its name.

    Raises:
        ModelError: There is none.
    """
    beside = model.path.with_name(CONFIG.name)
    if beside.is_file():
        return str(beside)
    if model.path.stem in config_names():
        return model.path.stem
    raise ModelError(f"{model.path}: its settings are not known ({CONFIG} is missing); give the folder of its run")

"""Names of the files in a run folder, and whether a run may start there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tumortrace.config import Config, load_config, to_toml
from tumortrace.errors import ConfigError

CONFIG = Path("config.toml")
"""All settings; there from the moment that training starts."""

NETWORK = Path("network.txt")
"""The network, layer by layer."""

FIRST = Path("first.safetensors")
"""The weights that the run started with, if they came from a model; with them the run continues without it."""

CHECKPOINT = Path("last/checkpoint.safetensors")
"""All that the run needs to continue; there once its first epoch has ended."""

BEST = Path("best.safetensors")
"""The kept weights."""

METRICS = Path("metrics.csv")
"""A row an epoch."""

TENSORBOARD = Path("tensorboard")
"""A folder of event files with the same curves."""

MODEL = Path("model.onnx")
"""The kept weights with recipe and card, all that inference needs; there once training has finished."""

BOX_ENCODER = Path("box-encoder.onnx")
"""Encoder of a prompted network: surroundings of a box to features; written once training has finished."""

BOX_DECODER = Path("box-decoder.onnx")
"""Decoder of a prompted network: features and prompts to a mask; written before the encoder."""

TRAINING_INDEX = Path("training.npz")
"""Signatures and masks of the training slices, with which an evaluation finds copies and computes baselines."""

SPLIT = Path("split.json")
"""The folds of a cross-validation."""

CALIBRATED = Path("calibrated.toml")
"""The settings of a finished cross-validation with the recipe that was fitted on all folds."""

MANIFEST = Path("manifest.json")
"""Data, versions, seed, device and times: what a reader needs to believe a run and to repeat it.

A run has finished if it is there."""


def check_run_folder(run: Path, *, resume: bool) -> None:
    """Check before any work that a run may start, or continue, in a folder.

    A run that stopped within its first epoch has nothing to lose, so another may start in its place.

    Raises:
        ConfigError: A new run where there is one already, nothing to resume, or files that a run which starts from its
            first epoch would overwrite.
    """
    if resume and (run / SPLIT).exists() and not has_begun(run):
        raise ConfigError(
            f"{run}: holds a cross-validation or a sweep ({SPLIT}); call that command again to continue it"
        )
    if resume and not (run / CONFIG).is_file():
        raise ConfigError(f"{run}: no run to resume (no {CONFIG}); train without --resume first")
    kept = [name for name in (CHECKPOINT, BEST, MODEL) if (run / name).is_file()]
    if kept and CHECKPOINT not in kept:
        raise ConfigError(f"{run}: holds {kept[0]}, but no {CHECKPOINT} to continue from; choose another --out")
    if resume and not has_begun(run):
        raise ConfigError(f"{run}: the run stopped before it began to train; start it without --resume")
    if resume:
        return
    if kept:
        raise ConfigError(f"{run}: holds a run already; continue it with --resume, or choose another --out")
    if (run / SPLIT).exists():
        raise ConfigError(f"{run}: holds a cross-validation or a sweep ({SPLIT}); choose another --out")
    foreign = [name for name in (CONFIG, NETWORK, METRICS, MANIFEST, TRAINING_INDEX, FIRST) if (run / name).exists()]
    if foreign and not _is_stopped_run(run):
        raise ConfigError(f"{run}: holds {foreign[0]}, but not from a run of tumortrace; choose another --out")


def has_begun(run: Path) -> bool:
    """Whether a folder holds a run with all that it needs to continue: its training index is written last."""
    return (run / CONFIG).is_file() and any((run / name).is_file() for name in (TRAINING_INDEX, CHECKPOINT))


def resumed_settings(run: Path, overrides: Iterable[str] = ()) -> Config:
    """Return the settings of a run that is to be resumed.

    Args:
        run: The run folder.
        overrides: Settings to change, each ``"section.key=value"``. Training refuses those that may not change.

    Raises:
        ConfigError: There is no run to resume, or its ``config.toml`` is no configuration any more.
    """
    check_run_folder(run, resume=True)
    return load_config(str(run / CONFIG), overrides)


def _is_stopped_run(run: Path) -> bool:
    """Whether a run wrote the settings in a folder, and not a person, whose comments would be lost."""
    try:
        config = load_config(str(run / CONFIG))
    except ConfigError:
        return False
    return (run / NETWORK).is_file() or (run / CONFIG).read_text(encoding="utf-8") == to_toml(config)

"""Names of the files in a run folder, and whether a run may start there."""

from __future__ import annotations

from pathlib import Path

from tumortrace.errors import ConfigError

CONFIG = Path("config.toml")
"""The whole of the settings; there from the moment that training starts."""

NETWORK = Path("network.txt")
"""The network, layer by layer."""

FIRST = Path("first.safetensors")
"""The weights that the run began with, where they are a model's; so that going on needs no model."""

CHECKPOINT = Path("last/checkpoint.safetensors")
"""What going on with the run needs; there once its first epoch has ended."""

BEST = Path("best.safetensors")
"""The kept weights."""

METRICS = Path("metrics.csv")
"""A row an epoch."""

TENSORBOARD = Path("tensorboard")
"""The same as curves, a folder of event files."""

MODEL = Path("model.onnx")
"""The kept weights with recipe and card, all that inference needs; there once training has finished."""

TRAINING_INDEX = Path("training.npz")
"""What the training slices look like, and their masks: by it an evaluation knows copies, and what to copy."""

SPLIT = Path("split.json")
"""The folds of a cross-validation."""

MANIFEST = Path("manifest.json")
"""What a reader needs to believe the run, and to do it again."""


def check_run_folder(run: Path, *, resume: bool) -> None:
    """Check before any work that a run may start, or go on, in a folder.

    A run that stopped within its first epoch has nothing to lose, so another may start in its place.

    Raises:
        ConfigError: A new run where there is one already, nothing to resume, or results that a run which starts from
            its first epoch would overwrite.
    """
    if resume and not (run / CONFIG).is_file():
        raise ConfigError(f"{run}: no run to resume (no {CONFIG}); train without --resume first")
    kept = [name for name in (CHECKPOINT, BEST, MODEL) if (run / name).is_file()]
    if kept and CHECKPOINT not in kept:
        raise ConfigError(f"{run}: holds {kept[0]}, but no {CHECKPOINT} to go on from; choose another --out")
    if kept and not resume:
        raise ConfigError(f"{run}: holds a run already; go on with --resume, or choose another --out")

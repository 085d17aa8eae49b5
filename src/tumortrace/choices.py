"""Choices that commands, Python functions and the rooms below them share."""

from __future__ import annotations

from typing import Literal

Part = Literal["test", "val", "train", "all"]
"""Part of a dataset that is scored."""

By = Literal["groups", "source"]
"""What a fold of a cross-validation holds out: groups of copies and patients, or one dataset."""

Colours = Literal["safe", "paper"]
"""``"safe"`` for all eyes and grey print, on the darkened slice; ``"paper"`` as in the student paper, on black."""

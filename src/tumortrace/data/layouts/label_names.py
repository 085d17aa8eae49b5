"""Names of the labels of masks, as ``dataset.json`` states them."""

from __future__ import annotations

from pathlib import Path

from tumortrace.data.folders import name_of
from tumortrace.data.layouts.opening import Opening
from tumortrace.json_csv import read_json

LABEL_NAMES = "dataset.json"
"""File in which nnU-Net and MONAI name the labels."""


def find_label_names(opening: Opening) -> None:
    """Take the names of labels from the ``dataset.json`` nearest to the top."""
    files = [file for file in opening.tree.files if name_of(file) == LABEL_NAMES]
    for file in sorted(files, key=lambda each: each.count("/")):
        if names := _read_label_names(opening.tree.root / file):
            opening.label_names = names
            opening.used.add(file)
            return


def _read_label_names(path: Path) -> dict[int, str]:
    """The names by the values; empty if the file names none."""
    try:
        labels = read_json(path)["labels"]
        pairs = [(value, name) if isinstance(name, str) else (name, value) for value, name in labels.items()]
        return {int(value): str(name) for value, name in pairs if not isinstance(value, list)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}

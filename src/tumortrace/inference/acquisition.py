"""Plane and contrast of a slice, as recognised from its grey values.

Both come from plain features and a small network of the package (``weights/acquisition.npz``, made by
``studies/acquisition.py``), whatever the model. A name is given only where the confidence reaches a level at which
held-out subjects show it right for 90 % (docs/results/generalisation.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.upright import UprightSlice
from tumortrace.inference.acquisition_features import draw_head, measure_contrast_features, measure_plane_features

PLANES = ("axial", "coronal", "sagittal")
CONTRASTS = ("T1", "T1 with contrast", "T2", "FLAIR")

CLIP = 4.0
"""Standardised features beyond it count as it."""

LEAST_SHARE = 0.005
"""Fraction of the training slices below which a plane and contrast are unusual."""

LOWEST = {"plane": 0.8, "contrast": 0.9}
"""Confidence from which a name is given."""

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Acquisition:
    """Plane and contrast of a slice, as far as they are recognised.

    Attributes:
        plane: One of ``PLANES``; None where the confidence is too low.
        plane_confidence: Probability of the most likely plane, 0 to 1.
        contrast: One of ``CONTRASTS``; None where the confidence is too low, as for all other contrasts.
        contrast_confidence: Probability of the most likely contrast, 0 to 1.
    """

    plane: str | None
    plane_confidence: float
    contrast: str | None
    contrast_confidence: float

    @property
    def name(self) -> str:
        """Both names in words, for example ``"axial FLAIR"``; empty if neither is known."""
        return " ".join(word for word in (self.plane, self.contrast) if word)


UNKNOWN = Acquisition(None, 0.0, None, 0.0)
"""Answer for a slice that is blank or whose head is too small."""


def recognise(upright: UprightSlice) -> Acquisition:
    """Recognise plane and contrast of a slice; ``UNKNOWN`` if it is blank or its head has under 32 px a side."""
    head = draw_head(upright)
    if head is None:
        return UNKNOWN
    weights = _read_weights()
    plane = rate(measure_plane_features(head), weights, "plane")
    contrast = rate(measure_contrast_features(head), weights, "contrast")
    return Acquisition(*_choose(plane, PLANES, "plane"), *_choose(contrast, CONTRASTS, "contrast"))


def rate(features: NDArray[np.float64], weights: Weights, kind: str) -> NDArray[np.float64]:
    """Compute the probability of each name by a network of one hidden layer, or none.

    Args:
        features: Shape (F,) or (N, F).
        weights: Arrays by their names: ``KIND_mean`` and ``KIND_deviation`` of the features, and ``KIND_weights_I`` and
            ``KIND_bias_I`` of each layer I from 0; rectified between layers.
        kind: ``"plane"`` or ``"contrast"``.

    Returns:
        Shape (names,) or (N, names), sums 1.
    """
    values = (features - weights[f"{kind}_mean"]) / weights[f"{kind}_deviation"]
    values = np.clip(values, -CLIP, CLIP)
    layer = 0
    while f"{kind}_weights_{layer}" in weights:
        values = np.maximum(values, 0) if layer else values
        values = values @ weights[f"{kind}_weights_{layer}"] + weights[f"{kind}_bias_{layer}"]
        layer += 1
    odds = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True), dtype=np.float64)


def count_acquisitions(acquisitions: Sequence[Acquisition]) -> dict[str, int]:
    """Count the slices by plane and contrast, where both are known."""
    counts: dict[str, int] = {}
    for each in acquisitions:
        if each.plane and each.contrast:
            counts[each.name] = counts.get(each.name, 0) + 1
    return dict(sorted(counts.items()))


def find_unusual_acquisition(acquisition: Acquisition, counts: Mapping[str, int]) -> str:
    """Say that hardly any training slice has the plane and contrast of a slice.

    Args:
        acquisition: Plane and contrast of the slice.
        counts: Number of training slices by plane and contrast; empty if unknown.

    Returns:
        A few words; empty if one of both is unknown, or ``LEAST_SHARE`` of the training slices have them.
    """
    if not (acquisition.plane and acquisition.contrast and counts):
        return ""
    here, total = counts.get(acquisition.name, 0), sum(counts.values())
    return f"{acquisition.name}, {here} of {total} training slices" if here < LEAST_SHARE * total else ""


def acquisitions_of_card(card: Mapping[str, object]) -> dict[str, int]:
    """Read from a model's card how many training slices have each plane and contrast; nothing where it does not say."""
    stated = card.get("acquisitions")
    if not isinstance(stated, Mapping):
        return {}
    return {str(name): count for name, count in stated.items() if isinstance(count, int)}


def _choose(probabilities: NDArray[np.float64], names: Sequence[str], kind: str) -> tuple[str | None, float]:
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    return (names[best] if confidence >= LOWEST[kind] else None), confidence


@cache
def _read_weights() -> dict[str, NDArray[Any]]:
    path = resources.files("tumortrace") / "weights" / "acquisition.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}

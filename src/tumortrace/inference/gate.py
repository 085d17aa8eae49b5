"""The gate against pictures that are no brain MR slice.

One rule gives one reason, on one or two measured numbers. Nothing is learnt, so every rejection can be explained and
checked by eye. The limits lie outside of what the real slices of all sources show (docs/decisions/0007).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tumortrace.data.head import SMALLEST
from tumortrace.inference.features import PictureFeatures
from tumortrace.json_csv import parse_json

FeatureRange = tuple[float, float]
"""Lowest and highest usual value of a feature."""

NOT_MR = "not a brain MR slice: "

LEAST_SIDE_PX = 32
"""Shorter side below which a picture is rejected: it shows too little."""

USUAL_QUANTILES = (0.005, 0.995)
"""Quantiles of the training slices between which a feature is usual."""

UNUSUAL_MARGIN = 0.25
"""Distance beyond the usual range, as a fraction of its width, from which a feature is named: 3 in 100 new slices
of the training hospitals have such a feature. Without a margin it would be 15, because there are about twenty features.
"""

LEAST_SLICES = 100
"""Number of slices from which such quantiles mean something."""

IN_WORDS = {
    "colour": "coloured part of the picture",
    "roughness": "fine detail in the picture",
    "dark_frame": "dark part of the picture's edges",
    "bright_corner": "brightness of a corner",
    "head_area": "part of the picture that the head fills",
    "outside": "brightness outside the head",
    "solidity": "head's area by its convex hull",
    "ellipse": "head's overlap with an ellipse",
    "elongation": "head's length by its width",
    "width": "head's width by its height in the picture",
    "rectangle": "head's area by the rectangle around it",
    "ring": "brightness of the head's outer ring",
    "skull": "brightness of the skull",
    "air": "black part of the head",
    "white": "white part of the head",
    "brightness": "brightness of the head",
    "variation": "contrast within the head",
    "texture": "texture within the head",
    "grain": "grain within the head",
    "drawn_out": "direction of the grain",
}
"""Each feature in words that need no manual: they stand among the reasons for review."""


def find_fault(features: PictureFeatures | None, size_hw: tuple[int, int]) -> str:
    """Say why a picture cannot be a brain MR slice.

    Args:
        features: Features from ``measure_features``.
        size_hw: Height and width of the picture in pixels.

    Returns:
        One clause for a person; empty if nothing speaks against it.
    """
    if features is None:
        return NOT_MR + "the picture is blank"
    if min(size_hw) < LEAST_SIDE_PX:
        return f"too small: {size_hw[1]} x {size_hw[0]} px, at least {LEAST_SIDE_PX} on a side are needed"
    faults = {
        "it is in colour": features.colour > 0.05,
        "it is noise, text or lines": features.roughness > 0.6,
        "no dark background around a head": _has_bright_surroundings(features),
        "several objects": features.outside > 0.08,
        "no object of the size of a head": features.head_area < SMALLEST,
        "its outline is not that of a head": _has_other_outline(features),
        "a closed ring of bone, as on CT": _has_bright_bone(features),
        "air inside, as in a chest": features.air > 0.4,
        "flat areas, as in a drawing": _is_flat(features),
        "speckle drawn out sideways, as on ultrasound": features.grain > 0.03 and features.drawn_out < -0.28,
    }
    return next((NOT_MR + fault for fault, found in faults.items() if found), "")


def _has_bright_surroundings(features: PictureFeatures) -> bool:
    # Shoulders reach into two corners of a coronal slice, and leave the rest of the edges dark.
    bright_corners = features.bright_corner > 0.6 or (features.bright_corner > 0.3 and features.dark_frame < 0.6)
    return features.dark_frame < 0.4 or bright_corners


def _is_flat(features: PictureFeatures) -> bool:
    # Every acquisition has noise; of 5,200 slices none has a grain below 0.0026.
    return features.texture < 0.012 or features.grain < 0.001 or features.variation < 0.05 or features.white > 0.6


def _has_bright_bone(features: PictureFeatures) -> bool:
    # On MR bone is black: beneath bright fat lies a dark ring. CT is mostly cut tightly around the head. Near the
    # vertex the fat of a small head is a closed ring on MR, too.
    joined = features.ring > 0.42 and features.skull > 0.8
    tight = features.ring > 0.36 and features.skull > 0.4 and features.head_area > 0.7
    return tight or (features.head_area > 0.25 and (features.ring > 0.56 or joined))


def _has_other_outline(features: PictureFeatures) -> bool:
    # A head that fills the frame to all its edges is a rectangle there.
    boxed = features.rectangle > 0.91 and features.head_area < 0.97
    return (
        features.solidity < 0.64
        or features.ellipse < 0.58
        or features.elongation > 2.3
        or features.width > 1.4
        or boxed
    )


def measure_feature_ranges(features: Iterable[PictureFeatures | None]) -> dict[str, FeatureRange]:
    """Measure which values are usual among the training slices.

    Args:
        features: Features of the training slices; blank ones are skipped.

    Returns:
        Lowest and highest usual value of each feature; empty if there are fewer than ``LEAST_SLICES``.
    """
    rows = [one for one in features if one is not None]
    if len(rows) < LEAST_SLICES:
        return {}
    lowest, highest = np.quantile(np.array(rows), USUAL_QUANTILES, axis=0)
    return {
        name: (float(low), float(high))
        for name, low, high in zip(PictureFeatures._fields, lowest, highest, strict=True)
    }


def feature_ranges_from_json(text: str) -> dict[str, FeatureRange]:
    """Read the result of ``measure_feature_ranges`` from a model's metadata.

    A feature that this version does not measure is skipped: an earlier or later one trained the model.

    Raises:
        ValueError: It is something else: no JSON, or not two numbers.
    """
    ranges = {str(name): (float(low), float(high)) for name, (low, high) in dict(parse_json(text)).items()}
    return {name: ends for name, ends in ranges.items() if name in PictureFeatures._fields}


def find_unusual_feature(features: PictureFeatures | None, feature_ranges: Mapping[str, FeatureRange]) -> str:
    """Name the feature in which a picture differs most from the training slices.

    Args:
        features: Features of the picture; None if it is blank.
        feature_ranges: Lowest and highest usual value of each feature; empty if unknown.

    Returns:
        The feature, its value and its usual range; empty if none lies outside of that by more than ``UNUSUAL_MARGIN``.
    """
    if features is None or not feature_ranges:
        return ""
    excess: dict[str, float] = {}
    for name, (low, high) in feature_ranges.items():
        value = getattr(features, name)
        excess[name] = max(low - value, value - high) / max(high - low, 1e-3)
    worst = max(excess, key=lambda name: excess[name])
    if excess[worst] <= UNUSUAL_MARGIN:
        return ""
    lowest, highest = (f"{bound:.2g}" for bound in feature_ranges[worst])
    usual = lowest if lowest == highest else f"{lowest} to {highest}"
    return f"{IN_WORDS[worst]} {getattr(features, worst):.2g}, usual {usual}"

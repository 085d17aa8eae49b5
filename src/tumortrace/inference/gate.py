"""The gate: a picture that is no brain MR slice is told by its features, and turned away with the reason.

A rule a reason, each on one or two measured numbers: nothing is learnt, so that every refusal can be explained and
checked by eye. The limits lie outside of what all 1,783 slices of four sources show (docs/decisions/0007).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import numpy as np

from tumortrace.inference.features import PictureFeatures

Range = tuple[float, float]
NOT_MR = "not a brain MR slice: "

USUAL = (0.005, 0.995)
"""Quantiles of the training slices between which a look is called usual."""

MARGIN = 0.25
"""How far outside of the usual, as a share of its width, a look must lie to be named: 3 in 100 new slices of the
hospitals that were learnt from have such a look; without a margin 15 would, because there are twenty."""

ENOUGH = 100
"""Slices from which such quantiles mean something."""


def find_fault(features: PictureFeatures | None) -> str:
    """Why a picture cannot be a brain MR slice.

    Args:
        features: From ``measure_features``.

    Returns:
        One clause for a person; empty if nothing speaks against it.
    """
    if features is None or features.contrast < 0.2:
        return NOT_MR + "the picture is blank"
    faults = {
        "it is in colour": features.colour > 0.05,
        "it is noise, text or lines": features.roughness > 0.6,
        "no dark background around a head": features.dark_frame < 0.4 or features.bright_corner > 0.3,
        "several objects": features.outside > 0.06,
        "no object of the size of a head": features.head_area < 0.06,
        "its outline is not that of a head": _is_no_outline(features),
        "a closed ring of bone, as on CT": features.bone > 0.5,
        "air inside, as in a chest": features.air > 0.4,
        "flat areas, as in a drawing": features.texture < 0.012 or features.variation < 0.05 or features.white > 0.6,
        "speckle drawn out sideways, as on ultrasound": features.grain > 0.03 and features.drawn_out < -0.28,
    }
    return next((NOT_MR + fault for fault, found in faults.items() if found), "")


def _is_no_outline(features: PictureFeatures) -> bool:
    # A head that fills the frame to all its edges is a rectangle there.
    boxed = features.rectangle > 0.9 and features.head_area < 0.97
    return (
        features.solidity < 0.64
        or features.ellipse < 0.58
        or features.elongation > 2.3
        or features.width > 1.4
        or boxed
    )


def measure_familiar(features: Iterable[PictureFeatures | None]) -> dict[str, Range]:
    """What is usual among slices.

    Args:
        features: Of the slices a model learns from; those without are left out.

    Returns:
        Lowest and highest usual value of each look; empty if there are fewer than ``ENOUGH``.
    """
    rows = [one for one in features if one is not None]
    if len(rows) < ENOUGH:
        return {}
    lowest, highest = np.quantile(np.array(rows), USUAL, axis=0)
    return {
        name: (float(low), float(high))
        for name, low, high in zip(PictureFeatures._fields, lowest, highest, strict=True)
    }


def familiar_from_json(text: str) -> dict[str, Range]:
    """What ``measure_familiar`` gave, from a model's metadata.

    Raises:
        ValueError: It is something else: no JSON, a look that there is not, or not two numbers.
    """
    ranges = {str(name): (float(low), float(high)) for name, (low, high) in dict(json.loads(text)).items()}
    unknown = ranges.keys() - set(PictureFeatures._fields)
    if unknown:
        raise ValueError(f"unknown features {', '.join(sorted(unknown))}")
    return ranges


def find_unfamiliar(features: PictureFeatures | None, familiar: Mapping[str, Range]) -> str:
    """In what a picture differs most from the slices that a model learnt from.

    Args:
        features: Of the picture.
        familiar: Lowest and highest usual value of each look, from ``measure_familiar``; empty if unknown.

    Returns:
        The look, its value and what is usual; empty if none lies outside of that by more than ``MARGIN``.
    """
    if not familiar:
        return ""
    if features is None:
        return "nothing to be seen"
    excess: dict[str, float] = {}
    for name, (low, high) in familiar.items():
        value = getattr(features, name)
        excess[name] = max(low - value, value - high) / max(high - low, 1e-3)
    worst = max(excess, key=lambda name: excess[name])
    if excess[worst] <= MARGIN:
        return ""
    low, high = familiar[worst]
    return f"{worst.replace('_', ' ')} {getattr(features, worst):.2g}, usual {low:.2g} to {high:.2g}"

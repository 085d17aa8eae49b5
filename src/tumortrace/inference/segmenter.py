"""Slice in, mask on the same grid out: the one path that segmenting and evaluating share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.errors import ModelError
from tumortrace.inference.lesions import Lesion, find_lesions
from tumortrace.inference.model import Model
from tumortrace.inference.recipe import prepare, restore, tumour_probability

REVIEW_BELOW = 0.75
"""A mask of lower confidence should be looked at. A convention: confidences are not calibrated."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one slice.

    Attributes:
        probability: Of tumour, on the slice's grid; shape (H, W), float32 in [0, 1].
        mask: Where it reaches the model's threshold; shape (H, W), bool.
        lesions: Components of the mask, largest first.
        confidence: Mean probability over the mask, or 1 - the highest probability if the mask is empty; 0 to 1, not
            calibrated.
        review: Whether a person should look before the mask is used.
        reason: Why; empty if ``review`` is False.
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    lesions: tuple[Lesion, ...]
    confidence: float
    review: bool
    reason: str


def predict(model: Model, image: Slice) -> Prediction:
    """Segment one slice.

    Raises:
        ModelError: The model answers with NaN or infinity.
    """
    prepared = prepare(image.pixels, model.recipe)
    (logits,) = model.session.run(["logits"], {"images": prepared[None, None]})
    if not np.isfinite(logits).all():
        raise ModelError(f"{model.path}: gives no numbers (NaN or infinity) for {image.case_id}; train it again")
    probability = restore(tumour_probability(logits)[0], image.size_hw, model.recipe)
    mask = probability >= model.recipe.threshold
    confidence = float(probability[mask].mean(dtype=np.float64)) if mask.any() else 1.0 - float(probability.max())
    reason = _find_doubt(mask, confidence)
    lesions = find_lesions(mask, probability, spacing_mm=image.spacing_mm)
    return Prediction(probability, mask, lesions, confidence, review=bool(reason), reason=reason)


def _find_doubt(mask: NDArray[np.bool_], confidence: float) -> str:
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        return "the mask touches the border of the picture"
    if confidence < REVIEW_BELOW:
        return f"low confidence ({confidence:.2f})"
    return ""

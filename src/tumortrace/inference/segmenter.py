"""Slice in, mask on the same grid out: the one path that segmenting and evaluating share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.data.slice import Slice
from tumortrace.errors import ModelError
from tumortrace.inference.confidence import confidence as rate_confidence
from tumortrace.inference.confidence import mask_features
from tumortrace.inference.lesions import Lesion, find_lesions, keep_peaks
from tumortrace.inference.model import Model
from tumortrace.inference.recipe import prepare, restore, temper, tumour_probability


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one slice.

    Attributes:
        probability: Of tumour, on the slice's grid and calibrated by the model's temperature; shape (H, W), float32
            in [0, 1].
        mask: Where it reaches the model's threshold, but for lesions that nowhere reach its peak threshold; shape
            (H, W), bool.
        lesions: Components of the mask, largest first.
        confidence: 0 to 1. The Dice to expect, if the model's recipe has weights for it; otherwise the mean
            probability over the mask, or 1 - the highest probability if the mask is empty.
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
    restored = restore(tumour_probability(logits)[0], image.size_hw, model.recipe)
    probability = temper(restored, model.recipe.temperature)
    mask = keep_peaks(probability >= model.recipe.threshold, probability, model.recipe.peak_threshold)
    confidence = _rate(probability, mask, model.recipe)
    reason = _find_doubt(mask, confidence, review_below=model.recipe.review_below)
    lesions = find_lesions(mask, probability, spacing_mm=image.spacing_mm)
    return Prediction(probability, mask, lesions, confidence, review=bool(reason), reason=reason)


def _rate(probability: NDArray[np.float32], mask: NDArray[np.bool_], recipe: Recipe) -> float:
    if recipe.confidence:
        return rate_confidence(mask_features(probability, mask), recipe.confidence)
    return float(probability[mask].mean(dtype=np.float64)) if mask.any() else 1.0 - float(probability.max())


def _find_doubt(mask: NDArray[np.bool_], confidence: float, *, review_below: float) -> str:
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        return "the mask touches the border of the picture"
    if confidence < review_below:
        return f"low confidence ({confidence:.2f})"
    return ""

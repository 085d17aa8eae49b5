"""Segment one slice: from its grey values to a mask on the same grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.head import Window
from tumortrace.data.slice import Slice
from tumortrace.data.upright import UprightSlice, turn_upright
from tumortrace.errors import ModelError
from tumortrace.inference.acquisition import (
    UNKNOWN,
    Acquisition,
    acquisitions_of_card,
    find_unusual_acquisition,
    recognise,
)
from tumortrace.inference.confidence import estimate_confidence, mask_features
from tumortrace.inference.features import measure_features
from tumortrace.inference.gate import find_fault, find_unusual_feature
from tumortrace.inference.lesions import Lesion, find_lesions
from tumortrace.inference.mask import cut_mask
from tumortrace.inference.model import Model
from tumortrace.inference.prompts.prompt import Prompt
from tumortrace.inference.recipe import find_window, prepare, restore, tumour_probability
from tumortrace.inference.review import find_mask_reasons, find_slice_reasons
from tumortrace.wording import counted


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """A model's answer on one slice.

    Attributes:
        probability: Probability of tumour on the slice's grid, calibrated by the model's temperature; shape (H, W),
            float32 in [0, 1].
        mask: Pixels of at least the model's threshold, without the lesions that nowhere reach its peak threshold; shape
            (H, W), bool.
        lesions: Components of the mask, largest first.
        confidence: Expected Dice of the mask, 0 to 1, if the model's recipe has weights for it. Otherwise the mean
            probability over the mask, or 1 minus the highest probability if the mask is empty.
        review: Whether a person should look at the mask before it is used.
        reasons: Reasons for the review or the rejection; empty if ``review`` is False.
        rejected: Whether the picture is no brain MR slice. It was not segmented, and its empty mask means nothing.
        acquisition: Plane and contrast of the slice; unknown for a rejected picture.
        prompts: Boxes and clicks by which a person pointed at the tumour; empty for an automatic mask.
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    lesions: tuple[Lesion, ...]
    confidence: float
    review: bool
    reasons: tuple[str, ...]
    rejected: bool = False
    acquisition: Acquisition = UNKNOWN
    prompts: tuple[Prompt, ...] = ()

    def __repr__(self) -> str:
        height, width = self.mask.shape
        if self.rejected:
            return f"<Prediction of {width} x {height} px: rejected, {'; '.join(self.reasons)}>"
        parts = f"{counted(len(self.lesions), 'lesion')}, {int(self.mask.sum())} px"
        review = f", for review: {'; '.join(self.reasons)}" if self.review else ""
        pointed = " in a given box" if self.prompts else ""
        return f"<Prediction of {width} x {height} px: {parts}{pointed}, confidence {self.confidence:.2f}{review}>"


def predict(model: Model, image: Slice, *, gate: bool = False, tta: bool = False) -> Prediction:
    """Segment one slice.

    Args:
        model: Model from ``open_model``.
        image: The slice.
        gate: Whether to reject what is no brain MR slice. Without the gate, as in an evaluation, every picture gets a
            mask.
        tta: Test-time augmentation: whether to average over the slice and its mirror image, at twice the work. A recipe
            with ``average_mirror`` always does.

    Raises:
        ModelError: The model answers with NaN or infinity.
    """
    upright = turn_upright(image.pixels)
    features = measure_features(upright, colour_share=image.colour_share)
    fault = find_fault(features, image.size_hw) if gate else ""
    if fault:
        return reject(image, fault)
    window = find_window(upright, model.recipe)
    mirror = tta or model.recipe.average_mirror
    inferred = _infer(model, upright, window, mirror=mirror, case_id=image.case_id)
    probability = restore(inferred, image.size_hw, window, temperature=model.recipe.temperature)
    mask = cut_mask(probability, model.recipe)
    lesions = find_lesions(mask, probability, spacing_mm=image.spacing_mm)
    confidence = _rate_mask(probability, mask, model.recipe.confidence) if features else 0.0
    reasons = find_mask_reasons(mask, lesions, confidence, review_below=model.recipe.review_below)
    reasons += find_slice_reasons(upright, cropped=model.recipe.crop_to_head)
    acquisition = recognise(upright)
    unusual = find_unusual_acquisition(acquisition, acquisitions_of_card(model.card))
    unusual = unusual or find_unusual_feature(features, model.feature_ranges)
    if unusual:
        reasons += (f"unlike the training data: {unusual}",)
    return Prediction(
        probability, mask, lesions, confidence, review=bool(reasons), reasons=reasons, acquisition=acquisition
    )


def reject(image: Slice, fault: str) -> Prediction:
    """Return the answer on a picture that is no brain MR slice: an empty mask and the reason."""
    nothing = np.zeros(image.size_hw, dtype=np.float32)
    return Prediction(nothing, nothing > 0, (), 0.0, review=True, reasons=(fault,), rejected=True)


def _infer(model: Model, upright: UprightSlice, window: Window, *, mirror: bool, case_id: str) -> NDArray[np.float32]:
    """Return the tumour probability on the network's grid, before calibration."""
    prepared = prepare(upright, model.recipe, window)
    # Left and right only: half of the slices are mirrored in training, few are upside down.
    images = np.stack([prepared, prepared[:, ::-1]] if mirror else [prepared])[:, None]  # (1 or 2, 1, H, W)
    logits = model.session.run(images)
    if not np.isfinite(logits).all():
        raise ModelError(f"{model.path}: returns NaN or infinity for {case_id}; train it again")
    answers = tumour_probability(logits)
    return np.asarray((answers[0] + answers[1][:, ::-1]) / 2 if mirror else answers[0])


def _rate_mask(probability: NDArray[np.float32], mask: NDArray[np.bool_], weights: tuple[float, ...]) -> float:
    if weights:
        return estimate_confidence(mask_features(probability, mask), weights)
    return float(probability[mask].mean(dtype=np.float64)) if mask.any() else 1.0 - float(probability.max())

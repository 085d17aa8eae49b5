"""One slice at which a person points: features once a box, a decoder a click."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.data.upright import turn_upright
from tumortrace.errors import ModelError
from tumortrace.inference.features import measure_features
from tumortrace.inference.gate import find_fault
from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.predict import Prediction, reject
from tumortrace.inference.prompts.grid import (
    Box,
    Square,
    cut_square,
    draw_box,
    draw_prompts,
    paste_square,
    pixel_of,
    pixels_between,
    square_around,
    widen_box,
)
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.prompts.prompt import Prompt, read_prompt
from tumortrace.inference.recipe import standardise, tumour_probability
from tumortrace.inference.review import find_mask_reasons

BEYOND = 0.1
"""A mask reaches beyond the box by at most this fraction of its sides."""

LEAST_BEYOND_PX = 2.0
"""Or by so many pixels, whichever is more."""

LEAST_FILLED = 0.12
"""Fraction of the box that a mask fills at least, at a lower threshold if need be: of the outlines in folds 1 to 3, 1 %
fill less of a box that is 30 % too wide on each side. Drawing a box says that there is a tumour."""

LEAST_THRESHOLD = 1e-6
"""Lowest threshold for that: below it, probabilities say nothing."""

REVIEW_BELOW = 0.75
"""Mean probability over a prompted mask below which a person should look at it again."""

EMPTY = "no tumour found in the box"
"""Reason for the review of an empty mask."""

Grey = NDArray[np.float32]
Clicks = tuple[tuple[tuple[float, float], bool], ...]


class PromptSession:
    """One slice, and what is known of it between two prompts; for one thread at a time.

    Example:
        >>> from tumortrace import Segmenter  # doctest: +SKIP
        >>> session = Segmenter().point("slice.png")  # doctest: +SKIP
        >>> session.predict((100, 80, 160, 150)).mask.sum()  # doctest: +SKIP
        2310
        >>> session.predict((100, 80, 160, 150), [(110, 90)], [0]).mask.sum()  # doctest: +SKIP
        2194
    """

    def __init__(self, model: PromptModel, image: Slice, *, gate: bool = True) -> None:
        """Prepare a slice.

        Args:
            model: Prompted model.
            image: The slice.
            gate: Whether to reject what is no brain MR slice.
        """
        upright = turn_upright(image.pixels)
        features = measure_features(upright, colour_share=image.colour_share) if gate else None
        self.model = model
        self.image = image
        self._fault = find_fault(features, image.size_hw) if gate else ""
        self._grey = upright.grey
        self._square: tuple[Square, Box] | None = None
        self._features: dict[str, Grey] = {}
        self._answered: dict[Clicks, Grey] = {}

    def predict(self, box_xyxy: object, points_xy: object = None, labels: object = None) -> Prediction:
        """Segment what a box means, refined by clicks.

        The mask never reaches further than ``BEYOND`` out of the box, which grows to the clicks on tumour outside of
        it; and all of its lesions touch the box. Each clicked pixel is as the click says.

        Args:
            box_xyxy: First column, first row, last column + 1, last row + 1, in pixels.
            points_xy: Pixel centres that were clicked on, in their order, at most ``prompt.MOST_CLICKS``.
            labels: Whether each of them marks tumour; None takes that they do.

        Raises:
            DataError: The prompt cannot be used; says why.
            ModelError: The model answers with NaN or infinity.
        """
        prompt = read_prompt(box_xyxy, points_xy, labels, size_hw=self.image.size_hw, name=self.image.case_id)
        if self._fault:
            return reject(self.image, self._fault)
        box = _reach_clicks(prompt, self.image.size_hw)
        square = square_around(box)
        answer = self._answer(prompt.clicks, square, box)
        probability = paste_square(answer, square, self.image.size_hw)
        return self._decide(prompt, box, probability)

    def _answer(self, clicks: Clicks, square: Square, box: Box) -> Grey:
        """Return the network's probability on its grid, click after click, from the last one that is known."""
        if self._square != (square, box):
            self._encode(square, box)
        known = len(clicks)
        while known and clicks[:known] not in self._answered:
            known -= 1
        answer = self._answered.get(clicks[:known])
        for count in range(known if answer is None else known + 1, len(clicks) + 1):
            before = np.zeros((self.model.grid, self.model.grid), np.float32) if answer is None else answer
            answer = self._decode(draw_prompts(box, clicks[:count], before, square))
            self._answered[clicks[:count]] = answer
        kept = [clicks[:count] for count in range(len(clicks) + 1)]  # of other clicks nothing stays in memory
        self._answered = {each: self._answered[each] for each in kept if each in self._answered}
        assert answer is not None  # noqa: S101 - the box alone has been answered
        return answer

    def _encode(self, square: Square, box: Box) -> None:
        grid = self.model.grid
        seen = standardise(np.asarray(cut_square(self._grey, square, grid=grid), dtype=np.float32))
        images = np.stack([seen, draw_box(box, square, grid=grid)])[None]  # (1, 2, grid, grid)
        outputs = self.model.encoder.run_all({"images": images})
        names = [value.name for value in self.model.encoder.runtime.get_outputs()]
        self._features = dict(zip(names, outputs, strict=True))
        self._square, self._answered = (square, box), {}

    def _decode(self, prompts: Grey) -> Grey:
        (logits,) = self.model.decoder.run_all({**self._features, "prompts": prompts[None]})
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.model.path}: returns NaN or infinity for {self.image.case_id}; train it again")
        return np.asarray(tumour_probability(logits)[0])

    def _decide(self, prompt: Prompt, box: Box, probability: Grey) -> Prediction:
        image = self.image
        threshold = self.model.recipe.threshold
        if all(prompt.labels):  # a click that removes may leave as little as it likes
            threshold = _lower_threshold(probability, box, threshold)
        mask = keep_pointed(probability >= threshold, box)
        for point, on_tumour in prompt.clicks:
            mask[pixel_of(point)] = on_tumour
        lesions = find_lesions(mask, probability, spacing_mm=image.spacing_mm)
        confidence = float(probability[mask].mean(dtype=np.float64)) if mask.any() else 0.0
        reasons = find_mask_reasons(mask, lesions, confidence, review_below=REVIEW_BELOW) if mask.any() else (EMPTY,)
        return Prediction(
            probability, mask, lesions, confidence, review=bool(reasons), reasons=reasons, prompts=(prompt,)
        )


def merge_predictions(predictions: list[Prediction], image: Slice) -> Prediction:
    """Make one answer of several boxes on one slice: the union of their masks.

    Args:
        predictions: An answer for each box, at least one.
        image: The slice.
    """
    first, *others = predictions
    if not others or first.rejected:
        return first
    mask = np.any([each.mask for each in predictions], axis=0)
    probability = np.max([each.probability for each in predictions], axis=0)
    return Prediction(
        probability,
        mask,
        find_lesions(mask, probability, spacing_mm=image.spacing_mm),
        min(each.confidence for each in predictions),
        review=any(each.review for each in predictions),
        reasons=tuple(dict.fromkeys(reason for each in predictions for reason in each.reasons)),
        prompts=tuple(prompt for each in predictions for prompt in each.prompts),
    )


def _lower_threshold(probability: Grey, box: Box, threshold: float) -> float:
    """Return a threshold at which enough of the box is filled, at least ``LEAST_THRESHOLD``."""
    inside = probability[fill_box(box, probability.shape)]
    enough = float(np.quantile(inside, 1 - LEAST_FILLED)) if inside.size else threshold
    return min(threshold, max(enough, LEAST_THRESHOLD))


def _reach_clicks(prompt: Prompt, size_hw: tuple[int, int]) -> Box:
    """Return the box, grown to the clicks on tumour that its mask could not reach."""
    x0, y0, x1, y1 = prompt.box_xyxy
    left, top, right, bottom = widen_box(prompt.box_xyxy, BEYOND, least_px=LEAST_BEYOND_PX)
    height, width = size_hw
    for (x, y), on_tumour in prompt.clicks:
        if on_tumour and not (left <= x + 0.5 < right and top <= y + 0.5 < bottom):
            x0, y0 = min(x0, max(x - 1.5, 0.0)), min(y0, max(y - 1.5, 0.0))
            x1, y1 = max(x1, min(x + 2.5, float(width))), max(y1, min(y + 2.5, float(height)))
    return x0, y0, x1, y1


def keep_pointed(mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    """Return what of a mask a box means: nothing far beyond it, and no lesion that does not touch it.

    Args:
        mask: Shape (H, W), bool.
        box: The box.
    """
    kept = mask & fill_box(widen_box(box, BEYOND, least_px=LEAST_BEYOND_PX), mask.shape)
    return keep_touching(kept, fill_box(box, mask.shape))


def keep_touching(mask: NDArray[np.bool_], place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the lesions of a mask that have a pixel in a place; both of one shape (H, W)."""
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    touching = np.unique(np.asarray(labels)[place & mask])
    return np.asarray(np.isin(labels, touching) & mask)


def fill_box(box: Box, shape_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels whose centres lie in a box; one on its left or upper edge does, as in ``geometry.rasterize``.

    Args:
        box: The box; it may reach beyond the slice.
        shape_hw: Height and width of the slice.
    """
    x0, y0, x1, y1 = box
    inside = np.zeros(shape_hw, dtype=np.bool_)
    inside[pixels_between(y0, y1, shape_hw[0]), pixels_between(x0, x1, shape_hw[1])] = True
    return inside

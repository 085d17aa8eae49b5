"""Trivial predictions that every model is compared with."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.lookup import HeadFrame, copy_mask
from tumortrace.copies.similarity import References, head_box, signature
from tumortrace.copies.training_index import MASK_PX, TrainingIndex
from tumortrace.data.cases import Case
from tumortrace.metrics.lesions import label_lesions
from tumortrace.metrics.overlap import PixelCounts, count_pixels

_RIM = 0.12  # of the head's shorter side: skull and scalp, which are bright
_AIR = 25  # of 255: darker pixels at the outside are no head
_SMOOTHING = 0.01  # of the head's shorter side
_LEVELS = np.linspace(0.02, 0.98, 49)


class Baselines:
    """The trivial predictions that every evaluation is compared with."""

    def __init__(self, training: TrainingIndex | None) -> None:
        """Prepare the predictions.

        Args:
            training: The training slices; without them only the baselines that need no training are scored.
        """
        self._training = training if training and training.names else None
        if self._training:
            self._references = References(self._training.head_signatures())
            self._mean, self._level = mean_head_mask(self._training)

    def score(self, case: Case) -> dict[str, PixelCounts]:
        """Return the pixel counts of each baseline on a case, by its name."""
        pixels = case.slice.pixels
        masks = {"all_background": np.zeros_like(case.truth), "brightest_blob": find_brightest_blob(pixels)}
        if self._training:
            place = HeadFrame.of_head(pixels)
            (match,) = self._references.find_nearest(signature(pixels)[None])
            masks["mean_mask"] = place.lay(self._mean) >= self._level
            masks["nearest_training_mask"] = copy_mask(match, self._training.head_masks[match.index], place)
        return {name: count_pixels(mask, case.truth) for name, mask in masks.items()}


def mean_head_mask(training: TrainingIndex) -> tuple[NDArray[np.float32], float]:
    """Average the training masks, and choose the level at which the average fits them best.

    Returns:
        Fraction of the training slices with tumour at each place of the head, shape (MASK_PX, MASK_PX), float32; and
        the level, in (0, 1), with the best mean Dice on the training masks.
    """
    mean = training.head_masks.mean(axis=0, dtype=np.float32)
    sizes = training.head_masks.sum(axis=(1, 2))
    flat = training.head_masks.reshape(len(sizes), MASK_PX**2)
    dices = []
    for level in _LEVELS:
        cut = mean.reshape(-1) >= level
        overlap = flat[:, cut].sum(axis=1)
        dices.append(float(np.mean(2 * overlap / np.maximum(sizes + cut.sum(), 1))))
    return mean, float(_LEVELS[int(np.argmax(dices))])


def find_brightest_blob(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the largest bright component inside the head, by Otsu's threshold (1979); this needs no training.

    The head's rim is omitted, and grey values are smoothed by a hundredth of the head's size.

    Args:
        pixels: Grey values, shape (H, W), any real dtype.

    Returns:
        Shape (H, W), bool; empty for a constant picture.
    """
    blob = np.zeros(pixels.shape, dtype=np.bool_)
    rows, columns = head_box(pixels)
    head = pixels[rows, columns].astype(np.float32)
    size_px = min(head.shape)
    smooth = cv2.GaussianBlur(head, (0, 0), max(_SMOOTHING * size_px, 0.5))
    bytes_ = np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)  # type: ignore[call-overload] # None is allowed
    inner = _inner_head(bytes_, rim_px=max(1, round(_RIM * size_px)))
    if not inner.any() or bytes_[inner].min() == bytes_[inner].max():
        return blob
    level, _ = cv2.threshold(bytes_[inner][None], 0, 255, cv2.THRESH_OTSU)
    labelled = label_lesions(inner & (bytes_ > level))
    blob[rows, columns] = labelled.labels == 1 + int(labelled.areas_px.argmax())
    return blob


def _inner_head(grey: NDArray[np.uint8], *, rim_px: int) -> NDArray[np.bool_]:
    """Return the filled head without its rim; the picture's border counts as outside."""
    head = (grey > _AIR).astype(np.uint8)
    contours, _ = cv2.findContours(head, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros((grey.shape[0] + 2, grey.shape[1] + 2), dtype=np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED, offset=(1, 1))
    depth = np.asarray(cv2.distanceTransform(filled, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    return np.asarray(depth[1:-1, 1:-1] > rim_px)

"""Scores that need no network: a model that does not beat them has learnt nothing worth having."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.dataset import Case
from tumortrace.trust.memory import MASK_PX, TrainingMemory
from tumortrace.trust.metrics import PixelCounts, count_pixels
from tumortrace.trust.similarity import Match, find_nearest, head_box, orient, signature

_RIM = 0.12  # of the head's shorter side: skull and scalp, which are bright
_SMOOTHING = 0.01  # of the head's shorter side
_LEVELS = np.linspace(0.02, 0.98, 49)


class Baselines:
    """The trivial predictions that every evaluation is compared with."""

    def __init__(self, memory: TrainingMemory | None) -> None:
        """Prepare them.

        Args:
            memory: Of the training slices; without them only the baselines that learn nothing are scored.
        """
        self._memory = memory if memory and memory.names else None
        if self._memory:
            self._signatures = self._memory.head_signatures()
            self._mean, self._level = mean_head_mask(self._memory)

    def score(self, case: Case) -> dict[str, PixelCounts]:
        """Pixels that each baseline gets right and wrong on a case, by its name."""
        pixels = case.slice.pixels
        masks = {"all_background": np.zeros_like(case.truth), "brightest_blob": find_brightest_blob(pixels)}
        if self._memory:
            masks["mean_mask"] = lay_into_head(self._mean, pixels) >= self._level
            masks["nearest_training_mask"], _, _ = copy_nearest(pixels, self._memory, self._signatures)
        return {name: count_pixels(mask, case.truth) for name, mask in masks.items()}


def copy_nearest(
    pixels: NDArray[Any], memory: TrainingMemory, signatures: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], str, Match]:
    """Copy the mask of the most similar training slice, flipped and turned to fit: a lookup table.

    Args:
        pixels: Grey values, shape (H, W), any real dtype.
        memory: Of at least one training slice.
        signatures: ``memory.head_signatures()``, computed once.

    Returns:
        The mask, shape (H, W), bool; the case_id that it was copied from; and how well that fits.
    """
    (match,) = find_nearest(signature(pixels)[None], signatures)
    turned = orient(memory.head_masks[match.index], turns=match.turns, flip=match.flip)
    laid = lay_into_head(np.ascontiguousarray(turned).astype(np.float32), pixels, how=cv2.INTER_NEAREST_EXACT)
    return laid > 0, memory.names[match.index], match


def mean_head_mask(memory: TrainingMemory) -> tuple[NDArray[np.float32], float]:
    """Where tumours lie on average, and the level at which cutting that gives the best mean Dice on the training masks.

    Returns:
        Share of the training slices with tumour at each place of the head, shape (MASK_PX, MASK_PX), float32; a level
        in (0, 1).
    """
    mean = memory.head_masks.mean(axis=0, dtype=np.float32)
    sizes = memory.head_masks.sum(axis=(1, 2))
    flat = memory.head_masks.reshape(len(sizes), MASK_PX**2)
    dices = []
    for level in _LEVELS:
        cut = mean.reshape(-1) >= level
        overlap = flat[:, cut].sum(axis=1)
        dices.append(float(np.mean(2 * overlap / np.maximum(sizes + cut.sum(), 1))))
    return mean, float(_LEVELS[int(np.argmax(dices))])


def find_brightest_blob(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest bright component inside the head, by Otsu's threshold (1979); no training at all.

    The head's rim is left away, and grey values are smoothed by a hundredth of the head's size.

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
    bright = (inner & (bytes_ > level)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    blob[rows, columns] = labels == largest
    return blob


def lay_into_head(values: NDArray[np.float32], pixels: NDArray[Any], *, how: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    """Values in head coordinates, laid into the head of a slice; 0 outside it. Shape (H, W), float32."""
    rows, columns = head_box(pixels)
    size_wh = (columns.stop - columns.start, rows.stop - rows.start)
    laid = np.zeros(pixels.shape, dtype=np.float32)
    laid[rows, columns] = cv2.resize(values, size_wh, interpolation=how)
    return laid


def _inner_head(grey: NDArray[np.uint8], *, rim_px: int) -> NDArray[np.bool_]:
    """The filled head without its rim; the picture's border counts as outside."""
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    contours, _ = cv2.findContours((grey > level / 2).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros((grey.shape[0] + 2, grey.shape[1] + 2), dtype=np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED, offset=(1, 1))
    depth = np.asarray(cv2.distanceTransform(filled, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    return np.asarray(depth[1:-1, 1:-1] > rim_px)

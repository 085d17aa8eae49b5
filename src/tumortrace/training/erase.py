"""Tumours erased from training slices, and harmless tissue replaced likewise.

In some sources every slice shows a tumour: nothing in them says what the same place looks like without one. Here
other tissue of the slice takes the tumour's place, blended in the gradient domain (Perez et al. 2003), and the slice
becomes tumour-free. As often, tissue beside the tumour is replaced and the truth stays, so that a replacement as such
says nothing about a tumour.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Grey = NDArray[np.float32]
Truth = NDArray[np.uint8]

ERASED = 0.15
"""Fraction of the slices with tumour from which it is erased; also of slices in which other tissue is replaced."""

LARGEST = 0.08
"""Largest region that is replaced, as a fraction of the frame: for a larger one there is too little other tissue."""

MARGIN = 4
"""Pixels around a region that are replaced too, so that no rim of it stays."""

TRIES = 12
"""Places that are tried as the source of other tissue."""

TISSUE = 0.12
"""Grey level above which a pixel is tissue, not air."""

_THINNEST_PX = 3  # sides of a region that OpenCV can blend


def erase(grey: Grey, truth: Truth, rng: Generator) -> tuple[Grey, Truth]:
    """Now and then erase the tumour, or replace other tissue.

    Args:
        grey: Shape (H, W), float32 in 0..1.
        truth: Shape (H, W), uint8, 1 where there is tumour; may be empty.
        rng: Decides everything.

    Returns:
        New arrays of the same shapes, or the given ones: where nothing was drawn, where the region is large or at the
        frame's edge, or where no other tissue fits.
    """
    chance = rng.random()
    if chance < ERASED and truth.any():
        erased = _replace(grey, widen(truth, MARGIN), truth, rng)
        return (grey, truth) if erased is None else (erased, np.zeros_like(truth))
    if chance > 1 - ERASED:
        region = _draw_region(grey, truth, rng)
        replaced = None if region is None else _replace(grey, region, truth, rng)
        return (grey, truth) if replaced is None else (replaced, truth)
    return grey, truth


def widen(mask: Truth, margin_px: int) -> Truth:
    """Widen a mask, of 0 and 1, by a margin to all sides and corners."""
    return np.asarray(cv2.dilate(mask, np.ones((2 * margin_px + 1,) * 2, np.uint8)), dtype=np.uint8)


def _draw_region(grey: Grey, truth: Truth, rng: Generator) -> Truth | None:
    """Return an ellipse in the tissue, off the tumour; None if the one that is drawn is not."""
    height, width = grey.shape
    rows, columns = np.nonzero(grey > TISSUE)
    if not len(rows):
        return None
    place = int(rng.integers(len(rows)))
    axes = (int(rng.uniform(0.02, 0.12) * width), int(rng.uniform(0.02, 0.12) * height))
    centre_xy = (int(columns[place]), int(rows[place]))
    region = np.zeros_like(truth)
    cv2.ellipse(region, centre_xy, axes, float(rng.uniform(0, 180)), 0, 360, 1, cv2.FILLED)
    return None if (region & widen(truth, MARGIN)).any() else region


def _replace(grey: Grey, region: Truth, tumour: Truth, rng: Generator) -> Grey | None:
    """Return the slice with other tissue in a region; None where it cannot be had."""
    framed = region.copy()
    framed[1:-1, 1:-1] = 0
    if framed.any() or region.mean() > LARGEST or min(cv2.boundingRect(region)[2:]) < _THINNEST_PX:
        return None
    tissue = (grey > TISSUE) & (widen(tumour, MARGIN) == 0)
    source, found = grey, tissue
    if rng.random() < 0.5:
        source, found = np.ascontiguousarray(grey[:, ::-1]), tissue[:, ::-1]
    inside = region > 0
    wanted = min(float((grey[inside] > TISSUE).mean()), 0.95)
    height, width = grey.shape
    for _ in range(TRIES):
        shift = np.array([[1, 0, rng.uniform(-0.4, 0.4) * width], [0, 1, rng.uniform(-0.4, 0.4) * height]])
        shift = shift.round()
        usable = cv2.warpAffine(found.astype(np.uint8), shift, (width, height), flags=cv2.INTER_NEAREST)
        if usable[inside].mean() >= wanted:
            moved = cv2.warpAffine(source, shift, (width, height), flags=cv2.INTER_NEAREST)
            return _blend(np.asarray(moved, dtype=np.float32), grey, region)
    return None


def _blend(source: NDArray[np.float32], grey: Grey, region: Truth) -> Grey:
    """Return the slice with the gradients of a source in a region; outside it is unchanged."""
    left, top, width, height = cv2.boundingRect(region)
    centre_xy = (left + width // 2, top + height // 2)
    first, second = (cv2.merge([(image * 255).astype(np.uint8)] * 3) for image in (source, grey))
    cloned = cv2.seamlessClone(first, second, region * np.uint8(255), centre_xy, cv2.NORMAL_CLONE)
    return np.where(region > 0, cloned[:, :, 0].astype(np.float32) / 255, grey)

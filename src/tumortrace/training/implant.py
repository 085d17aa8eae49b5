"""Tumours of other slices implanted in tumour-free training slices.

Where all slices of a hospital are tumour-free, a network learns to know the hospital instead of the tumour, and misses
tumours of hospitals that look like it. So some tumour-free slices get a tumour of another slice, as bright against its
surroundings as it was there (Yang et al. 2021, TumorCP; Zhang et al. 2021, CarveMix).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tumortrace.training.augment import find_inside, scale_to_unit
from tumortrace.training.erase import LARGEST, TISSUE, TRIES, widen

Grey = NDArray[np.float32]
Truth = NDArray[np.uint8]

IMPLANTED = 0.3
"""Fraction of the tumour-free slices that get a tumour."""

INSIDE = 0.25
"""Depth in the head, as a fraction of the greatest, from which a tumour may lie."""

_GAP_PX, _RING_PX = 2, 10  # from a tumour to its surroundings, and to their end
_FREE_PX = 4  # around an implanted tumour, where there has to be tissue too
_FEWEST_PX = 20  # of which surroundings are measured


class _Donor(NamedTuple):
    """A slice in 0..1 with the outline of its tumour, and the grey level around it."""

    grey: Grey
    outline: Truth
    around: float


def implant(image: Grey, donor: Grey, outline: Truth, rng: Generator) -> tuple[Grey, Truth] | None:
    """Implant the tumour of another slice, turned, scaled, and near the place that it has there.

    Args:
        image: Tumour-free slice, shape (H, W), float32, any range.
        donor: Slice with the tumour, of the same shape.
        outline: Its tumour, uint8, 1 where there is tumour; may be empty.
        rng: Decides everything.

    Returns:
        The slice in 0..1 and the outline in it; None where the tumour is large or missing, or no place was found for it
        in ``TRIES`` draws.
    """
    grey = scale_to_unit(image)
    given = _prepare_donor(scale_to_unit(donor), outline, rng)
    if given is None:
        return None
    placed = _place(grey, given, rng)
    if placed is None:
        return None
    move, truth, there = placed
    moved = cv2.warpAffine(given.grey, move, grey.shape[::-1])
    gain = float(rng.uniform(0.6, 1.3)) * there / max(given.around, 0.05)
    if rng.random() < 0.25:  # darker than its surroundings where it was brighter, as on another contrast
        gain = -gain
    tumour = np.clip(there + (moved - given.around) * np.float32(gain), 0, 1)
    soft = cv2.GaussianBlur(truth.astype(np.float32), (0, 0), float(rng.uniform(0.8, 2.0)))
    return np.asarray(grey + soft * (tumour - grey), dtype=np.float32), truth


def _prepare_donor(grey: Grey, outline: Truth, rng: Generator) -> _Donor | None:
    if not outline.any() or outline.mean() > LARGEST:
        return None
    if rng.random() < 0.5:
        grey, outline = np.ascontiguousarray(grey[:, ::-1]), np.ascontiguousarray(outline[:, ::-1])
    around = _measure_around(grey, outline, gap_px=_GAP_PX)
    return None if around is None else _Donor(grey, outline, around)


def _place(grey: Grey, donor: _Donor, rng: Generator) -> tuple[NDArray[np.float64], Truth, float] | None:
    """Return where the tumour goes (2 x 3), its outline there and the grey level around it."""
    scale, angle = float(np.exp(rng.uniform(-0.25, 0.25))), float(rng.uniform(-40, 40))
    rows, columns = np.nonzero(donor.outline)
    height, width = grey.shape
    deep = find_inside(grey, INSIDE)
    for _ in range(TRIES):
        centre_xy = (float(columns.mean()), float(rows.mean()))
        move = np.asarray(cv2.getRotationMatrix2D(centre_xy, angle, scale), dtype=np.float64)
        move[:, 2] += [rng.uniform(-0.15, 0.15) * width, rng.uniform(-0.15, 0.15) * height]
        warped = cv2.warpAffine(donor.outline * np.uint8(255), move, (width, height))
        truth = (np.asarray(warped) >= 128).astype(np.uint8)
        if not truth.any() or _reaches_edge(truth) or deep[truth > 0].mean() < 0.8:
            continue
        around = _measure_around(grey, truth, gap_px=_FREE_PX)
        if around is not None and (grey[widen(truth, _FREE_PX) > 0] > TISSUE).mean() >= 0.9:
            return move, truth, around
    return None


def _reaches_edge(truth: Truth) -> bool:
    inner = truth[2:-2, 2:-2]
    return bool(truth.sum() > inner.sum())


def _measure_around(grey: Grey, tumour: Truth, *, gap_px: int) -> float | None:
    """Median grey level of the tissue around a tumour; None where there is hardly any."""
    ring = (widen(tumour, _RING_PX) > widen(tumour, gap_px)) & (grey > TISSUE)
    return float(np.median(grey[ring])) if ring.sum() >= _FEWEST_PX else None

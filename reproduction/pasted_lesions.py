"""Slices with a second lesion pasted in from another slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reproduction.by_lesions import count_components
from tumortrace.inference.recipe import standardise
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.augment import strip_skull

Mask = NDArray[np.bool_]
Grey = NDArray[np.float32]

TRIES = 20
"""Pairs drawn for each slice to be pasted, at most."""
GAP_PX = 4
"""Between a pasted lesion and the slice's own; wider than the softened edge."""
RIM_PX = 4
"""Width of what counts as a lesion's surroundings."""
SOFT_PX = 1.0
"""Deviation of the softened edge; it ends 3 pixels off the lesion."""
DEPTH = 0.2
"""A pasted lesion lies deeper in the head than this share of the way from its edge to its middle: not in the skull."""


def inside_head(image: Grey, *, depth: float) -> Mask:
    """What lies deeper in the head than a share of the way from its edge to its middle; all, if there is no head.

    Args:
        image: Shape (H, W), float32, any range.
        depth: Depth, from 0 (the whole head) to 1.
    """
    grey = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    lifted = np.asarray(grey + 1e-3, dtype=np.float32)  # so that black inside of the head differs from what is cut off
    return np.asarray(strip_skull(lifted, np.zeros(image.shape, np.uint8), depth=depth) > 0)


def widen(mask: Mask, by_px: int) -> Mask:
    """A mask (H, W) and all within so many pixels of it, in rows and columns."""
    side = 2 * by_px + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def free_places(image: Grey, truth: Mask, lesion: Mask) -> NDArray[np.intp]:
    """Where a lesion fits into a slice: inside the head, off the slice's own lesion.

    Args:
        image: Shape (H, W), float32.
        truth: Shape (H, W), bool; the slice's own.
        lesion: Shape (h, w), bool; cut out along its box.

    Returns:
        Rows and columns of the box's first pixel, shape (N, 2); N may be 0.
    """
    free = inside_head(image, depth=DEPTH) & ~widen(truth, GAP_PX)
    frame: dict[str, Any] = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}  # nothing is free outside
    fits = cv2.erode(free.astype(np.uint8), lesion.astype(np.uint8), anchor=(0, 0), **frame)
    return np.argwhere(fits > 0)


def paste(
    target: tuple[Grey, Mask], donor: tuple[Grey, Mask], rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """The target with the donor's lesion at a free place, softened at its edge.

    The lesion keeps how it differs from its surroundings: their mean and deviation are exchanged for the place's.

    Args:
        target: Slice (H, W), float32, and its truth, bool.
        donor: Likewise, on the same grid; its truth is not empty.
        rng: Draws the place.

    Returns:
        A new slice and the united truth; nothing further than 3 pixels off the pasted lesion has changed. None if the
        lesion fits nowhere, or the surroundings of either place lie outside the head.
    """
    (image, truth), (giving, lesion) = target, donor
    rows, columns = (np.flatnonzero(lesion.any(axis=axis)) for axis in (1, 0))
    places = free_places(image, truth, lesion[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    rim = widen(lesion, RIM_PX) & ~widen(lesion, 1) & inside_head(giving, depth=0)
    if not len(places) or not rim.any():
        return None
    row, column = places[rng.integers(len(places))].tolist()
    shift_xy = column - int(columns[0]), row - int(rows[0])
    moved, pasted = _shift(giving, shift_xy), _shift(lesion.astype(np.float32), shift_xy) > 0
    place = widen(pasted, RIM_PX) & ~truth & inside_head(image, depth=0)
    gain = np.clip(image[place].std() / max(float(giving[rim].std()), 1e-6), 0.5, 2.0)
    matched = image[place].mean() + gain * (moved - giving[rim].mean())
    soft = cv2.GaussianBlur(pasted.astype(np.float32), (7, 7), SOFT_PX, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(image + soft * (matched - image), dtype=np.float32), np.asarray(truth | pasted)


def _shift(image: Grey, shift_xy: tuple[int, int]) -> Grey:
    """Moved by whole pixels; what comes in repeats the edge."""
    height, width = image.shape
    matrix = np.array([[1, 0, shift_xy[0]], [0, 1, shift_xy[1]]], dtype=np.float64)
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def paste_slices(
    part: PreparedPart, groups: Sequence[str], count: int, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8], int]:
    """So many slices of one lesion, each with the lesion of another such slice, of another group, pasted in.

    Args:
        part: Drawn from.
        groups: Group of copies of each slice.
        count: Asked for; fewer are made where too many pairs have no room, or there are no pairs.
        rng: Decides everything.

    Returns:
        Slices (M, H, W), float32, standardised; truths (M, H, W), uint8; and how many pairs were skipped.
    """
    single = np.flatnonzero(count_components(part.truths) == 1)
    names = np.asarray(groups, dtype=np.str_)
    made: list[tuple[Grey, Mask]] = []
    skipped = 0
    for _ in range(count * TRIES if len(set(names[single])) > 1 else 0):
        if len(made) == count:
            break
        target = rng.choice(single)
        donor = rng.choice(single[names[single] != names[target]])
        result = paste(_slice_of(part, target), _slice_of(part, donor), rng)
        if result is None:
            skipped += 1
        else:
            made.append((standardise(result[0]), result[1]))
    size = (len(made), *part.truths.shape[1:])
    images = np.array([image for image, _ in made], dtype=np.float32).reshape(size)
    return images, np.array([truth for _, truth in made], dtype=np.uint8).reshape(size), skipped


def _slice_of(part: PreparedPart, index: int) -> tuple[Grey, Mask]:
    return part.images[index, 0].numpy(), part.truths[index].numpy() > 0

"""Lesions of a series: linked across slices, and those too thin to trust.

A false alarm seldom repeats on the next slice of a thin-sliced series; a tumour does. So neighbouring slices vote on
each lesion: one that ends on both sides within a few millimetres is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.components import link

THINNEST_MM = 4.0
"""Extent across slices below which a lesion is dropped: one slice 3 mm thick, or three slices of 1 mm."""

_ROUNDED = 0.999  # headers round: four slices of 0.99999 mm are 4 mm thick


def link_lesions(masks: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number the lesions of a stack of masks.

    Pixels belong together when they touch, corners included, within a slice or between neighbouring slices.

    Args:
        masks: Shape (S, H, W), bool, neighbouring slices next to each other.

    Returns:
        Numbers from 1, 0 outside lesions, shape (S, H, W), in the order of their first slices; and how many there are.
    """
    labels = np.zeros(masks.shape, dtype=np.int32)
    links: list[tuple[int, int]] = []
    total = 0
    for index, mask in enumerate(masks):
        count, found = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        labels[index] = np.where(mask, np.asarray(found) + total, 0)
        total += count - 1
        if index:
            links += _touching(labels[index - 1], labels[index])
    _, numbers = np.unique(link(total + 1, links), return_inverse=True)
    return numbers.astype(np.int32)[labels], int(numbers.max())


def vote_on_lesions(
    masks: NDArray[np.bool_], *, slice_distance_mm: float | None, judged: Sequence[bool] | None = None
) -> tuple[NDArray[np.bool_], int]:
    """Let neighbouring slices vote on the lesions of a series: drop those that end on both sides within little.

    A lesion that reaches the first or last slice may go on beyond it and is never dropped, nor is one beside a slice
    that was not segmented, nor any lesion of a series whose slice distance is unknown.

    Args:
        masks: Shape (S, H, W), bool, in the order of the slices.
        slice_distance_mm: Distance between the centres of neighbouring slices; None if unknown or uneven.
        judged: Whether each slice was segmented; None if all were.

    Returns:
        The masks without the lesions thinner than ``THINNEST_MM``, and the number of these.
    """
    if slice_distance_mm is None:
        return masks, 0
    labels, count = link_lesions(masks)
    seen = [False, *(judged if judged is not None else [True] * len(masks)), False]  # with what lies beyond both ends
    kept = np.arange(count + 1) > 0
    for number in range(1, count + 1):
        slices = np.flatnonzero((labels == number).any(axis=(1, 2)))
        first, last = int(slices[0]), int(slices[-1])
        whole = seen[first] and seen[last + 2]  # the slices before and after it
        kept[number] = not whole or (last - first + 1) * slice_distance_mm >= _ROUNDED * THINNEST_MM
    return kept[labels], count - int(kept.sum())


def _touching(above: NDArray[np.int32], below: NDArray[np.int32]) -> set[tuple[int, int]]:
    """Return the pairs of labels of two neighbouring slices whose pixels touch."""
    height, width = above.shape
    padded = np.pad(above, 1)
    pairs: set[tuple[int, int]] = set()
    for down in range(3):
        for right in range(3):
            shifted = padded[down : down + height, right : right + width]
            both = (shifted > 0) & (below > 0)
            pairs |= set(zip(shifted[both].tolist(), below[both].tolist(), strict=True))
    return pairs

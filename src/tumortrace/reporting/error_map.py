"""Every pixel of a slice coloured by whether prediction and truth agree, in the report's colours or for all eyes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Colours = Literal["safe", "report"]
RGB = tuple[int, int, int]

TRUE_POSITIVE_RGB = (255, 255, 255)
TRUE_NEGATIVE_RGB = (0, 0, 0)
FALSE_NEGATIVE_RGB = (0, 90, 255)
FALSE_POSITIVE_RGB = (255, 140, 0)

LEGEND: tuple[tuple[str, RGB], ...] = (
    ("white: tumour, found (TP)", TRUE_POSITIVE_RGB),
    ("blue: tumour, missed (FN)", FALSE_NEGATIVE_RGB),
    ("orange: no tumour, marked (FP)", FALSE_POSITIVE_RGB),
    ("black: no tumour, left (TN)", TRUE_NEGATIVE_RGB),
)
"""Each colour's meaning, in the order in which a legend lists them."""

SAFE_LEGEND: tuple[tuple[str, RGB], ...] = (
    ("yellow: tumour, found (TP)", (240, 228, 66)),
    ("blue: tumour, missed (FN)", (0, 90, 178)),
    ("vermilion: no tumour, marked (FP)", (213, 94, 0)),
    ("the slice, darkened: no tumour, left (TN)", (70, 70, 70)),
)
"""Colours after Okabe and Ito, apart for all eyes, and by their lightness in grey print."""

_DARKENED = 0.55


def compare_masks(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour TP white, TN black, FN blue and FP orange, as the report does.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.

    Returns:
        Red-green-blue, shape (H, W, 3), uint8.
    """
    # Indexed by 2 * truth + prediction.
    colours = np.array([TRUE_NEGATIVE_RGB, FALSE_POSITIVE_RGB, FALSE_NEGATIVE_RGB, TRUE_POSITIVE_RGB], dtype=np.uint8)
    return colours[2 * truth.astype(np.intp) + prediction.astype(np.intp)]


def split_comparison(comparison: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Prediction and truth, shape (H, W), bool, from what ``compare_masks`` made of them."""
    found, missed, marked = (
        (comparison == np.array(rgb, dtype=np.uint8)).all(axis=2)
        for rgb in (TRUE_POSITIVE_RGB, FALSE_NEGATIVE_RGB, FALSE_POSITIVE_RGB)
    )
    return found | marked, found | missed


def compare_on_slice(
    grey: NDArray[np.uint8], prediction: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Colour TP, FN and FP as in ``SAFE_LEGEND`` on the darkened slice.

    Args:
        grey: The slice, shape (H, W), uint8.
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.

    Returns:
        Red-green-blue, shape (H, W, 3), uint8.
    """
    picture = np.repeat((grey * _DARKENED).astype(np.uint8)[:, :, None], 3, axis=2)
    pixels = (prediction & truth, truth & ~prediction, prediction & ~truth)
    for chosen, (_, rgb) in zip(pixels, SAFE_LEGEND, strict=False):
        picture[chosen] = rgb
    return picture

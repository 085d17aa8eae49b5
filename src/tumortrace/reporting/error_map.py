"""Pictures that colour every pixel by whether prediction and truth agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumortrace.choices import Colours

RGB = tuple[int, int, int]

SAFE_LEGEND: tuple[tuple[str, RGB], ...] = (
    ("yellow: tumour, found (TP)", (240, 228, 66)),
    ("blue: tumour, missed (FN)", (0, 90, 178)),
    ("vermilion: no tumour, marked (FP)", (213, 94, 0)),
    ("grey: neither (TN)", (70, 70, 70)),
)
"""Colours after Okabe and Ito, which all eyes distinguish, and grey print by their lightness."""

PAPER_LEGEND: tuple[tuple[str, RGB], ...] = (
    ("white: tumour, found (TP)", (255, 255, 255)),
    ("blue: tumour, missed (FN)", (0, 90, 255)),
    ("orange: no tumour, marked (FP)", (255, 140, 0)),
    ("black: neither (TN)", (0, 0, 0)),
)
"""Colours of the student paper."""

LEGENDS: dict[Colours, tuple[tuple[str, RGB], ...]] = {"safe": SAFE_LEGEND, "paper": PAPER_LEGEND}

_DARKENED = 0.55


def compare_masks(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, colours: Colours = "safe"
) -> NDArray[np.uint8]:
    """Colour TP, FN and FP on black.

    Args:
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.
        colours: Set of colours.

    Returns:
        Red-green-blue, shape (H, W, 3), uint8.
    """
    return _paint(np.zeros((*truth.shape, 3), dtype=np.uint8), prediction, truth, colours)


def compare_on_slice(
    grey: NDArray[np.uint8], prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, colours: Colours = "safe"
) -> NDArray[np.uint8]:
    """Colour TP, FN and FP on the darkened slice, or on black in the colours of the student paper.

    Args:
        grey: The slice, shape (H, W), uint8.
        prediction: Shape (H, W), bool.
        truth: Shape (H, W), bool.
        colours: Set of colours.

    Returns:
        Red-green-blue, shape (H, W, 3), uint8.
    """
    if colours == "paper":
        return compare_masks(prediction, truth, colours=colours)
    darkened = (grey * _DARKENED).astype(np.uint8)
    return _paint(np.repeat(darkened[:, :, None], 3, axis=2), prediction, truth, colours)


def split_comparison(comparison: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return prediction and truth, shape (H, W), bool, from a picture that ``compare_masks`` made in safe colours."""
    found, missed, marked = ((comparison == np.array(rgb, dtype=np.uint8)).all(axis=2) for _, rgb in SAFE_LEGEND[:3])
    return found | marked, found | missed


def _paint(
    picture: NDArray[np.uint8], prediction: NDArray[np.bool_], truth: NDArray[np.bool_], colours: Colours
) -> NDArray[np.uint8]:
    pixels = (prediction & truth, truth & ~prediction, prediction & ~truth)
    for chosen, (_, rgb) in zip(pixels, LEGENDS[colours], strict=False):
        picture[chosen] = rgb
    return picture

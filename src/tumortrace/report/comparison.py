"""The report's comparison picture: every pixel of a slice coloured by whether prediction and truth agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TRUE_POSITIVE_RGB = (255, 255, 255)
TRUE_NEGATIVE_RGB = (0, 0, 0)
FALSE_NEGATIVE_RGB = (0, 90, 255)
FALSE_POSITIVE_RGB = (255, 140, 0)

LEGEND = (
    ("white: tumour, found (TP)", TRUE_POSITIVE_RGB),
    ("blue: tumour, missed (FN)", FALSE_NEGATIVE_RGB),
    ("orange: no tumour, marked (FP)", FALSE_POSITIVE_RGB),
    ("black: no tumour, left (TN)", TRUE_NEGATIVE_RGB),
)
"""Each colour's meaning, in the order in which a legend lists them."""


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

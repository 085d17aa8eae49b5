"""Masks: the box around one, and the check that every metric makes of two."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def surround(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return rows and columns of the smallest box around a mask (H, W), bool; None if the mask is empty."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (slice(top, top + height), slice(left, left + width)) if width else None


def check_masks(prediction: NDArray[Any], truth: NDArray[Any]) -> None:
    """Raise an error unless two masks are boolean and of one shape.

    A truth with values between 0 and 1 cannot be scored: dividing by it scores even a perfect mask below 1.

    Args:
        prediction: The predicted mask.
        truth: The mask that it is compared with.

    Raises:
        ValueError: A mask is not boolean, or the shapes differ.
    """
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool, not {prediction.dtype} (prediction) and {truth.dtype} (truth)")
    if prediction.shape != truth.shape:
        raise ValueError(f"masks differ in shape: prediction {prediction.shape}, truth {truth.shape}")

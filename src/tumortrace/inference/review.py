"""Reasons for a person to look at a mask before it is used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.head import SMALL_BOX
from tumortrace.data.upright import UprightSlice
from tumortrace.inference.lesions import Lesion

TINY_FRACTION = 0.0005
"""Fraction of the frame below which a mask is called tiny: none of 1,617 outlined slices has so small a tumour."""

MANY_LESIONS = 4
"""Number of lesions from which a mask is reviewed: of those 1,617 slices one has as many."""

SMALL_SIDE_PX = 64
"""Side below which a picture or a head is called small. No training slice is so small; pictures of 48 px lose a tenth
to a fifth of the Dice."""


def find_mask_reasons(
    mask: NDArray[np.bool_], lesions: Sequence[Lesion], confidence: float, *, review_below: float
) -> tuple[str, ...]:
    """Find what speaks against a mask in itself.

    Args:
        mask: Shape (H, W), bool.
        lesions: Lesions of the mask.
        confidence: Confidence in the mask, 0 to 1.
        review_below: Confidence below which a mask is reviewed.

    Returns:
        A few words each; empty if nothing does.
    """
    reasons = []
    if confidence < review_below:
        reasons.append(f"low confidence ({confidence:.2f})")
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        reasons.append("the mask touches the border of the picture")
    area_px = sum(lesion.area_px for lesion in lesions)
    if 0 < area_px < TINY_FRACTION * mask.size:
        reasons.append(f"tiny mask ({area_px} px)")
    if len(lesions) >= MANY_LESIONS:
        reasons.append(f"many lesions ({len(lesions)})")
    return tuple(reasons)


def find_slice_reasons(upright: UprightSlice, *, cropped: bool) -> tuple[str, ...]:
    """Find what speaks against a slice, whatever its mask.

    Args:
        upright: The slice.
        cropped: Whether the model is shown the box around the head alone.

    Returns:
        A few words each; empty if nothing does.
    """
    if upright.head is None:
        return ("blank picture",)
    reasons = []
    height, width = upright.size_hw
    head_height, head_width = upright.head.size_hw
    if min(height, width) < SMALL_SIDE_PX:
        reasons.append(f"small picture ({width} x {height} px)")
    elif max(head_height, head_width) < SMALL_SIDE_PX:
        reasons.append(f"small head ({head_width} x {head_height} px)")
    elif not cropped and head_height * head_width < SMALL_BOX * upright.grey.size:
        reasons.append(f"small head in a wide frame ({head_width} x {head_height} of {width} x {height} px)")
    if upright.inverted:
        reasons.append("light background: the picture was inverted")
    return tuple(reasons)

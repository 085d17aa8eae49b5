"""When a person should look before a mask is used, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumortrace.inference.lesions import Lesion

TINY = 0.0005
"""Share of the frame below which a mask is called tiny: of 1,617 outlined slices at hand none is as small."""

MANY = 4
"""Parts from which a mask is doubted: of those 1,617 slices one has as many tumours."""


def find_doubts(
    mask: NDArray[np.bool_], lesions: Sequence[Lesion], confidence: float, *, review_below: float
) -> tuple[str, ...]:
    """What in a mask itself speaks against it.

    Args:
        mask: Shape (H, W), bool.
        lesions: Of the mask.
        confidence: In the mask, 0 to 1.
        review_below: The confidence that is enough.

    Returns:
        A few words each; empty if nothing does.
    """
    doubts = []
    if confidence < review_below:
        doubts.append(f"low confidence ({confidence:.2f})")
    if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        doubts.append("the mask touches the border of the picture")
    if 0 < mask.sum() < TINY * mask.size:
        doubts.append(f"tiny mask ({int(mask.sum())} px)")
    if len(lesions) >= MANY:
        doubts.append(f"many parts ({len(lesions)})")
    return tuple(doubts)

"""Pictures of two copies of a slice side by side, with both outlines."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumortrace.copies.audit import describe_pair
from tumortrace.copies.compare import CopyPair
from tumortrace.copies.registration import lay_mask, lay_pixels
from tumortrace.copies.survey import Survey
from tumortrace.data.cases import read_image
from tumortrace.errors import DataError
from tumortrace.inference.overlay import to_display
from tumortrace.metrics.overlap import count_pixels
from tumortrace.reporting import html

FIRST_RGB, SECOND_RGB = (240, 228, 66), (0, 158, 230)

_PANEL_PX = 280


def draw_pair(survey: Survey, pair: CopyPair) -> Markup:
    """Draw the first slice of a pair as it is, and the second laid onto it."""
    first, second = survey.cases_of(pair)
    try:
        one, two = (read_image(case.record).pixels for case in (first, second))
    except DataError:
        return html.paragraph(f"{first.record.case_id} or {second.record.case_id} can no longer be read.")
    # From 0 on, which is what stands where the second does not reach: scans have negative values and fractions.
    laid = lay_pixels(two.astype(np.float32) - np.float32(two.min()), pair.to_second, first.size_hw)
    panels = [to_display(one), to_display(laid)]
    words = describe_pair(survey, pair)
    names = f"{first.record.case_id} and {second.record.case_id}"
    compared = "the two look the same" if words == "alike" else f"compared with the second, the first is {words}"
    caption = f"{names}: similarity {pair.similarity:.3f}; {compared}"
    outlines: list[tuple[NDArray[np.bool_], tuple[int, int, int]]] = []
    if first.packed_truth is not None and second.packed_truth is not None:
        own, other = first.truth(), lay_mask(second.truth(), pair.to_second, first.size_hw)
        outlines = [(own, FIRST_RGB), (other, SECOND_RGB)]
        dice = count_pixels(other, own).dice
        caption += "" if np.isnan(dice) else f"; Dice of the two outlines {dice:.3f}"
    drawn = [draw_outlines(panel, outlines) for panel in panels]
    gap = np.full((drawn[0].shape[0], 8, 3), 255, dtype=np.uint8)
    return html.picture(np.concatenate([drawn[0], gap, drawn[1]], axis=1), alt="Two copies of a slice", caption=caption)


def draw_outlines(
    grey: NDArray[np.uint8], outlines: Sequence[tuple[NDArray[np.bool_], tuple[int, int, int]]]
) -> NDArray[np.uint8]:
    """Draw a slice at the panel's size, with outlines two pixels wide.

    Args:
        grey: The slice, shape (H, W), uint8.
        outlines: Masks, shape (H, W), bool, each with red, green and blue from 0 to 255.

    Returns:
        Red-green-blue, uint8.
    """
    scale = _PANEL_PX / max(grey.shape)
    size_wh = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    large = cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    picture = np.repeat(np.asarray(large, dtype=np.uint8)[:, :, None], 3, axis=2)
    for mask, rgb in outlines:
        enlarged = cv2.resize(mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
        contours, _ = cv2.findContours(enlarged, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, rgb, 2)
    return picture

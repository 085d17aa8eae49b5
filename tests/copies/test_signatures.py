"""Signatures gathered into arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.copies.lookup import HeadFrame
from tumortrace.copies.signatures import Signature, SignatureStack, measure_signature, stack_signatures
from tumortrace.copies.similarity import SIDE_PX


def signature_of(value: float) -> Signature:
    return Signature(
        np.full((2, SIDE_PX, SIDE_PX), value, np.float16),
        np.full((2, 4), 10 * value),
        np.full(4, value / 10, np.float32),
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_stack_holds_what_was_added_and_not_the_room_left(count: int):
    stack = SignatureStack(3)
    for number in range(count):
        stack.add(signature_of(number + 1))
    signatures = stack.get()
    assert len(signatures) == count
    assert signatures.windows.shape == (count, 2, SIDE_PX, SIDE_PX)
    assert signatures.windows[:, 1, 5, 7].tolist() == [1.0, 2.0][:count]
    assert signatures.boxes_xywh[:, 1, 3].tolist() == [10.0, 20.0][:count]
    assert signatures.cut_ltrb[:, 2] == pytest.approx([0.1, 0.2][:count])


@pytest.mark.parametrize("axis", [0, 1])
def test_the_box_of_a_head_ends_with_the_picture(axis: int):
    """Measured at two thirds, the head covers columns 81 to 253 of 254: 121.5 and 259.5 pixels round to 382 of 381."""
    y, x = np.mgrid[:384, :381]
    inside = ((x - 257) / 124) ** 2 + ((y - 192) / 154) ** 2 < 1
    pixels = np.where(inside, 150, 0).astype(np.uint8)
    pixels = pixels.T if axis == 0 else pixels
    signatures = stack_signatures([measure_signature(pixels)])
    frame = HeadFrame((pixels.shape[0], pixels.shape[1]), signatures.head_box_xywh(0))
    left, top, width, height = frame.box_xywh
    assert (top + height, left + width)[axis] == 381
    assert frame.lay(np.ones((192, 192))).sum() == width * height

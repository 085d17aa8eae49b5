"""Signatures gathered into arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.copies.signatures import Signature, SignatureStack
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

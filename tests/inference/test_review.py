"""Each doubt about a mask, alone and together."""

from __future__ import annotations

import numpy as np
import pytest

from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.review import MANY, find_doubts


def doubts_of(mask: np.ndarray, confidence: float = 0.9) -> tuple[str, ...]:
    lesions = find_lesions(mask, mask.astype(np.float32))
    return find_doubts(mask, lesions, confidence, review_below=0.75)


def blocks(*places: tuple[int, int], side: int = 4) -> np.ndarray:
    mask = np.zeros((60, 90), dtype=bool)
    for row, column in places:
        mask[row : row + side, column : column + side] = True
    return mask


def test_a_sure_mask_raises_no_doubt():
    assert doubts_of(blocks((10, 20))) == ()


def test_an_empty_mask_is_neither_tiny_nor_at_the_border():
    assert doubts_of(blocks()) == ()


def test_low_confidence_is_named_with_its_value():
    assert doubts_of(blocks((10, 20)), confidence=0.7449) == ("low confidence (0.74)",)
    assert doubts_of(blocks((10, 20)), confidence=0.75) == ()


@pytest.mark.parametrize("place", [(0, 20), (56, 20), (10, 0), (10, 86)], ids=["top", "bottom", "left", "right"])
def test_a_mask_at_the_border_is_doubted(place: tuple[int, int]):
    assert doubts_of(blocks(place)) == ("the mask touches the border of the picture",)


def test_a_tiny_mask_is_doubted():
    # 0.0005 of 5,400 pixels are 2.7: two pixels are tiny, three are not.
    two, three = blocks(), blocks()
    two[10, 20:22] = three[10, 20:23] = True
    assert doubts_of(two) == ("tiny mask (2 px)",)
    assert doubts_of(three) == ()


def test_many_parts_are_doubted():
    places = [(10, 10 * number) for number in range(1, MANY + 1)]
    assert doubts_of(blocks(*places)) == (f"many parts ({MANY})",)
    assert doubts_of(blocks(*places[:-1])) == ()


def test_every_doubt_is_named():
    assert len(doubts_of(blocks((0, 3)), confidence=0.1)) == 2

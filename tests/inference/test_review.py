"""Each reason for review, alone and together, and the list of them in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumortrace.data.upright import turn_upright
from tumortrace.inference.lesions import find_lesions
from tumortrace.inference.prompts.session import EMPTY
from tumortrace.inference.review import MANY_LESIONS, find_mask_reasons, find_slice_reasons


def reasons_of(mask: np.ndarray, confidence: float = 0.9) -> tuple[str, ...]:
    lesions = find_lesions(mask, mask.astype(np.float32))
    return find_mask_reasons(mask, lesions, confidence, review_below=0.75)


def blocks(*places: tuple[int, int], side: int = 4) -> np.ndarray:
    mask = np.zeros((60, 90), dtype=bool)
    for row, column in places:
        mask[row : row + side, column : column + side] = True
    return mask


# --- of the mask ---


def test_a_sure_mask_gives_no_reason():
    assert reasons_of(blocks((10, 20))) == ()


def test_an_empty_mask_is_neither_tiny_nor_at_the_border():
    assert reasons_of(blocks()) == ()


def test_low_confidence_is_named_with_its_value():
    assert reasons_of(blocks((10, 20)), confidence=0.7449) == ("low confidence (0.74)",)
    assert reasons_of(blocks((10, 20)), confidence=0.75) == ()


@pytest.mark.parametrize("place", [(0, 20), (56, 20), (10, 0), (10, 86)], ids=["top", "bottom", "left", "right"])
def test_a_mask_at_the_border_is_reviewed(place: tuple[int, int]):
    assert reasons_of(blocks(place)) == ("the mask touches the border of the picture",)
    one_inwards = (min(max(place[0], 1), 55), min(max(place[1], 1), 85))
    assert reasons_of(blocks(one_inwards)) == ()


def test_a_tiny_mask_is_reviewed():
    # 0.0005 of 5,400 pixels are 2.7: two pixels are tiny, three are not.
    one, two, three = blocks(), blocks(), blocks()
    one[10, 20] = two[10, 20:22] = three[10, 20:23] = True
    assert reasons_of(one) == ("tiny mask (1 px)",)
    assert reasons_of(two) == ("tiny mask (2 px)",)
    assert reasons_of(three) == ()


def test_many_lesions_are_reviewed():
    places = [(10, 10 * number) for number in range(1, MANY_LESIONS + 1)]
    assert reasons_of(blocks(*places)) == (f"many lesions ({MANY_LESIONS})",)
    assert reasons_of(blocks(*places[:-1])) == ()


def test_every_reason_is_named():
    assert len(reasons_of(blocks((0, 3)), confidence=0.1)) == 2


# --- of the slice ---


def head(size_hw: tuple[int, int], half_wh: tuple[int, int]) -> np.ndarray:
    picture = np.zeros(size_hw, np.uint8)
    return cv2.ellipse(picture, (size_hw[1] // 2, size_hw[0] // 2), half_wh, 0, 0, 360, 120, cv2.FILLED)


def slice_reasons_of(pixels: np.ndarray, *, cropped: bool = True) -> tuple[str, ...]:
    return find_slice_reasons(turn_upright(pixels), cropped=cropped)


def test_a_head_of_usual_size_gives_no_reason():
    for cropped in (False, True):
        assert slice_reasons_of(head((200, 160), (60, 80)), cropped=cropped) == ()


def test_a_small_picture_is_named_with_its_size():
    assert slice_reasons_of(head((80, 63), (20, 30))) == ("small picture (63 x 80 px)",)
    assert slice_reasons_of(head((64, 80), (38, 30))) == ()


def test_a_small_head_in_a_large_picture_is_named_with_its_size():
    (reason,) = slice_reasons_of(head((300, 300), (20, 26)))
    width, height = map(int, re.fullmatch(r"small head \((\d+) x (\d+) px\)", reason).groups())
    assert abs(width - 41) <= 2
    assert abs(height - 53) <= 2
    assert slice_reasons_of(head((300, 300), (20, 36))) == ()  # 73 px tall


def test_a_small_head_in_a_wide_frame_is_reviewed_where_the_model_is_shown_the_whole_slice():
    wide = head((600, 600), (60, 80))
    assert slice_reasons_of(wide, cropped=True) == ()
    (reason,) = slice_reasons_of(wide, cropped=False)
    assert re.fullmatch(r"small head in a wide frame \(1\d\d x 1\d\d of 600 x 600 px\)", reason)


def test_an_inverted_slice_and_a_blank_picture_are_reviewed():
    assert slice_reasons_of(255 - head((200, 160), (60, 80))) == ("light background: the picture was inverted",)
    assert slice_reasons_of(np.zeros((200, 160), np.uint8)) == ("blank picture",)


def test_the_documentation_lists_these_reasons_and_no_others():
    page = (Path(__file__).parents[2] / "docs" / "inference.md").read_text(encoding="utf-8")
    table = page.partition("| reason | when |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| ([^|-]+?) \|", table, flags=re.MULTILINE))
    given = {
        *reasons_of(blocks((0, 3)), confidence=0.1),
        *reasons_of(blocks(*[(10, 10 * number) for number in range(1, 5)], side=1)),
        *slice_reasons_of(head((80, 63), (20, 30))),
        *slice_reasons_of(255 - head((300, 300), (20, 26))),
        *slice_reasons_of(head((600, 600), (60, 80)), cropped=False),
        *slice_reasons_of(np.zeros((200, 160), np.uint8)),
        "tiny mask (2 px)",
        EMPTY,
        "unlike the training data: grain within the head 0.05, usual 0.01 to 0.02",
    }
    assert {re.split(r" \(|: ", reason)[0] for reason in given} == documented

"""A box that is carried through a volume, with a model that marks what is bright in the box."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.data.findings import Finding
from tumortrace.data.slice import Slice
from tumortrace.data.volume import SliceSource, Volume
from tumortrace.errors import DataError
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.prompts.session import EMPTY, PromptSession
from tumortrace.inference.prompts.volume import carry_box, follow_tumour

BOX = (20, 20, 44, 40)


class _Reader:
    def __init__(self, stack: NDArray[np.uint8]) -> None:
        self.stack = stack

    def read(self, index: int) -> Slice:
        if not self.stack[index].any():
            raise DataError(f"slice {index}: damaged")
        return Slice(self.stack[index], f"slice {index}")

    def inspect(self) -> tuple[Finding, ...]:
        return ()


def stack_of(*places: tuple[int, int] | None) -> NDArray[np.uint8]:
    """A slice for each place: a bright spot of 10 x 10 pixels with its first row and column there, or none."""
    stack = np.full((len(places), 64, 80), 40, np.uint8)
    stack[:, :, :2] = 0
    for pixels, place in zip(stack, places, strict=True):
        if place is not None:
            pixels[place[0] : place[0] + 10, place[1] : place[1] + 10] = 220
    return stack


def volume_of(stack: NDArray[np.uint8]) -> Volume:
    sources = tuple(SliceSource(Path("v"), index) for index in range(len(stack)))
    return Volume("v", "v.nii", "nifti", _Reader(stack), sources, (64, 80), (1.0, 1.0), 1.0)


@pytest.fixture
def point(hand_prompt_model: PromptModel) -> partial[PromptSession]:
    return partial(PromptSession, hand_prompt_model, gate=False)


def test_the_box_follows_a_tumour_that_moves_until_it_ends(point: partial[PromptSession]):
    volume = volume_of(stack_of(None, (28, 26), (26, 28), (26, 30), (26, 32), None, (26, 32)))
    found = carry_box(volume, point, box_xyxy=BOX, slice_index=2)
    assert [bool(one.mask.any()) for one in found.slices] == [False, True, True, True, True, False, False]
    assert found.mask[4, 28:34, 34:40].all()
    assert found.prompts[0].box_xyxy == (20.0, 20.0, 44.0, 40.0)
    assert len(found.lesions) == 1


def test_slices_come_one_by_one_upwards_first_so_that_a_caller_may_stop(point: partial[PromptSession]):
    volume = volume_of(stack_of((26, 28), (26, 28), (26, 28), (26, 28)))
    order = [index for index, _ in follow_tumour(volume, point, box_xyxy=BOX, slice_index=1)]
    assert order == [1, 2, 3, 0]


def test_a_tumour_elsewhere_on_the_next_slice_is_another_one(point: partial[PromptSession]):
    volume = volume_of(stack_of((26, 28), (26, 39)))
    assert [index for index, _ in follow_tumour(volume, point, box_xyxy=BOX, slice_index=0)] == [0]


def test_a_slice_that_cannot_be_read_ends_it(point: partial[PromptSession]):
    stack = stack_of((26, 28), (26, 28), (26, 28))
    stack[1] = 0
    assert [index for index, _ in follow_tumour(volume_of(stack), point, box_xyxy=BOX, slice_index=0)] == [0]


@pytest.mark.parametrize("index", [-1, 2, None, True, 0.5])
def test_a_slice_that_is_not_there_is_refused(point: partial[PromptSession], index: object):
    with pytest.raises(DataError, match="give the slice of the box, 0 to 1"):
        carry_box(volume_of(stack_of((26, 28), None)), point, box_xyxy=BOX, slice_index=index)


def test_pieces_beside_the_one_that_continues_the_mask_stay(point: partial[PromptSession]):
    stack = stack_of((24, 24), None)
    stack[1, 24:34, 24:29] = 220
    stack[1, 25:33, 34:36] = 220  # within the box that is carried, but not beside the mask of the slice before
    whole = point(volume_of(stack).read(1)).predict((22, 22, 36, 36))
    assert whole.mask[28, [26, 34]].all()
    found = carry_box(volume_of(stack), point, box_xyxy=(18, 18, 42, 40), slice_index=0)
    assert found.mask[1, 28, [26, 34]].all()
    assert len(found.slices[1].lesions) == len(whole.lesions) == 2


def test_each_slice_and_the_volume_state_their_prompt(point: partial[PromptSession]):
    volume = volume_of(stack_of((26, 28), (26, 28), None))
    found = carry_box(volume, point, box_xyxy=BOX, points_xy=[(22, 22)], labels=[0], slice_index=0)
    assert [each.labels for each in found.prompts] == [(False,)]
    assert [bool(one.prompts) for one in found.slices] == [True, True, False]
    assert found.slices[1].prompts[0].box_xyxy == (26.0, 24.0, 40.0, 38.0)  # the mask's box, two pixels wider


def test_a_box_in_which_nothing_is_left_says_so(point: partial[PromptSession]):
    volume = volume_of(stack_of(None, None))
    found = carry_box(volume, point, box_xyxy=BOX, points_xy=[(30, 30)], labels=[0], slice_index=0)
    assert (found.mask.any(), found.review, found.reasons) == (False, True, (EMPTY,))


def test_a_box_on_a_slice_that_the_gate_rejects_says_so(hand_prompt_model: PromptModel):
    volume = volume_of(stack_of(None, None))
    found = carry_box(volume, partial(PromptSession, hand_prompt_model), box_xyxy=BOX, slice_index=0)
    assert (found.rejected, found.review, found.reasons) == (True, True, found.slices[0].reasons)
    assert found.reasons[0].startswith("not a brain MR slice")

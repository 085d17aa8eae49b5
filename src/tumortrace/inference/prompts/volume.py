"""A box on one slice of a volume, carried to its neighbours until the tumour ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError
from tumortrace.inference.predict import Prediction
from tumortrace.inference.prompts.grid import box_of, widen_box
from tumortrace.inference.prompts.session import PromptSession, keep_touching
from tumortrace.inference.volume_predict import SliceResult, VolumePrediction, combine_slices, keep_slice

WIDENED = 0.05
"""Distance by which the box around a mask is widened on each side to find the tumour on the next slice."""

LEAST_WIDENED_PX = 2.0
"""Or so many pixels, whichever is more."""

SURE = 0.85
"""Mean probability over a mask below which the tumour has ended; chosen with the others on patients of folds 1 to 3."""

LEAST_PX = 8
"""Smallest mask in pixels that is followed."""

Prepare = Callable[[Slice], PromptSession]
"""Function that prepares a slice, as ``Segmenter.point`` does."""


def follow_tumour(
    volume: Volume,
    prepare: Prepare,
    *,
    box_xyxy: object,
    slice_index: object,
    points_xy: object = None,
    labels: object = None,
) -> Iterator[tuple[int, Prediction]]:
    """Segment the slice of a box, then its neighbours, slice by slice, first upwards and then downwards.

    On each slice, the mask of the one before becomes the box. The tumour ends where no mask is found that overlaps
    the one before, where the mean probability over it falls below ``SURE``, or where a slice cannot be read. A caller
    may stop at any slice.

    Args:
        volume: The volume.
        prepare: Function that prepares a slice.
        box_xyxy: Loose box around the tumour on the first slice.
        slice_index: Number of that slice, from 0.
        points_xy: Pixels that refine the box on that slice, as ``PromptSession.predict`` takes them.
        labels: Whether each of them marks tumour.

    Yields:
        Numbers of slices, each with its prediction; the given slice comes first, whatever is found on it.

    Raises:
        DataError: The box cannot be used, or there is no such slice or it cannot be read.
    """
    start = _check_index(volume, slice_index)
    first = prepare(volume.read(start)).predict(box_xyxy, points_xy, labels)
    yield start, first
    for step in (1, -1):
        before, index = first.mask, start + step
        while 0 <= index < len(volume) and before.any():
            found = _find_next(volume, prepare, index, before)
            if found is None:
                break
            yield index, found
            before, index = found.mask, index + step


def carry_box(
    volume: Volume,
    prepare: Prepare,
    *,
    box_xyxy: object,
    slice_index: object,
    points_xy: object = None,
    labels: object = None,
) -> VolumePrediction:
    """Segment a tumour of a volume from a box on one slice; the slices beyond its ends stay empty.

    Args:
        volume: The volume.
        prepare: Function that prepares a slice.
        box_xyxy: Loose box around the tumour on that slice.
        slice_index: Number of that slice, from 0.
        points_xy: Pixels that refine the box on that slice, as ``PromptSession.predict`` takes them.
        labels: Whether each of them marks tumour.

    Raises:
        DataError: As ``follow_tumour``.
    """
    followed = follow_tumour(
        volume, prepare, box_xyxy=box_xyxy, slice_index=slice_index, points_xy=points_xy, labels=labels
    )
    return combine_followed(volume, dict(followed))


def combine_followed(volume: Volume, followed: Mapping[int, Prediction]) -> VolumePrediction:
    """Make one answer of the slices on which a tumour was found; the others stay empty.

    Where the slice of the box was rejected, or nothing was found on it, the reasons say so.

    Args:
        volume: The volume.
        followed: Predictions by the number of their slice, that of the box first; at least one.
    """
    nothing = np.zeros(volume.size_hw, dtype=np.bool_)
    empty = (SliceResult(index, nothing, np.empty(0, np.float32)) for index in range(len(volume)))
    slices = [keep_slice(one.index, followed[one.index]) if one.index in followed else one for one in empty]
    first = next(iter(followed.values()))
    whole = combine_slices(volume, slices, gate=False, vote=False)
    reasons = whole.reasons if first.mask.any() else (*whole.reasons, *first.reasons)
    return replace(whole, prompts=first.prompts, rejected=first.rejected, reasons=reasons)


def _check_index(volume: Volume, slice_index: object) -> int:
    if isinstance(slice_index, int | np.integer) and not isinstance(slice_index, bool):
        index = int(slice_index)
        if 0 <= index < len(volume):
            return index
    raise DataError(f"{volume.file}: slice_index = {slice_index!r}; give the slice of the box, 0 to {len(volume) - 1}")


def _find_next(volume: Volume, prepare: Prepare, index: int, before: NDArray[np.bool_]) -> Prediction | None:
    """Return the answer on the next slice if a lesion of it continues the mask; None if the tumour has ended.

    The lesions beside that one stay: a box means all that lies in it, and many tumours show in pieces on a slice.
    """
    try:
        image = volume.read(index)
    except DataError:
        return None
    box = widen_box(box_of(before), WIDENED, least_px=LEAST_WIDENED_PX)
    prediction = prepare(image).predict(box)
    mask = keep_touching(prediction.mask, before)
    if mask.sum() < LEAST_PX or prediction.probability[mask].mean() < SURE:
        return None
    return prediction

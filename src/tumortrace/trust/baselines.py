"""Scores that need no network: a model that does not beat them has learnt nothing worth having."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.dataset import Case, CaseRecord, read_cases
from tumortrace.errors import DataError
from tumortrace.progress import track
from tumortrace.trust.metrics import PixelCounts, count_pixels
from tumortrace.trust.similarity import Match, find_nearest, head_box, orient, signature


class NearestMask:
    """Copies the mask of the most similar training slice, flipped and turned to fit: a lookup table."""

    def __init__(self, records: Sequence[CaseRecord]) -> None:
        """Read the training slices; those that cannot be read are passed over (training has named them).

        Args:
            records: The training part.

        Raises:
            DataError: Not one of them can be read.
        """
        signatures = []
        self._head_masks: list[NDArray[np.uint8]] = []
        self._ids: list[str] = []
        for record, case, _ in track(read_cases(tuple(records)), "Reading TRAIN for the baseline", total=len(records)):
            if case is not None:
                signatures.append(signature(case.slice.pixels))
                self._head_masks.append(case.truth[head_box(case.slice.pixels)].astype(np.uint8))
                self._ids.append(record.case_id)
        if not signatures:
            raise DataError(f"not one of {len(records)} training cases can be read; mend them, or take TRAIN away")
        self._signatures = np.stack(signatures)

    def predict(self, pixels: NDArray[Any]) -> tuple[NDArray[np.bool_], str, Match]:
        """The copied mask of one slice.

        Args:
            pixels: Grey values, shape (H, W), any real dtype.

        Returns:
            The mask, shape (H, W), bool; the case_id that it was copied from; and how well that fits.
        """
        (match,) = find_nearest(signature(pixels)[None], self._signatures)
        turned = orient(self._head_masks[match.index], turns=match.turns, flip=match.flip)
        rows, columns = head_box(pixels)
        size_wh = (columns.stop - columns.start, rows.stop - rows.start)
        mask = np.zeros(pixels.shape, dtype=np.bool_)
        copied = cv2.resize(np.ascontiguousarray(turned), size_wh, interpolation=cv2.INTER_NEAREST_EXACT)
        mask[rows, columns] = copied > 0
        return mask, self._ids[match.index], match


def score_all_background(case: Case) -> PixelCounts:
    """What predicting no tumour anywhere scores on a case."""
    return count_pixels(np.zeros_like(case.truth), case.truth)

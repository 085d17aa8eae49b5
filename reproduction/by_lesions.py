"""Scores of a cross-validation by number and compactness of lesions.

A lesion is an 8-connected component of the truth: regions that touch or overlap are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import Dataset
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import DataError
from tumortrace.evaluation.folder import read_evaluation
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.lesions import count_lesions, label_lesions
from tumortrace.progress import track

Mask = NDArray[np.bool_]

ALL = "all"
LESIONS = ("1 lesion", "2 lesions", "3 or more")
THIRDS = ("least compact third", "middle third", "most compact third")


class ScoredSlice(NamedTuple):
    """A held-out slice of a cross-validation.

    Attributes:
        source: Name of its dataset.
        group: Group of copies.
        lesions: Components of its truth, at least 1.
        found: Number of these that the prediction touches.
        compactness: Mean over them, in (0, 1].
        share: Fraction of the frame that is tumour, in (0, 1].
        dice: Dice, in [0, 1].
    """

    source: str
    group: str
    lesions: int
    found: int
    compactness: float
    share: float
    dice: float


def compactness(lesion: Mask) -> float:
    """4 pi area / perimeter^2 (Cox 1927): 1 for a disk, pi / 4 for a square, towards 0 for a line or a ragged outline.

    The area is the number of pixels. The perimeter is measured along the centres of the outermost pixels, where a step
    straight on counts 0.980, a diagonal one 1.406 and a turn -0.091 (Vossepoel & Smeulders 1982: without a bias for
    lines of any direction), and pi is added, because the outline runs half a pixel further out. Holes have no outline.

    Args:
        lesion: Shape (H, W), one component, not empty.

    Returns:
        In (0, 1]; a few pixels would come out over 1, and count as a disk.
    """
    contours, _ = cv2.findContours(lesion.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = contours[0][:, 0].astype(int)
    steps = np.roll(points, -1, axis=0) - points
    diagonal = int(np.all(steps != 0, axis=1).sum())
    straight = int(np.any(steps != 0, axis=1).sum()) - diagonal
    turns = int(np.any(steps != np.roll(steps, 1, axis=0), axis=1).sum())
    perimeter = 0.980 * straight + 1.406 * diagonal - 0.091 * turns + math.pi
    return min(4 * math.pi * int(lesion.sum()) / perimeter**2, 1.0)


def mean_compactness(truth: Mask) -> float:
    """Mean over the lesions of a truth (H, W), which does not fall with their number; NaN if it is empty."""
    labelled = label_lesions(truth)
    each = [compactness(labelled.labels == label) for label in range(1, labelled.count + 1)]
    return float(np.mean(each)) if each else math.nan


def count_components(truths: Tensor) -> NDArray[np.int64]:
    """Lesions of each truth; shape (N,) for truths (N, H, W) of 0 and 1."""
    masks = truths.numpy() > 0
    return np.array([count_lesions(mask, mask).true_lesions for mask in masks], dtype=np.int64)


def read_crossval(folder: Path, dataset: Dataset) -> list[ScoredSlice]:
    """The clean held-out slices with tumour of a cross-validation, with what their truth looks like.

    Args:
        folder: Folder that ``crossval`` wrote.
        dataset: The dataset that was cross-validated.

    Raises:
        DataError: The folder holds no evaluation, the dataset lacks slices of it, or a slice has changed since.
    """
    rows = {row.file: row for row in read_evaluation(folder).rows if row.clean and row.true_lesions}
    records = tuple(record for record in dataset.records if record.case_id in rows)
    if len(records) != len(rows):
        raise DataError(
            f"{folder}: has slices that the datasets lack; give the same datasets as to the cross-validation"
        )
    found = []
    for record, case, _ in track(read_cases(records), "Reading slices", total=len(records)):
        row = rows[record.case_id]
        if case is None or hash_case(case) != row.sha256:
            raise DataError(f"{record.case_id}: is not the slice that {folder} scored; cross-validate again")
        looks = mean_compactness(case.truth), float(case.truth.mean()), row.dice
        found.append(ScoredSlice(record.source, row.group, row.true_lesions, row.found_lesions, *looks))
    return found


def tabulate_by_lesions(slices: Sequence[ScoredSlice]) -> list[dict[str, Any]]:
    """Mean Dice by number of lesions and by thirds of compactness, over all sources and in each.

    The thirds are those of each slice's own source: one that outlines by polygons and one that outlines pixel by pixel
    differ more in compactness than their lesions do.

    Args:
        slices: One or more scored slices.
    """
    sources = sorted({each.source for each in slices})
    cuts = {
        source: np.quantile([each.compactness for each in slices if each.source == source], [1 / 3, 2 / 3])
        for source in sources
    }
    rows = []
    for source in (ALL, *sources):
        some = [each for each in slices if source in {ALL, each.source}]
        rows.append(_describe(some, source, "slices", ALL, ""))
        for index, label in enumerate(LESIONS):
            kept = [each for each in some if min(each.lesions, 3) == index + 1]
            rows.append(_describe(kept, source, "lesions", label, ""))
        edges = [f"{edge:.3f}" for edge in (0, *cuts.get(source, ()), 1)]
        for index, label in enumerate(THIRDS):
            kept = [each for each in some if np.searchsorted(cuts[each.source], each.compactness, "right") == index]
            limits = " to ".join(edges[index : index + 2]) if source != ALL else ""
            rows.append(_describe(kept, source, "compactness", label, limits))
    return rows


def _describe(slices: Sequence[ScoredSlice], source: str, by: str, label: str, edges: str) -> dict[str, Any]:
    """A row of the table; what there is no slice for is NaN."""
    dices, groups = [each.dice for each in slices], [each.group for each in slices]
    low, high = mean_interval(dices, groups)
    lesions = sum(each.lesions for each in slices)
    return {
        "source": source,
        "by": by,
        "value": label,
        "from_to": edges,
        "slices": len(slices),
        "groups": len(set(groups)),
        "dice": float(np.mean(dices)) if dices else math.nan,
        "low": low,
        "high": high,
        "share_of_lesions_found": sum(each.found for each in slices) / lesions if lesions else math.nan,
        "median_tumour_share": float(np.median([each.share for each in slices])) if slices else math.nan,
    }

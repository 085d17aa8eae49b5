"""Masks that are probably wrong: inverted, or blank among tumours."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.findings import Finding, warning
from tumortrace.wording import percent

MOST = 0.5
"""Fraction of the frame that no tumour fills in most slices of a dataset."""

FEWEST = 5
"""Fewest masks of a source for a statement on most of them; one slice may be cropped to its tumour."""

MOST_BORDER = 0.9
"""Fraction of the frame's border above which a mask that fills most of the frame is inverted."""

SAME_PLACE = 0.3
"""Overlap (intersection over union, on a coarse grid) above which two masks mark one tumour."""

LONGEST_GAP = 2
"""Most blank masks in a row between two slices of one tumour."""

_COARSE_HW = (32, 32)
_NUMBER = re.compile(r"(.*?)(\d+)\D*")


@dataclass(frozen=True, eq=False)
class MaskSummary:
    """What is kept of a mask to compare it with the others.

    Attributes:
        case_id: The case that it belongs to.
        source: Name of the dataset.
        marked: Fraction of the frame that it marks.
        marked_border: Fraction of the outermost rows and columns that it marks.
        coarse: The mask on a coarse grid, shape ``(32, 32)``, bool.
    """

    case_id: str
    source: str
    marked: float
    marked_border: float
    coarse: NDArray[np.bool_]


def summarise_mask(case_id: str, mask: NDArray[np.bool_], *, source: str = "") -> MaskSummary:
    """Keep of a mask, shape (H, W), bool, what ``find_doubtful_masks`` compares."""
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    coarse = cv2.resize(mask.astype(np.float32), _COARSE_HW[::-1], interpolation=cv2.INTER_AREA) > 0
    return MaskSummary(case_id, source, float(mask.mean()), float(border.mean()), np.asarray(coarse))


def find_doubtful_masks(masks: Sequence[MaskSummary]) -> list[Finding]:
    """Find masks that are probably inverted, or blank although the slices before and after show one tumour."""
    by_source: dict[str, list[MaskSummary]] = {}
    for mask in masks:
        by_source.setdefault(mask.source, []).append(mask)
    findings = []
    for source, of_source in by_source.items():
        findings += _find_mostly_inverted(source, of_source) or _find_inverted(of_source) + _find_blank(of_source)
    return findings


def _find_mostly_inverted(source: str, masks: Sequence[MaskSummary]) -> list[Finding]:
    """One warning for a source whose masks mark most of the frame in most slices."""
    median = float(np.median([mask.marked for mask in masks]))
    if len(masks) < FEWEST or median <= MOST:
        return []
    cause = f"of {len(masks)} masks, half mark {percent(median)} of the frame or more as tumour"
    remedy = "check whether they are inverted: 0 must be background"
    return [warning("masks-inverted", source or "masks", cause, remedy)]


def _find_inverted(masks: Sequence[MaskSummary]) -> list[Finding]:
    """One warning for each mask that marks most of the frame, its border included, but not all of it."""
    remedy = "check whether it is inverted: 0 must be background"
    return [
        warning("masks-inverted", mask.case_id, f"its mask marks {percent(mask.marked)} of the frame", remedy)
        for mask in masks
        if MOST < mask.marked < 1 and mask.marked_border > MOST_BORDER
    ]


def _find_blank(masks: Iterable[MaskSummary]) -> list[Finding]:
    """Blank masks between two slices of one numbered series that mark a tumour at the same place."""
    series: dict[str, list[tuple[int, MaskSummary]]] = {}
    for mask in masks:
        path = PurePosixPath(mask.case_id)
        if numbered := _NUMBER.fullmatch(path.stem):
            series.setdefault(f"{path.parent}/{numbered[1]}", []).append((int(numbered[2]), mask))
    findings = []
    for numbered_masks in series.values():
        ordered = [mask for _, mask in sorted(numbered_masks, key=lambda pair: pair[0])]
        marked = [index for index, mask in enumerate(ordered) if mask.marked]
        for before, after in itertools.pairwise(marked):
            blank = ordered[before + 1 : after]
            if len(blank) <= LONGEST_GAP and _overlap(ordered[before], ordered[after]) > SAME_PLACE:
                findings += [_name_blank(mask) for mask in blank]
    return findings


def _name_blank(mask: MaskSummary) -> Finding:
    cause = "its mask is blank, but the slices before and after have a tumour at the same place"
    return warning("mask-blank", mask.case_id, cause, "check whether the mask is lost")


def _overlap(one: MaskSummary, other: MaskSummary) -> float:
    return float((one.coarse & other.coarse).sum() / (one.coarse | other.coarse).sum())

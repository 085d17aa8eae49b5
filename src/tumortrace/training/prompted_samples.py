"""Training samples of the prompted network: random boxes and what lies around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tumortrace.config import AugmentationConfig
from tumortrace.data.cases import Case, CaseRecord, try_case
from tumortrace.data.findings import Finding, describe_none_read
from tumortrace.data.fingerprint import check_unchanged, hash_case
from tumortrace.data.upright import turn_upright
from tumortrace.errors import DataError
from tumortrace.evaluation.simulated_prompts import draw_loose_box
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.prompts.grid import Box, box_of, cut_square, draw_box, square_around
from tumortrace.inference.recipe import standardise
from tumortrace.machine import usable_cores
from tumortrace.metrics.lesions import label_lesions
from tumortrace.progress import track
from tumortrace.training.augment import change_intensity, mostly_small, recolour_tumour

POINTED = 0.5
"""Fraction of a lesion that lies in the box from which the box means it."""

SINGLE = 0.4
"""Fraction of the slices with several lesions in which the box is drawn around one of them."""

LEAST_LESION = 20
"""Pixels of the smallest lesion that a box is drawn around alone."""

RECOLOURED = 0.06
"""Fraction of the samples in which the tumour gets another brightness."""


@dataclass(frozen=True, eq=False)
class PromptedPart:
    """The slices of a part on their own grids.

    Attributes:
        greys: Upright grey values of each slice, shape (H, W), uint8.
        truths: Mask of each slice, shape (H, W), uint8, 1 where there is tumour.
        sources: Name of each slice's dataset.
        hashes: SHA-256 of each case, by case_id, in the order of the slices.
        findings: Faults met on the way; the cases that they left out are not in the lists.
    """

    greys: tuple[NDArray[np.uint8], ...]
    truths: tuple[NDArray[np.uint8], ...]
    sources: tuple[str, ...]
    hashes: dict[str, str]
    findings: tuple[Finding, ...]

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.greys)

    @cached_property
    def with_tumour(self) -> list[bool]:
        """Whether each slice holds tumour."""
        return [bool(truth.any()) for truth in self.truths]


@dataclass(frozen=True, eq=False)
class Sample:
    """What the network sees of one box; all arrays have the shape (grid, grid).

    Attributes:
        grey: Grey values of the square around the box, standardised, float32.
        box: The box in the square, float32 in [0, 1].
        truth: Tumour that the box means, uint8, 1 where it is; empty if it means none.
    """

    grey: NDArray[np.float32]
    box: NDArray[np.float32]
    truth: NDArray[np.uint8]


def read_prompted_part(records: Sequence[CaseRecord]) -> PromptedPart:
    """Decode every training case, in threads.

    Args:
        records: The cases.

    Raises:
        DataError: Not one case can be read, or one changed since a split was made of it.
    """
    read = map_in_order(_read, records, workers=usable_cores())
    cases, findings = [], []
    for case, faults in track(read, "Reading TRAIN", total=len(records)):
        findings += faults
        cases += [case] if case is not None else []
    if not cases:
        raise DataError(f"TRAIN: {describe_none_read(len(records), findings)}")
    greys, truths, hashes = [], [], {}
    for record, grey, truth, sha256 in cases:
        check_unchanged(record, sha256)
        greys.append(grey)
        truths.append(truth)
        hashes[record.case_id] = sha256
    sources = tuple(record.source for record, *_ in cases)
    return PromptedPart(tuple(greys), tuple(truths), sources, hashes, tuple(findings))


_Read = tuple[CaseRecord, NDArray[np.uint8], NDArray[np.uint8], str]


def _read(record: CaseRecord) -> tuple[_Read | None, list[Finding]]:
    case, findings = try_case(record)
    if case is None:
        return None, findings
    return (record, _to_bytes(case), case.truth.astype(np.uint8), hash_case(case)), findings


def _to_bytes(case: Case) -> NDArray[np.uint8]:
    grey = turn_upright(case.slice.pixels).grey
    return np.asarray(np.clip(grey, 0.0, 1.0) * 255 + 0.5, dtype=np.uint8)


def draw_sample(part: PromptedPart, index: int, settings: AugmentationConfig, rng: Generator, *, grid: int) -> Sample:
    """Draw a box on a slice, and return what the network sees of it.

    Args:
        part: The slices.
        index: Number of the slice. A box on a tumour-free slice has the size and place of another slice's tumour.
        settings: Kinds of change to draw.
        rng: Decides everything.
        grid: Pixels along each side of the network's input.
    """
    grey, truth = part.greys[index], part.truths[index]
    target = _draw_target(truth, rng) if truth.any() else _borrow_target(part, grey.shape, rng)
    turn = _draw_turn(target, settings, rng)
    box = draw_loose_box(_bounds_in_plane(target, turn), rng)
    square = square_around(box)
    seen = np.asarray(cut_square(grey, square, grid=grid, turn=turn) / np.float32(255), dtype=np.float32)
    outline = cut_square(_pointed_at(truth, box, turn) * np.uint8(255), square, grid=grid, turn=turn)
    mask = (outline >= 128).astype(np.uint8)
    if settings.appearance and mask.any() and rng.random() < RECOLOURED:
        seen = recolour_tumour(seen, mask, rng)
    if settings.intensity:
        seen = change_intensity(seen, rng)
    return Sample(standardise(np.ascontiguousarray(seen)), draw_box(box, square, grid=grid), mask)


def _draw_target(truth: NDArray[np.uint8], rng: Generator) -> NDArray[np.bool_]:
    """Return all lesions of a slice or, now and then, one of them."""
    mask = truth > 0
    if rng.random() >= SINGLE:
        return mask
    labelled = label_lesions(mask)
    large = np.flatnonzero(labelled.areas_px >= LEAST_LESION)
    return mask if labelled.count < 2 or not len(large) else labelled.labels == 1 + int(rng.choice(large))


def _borrow_target(part: PromptedPart, size_hw: tuple[int, ...], rng: Generator) -> NDArray[np.bool_]:
    """Return another slice's tumour, enlarged to this slice, so that a box can be drawn where there is none."""
    holders = np.flatnonzero(part.with_tumour)
    other = part.truths[int(rng.choice(holders))]
    target = cv2.resize(other, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return target if target.any() else np.ones(size_hw, dtype=np.bool_)


def _draw_turn(target: NDArray[np.bool_], settings: AugmentationConfig, rng: Generator) -> NDArray[np.float64]:
    """Return a matrix (2, 3) from a plane around the target, mirrored, turned and stretched, to edges of the slice."""
    x0, y0, x1, y1 = box_of(target)
    linear = np.eye(2)
    if settings.flips:
        linear = linear * rng.choice([-1.0, 1.0], size=2)
        if rng.random() < 0.3:
            linear = linear[:, ::-1]
    if settings.geometry:
        angle, shear, stretch = np.deg2rad(mostly_small(40, rng)), mostly_small(0.15, rng), mostly_small(0.15, rng)
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = linear @ turned @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(np.exp([stretch, -stretch]))
    return np.column_stack([linear, [(x0 + x1) / 2, (y0 + y1) / 2]])


def _to_plane(mask: NDArray[np.bool_], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the pixels of a mask lie in the plane of a turn, shape (2, N)."""
    rows, columns = np.nonzero(mask)
    centred = np.stack([columns + 0.5, rows + 0.5]) - turn[:, 2:]
    return np.asarray(np.linalg.solve(turn[:, :2], centred))


def _bounds_in_plane(mask: NDArray[np.bool_], turn: NDArray[np.float64]) -> Box:
    points = _to_plane(mask, turn)
    (x0, y0), (x1, y1) = points.min(axis=1) - 0.5, points.max(axis=1) + 0.5
    return float(x0), float(y0), float(x1), float(y1)


def _pointed_at(truth: NDArray[np.uint8], box: Box, turn: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the lesions of which enough lies in the box."""
    labelled = label_lesions(truth > 0)
    if labelled.count < 2:
        return truth
    x, y = _to_plane(truth > 0, turn)
    inside = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
    names = labelled.labels[truth > 0]
    shares = np.bincount(names, weights=inside) / np.maximum(np.bincount(names), 1)
    meant = np.flatnonzero(shares >= POINTED)
    return np.isin(labelled.labels, meant[meant > 0]).astype(np.uint8)

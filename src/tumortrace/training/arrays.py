"""The slices of a part on the network's grid, in memory or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumortrace.config import Recipe
from tumortrace.copies.agreement import agree_on_masks
from tumortrace.copies.described import DescribedCases, describe_cases
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import Case, CaseRecord, read_cases
from tumortrace.data.findings import Finding, describe_none_read
from tumortrace.data.fingerprint import check_unchanged, hash_case
from tumortrace.data.head import Window
from tumortrace.data.upright import turn_upright
from tumortrace.errors import DataError
from tumortrace.inference.acquisition import Acquisition, recognise
from tumortrace.inference.features import PictureFeatures, measure_features
from tumortrace.inference.recipe import find_window, prepare, prepare_mask
from tumortrace.progress import track
from tumortrace.training.large_arrays import reserve
from tumortrace.wording import counted

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PreparedPart:
    """The slices of one part, ready for the network.

    Attributes:
        images: Slices as the recipe prepares them, shape (N, 1, H, W), float32.
        truths: Masks, shape (N, H, W), uint8, 1 where there is tumour.
        sources: Name of each slice's dataset.
        hashes: SHA-256 of each case (image and truth), by case_id, in the order of the arrays.
        features: Picture features of each slice, in the order of the arrays; None for a blank one.
        findings: Faults met on the way; the cases that they left out are not in the arrays.
        acquisitions: Plane and contrast of each slice, in the order of the arrays; none where nothing asks for them.
    """

    images: Tensor
    truths: Tensor
    sources: tuple[str, ...]
    hashes: dict[str, str]
    features: tuple[PictureFeatures | None, ...]
    findings: tuple[Finding, ...]
    acquisitions: tuple[Acquisition, ...] = ()

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.images)

    @cached_property
    def with_tumour(self) -> Tensor:
        """Whether each slice holds tumour, shape (N,), bool."""
        return self.truths.flatten(1).any(dim=1)


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return at most ``count`` items, evenly spaced from the first to the last, so that every source is among them."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def prepare_part(records: Sequence[CaseRecord], recipe: Recipe, *, name: str, near: Path | None = None) -> PreparedPart:
    """Decode, prepare and hash every case of a part.

    Args:
        records: The cases; none gives arrays of length 0.
        recipe: Recipe of the model to be trained.
        name: Name of the part, for the progress bar and messages.
        near: Path on the disk for arrays that are too large for the memory (``reserve``).

    Raises:
        DataError: There were cases, and not one could be read; or one changed since a split was made of it.
        MemoryError: The arrays do not fit.
        RunFailedError: They fit neither into memory nor on the disk.
    """
    arrays = _Arrays(records, recipe, near)
    findings: list[Finding] = []
    hashes: dict[str, str] = {}
    reading = track(read_cases(tuple(records)), f"Reading {name}", total=len(records))
    for index, (record, case, faults) in enumerate(reading):
        findings += faults
        if case is not None:
            arrays.add(index, case)
            hashes[record.case_id] = hash_case(case)
            check_unchanged(record, hashes[record.case_id])
    if records and not hashes:
        raise DataError(f"{name}: {describe_none_read(len(records), findings)}")
    return arrays.as_part(hashes, tuple(findings))


def prepare_training_part(
    records: Sequence[CaseRecord], recipe: Recipe, *, consensus: bool = False, near: Path | None = None
) -> tuple[PreparedPart, DescribedCases]:
    """Decode every training case once: prepare it for the network, and describe it so that copies can be found.

    Args:
        records: The training cases.
        recipe: Recipe of the model to be trained.
        consensus: Whether a slice with at least two copies gets the consensus of their outlines as its truth.
        near: Path on the disk for arrays that are too large for the memory (``reserve``).

    Raises:
        DataError: Not one case can be read.
        MemoryError: The arrays do not fit.
        RunFailedError: They fit neither into memory nor on the disk.
    """
    arrays = _Arrays(records, recipe, near)
    try:
        described = (survey_cases if consensus else describe_cases)(records, on_case=arrays.add)
    except DataError as error:
        raise DataError(f"TRAIN: {error}") from None
    if isinstance(described, Survey):
        arrays.replace_truths(agree_on_masks(described))
    hashes = {case.record.case_id: case.sha256 for case in described.cases}
    return arrays.as_part(hashes, described.findings), described


class _Arrays:
    """The arrays of a part, filled case by case in any order."""

    def __init__(self, records: Sequence[CaseRecord], recipe: Recipe, near: Path | None) -> None:
        self.records = records
        self.recipe = recipe
        shape = (len(records), *recipe.size_hw)
        self.images = reserve(shape, np.float32, near=near, content=counted(len(records), "slice"))
        self.truths = reserve(shape, np.uint8, near=near, content=counted(len(records), "mask"))
        self.features: dict[int, PictureFeatures | None] = {}
        self.acquisitions: dict[int, Acquisition] = {}
        self.windows: dict[int, Window] = {}

    def add(self, index: int, case: Case) -> None:
        upright = turn_upright(case.slice.pixels)
        window = find_window(upright, self.recipe)
        self.images[index] = prepare(upright, self.recipe, window)
        self.truths[index] = prepare_mask(case.truth, self.recipe, window)
        self.features[index] = measure_features(upright, colour_share=case.slice.colour_share)
        self.acquisitions[index] = recognise(upright)
        self.windows[index] = window

    def replace_truths(self, masks: dict[str, NDArray[np.bool_]]) -> None:
        for index, window in self.windows.items():
            mask = masks.get(self.records[index].case_id)
            if mask is not None:
                self.truths[index] = prepare_mask(mask, self.recipe, window)

    def as_part(self, hashes: dict[str, str], findings: tuple[Finding, ...]) -> PreparedPart:
        kept = sorted(self.features)
        for place, index in enumerate(kept):  # close the gaps of cases that could not be read
            if place != index:
                self.images[place], self.truths[place] = self.images[index], self.truths[index]
        return PreparedPart(
            images=torch.from_numpy(self.images[: len(kept)]).unsqueeze(1),  # (N, 1, H, W)
            truths=torch.from_numpy(self.truths[: len(kept)]),
            sources=tuple(self.records[index].source for index in kept),
            hashes=hashes,
            features=tuple(self.features[index] for index in kept),
            findings=findings,
            acquisitions=tuple(self.acquisitions[index] for index in kept),
        )

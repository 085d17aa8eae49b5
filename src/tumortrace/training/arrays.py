"""A part of a dataset as arrays on the network's grid: decoded once, kept in memory, indexed by every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumortrace.config import Recipe
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.findings import Finding, describe_main_cause
from tumortrace.data.fingerprint import hash_case
from tumortrace.data.upright import turn_upright
from tumortrace.errors import DataError
from tumortrace.inference.features import PictureFeatures, measure_features
from tumortrace.inference.recipe import find_window, prepare, prepare_mask
from tumortrace.progress import track

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PreparedPart:
    """The cases of one part, ready for the network.

    Attributes:
        images: Shape (N, 1, H, W), float32, standardised as the recipe says.
        truths: Shape (N, H, W), uint8, 1 where there is tumour.
        sources: Name of each case's dataset.
        hashes: SHA-256 of each case's image and truth, by case_id, in the order of the arrays.
        features: What each slice looks like, in the order of the arrays; None for a blank one.
        findings: Faults met on the way; the cases they left out are not in the arrays.
    """

    images: Tensor
    truths: Tensor
    sources: tuple[str, ...]
    hashes: dict[str, str]
    features: tuple[PictureFeatures | None, ...]
    findings: tuple[Finding, ...]

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.images)


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most so many items, evenly spaced from the first to the last: cases lie source by source, and all count."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def prepare_part(
    records: tuple[CaseRecord, ...],
    recipe: Recipe,
    *,
    name: str,
    outlines: Mapping[str, NDArray[np.bool_]] = MappingProxyType({}),
) -> PreparedPart:
    """Decode, prepare and hash every case of a part.

    Args:
        records: The cases; none gives arrays of length 0.
        recipe: The recipe of the model to be trained.
        name: What the part is called on the progress bar and in messages.
        outlines: By case_id, masks to be learnt in place of the cases' own; shape (H, W) of the slice.

    Raises:
        DataError: There were cases, and not one could be read.
        MemoryError: The arrays do not fit.
    """
    images = np.empty((len(records), *recipe.size_hw), dtype=np.float32)
    truths = np.empty((len(records), *recipe.size_hw), dtype=np.uint8)
    count = 0
    sources: list[str] = []
    hashes: dict[str, str] = {}
    features: list[PictureFeatures | None] = []
    findings: list[Finding] = []
    for record, case, faults in track(read_cases(records), f"Reading {name}", total=len(records)):
        findings += faults
        if case is not None:
            upright = turn_upright(case.slice.pixels)
            window = find_window(upright, recipe)
            images[count] = prepare(upright, recipe, window)
            truths[count] = prepare_mask(outlines.get(record.case_id, case.truth), recipe, window)
            count += 1
            sources.append(record.source)
            hashes[record.case_id] = hash_case(case)
            features.append(measure_features(upright, colour_share=case.slice.colour_share))
    if records and not count:
        raise DataError(f"{name}: not one of {len(records)} cases can be read; {describe_main_cause(findings)}")
    return PreparedPart(
        images=torch.from_numpy(images[:count]).unsqueeze(1),
        truths=torch.from_numpy(truths[:count]),
        sources=tuple(sources),
        hashes=hashes,
        features=tuple(features),
        findings=tuple(findings),
    )

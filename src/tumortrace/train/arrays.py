"""A part of a dataset as arrays on the network's grid: decoded once, kept in memory, indexed by every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tumortrace.config import Recipe
from tumortrace.data.dataset import CaseRecord, read_cases
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import DataError
from tumortrace.inference.recipe import prepare, prepare_mask
from tumortrace.progress import track


@dataclass(frozen=True, eq=False)
class PreparedPart:
    """The cases of one part, ready for the network.

    Attributes:
        images: Shape (N, 1, H, W), float32, standardised as the recipe says.
        truths: Shape (N, H, W), uint8, 1 where there is tumour.
        hashes: SHA-256 of each case's image and truth, by case_id, in the order of the arrays.
        findings: Faults met on the way; the cases they left out are not in the arrays.
    """

    images: Tensor
    truths: Tensor
    hashes: dict[str, str]
    findings: tuple[Finding, ...]

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.images)


def prepare_part(records: tuple[CaseRecord, ...], recipe: Recipe, *, name: str) -> PreparedPart:
    """Decode, prepare and hash every case of a part.

    Args:
        records: The cases; none gives arrays of length 0.
        recipe: The recipe of the model to be trained.
        name: What the part is called on the progress bar and in messages.

    Raises:
        DataError: There were cases, and not one could be read.
    """
    images: list[NDArray[np.float32]] = []
    truths: list[NDArray[np.uint8]] = []
    hashes: dict[str, str] = {}
    findings: list[Finding] = []
    for record, case, faults in track(read_cases(records), f"Reading {name}", total=len(records)):
        findings += faults
        if case is not None:
            images.append(prepare(case.slice.pixels, recipe))
            truths.append(prepare_mask(case.truth, recipe).astype(np.uint8))
            hashes[record.case_id] = hash_case(case)
    if records and not images:
        raise DataError(f"{name}: not one of {len(records)} cases can be read; first: {findings[0].line()}")
    height, width = recipe.size_hw
    stacked_images = np.stack(images) if images else np.zeros((0, height, width), np.float32)
    stacked_truths = np.stack(truths) if truths else np.zeros((0, height, width), np.uint8)
    return PreparedPart(
        images=torch.from_numpy(stacked_images).unsqueeze(1),
        truths=torch.from_numpy(stacked_truths),
        hashes=hashes,
        findings=tuple(findings),
    )

"""The survey of a dataset: each case read once, copies found and grouped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.find import SAME_SLICE, CopyPair, score_pairs
from tumortrace.copies.groups import link, name_groups
from tumortrace.copies.signatures import Signature, Signatures, measure_signature, stack_signatures
from tumortrace.copies.transforms import Thumbnail, make_thumbnail
from tumortrace.data.cases import Case, CaseRecord, read_case
from tumortrace.data.findings import Finding, describe_main_cause
from tumortrace.data.fingerprint import hash_case, hash_slice
from tumortrace.data.mask_checks import find_doubtful_masks, summarise_mask
from tumortrace.data.slice import read_slice
from tumortrace.errors import DataError
from tumortrace.machine import usable_cores
from tumortrace.metrics.lesions import label_lesions
from tumortrace.progress import track


@dataclass(frozen=True, eq=False)
class SurveyedCase:
    """What is kept of a case once its pixels are gone.

    Attributes:
        record: Place of the case on disk.
        size_hw: Height and width in pixels.
        sha256: SHA-256 of its content (``hash_case``; ``hash_slice`` without annotation).
        lesions: Connected components of its truth; 0 without annotation.
        tumour_px: Pixels of its truth; 0 without annotation.
        packed_truth: ``np.packbits`` of its truth; None without annotation.
        thumbnail: The picture in small (``make_thumbnail``).
    """

    record: CaseRecord
    size_hw: tuple[int, int]
    sha256: str
    lesions: int
    tumour_px: int
    packed_truth: NDArray[np.uint8] | None
    thumbnail: Thumbnail

    @property
    def tumour_share(self) -> float:
        """Share of the frame that is tumour, 0 to 1."""
        return self.tumour_px / (self.size_hw[0] * self.size_hw[1])

    def truth(self) -> NDArray[np.bool_]:
        """The truth, shape ``size_hw``, bool.

        Raises:
            ValueError: The case is not annotated.
        """
        if self.packed_truth is None:
            raise ValueError(f"{self.record.case_id} is not annotated")
        height, width = self.size_hw
        return np.unpackbits(self.packed_truth, count=height * width).reshape(self.size_hw).astype(np.bool_)


@dataclass(frozen=True, eq=False)
class DescribedCases:
    """Cases that were looked at once.

    Attributes:
        cases: Those that can be read.
        signatures: Signatures in the same order.
        findings: Faults met on the way; the cases they left out are not in ``cases``.
    """

    cases: tuple[SurveyedCase, ...]
    signatures: Signatures
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class Survey(DescribedCases):
    """Cases compared with each other.

    Attributes:
        scored: Likely pairs with their similarity, copies or not.
        groups: Name of each case's group; a case without a copy has one of its own.
    """

    scored: tuple[CopyPair, ...]
    groups: tuple[str, ...]

    @property
    def pairs(self) -> tuple[CopyPair, ...]:
        """The pairs that are copies."""
        return tuple(pair for pair in self.scored if pair.similarity >= SAME_SLICE)


OnCase = Callable[[int, Case], None]
"""Function that is given the index and the content of each annotated case; several threads may call it at a time."""


def survey_cases(records: Sequence[CaseRecord], *, on_case: OnCase = lambda _index, _case: None) -> Survey:
    """Decode all cases, in threads, and find the copies among them.

    Args:
        records: Annotated or not.
        on_case: Function that is given each annotated case while its pixels are in memory.

    Raises:
        DataError: Not one can be read.
    """
    seen = describe_cases(records, on_case=on_case)
    scored = tuple(score_pairs(seen.signatures))
    linked = [(pair.first, pair.second) for pair in scored if pair.similarity >= SAME_SLICE]
    groups = name_groups(link(len(seen.cases), linked))
    return Survey(seen.cases, seen.signatures, seen.findings, scored, groups)


def describe_cases(records: Sequence[CaseRecord], *, on_case: OnCase = lambda _index, _case: None) -> DescribedCases:
    """Decode all cases, in threads, and keep what each looks like.

    Args:
        records: Annotated or not.
        on_case: Function that is given each annotated case while its pixels are in memory.

    Raises:
        DataError: Not one can be read.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
        reading = pool.map(partial(_survey_case, on_case=on_case), range(len(records)), records)
        seen = list(track(reading, "Reading slices", total=len(records)))
    findings = tuple(finding for _, _, met in seen for finding in met)
    kept = [(case, look) for case, look, _ in seen if case is not None and look is not None]
    if not kept:
        first = f"; {describe_main_cause(findings)}" if findings else ""
        raise DataError(f"not one of {len(records)} cases can be read{first}")
    cases = tuple(case for case, _ in kept)
    return DescribedCases(cases, stack_signatures(look for _, look in kept), (*findings, *_find_doubtful(cases)))


def _find_doubtful(cases: Sequence[SurveyedCase]) -> list[Finding]:
    """What only all mask files together show."""
    return find_doubtful_masks(
        [
            summarise_mask(case.record.case_id, case.truth(), source=case.record.source)
            for case in cases
            if isinstance(case.record.truth, Path)
        ]
    )


def _survey_case(
    index: int, record: CaseRecord, *, on_case: OnCase
) -> tuple[SurveyedCase | None, Signature | None, list[Finding]]:
    try:
        if record.truth is None:
            image = read_slice(record.image_path, record.case_id)
            small = make_thumbnail(image.pixels)
            blank = SurveyedCase(record, image.size_hw, hash_slice(image), 0, 0, None, small)
            return blank, measure_signature(image.pixels), []
        case, findings = read_case(record)
    except DataError as error:
        cause = str(error).partition(": ")[2] or str(error)
        return None, None, [Finding("unreadable", "left out", record.case_id, cause, "mend or remove it")]
    on_case(index, case)
    truth = case.truth
    lesions = label_lesions(truth).count
    bits = np.packbits(truth)
    small = make_thumbnail(case.slice.pixels)
    kept = SurveyedCase(record, case.slice.size_hw, hash_case(case), lesions, int(truth.sum()), bits, small)
    return kept, measure_signature(case.slice.pixels), findings

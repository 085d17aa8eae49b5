"""Cases read and described once, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.apart import FEWEST_SLICES, open_helpers
from tumortrace.copies.signature_cache import Measure, open_signatures
from tumortrace.copies.signatures import Signature, Signatures, SignatureStack
from tumortrace.copies.transforms import Thumbnail, make_thumbnail
from tumortrace.data.cases import Case, CaseRecord, read_case, read_image
from tumortrace.data.findings import Finding, describe_none_read, left_out, warning
from tumortrace.data.fingerprint import check_unchanged, hash_case, hash_slice
from tumortrace.data.mask_checks import find_doubtful_masks, summarise_mask
from tumortrace.data.slice import Slice
from tumortrace.errors import DataError, without_path
from tumortrace.metrics.lesions import label_lesions
from tumortrace.progress import track

SMALL, LARGE = 0.02, 0.08
"""Fractions of the frame below and above which a tumour is called small and large."""

_NOISE = 2  # grey levels of 255 within which a picture has one value all over


@dataclass(frozen=True, eq=False)
class SurveyedCase:
    """What is kept of a case once its pixels are gone.

    Attributes:
        record: Place of the case on disk.
        size_hw: Height and width in pixels.
        sha256: Hash of picture and truth (``hash_case``); of the picture (``hash_slice``) without annotation.
        lesions: Number of connected components of its truth; 0 without annotation.
        tumour_px: Number of pixels of its truth; 0 without annotation.
        packed_truth: ``np.packbits`` of its truth; None without annotation.
        thumbnail: The picture in small (``make_thumbnail``).
        picture_sha256: Hash of the picture alone (``hash_slice``).
    """

    record: CaseRecord
    size_hw: tuple[int, int]
    sha256: str
    lesions: int
    tumour_px: int
    packed_truth: NDArray[np.uint8] | None
    thumbnail: Thumbnail
    picture_sha256: str = ""

    @property
    def tumour_share(self) -> float:
        """Fraction of the frame that is tumour, 0 to 1."""
        return self.tumour_px / (self.size_hw[0] * self.size_hw[1])

    @property
    def is_blank(self) -> bool:
        """Whether the picture has the same grey value everywhere, but for noise."""
        return int(self.thumbnail.max()) - int(self.thumbnail.min()) <= _NOISE

    def truth(self) -> NDArray[np.bool_]:
        """Return the truth, shape ``size_hw``, bool.

        Raises:
            ValueError: The case is not annotated.
        """
        if self.packed_truth is None:
            raise ValueError(f"{self.record.case_id} is not annotated")
        height, width = self.size_hw
        return np.unpackbits(self.packed_truth, count=height * width).reshape(self.size_hw).astype(np.bool_)


@dataclass(frozen=True, eq=False)
class DescribedCases:
    """Cases that were read and described once.

    Attributes:
        cases: The cases that can be read.
        signatures: Their signatures, in the same order.
        findings: Faults of the data; a case that cannot be read is named there and is not in ``cases``.
    """

    cases: tuple[SurveyedCase, ...]
    signatures: Signatures
    findings: tuple[Finding, ...]


OnCase = Callable[[int, Case], None]
"""Function that is given the index and the content of each annotated case; several threads may call it at a time."""


def describe_cases(
    records: Sequence[CaseRecord],
    *,
    on_case: OnCase = lambda _index, _case: None,
    as_pictures: bool = False,
) -> DescribedCases:
    """Read and describe all cases, in threads.

    Args:
        records: Annotated or not.
        on_case: Function as for ``survey_cases``.
        as_pictures: Whether to compare pictures alone, as for ``survey_cases``.

    Raises:
        DataError: As ``survey_cases``.
    """
    cases: list[SurveyedCase] = []
    findings: list[Finding] = []
    stack = SignatureStack(len(records))
    for each in _describe_all(records, on_case=on_case, as_pictures=as_pictures):
        findings += each.findings
        if each.case is not None and each.signature is not None:
            cases.append(each.case)
            stack.add(each.signature)
    if not cases:
        raise DataError(describe_none_read(len(records), findings))
    for case in cases:
        check_unchanged(case.record, case.sha256)
    findings += _find_doubtful(cases) + _find_blank(cases, findings)
    return DescribedCases(tuple(cases), stack.get(), tuple(findings))


def _describe_all(records: Sequence[CaseRecord], *, on_case: OnCase, as_pictures: bool) -> Iterator[_Described]:
    """Describe cases in threads, and yield them in order."""
    with (
        open_helpers(worth=len(records) >= FEWEST_SLICES) as helpers,
        open_signatures(helpers.measure) as measure,
        ThreadPoolExecutor(helpers.threads) as pool,
    ):
        describe = partial(_describe, on_case=on_case, as_pictures=as_pictures, measure=measure)
        described = pool.map(describe, range(len(records)), records)
        yield from track(described, "Reading slices", total=len(records))


class _Described(NamedTuple):
    case: SurveyedCase | None
    signature: Signature | None
    findings: list[Finding]


def _describe(index: int, record: CaseRecord, *, on_case: OnCase, as_pictures: bool, measure: Measure) -> _Described:
    try:
        if record.truth is None:
            return _describe_picture(read_image(record), record, measure)
        case, findings = read_case(record)
    except DataError as error:
        unreadable = [left_out("unreadable", record.case_id, without_path(error), "correct or remove it")]
        if as_pictures and record.truth is not None:
            again = _describe(index, replace(record, truth=None), on_case=on_case, as_pictures=False, measure=measure)
            return _Described(again.case, again.signature, unreadable)
        return _Described(None, None, unreadable)
    on_case(index, case)
    return _describe_case(case, findings, measure)


def _describe_picture(image: Slice, record: CaseRecord, measure: Measure) -> _Described:
    sha256 = hash_slice(image)
    case = SurveyedCase(record, image.size_hw, sha256, 0, 0, None, make_thumbnail(image.pixels), sha256)
    return _Described(case, measure(image.pixels), [])


def _describe_case(case: Case, findings: list[Finding], measure: Measure) -> _Described:
    truth, pixels = case.truth, case.slice.pixels
    described = SurveyedCase(
        record=case.record,
        size_hw=case.slice.size_hw,
        sha256=hash_case(case),
        lesions=label_lesions(truth).count,
        tumour_px=int(truth.sum()),
        packed_truth=np.packbits(truth),
        thumbnail=make_thumbnail(pixels),
        picture_sha256=hash_slice(case.slice),
    )
    return _Described(described, measure(pixels), findings)


def _find_doubtful(cases: Sequence[SurveyedCase]) -> list[Finding]:
    """What only all mask files together show."""
    return find_doubtful_masks(
        [
            summarise_mask(case.record.case_id, case.truth(), source=case.record.source)
            for case in cases
            if case.record.has_mask
        ]
    )


def _find_blank(cases: Sequence[SurveyedCase], findings: Sequence[Finding]) -> list[Finding]:
    """Blank pictures that have no finding yet."""
    named = {finding.file for finding in findings if finding.kind == "image-blank"}
    blank = [case.record.case_id for case in cases if case.is_blank and case.record.case_id not in named]
    cause, remedy = "has the same grey value in every pixel; it is compared with nothing", "copy it again, or remove it"
    return [warning("image-blank", case_id, cause, remedy) for case_id in blank]

"""Fixtures of the tests of copies: a survey made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tumortrace.copies.find import CopyPair
from tumortrace.copies.groups import link, name_groups
from tumortrace.copies.signatures import Signatures
from tumortrace.copies.survey import Survey, SurveyedCase
from tumortrace.data.cases import CaseRecord

MakeSurvey = Callable[..., Survey]
GREY = np.arange(96 * 96, dtype=np.uint32).reshape(96, 96).astype(np.uint8)


def _make_survey(
    *,
    links: list[tuple[int, int]],
    patients: list[str],
    sources: list[str] | None = None,
    parts: list[str] | None = None,
    areas: list[int] | None = None,
) -> Survey:
    count = len(patients)
    cases = tuple(
        SurveyedCase(
            record=CaseRecord(
                f"c{i}",
                (parts or [""] * count)[i],
                Path(f"c{i}.png"),
                None,
                patient or None,
                (sources or [""] * count)[i],
            ),
            size_hw=(100, 100),
            sha256=f"hash{i}",
            lesions=1,
            tumour_px=(areas or [500] * count)[i],
            packed_truth=None,
            thumbnail=GREY,
        )
        for i, patient in enumerate(patients)
    )
    pairs = tuple(CopyPair(min(pair), max(pair), 0.95, np.eye(3)) for pair in links)
    signatures = Signatures(np.zeros((0, 2, 96, 96), np.float16), np.zeros((0, 2, 4)), np.zeros((0, 4), np.float32))
    return Survey(cases, signatures, (), pairs, name_groups(link(count, links)))


@pytest.fixture(scope="session")
def make_survey() -> MakeSurvey:
    """Make a survey of as many cases as patients are given, of 100 x 100 pixels, by hand."""
    return _make_survey

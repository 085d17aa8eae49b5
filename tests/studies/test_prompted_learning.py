"""The slices that a person gets through, and the masks of boxes and clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from studies.prompted_learning import work

from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.data.masks import read_mask
from tumortrace.inference.prompts.model import PromptModel, open_prompt_model


@pytest.fixture(scope="module")
def model() -> PromptModel:
    return open_prompt_model("box")


@pytest.fixture
def records(phantom_data: Path) -> list[CaseRecord]:
    """Four slices with tumour, then one without."""
    four = list(open_dataset(phantom_data).select("train"))[:4]
    return [*four, CaseRecord("none.png", "", four[0].image_path, ())]


@pytest.mark.parametrize(
    ("way", "seconds", "count"),
    [("outline", 24.9, 0), ("outline", 50, 2), ("box", 16, 4), ("box", 17.5, 5), ("box and a click", 16.4, 2)],
)
def test_the_time_of_a_person_decides_how_many_slices_are_done(
    model: PromptModel, records: list[CaseRecord], tmp_path: Path, way: str, seconds: float, count: int
):
    done, dices = work(records, way, model, seconds=seconds, folder=tmp_path)
    assert [record.case_id for record in done] == [record.case_id for record in records[:count]]
    assert len(dices) == min(count, 4)


def test_a_box_gives_masks_of_its_own_and_an_outline_is_the_truth(
    model: PromptModel, records: list[CaseRecord], tmp_path: Path
):
    outlined, perfect = work(records, "outline", model, seconds=1e6, folder=tmp_path)
    assert outlined == records
    assert perfect == [1.0] * 4
    boxed, dices = work(records, "box", model, seconds=1e6, folder=tmp_path)
    assert boxed[4] == records[4]
    masks = [read_mask(record.truth) for record in boxed[:4] if isinstance(record.truth, Path)]
    assert len(masks) == 4
    assert all(mask.any() for mask in masks)
    assert 0.5 < np.mean(dices) < 1

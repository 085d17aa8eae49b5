"""The JSON Schemas in docs/ describe what a real evaluation writes."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import tumortrace
from tumortrace.evaluation.folder import COLUMNS, StoredEvaluation, read_evaluation

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def stored(tiny_run: Path, phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> StoredEvaluation:
    out = tmp_path_factory.mktemp("schemas") / "scores"
    tumortrace.evaluate(phantom_data, model=str(tiny_run), part="all", out=out)
    return read_evaluation(out, name="scores")


def test_a_summary_that_was_written_follows_its_schema(stored: StoredEvaluation):
    assert [error.message for error in validator("summary").iter_errors(stored.summary)] == []
    assert set(stored.summary) == set(validator("summary").schema["properties"])


def test_every_row_that_was_written_follows_its_schema(stored: StoredEvaluation):
    rows = validator("per_image")
    assert tuple(rows.schema["properties"]) == COLUMNS
    for row in stored.rows:
        cells = {
            name: None if isinstance(cell, float) and math.isnan(cell) else cell for name, cell in asdict(row).items()
        }
        assert [error.message for error in rows.iter_errors(cells)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda summary: summary.pop("verdict"),
        lambda summary: summary.update(dice=0.5),
        lambda summary: summary["dice"].pop("ci95"),
        lambda summary: summary["false_alarms"]["painted"].update(share=1.5),
        lambda summary: summary.update(something="else"),
    ],
)
def test_another_document_does_not(stored: StoredEvaluation, spoil: Any):  # noqa: ANN401 - a function on JSON
    summary = copy.deepcopy(stored.summary)
    spoil(summary)
    assert list(validator("summary").iter_errors(summary))

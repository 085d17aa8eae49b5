from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tumortrace.errors import ModelError
from tumortrace.inference.card import Card, describe_card, read_card
from tumortrace.inference.features import PictureFeatures
from tumortrace.inference.model import Model, find_model, is_shipped, open_model

RECIPE = {"tumortrace.recipe": json.dumps({"size_hw": [6, 10]})}


def card_of(sha256: str) -> Card:
    score = {"value": 0.8125, "ci95": [0.7, 0.9], "n": 12}
    return {
        "sha256": sha256,
        "summary": "Finds bright squares.",
        "intended_use": "tests",
        "limits": ["squares only"],
        "data": [{"name": "squares", "cases": 3, "mask": "the square", "licence": "CC0"}],
        "scores": {"mean Dice": {"squares": score}},
        "licence": "CC BY-NC-SA 4.0",
        "retrain": "tumortrace train squares",
        "scored_on": "12 squares",
    }


@pytest.fixture
def model(write_model: Callable[..., Path], tmp_path: Path) -> Model:
    return open_model(str(write_model(tmp_path / "some.onnx", RECIPE)))


def test_a_model_without_a_card_has_none(model: Model):
    assert read_card(model) is None


def test_a_copy_of_a_shipped_model_has_its_card(tmp_path: Path):
    mine = shutil.copy(find_model("fast"), tmp_path / "mine.onnx")
    assert read_card(open_model(str(mine))) == read_card(open_model("fast"))


def test_a_model_of_the_name_of_a_shipped_one_has_no_card(write_model: Callable[..., Path], tmp_path: Path):
    named = open_model(str(write_model(tmp_path / "fast.onnx", RECIPE)))
    assert named.name == "fast"
    assert not is_shipped(named)
    assert read_card(named) is None


def test_the_card_says_all_that_a_user_must_know(model: Model):
    model.path.with_suffix(".json").write_text(json.dumps(card_of(model.sha256)))
    card = read_card(model)
    assert card is not None
    text = describe_card(card)
    for said in (
        "Finds bright squares.",
        "tests",
        "squares only",
        "squares: 3 slices; the square; CC0",
        "measured on 12 squares:",
    ):
        assert said in text
    assert "squares: 0.812 [0.700, 0.900] of 12" in text
    card["scores"]["mean Dice"]["squares"]["ci95"] = None  # one group has no interval
    assert "squares: 0.812 of 12" in describe_card(card)
    assert "licence of the weights: CC BY-NC-SA 4.0" in text
    assert "retrain: tumortrace train squares" in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": '])
def test_a_damaged_card_is_refused(model: Model, text: str):
    model.path.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError, match=r"some\.json: not a model's card"):
        read_card(model)


def test_the_card_of_other_weights_is_refused(model: Model):
    model.path.with_suffix(".json").write_text(json.dumps(card_of("0" * 64)))
    with pytest.raises(ModelError, match="the card of other weights"):
        read_card(model)


@pytest.mark.parametrize("name", ["default", "fast"])
def test_a_shipped_model_is_small_and_has_its_card(name: str):
    path = find_model(name)
    assert path.stat().st_size < 20e6
    shipped = open_model(name)
    assert shipped.name == name
    assert shipped.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    card = read_card(shipped)
    assert card is not None
    assert "NC-SA" in describe_card(card)
    assert {data["cases"] > 0 for data in card["data"]} == {True}
    assert {"head_area", "grain", "width"} <= shipped.feature_ranges.keys() <= set(PictureFeatures._fields)
    assert shipped.card["classes"] == ["background", "tumour"]

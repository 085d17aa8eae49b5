"""What is known of a model's training slices, from its run folder or from its card and the data at hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import Recipe
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.copies.training_index import build_training_index, save_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.fingerprint import hash_part
from tumortrace.evaluation.provenance import DIGITS, Provenance, shipped_ancestors, trace_training
from tumortrace.inference.card import read_card
from tumortrace.inference.model import Model, find_model, open_model

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


class NoSession:
    """In the place of ONNX Runtime, which nothing here asks."""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model("m", tmp_path / "m.onnx", "5ha", Recipe(), {}, {}, NoSession())  # type: ignore[arg-type]


@pytest.fixture
def survey(draw_head: DrawHead, write_case: WriteCase) -> Survey:
    """Two TRAIN slices; in VAL the mirrored copy of the first, and an unrelated slice."""
    outline = np.zeros((170, 140), dtype=np.bool_)
    outline[60:90, 50:70] = True
    return survey_cases(
        [
            write_case("train-a", draw_head(1), outline),
            write_case("train-b", draw_head(2), outline),
            write_case("copy-of-a", draw_head(1)[:, ::-1], outline[:, ::-1], part="val"),
            write_case("new", draw_head(3), outline, part="val"),
        ]
    )


def write_card(model: Model, hashes: Sequence[str]) -> None:
    card = {"sha256": model.sha256, "training_sha256": [sha256[:DIGITS] for sha256 in hashes]}
    model.path.with_suffix(".json").write_text(json.dumps(card))


def leaks_of(provenance: Provenance, survey: Survey) -> dict[str, str]:
    return {file: leak.nearest for file, leak in provenance.find_leaks(survey).items()}


def test_a_run_folder_knows_all_its_training_slices(model: Model, survey: Survey):
    save_training_index(build_training_index(survey, only=[0, 1]), model.path.with_name("training.npz"))
    provenance = trace_training(model, survey)
    assert (provenance.total, provenance.at_hand, provenance.complete) == (2, 2, True)
    assert leaks_of(provenance, survey) == {
        "train-a.png": "train-a.png",
        "train-b.png": "train-b.png",
        "copy-of-a.png": "train-a.png",
    }


def test_a_run_folder_knows_what_its_epoch_was_chosen_on(model: Model, survey: Survey):
    save_training_index(build_training_index(survey, only=[0, 1]), model.path.with_name("training.npz"))
    val = {"copy-of-a.png": "a1", "new.png": "b2"}
    model.path.with_name("manifest.json").write_text(json.dumps({"data": {"val": {"cases": val}}}))
    chosen = replace(model, card={"selected_on": hash_part(val)})
    assert trace_training(chosen, survey).choosers == {"a1", "b2"}
    for card in ({"selected_on": ""}, {"selected_on": "of another run"}, {}):
        assert trace_training(replace(model, card=card), survey).choosers == frozenset()
    model.path.with_name("manifest.json").write_text("[]")
    assert trace_training(chosen, survey).choosers == frozenset()


def test_a_run_that_started_from_an_unknown_model_is_never_complete(model: Model, survey: Survey):
    save_training_index(build_training_index(survey, only=[0]), model.path.with_name("training.npz"))
    provenance = trace_training(replace(model, card={"remembered": False, "began_from": "other"}), survey)
    assert (provenance.total, provenance.at_hand, provenance.complete) == (None, 1, False)
    assert "copy-of-a.png" in leaks_of(provenance, survey)


@pytest.mark.parametrize(
    ("card", "ancestors"),
    [
        ({"remembered": True, "began_from": "default"}, []),  # runs/default, where train writes by default
        ({"remembered": False, "began_from": "default"}, ["default"]),  # of an earlier version
        ({"remembered": False, "began_from": "default", "shipped_ancestors": []}, []),
        ({"remembered": False, "began_from": "mine", "shipped_ancestors": ["fast", "other"]}, ["fast"]),
        ({}, []),
    ],
)
def test_a_run_names_the_shipped_models_that_it_descends_from(model: Model, card: dict[str, object], ancestors):
    assert shipped_ancestors(replace(model, card=card)) == ancestors
    assert shipped_ancestors(open_model("fast")) == ["fast"]


def test_a_card_s_slices_in_the_data_show_the_copies_there(model: Model, survey: Survey):
    write_card(model, [survey.cases[0].sha256, "0" * 64, "1" * 64])
    provenance = trace_training(model, survey)
    assert (provenance.total, provenance.at_hand, provenance.complete) == (3, 1, False)
    assert leaks_of(provenance, survey) == {"train-a.png": "train-a.png", "copy-of-a.png": "train-a.png"}


def test_a_card_whose_slices_are_all_at_hand_is_complete(model: Model, survey: Survey):
    write_card(model, [survey.cases[0].sha256, survey.cases[1].sha256])
    assert trace_training(model, survey).complete


def test_a_scored_slice_that_the_card_names_is_no_clean_one(model: Model, survey: Survey):
    write_card(model, [survey.cases[3].sha256])
    assert leaks_of(trace_training(model, survey), survey) == {"new.png": "new.png"}


def test_a_card_of_other_slices_leaves_copies_unknown(model: Model, survey: Survey):
    write_card(model, ["0" * 64])
    provenance = trace_training(model, survey)
    assert (provenance.index, provenance.total, provenance.complete) == (None, 1, False)
    assert provenance.find_leaks(survey) == {}


def test_without_a_card_or_run_nothing_is_known_and_train_gives_the_baselines(model: Model, survey: Survey):
    provenance = trace_training(model, survey)
    assert (provenance.index, provenance.total, provenance.complete) == (None, None, False)
    assert provenance.baselines._training is not None
    assert provenance.baselines._training.names == ("train-a.png", "train-b.png")


def test_no_baseline_is_made_from_the_slices_that_are_scored(model: Model, survey: Survey):
    """A lookup table would find each of them in itself, and no model could beat it."""
    provenance = trace_training(model, survey, scored={"train-a.png", "new.png"})
    assert provenance.baselines._training is not None
    assert provenance.baselines._training.names == ("train-b.png",)
    scored = {case.record.case_id for case in survey.cases}
    assert trace_training(model, survey, scored=scored).baselines._training is None


def redrawn(survey: Survey) -> Survey:
    """The same pictures; the truth of the first one has changed, and so has its hash."""
    first = replace(survey.cases[0], sha256="f" * 64, packed_truth=np.zeros_like(survey.cases[0].packed_truth))
    return replace(survey, cases=(first, *survey.cases[1:]))


def test_a_training_slice_with_another_outline_is_known_by_its_picture(model: Model, survey: Survey):
    card = {
        "sha256": model.sha256,
        "training_sha256": [survey.cases[0].sha256[:DIGITS]],
        "training_pictures_sha256": [survey.cases[0].picture_sha256[:DIGITS]],
    }
    model.path.with_suffix(".json").write_text(json.dumps(card))
    provenance = trace_training(model, redrawn(survey))
    assert (provenance.total, provenance.at_hand) == (1, 1)
    assert leaks_of(provenance, redrawn(survey)) == {"train-a.png": "train-a.png", "copy-of-a.png": "train-a.png"}
    save_training_index(build_training_index(survey, only=[0]), model.path.with_name("training.npz"))
    leak = trace_training(model, redrawn(survey)).find_leaks(redrawn(survey))["train-a.png"]
    assert (leak.nearest, leak.similarity) == ("train-a.png", 1.0)


def test_two_outlines_of_one_picture_are_one_training_slice(model: Model, survey: Survey):
    """Counted twice, they would stand for a training slice that is not at hand, and copies of it would be clean."""
    card = {
        "sha256": model.sha256,
        "training_sha256": [survey.cases[0].sha256[:DIGITS], "0" * DIGITS],
        "training_pictures_sha256": [survey.cases[0].picture_sha256[:DIGITS], "0" * DIGITS],
    }
    model.path.with_suffix(".json").write_text(json.dumps(card))
    again = replace(redrawn(survey).cases[0], record=replace(survey.cases[0].record, case_id="again.png"))
    both = replace(
        survey, cases=(again, *survey.cases[1:], survey.cases[0]), groups=(*survey.groups, survey.groups[0]),
        signatures=survey.signatures.select([0, 1, 2, 3, 0]),
    )  # fmt: skip
    provenance = trace_training(model, both)
    assert (provenance.total, provenance.at_hand, provenance.complete) == (2, 1, False)
    assert leaks_of(provenance, both)["again.png"] == "train-a.png"


def test_a_copy_of_a_shipped_model_descends_from_it(tmp_path: Path):
    mine = shutil.copy(find_model("fast"), tmp_path / "mine.onnx")
    assert shipped_ancestors(open_model(str(mine))) == ["fast"]


def test_the_shipped_models_list_their_training_pictures():
    for name in ("default", "fast"):
        card = read_card(open_model(name))
        assert card is not None
        assert 0.99 < len(card["training_pictures_sha256"]) / len(card["training_sha256"]) <= 1

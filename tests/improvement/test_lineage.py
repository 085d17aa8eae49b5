"""What ties new cases to those of earlier models, on a few drawn heads and without a training."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tumortrace.copies.leakage import Leak
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.copies.training_index import build_training_index, save_training_index
from tumortrace.improvement import lineage
from tumortrace.improvement.lineage import find_missing, join_frozen, read_json_or_empty, tie_to
from tumortrace.improvement.models import open_models
from tumortrace.improvement.sides import Ties
from tumortrace.inference.folder_default import write_folder_default
from tumortrace.inference.model import Model, open_model
from tumortrace.json_csv import write_json

NAMES = ("a", "b", "replay/c")


@pytest.fixture
def survey(draw_head, write_case, tmp_path: Path) -> Survey:
    (tmp_path / "replay").mkdir()
    drawn = [(name, draw_head(seed)) for seed, name in enumerate(NAMES)]
    return survey_cases([write_case(name, grey, grey > 200) for name, grey in drawn])


@pytest.fixture
def before(survey: Survey, tmp_path: Path) -> SimpleNamespace:
    """Stands for the model of a run that held out all of these cases."""
    save_training_index(build_training_index(survey), tmp_path / "run" / "held_out.npz")
    return SimpleNamespace(path=tmp_path / "run" / "model.onnx")


def test_ties_of_a_model_and_of_its_shipped_ancestor(survey, tmp_path, tiny_run, monkeypatch):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    save_training_index(build_training_index(survey, only=[1]), run / "held_out.npz")
    mine = open_model(str(run))
    mine.card.update(remembered=False, shipped_ancestors=["fast"])
    known = {
        "tiny": {"a.png": Leak("x", 0.9, "copy"), "c": Leak("", math.nan, "patient"), "d": Leak("x", 0.9, "copy")},
        "fast": {"a.png": Leak("y", 1.0, "copy"), "c": Leak("z", 0.8, "copy"), "d": Leak("", math.nan, "patient")},
    }
    traced: list[str] = []

    def trace(model: Model, _survey: Survey) -> SimpleNamespace:
        traced.append(model.name)
        return SimpleNamespace(find_leaks=lambda _: known[model.name])

    monkeypatch.setattr(lineage, "trace_training", trace)
    ties = tie_to([mine, open_model("fast")], survey)
    assert traced == ["tiny", "fast"]  # the ancestor is one of the models already
    assert ties.trained == {"a.png": known["fast"]["a.png"], "c": known["fast"]["c"], "d": known["tiny"]["d"]}
    assert {name: leak.similarity for name, leak in ties.held_out.items()} == {"b.png": 1.0}
    assert tie_to([mine], survey).trained == ties.trained


def test_of_held_out_cases_that_are_gone_only_corrected_ones_are_named(before, survey, tmp_path):
    (gone,) = find_missing([before], Ties({"a.png": Leak("a.png", 1.0, "copy")}, {}))
    assert (gone.file, gone.kind) == ("b.png", "held-out-missing")
    # An index of an earlier version does not know the pictures: no case is missing or here by that.
    save_training_index(
        replace(build_training_index(survey), pictures=("",) * 3), before.path.with_name("held_out.npz")
    )
    assert find_missing([before], Ties({"a.png": Leak("a.png", 1.0, "copy")}, {})) == [gone]
    assert find_missing([SimpleNamespace(path=tmp_path / "model.onnx")], Ties({}, {})) == []


def test_held_out_cases_of_all_models_stay_frozen(before, draw_head, write_case, tmp_path):
    own = build_training_index(survey_cases([write_case("d", draw_head(7), draw_head(7) > 200)]))
    save_training_index(own, tmp_path / "other" / "held_out.npz")
    other, without = (SimpleNamespace(path=tmp_path / name / "model.onnx") for name in ("other", "none"))
    assert set(join_frozen(own, [without]).names) == {"d.png"}
    assert set(join_frozen(own, [other, without, before]).names) == {"d.png", "a.png", "b.png", "replay/c.png"}


@pytest.mark.parametrize("content", [None, "{", "3", "[1]"])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "improvement.json").write_text(content)
    assert read_json_or_empty(tmp_path / "improvement.json") == {}


def test_a_resumed_run_is_compared_with_the_models_that_it_began_with(tmp_path: Path, tiny_run: Path):
    base, mine = (Path(shutil.copytree(tiny_run, tmp_path / "runs" / name)) for name in ("base", "mine"))
    opened = [open_model("fast"), open_model(str(base))]
    start, default = ({"name": each.name, "path": str(each.path), "sha256": each.sha256} for each in opened)
    for begun, expected in ((default, [start["sha256"], default["sha256"]]), (None, [start["sha256"]])):
        write_json(mine / "improvement.json", {"from": start, "default_before": begun})
        for is_default in (False, True):
            if is_default:  # as where it stopped behind its end
                write_folder_default(mine, reason="it was better")
            models = open_models(None, out=mine, resume=True)
            assert [each.sha256 for each in models.all] == expected
        (tmp_path / "runs" / "tumortrace-default.json").unlink()

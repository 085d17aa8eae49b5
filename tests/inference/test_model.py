"""Which file a model's name stands for, what is read from it, and what is said when that cannot be."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from tumortrace.config import Recipe
from tumortrace.errors import ModelError
from tumortrace.inference.model import find_model, open_model
from tumortrace.inference.recipe import recipe_to_json

RECIPE = {"tumortrace.recipe": recipe_to_json(Recipe((6, 10), threshold=0.25))}


# --- find_model ---


def test_onnx_file_and_finished_run_folder_stand_for_the_file(tmp_path: Path):
    path = tmp_path / "run" / "model.onnx"
    (tmp_path / "run" / "last").mkdir(parents=True)
    path.touch()
    assert find_model(str(path)) == path
    assert find_model(str(tmp_path / "run")) == path


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(
        ModelError, match=r"none\.onnx: no such model; give default, fast, a run folder or an \.onnx file$"
    ):
        find_model(str(tmp_path / "none.onnx"))


@pytest.mark.parametrize("file", ["", "box-encoder.onnx"])
def test_model_for_boxes_asks_for_a_box(file: str, tmp_path: Path):
    name = "box" if not file else str(tmp_path)
    (tmp_path / (file or "other")).touch()
    with pytest.raises(ModelError, match=r": needs a box on each picture; give default or fast, or .* with --box$"):
        find_model(name)


def test_folder_that_is_no_run_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"a folder without model\.onnx; give a finished run folder or an \.onnx file"):
        find_model(str(tmp_path))


def test_run_that_has_not_finished_says_how_to_go_on(tmp_path: Path):
    run = tmp_path / "my run"
    run.mkdir()
    (run / "config.toml").touch()
    for settings in (f"--config '{run}/config.toml'", "--resume"):  # before and after the training index is written
        with pytest.raises(ModelError) as caught:
            find_model(str(run))
        assert str(caught.value) == (
            f"{run}: training has not finished, so there is no model.onnx; "
            f"finish it on the same DATA: tumortrace train DATA --out '{run}' {settings}"
        )
        for name in ("training.npz", "split.json"):  # a split that someone keeps there makes it no cross-validation
            (run / name).touch()


@pytest.mark.parametrize("names", [("config.toml", "split.json"), ("split.json",)], ids=["crossval", "sweep"])
def test_the_folder_of_several_runs_is_no_model(names: tuple[str, ...], tmp_path: Path):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(
        ModelError, match=r": a cross-validation or a sweep, a model each .*; give one of their folders$"
    ):
        find_model(str(tmp_path))


@pytest.mark.parametrize("name", ["default", "fast"])
def test_a_model_that_is_not_shipped_says_what_to_give(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match=f"ships no model '{name}'; give --model with a run folder"):
        find_model(name)


@pytest.mark.parametrize("name", ["default", "fast"])
def test_shipped_models_are_in_the_package(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{name}.onnx").touch()
    (tmp_path / name).touch()  # a file of that name in the folder of the call is not taken for it
    monkeypatch.chdir(tmp_path)
    assert find_model(name) == tmp_path / "weights" / f"{name}.onnx"


# --- open_model ---


def test_model_brings_its_recipe_card_and_hash(tmp_path: Path, write_model: Callable[..., Path]):
    card = {"name": "bright", "version": "0.1", "trained_on": "phantoms"}
    path = write_model(tmp_path / "some.onnx", {**RECIPE, "tumortrace.card": json.dumps(card)})
    model = open_model(str(path))
    assert model.name == "bright"
    assert model.card == card
    assert model.path == path
    assert model.recipe == Recipe((6, 10), threshold=0.25)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("card", [{}, {"tumortrace.card": "{}"}, {"tumortrace.card": '{"name": ""}'}])
def test_model_without_a_name_is_called_by_its_file(
    tmp_path: Path, write_model: Callable[..., Path], card: dict[str, str]
):
    assert open_model(str(write_model(tmp_path / "some.onnx", {**RECIPE, **card}))).name == "some"


def test_model_runs_and_its_logits_are_background_then_tumour(tmp_path: Path, write_model: Callable[..., Path]):
    model = open_model(str(write_model(tmp_path / "some.onnx", RECIPE, gain=2.0)))
    images = np.array([[[[1.0, -3.0]]]], dtype=np.float32)
    logits = model.session.run(images)
    assert logits.tolist() == [[[[-2.0, 6.0]], [[2.0, -6.0]]]]


@pytest.mark.parametrize(("threads", "expected"), [(3, 3), (0, 5)])
def test_threads_are_those_asked_for_or_as_many_as_the_process_may_use(
    tmp_path: Path, write_model: Callable[..., Path], threads: int, expected: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 4, 6, 8}, raising=False)
    model = open_model(str(write_model(tmp_path / "some.onnx", RECIPE)), threads=threads)
    assert model.session.runtime.get_session_options().intra_op_num_threads == expected


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_not_onnx_is_named_in_one_line(tmp_path: Path, data: bytes):
    path = tmp_path / "some.onnx"
    path.write_bytes(data)
    with pytest.raises(
        ModelError, match=r"some\.onnx: not an ONNX model \(.+\); give a file that tumortrace"
    ) as raised:
        open_model(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("metadata", "cause"),
    [
        ({}, "tumortrace.recipe"),
        ({"tumortrace.recipe": "not JSON"}, "Expecting value"),
        ({"tumortrace.recipe": "[]"}, "recipe must be a table"),
        ({"tumortrace.recipe": '{"colour": "grey"}'}, "unknown key 'recipe.colour'"),
        ({"tumortrace.recipe": '{"confidence": [1, 2]}'}, r"recipe.confidence = \(1.0, 2.0\) must be 7 finite numbers"),
        ({**RECIPE, "tumortrace.card": "not JSON"}, "Expecting value"),
        ({**RECIPE, "tumortrace.card": "3"}, "not iterable"),
    ],
)
def test_onnx_without_a_recipe_that_can_be_read_is_refused(
    tmp_path: Path, write_model: Callable[..., Path], metadata: dict[str, str], cause: str
):
    path = write_model(tmp_path / "some.onnx", metadata)
    with pytest.raises(ModelError, match=rf"some\.onnx: no recipe of tumortrace in its metadata \(.*{cause}.*; export"):
        open_model(str(path))


# --- a network that contradicts its recipe ---


def _save_network(path: Path, graph: str, recipe: Recipe, card: dict[str, object] | None = None) -> str:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> agraph {graph}')
    metadata = {"tumortrace.recipe": recipe_to_json(recipe), "tumortrace.card": json.dumps(card or {})}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return str(path)


FITTING = "(float[N,1,6,10] images) => (float[N,2,6,10] logits) {logits = Concat <axis = 1> (images, images)}"
THREE = "(float[N,1,6,10] images) => (float[N,3,6,10] logits) {logits = Concat <axis = 1> (images, images, images)}"
FREE_THREE = "(float[N,1,H,W] images) => (float[N,C,H,W] logits) {logits = Concat <axis = 1> (images, images, images)}"
HALF = """(float[N,1,H,W] images) => (float[N,2,h,w] logits) {
    small = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (images)
    logits = Concat <axis = 1> (small, small)}"""

SMALL = HALF.replace("N,1,H,W", "N,1,6,10").replace("N,2,h,w", "N,2,3,5")


def test_a_network_that_fits_its_recipe_is_opened(tmp_path: Path):
    recipe = Recipe((6, 10), confidence=(0.0,) * 7)
    model = open_model(_save_network(tmp_path / "a.onnx", FITTING, recipe, {"classes": ["background", "tumour"]}))
    assert model.recipe == recipe


@pytest.mark.parametrize(
    ("graph", "recipe", "cause"),
    [
        (THREE, Recipe((6, 10)), r"its logits have 3 channels, not 2 \(background and tumour\)"),
        (FREE_THREE, Recipe((6, 10)), "its logits have 3 channels"),
        (HALF, Recipe((6, 10)), r"it answers with the shape \(1, 2, 3, 5\), not \(1, 2, 6, 10\)"),
        (SMALL, Recipe((6, 10)), "its logits are 3 x 5 px, those of its recipe 6 x 10"),
        (FITTING.replace("N,1,", "N,").replace("N,2,6", "N,12"), Recipe((6, 10)), r"tensor\(float\) of 3 dimensions"),
        (FITTING, Recipe((10, 6)), "its images are 6 x 10 px, those of its recipe 10 x 6"),
        (FITTING.replace("images", "x"), Recipe((6, 10)), "it has the inputs x, not just 'images'"),
        (FITTING.replace("logits", "y"), Recipe((6, 10)), "it has the outputs y, not just 'logits'"),
        (FITTING.replace("N,", "1,"), Recipe((6, 10)), "its images have a fixed batch size of 1"),
        (FITTING.replace("1,6", "3,6").replace("2,6", "6,6"), Recipe((6, 10)), r"3 channels, not 1 \(grey\)"),
        (FITTING.replace("float[", "double["), Recipe((6, 10)), r"its images are tensor\(double\) of 4 dimensions"),
    ],
)
def test_a_network_that_contradicts_its_recipe_is_refused_when_it_is_opened(
    tmp_path: Path, graph: str, recipe: Recipe, cause: str
):
    path = _save_network(tmp_path / "some.onnx", graph, recipe)
    with pytest.raises(ModelError, match=rf"some\.onnx: .*{cause}.*; export it with tumortrace") as raised:
        open_model(path)
    assert "\n" not in str(raised.value)


def test_a_model_of_other_classes_is_refused(tmp_path: Path):
    path = _save_network(tmp_path / "a.onnx", FITTING, Recipe((6, 10)), {"classes": ["tumour", "background"]})
    with pytest.raises(ModelError, match=r"its classes are \['tumour', 'background'\], not background and tumour"):
        open_model(path)


def test_a_network_that_fails_while_it_runs_is_named_in_one_line(tmp_path: Path):
    # There is no column 20 in 10: ONNX Runtime finds that only once it runs.
    graph = (
        "(float[N,1,H,W] images) => (float[N,2,H,W] logits) {"
        """
        place = Constant <value = int64[1] {20}> ()
        column = Gather <axis = 3> (images, place)
        wrong = Add(images, column)
        logits = Concat <axis = 1> (wrong, wrong)}"""
    )
    with pytest.raises(ModelError, match=r"a\.onnx: cannot be run \(.*\); export") as raised:
        open_model(_save_network(tmp_path / "a.onnx", graph, Recipe((6, 10))))
    assert "\n" not in str(raised.value)

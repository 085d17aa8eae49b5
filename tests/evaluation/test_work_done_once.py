"""How often an evaluation decodes, draws, hashes and predicts a slice, its pictures and its report included."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tumortrace
import tumortrace.reporting.cases  # what is imported later would keep the counting functions
import tumortrace.reporting.page
import tumortrace.trials.crossval
from tumortrace.config import CONFIDENCE_WEIGHTS, Recipe, config_from_tables
from tumortrace.copies.agreement import measure_agreement
from tumortrace.copies.survey import survey_cases
from tumortrace.copies.training_index import load_training_index
from tumortrace.data.cases import read_case
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.data.fingerprint import hash_case
from tumortrace.data.slice_file import read_slice
from tumortrace.evaluation.crossfit import HeldOut, cross_fit
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict

FUNCTIONS = (read_case, read_slice, hash_case, predict, measure_agreement)


class Work:
    """Numbers of calls of the counted functions, and of decoding by file."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.decoded: Counter[str] = Counter()


@pytest.fixture
def dataset(phantom_data: Path) -> Dataset:
    """The generated slices; opening looks at a picture that no part needs, which is not counted."""
    return open_dataset(phantom_data)


@pytest.fixture
def work(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Count the calls of the functions that cost, once the dataset is open, wherever they are called from."""
    assert dataset.records
    done = Work()

    def count(function: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            done.calls[function.__name__] += 1
            if function is read_slice:
                done.decoded[Path(str(args[0])).name] += 1
            return function(*args, **kwargs)

        return counted

    modules = [module for name, module in list(sys.modules.items()) if name.startswith("tumortrace")]
    for function in FUNCTIONS:
        counting = count(function)
        for module in modules:
            for name, value in list(vars(module).items()):
                if value is function:
                    monkeypatch.setattr(module, name, counting)
    return done


def test_evaluate_decodes_a_slice_twice_and_does_all_else_once(
    dataset: Dataset, tiny_run: Path, tmp_path: Path, work: Work
):
    result = tumortrace.evaluate(dataset, model=str(tiny_run), part="val", out=tmp_path / "val")
    assert len(result.evaluation.scores) == 4
    # VAL 4 and TRAIN 10 are surveyed; VAL is decoded once more, for the network.
    assert (work.calls["read_case"], work.calls["hash_case"]) == (14, 14)  # which draws the truth
    assert work.calls["read_slice"] == 14 + 4
    assert max(work.decoded.values()) == 2
    assert (work.calls["predict"], work.calls["measure_agreement"]) == (4, 1)
    assert len(list((tmp_path / "val" / "figures").iterdir())) == 3


def test_baselines_of_train_need_no_second_survey(dataset: Dataset, tmp_path: Path, tiny_run: Path, work: Work):
    alone = tmp_path / "alone.onnx"
    alone.write_bytes((tiny_run / "model.onnx").read_bytes())
    result = tumortrace.evaluate(dataset, model=str(alone), part="val")
    assert "nearest_training_mask" in result.summary["baselines"]
    assert (work.calls["read_slice"], work.calls["hash_case"], work.calls["predict"]) == (18, 14, 4)


def test_a_report_reads_no_slice_and_runs_no_model(dataset: Dataset, tiny_run: Path, tmp_path: Path, work: Work):
    tumortrace.evaluate(dataset, model=str(tiny_run), part="val", out=tmp_path / "val")
    work.calls.clear()
    tumortrace.report([tiny_run, tmp_path / "val"], out=tmp_path / "page.html")
    assert work.calls == {}
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("Four panels of") == 4


def test_a_cross_validation_is_scored_with_two_decodes_and_one_agreement(dataset: Dataset, tiny_run: Path, work: Work):
    records = [record for record in dataset.records if record.part != "test"]
    survey = survey_cases(records)
    index, model = load_training_index(tiny_run / "training.npz"), open_model(str(tiny_run))
    folds = [HeldOut(str(number + 1), model, index, tuple(records[number::2])) for number in range(2)]
    fitted = cross_fit(folds, survey)
    assert len(fitted.evaluation.scores) == len(records) == 14
    # One decode in the survey, one to fit, one to score.
    assert (work.calls["read_slice"], work.calls["read_case"], work.calls["hash_case"]) == (3 * 14, 14, 14)
    assert work.calls["measure_agreement"] == 1


def test_a_recipe_is_kept_without_a_decode_to_fit(dataset: Dataset, tiny_run: Path, work: Work):
    records = [record for record in dataset.records if record.part != "test"]
    index, model = load_training_index(tiny_run / "training.npz"), open_model(str(tiny_run))
    folds = [HeldOut(str(number + 1), model, index, tuple(records[number::2])) for number in range(2)]
    kept = Recipe((512, 512), temperature=1.7, threshold=0.35, peak_threshold=0.6)
    fitted = cross_fit(folds, survey_cases(records), keep=kept)
    expected = replace(model.recipe, temperature=1.7, threshold=0.35, peak_threshold=0.6)
    for recipe in (fitted.recipe, *fitted.fold_recipes.values()):
        assert replace(recipe, confidence=(), review_below=0.5) == replace(expected, confidence=(), review_below=0.5)
        assert len(recipe.confidence) == CONFIDENCE_WEIGHTS
    assert fitted.evaluation.threshold == 0.35
    # One decode in the survey, one to score.
    assert (work.calls["read_slice"], work.calls["predict"]) == (2 * 14, 14)


def test_a_cross_validation_decodes_a_slice_once_a_training_and_three_times_besides(
    dataset: Dataset, tmp_path: Path, work: Work
):
    tiny = config_from_tables(
        {
            "recipe": {"size_hw": [32, 32]},
            "network": {"widths": [4, 8]},
            "training": {"epochs": 1, "batch_size": 5, "keep": "last", "device": "cpu", "threads": 1},
        }
    )
    tumortrace.crossval(dataset, out=tmp_path / "cv", config=tiny, folds=3)
    # Survey, two trainings, fit, score; of five folds it would be seven.
    assert set(work.decoded.values()) == {5}
    assert work.calls["measure_agreement"] == 1

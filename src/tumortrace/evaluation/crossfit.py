"""Cross-validated scores: every case by a model that did not learn from it, at a threshold it had no part in choosing.

Temperature, threshold and the weights of the confidence are fitted on predictions. To score a fold they are fitted on
the other folds' held-out predictions alone; what is fitted on all folds goes into the recipe for the next model and
scores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from tumortrace.config import Recipe
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.evaluation.baselines import Baselines
from tumortrace.evaluation.evaluate import CaseScore, Evaluation, OnCase, evaluate
from tumortrace.evaluation.summary import FLAGGED, judged_dice
from tumortrace.inference.confidence import estimate_confidence
from tumortrace.inference.model import Model
from tumortrace.inference.predict import predict
from tumortrace.metrics.calibration import (
    CaseHistogram,
    choose_peak_threshold,
    choose_threshold,
    count_logits,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from tumortrace.metrics.selective import fit_confidence
from tumortrace.progress import track

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One fold.

    Attributes:
        fold: Its number, from "1".
        model: Trained on the other folds.
        memory: Of what it was trained on.
        records: The cases held out from it.
    """

    fold: str
    model: Model
    memory: TrainingIndex
    records: tuple[CaseRecord, ...]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Scores of all folds together.

    Attributes:
        evaluation: One score a case, in the order of the folds.
        recipe: For a model trained on everything: temperature, thresholds and confidence fitted on all folds.
        fold_recipes: With which each fold was scored, fitted on the others.
    """

    evaluation: Evaluation
    recipe: Recipe
    fold_recipes: dict[str, Recipe]


def cross_fit(
    folds: Sequence[HeldOut], survey: Survey, *, on_case: OnCase = lambda _case, _prediction: None
) -> CrossFit:
    """Score all folds.

    Args:
        folds: At least two.
        survey: A survey of all cases.
        on_case: Called with each case and the prediction that is scored.

    Raises:
        DataError: Not one case of a fold can be read.
    """
    histograms = {held.fold: _count(held) for held in folds}
    recipes = {held.fold: fit_recipe(held.model.recipe, _others(histograms, held.fold)) for held in folds}
    parts = [_evaluate(held, recipes[held.fold], survey, on_case) for held in folds]
    scores = {held.fold: part.scores for held, part in zip(folds, parts, strict=True)}
    weights = {held.fold: _fit_confidence(_others(scores, held.fold)) for held in folds}
    rated = tuple(_rate(score, weights[score.fold]) for part in parts for score in part.scores)
    recipe = fit_recipe(folds[0].model.recipe, [each for listed in histograms.values() for each in listed])
    flagged = float(np.quantile([score.confidence for score in rated], FLAGGED))
    everything = [score for part in parts for score in part.scores]
    whole = replace(
        parts[0],
        scores=rated,
        findings=tuple(finding for part in parts for finding in part.findings),
        model={"name": f"cross-validation of {len(folds)} folds", "sha256": ""},
        threshold=recipe.threshold,
        peak_threshold=recipe.peak_threshold,
        temperature=recipe.temperature,
        card={key: value for key, value in parts[0].card.items() if key in ("config_sha256", "seed", "version")},
    )
    fitted = replace(recipe, confidence=_fit_confidence(everything), review_below=round(flagged, 4))
    return CrossFit(whole, fitted, {f: replace(recipes[f], confidence=weights[f]) for f in recipes})


def _count(held: HeldOut) -> list[CaseHistogram]:
    """What the model says of its held-out cases before anything is fitted."""
    plain = _with_recipe(held.model, replace(held.model.recipe, temperature=1.0))
    histograms = []
    for _, case, _ in track(read_cases(held.records), f"Predicting fold {held.fold}", total=len(held.records)):
        if case is not None:
            prediction = predict(plain, case.slice)
            histograms.append(count_logits(prediction.probability, prediction.mask, case.truth))
    return histograms


def fit_recipe(recipe: Recipe, histograms: Sequence[CaseHistogram]) -> Recipe:
    """Fit the temperature and both thresholds of a recipe; a temperature that worsens calibration is not taken.

    Missed tumours are confident errors, which raise the most likely temperature and would improve nothing.

    Args:
        recipe: Recipe whose other settings stay.
        histograms: Logits of held-out cases, at temperature 1.
    """
    fitted = round(fit_temperature(histograms), 4)
    errors = {each: expected_calibration_error(reliability(histograms, each)) for each in (1.0, fitted)}
    temperature = fitted if errors[fitted] < errors[1.0] else 1.0
    threshold = choose_threshold(histograms, temperature)
    peak = choose_peak_threshold(histograms, temperature, threshold)
    return replace(recipe, temperature=temperature, threshold=threshold, peak_threshold=peak)


def _fit_confidence(scores: Sequence[CaseScore]) -> tuple[float, ...]:
    features = np.array([score.features for score in scores])
    return tuple(fit_confidence(features, np.array([judged_dice(score) for score in scores])))


def _evaluate(held: HeldOut, recipe: Recipe, survey: Survey, on_case: OnCase) -> Evaluation:
    model = _with_recipe(held.model, recipe)
    part = evaluate(model, held.records, survey, memory=held.memory, baselines=Baselines(held.memory), on_case=on_case)
    return replace(part, scores=tuple(replace(score, fold=held.fold) for score in part.scores))


def _rate(score: CaseScore, weights: tuple[float, ...]) -> CaseScore:
    return replace(score, confidence=estimate_confidence(np.array(score.features), weights))


def _with_recipe(model: Model, recipe: Recipe) -> Model:
    return replace(model, recipe=recipe)


def _others(of_fold: Mapping[str, Sequence[T]], fold: str) -> list[T]:
    return [each for name, listed in of_fold.items() if name != fold for each in listed]

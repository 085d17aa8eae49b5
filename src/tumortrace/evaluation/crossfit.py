"""Cross-fitted scores: recipes fitted on the other folds.

Temperature, thresholds and the weights of the confidence are fitted on predictions. Each fold is scored under values
that were fitted on the held-out predictions of the other folds. The values fitted on all folds go into the recipe for
the next model and score nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from tumortrace.config import Recipe
from tumortrace.copies.agreement import measure_agreement
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex
from tumortrace.data.cases import CaseRecord
from tumortrace.data.findings import Finding, describe_none_read
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import DataError
from tumortrace.evaluation.evaluate import CaseScore, Evaluation, OnCase, read_surveyed, score_cases
from tumortrace.evaluation.provenance import known_training
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
        model: The model that was trained on the other folds.
        index: Training slices of that model.
        records: The cases held out from it.
    """

    fold: str
    model: Model
    index: TrainingIndex
    records: tuple[CaseRecord, ...]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """The scores of all folds together.

    Attributes:
        evaluation: One score per case, in the order of the folds.
        recipe: Recipe for a model trained on everything, fitted on all folds.
        fold_recipes: The recipe under which each fold was scored, fitted on the other folds.
    """

    evaluation: Evaluation
    recipe: Recipe
    fold_recipes: dict[str, Recipe]


def cross_fit(
    folds: Sequence[HeldOut],
    survey: Survey,
    *,
    keep: Recipe | None = None,
    on_case: OnCase = lambda _case, _prediction, _score: None,
) -> CrossFit:
    """Score all folds; each picture is decoded once to score, and once before if temperature and thresholds are fitted.

    Args:
        folds: Two or more folds.
        survey: A survey of all cases.
        keep: Recipe whose temperature and thresholds are kept, so that the confidence alone is fitted; None fits all.
        on_case: Called with each case, the prediction that is scored, and the scores.

    Raises:
        DataError: No case of a fold can be read.
    """
    recipes, recipe = _keep(keep, folds) if keep else _fit(folds, survey)
    scores: dict[str, list[CaseScore]] = {}
    unreadable: list[Finding] = []
    for held in folds:
        scores[held.fold], findings = _score(held, recipes[held.fold], survey, on_case)
        unreadable += findings
    weights = {held.fold: _fit_confidence(_others(scores, held.fold)) for held in folds}
    rated = [_rate(score, weights[fold], fold) for fold, listed in scores.items() for score in listed]
    flagged = float(np.quantile([score.confidence for score in rated], FLAGGED))
    evaluation = Evaluation(
        tuple(rated),
        (*survey.findings, *unreadable),
        model={"name": f"cross-validation of {len(folds)} folds", "sha256": ""},
        threshold=recipe.threshold,
        peak_threshold=recipe.peak_threshold,
        temperature=recipe.temperature,
        agreement=measure_agreement(survey),
        card=_card_of(folds),
    )
    fitted = replace(recipe, confidence=_fit_confidence(rated), review_below=round(flagged, 4))
    return CrossFit(evaluation, fitted, {fold: replace(recipes[fold], confidence=weights[fold]) for fold in recipes})


def _card_of(folds: Sequence[HeldOut]) -> dict[str, object]:
    """Return what the models say in common, and the training slices of all folds as one hash."""
    card = folds[0].model.card
    shared = {key: card[key] for key in ("config_sha256", "seed", "version", "selected_on") if key in card}
    return shared | {"trained_on": hash_part({held.fold: str(held.model.card.get("trained_on")) for held in folds})}


def _fit(folds: Sequence[HeldOut], survey: Survey) -> tuple[dict[str, Recipe], Recipe]:
    """Fit the temperature and thresholds of each fold on the other folds, and of the next model on all folds."""
    histograms = {held.fold: _count(held, survey) for held in folds}
    recipes = {held.fold: fit_recipe(held.model.recipe, _others(histograms, held.fold)) for held in folds}
    return recipes, fit_recipe(folds[0].model.recipe, [each for listed in histograms.values() for each in listed])


def _keep(kept: Recipe, folds: Sequence[HeldOut]) -> tuple[dict[str, Recipe], Recipe]:
    """Give each fold, and the next model, the temperature and thresholds of a recipe."""
    fitted = {key: getattr(kept, key) for key in ("temperature", "threshold", "peak_threshold")}
    recipes = {held.fold: replace(held.model.recipe, **fitted) for held in folds}
    return recipes, recipes[folds[0].fold]


def _count(held: HeldOut, survey: Survey) -> list[CaseHistogram]:
    """Count what the model predicts on its held-out cases before anything is fitted."""
    plain = replace(held.model, recipe=replace(held.model.recipe, temperature=1.0))
    wanted = {record.case_id for record in held.records}
    cases = [case for case in survey.cases if case.record.case_id in wanted]
    histograms = []
    for surveyed in track(cases, f"Predicting fold {held.fold}", total=len(cases)):
        try:
            case = read_surveyed(surveyed)
        except DataError:
            continue  # named when it is to be scored
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


def _score(held: HeldOut, recipe: Recipe, survey: Survey, on_case: OnCase) -> tuple[list[CaseScore], list[Finding]]:
    model = replace(held.model, recipe=recipe)
    scores, findings = score_cases(model, held.records, survey, known_training(held.index), on_case=on_case)
    if not scores:
        raise DataError(f"fold {held.fold}: {describe_none_read(len(held.records), findings)}")
    return scores, findings


def _fit_confidence(scores: Sequence[CaseScore]) -> tuple[float, ...]:
    features = np.array([score.features for score in scores])
    return tuple(fit_confidence(features, np.array([judged_dice(score) for score in scores])))


def _rate(score: CaseScore, weights: tuple[float, ...], fold: str) -> CaseScore:
    return replace(score, confidence=estimate_confidence(np.array(score.features), weights), fold=fold)


def _others(of_fold: Mapping[str, Sequence[T]], fold: str) -> list[T]:
    return [each for name, listed in of_fold.items() if name != fold for each in listed]

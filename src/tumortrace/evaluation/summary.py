"""The summary of an evaluation: means with intervals over groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict

from tumortrace.copies.agreement import describe_agreement
from tumortrace.copies.described import LARGE, SMALL
from tumortrace.data.fingerprint import hash_part
from tumortrace.evaluation.evaluate import TOLERANCE, CaseScore, Evaluation
from tumortrace.evaluation.heads import describe_false_alarms, describe_froc, describe_pooled
from tumortrace.evaluation.number_card import make_number_card
from tumortrace.evaluation.verdict import judge
from tumortrace.json_csv import Document, nan_to_none
from tumortrace.metrics.aggregate import (
    DISTANCES,
    LENGTHS,
    METRICS,
    OVERLAP,
    describe_values,
    interval_bounds,
)
from tumortrace.metrics.calibration import expected_calibration_error, reliability
from tumortrace.metrics.intervals import count_effective_groups, ratio_interval
from tumortrace.metrics.selective import LOW_DICE, caught_share, risk_coverage

FLAGGED = 0.2
"""Fraction of the masks that is reviewed, least confident first."""


def _metric_of(score: CaseScore, metric: str) -> float:
    """Return one metric of one case, NaN where it is undefined."""
    return float(getattr(score.surface if metric in DISTANCES else score.counts, metric))


def judged_dice(score: CaseScore) -> float:
    """Return Dice as the confidence predicts it: an empty mask of a tumour-free slice is right and counts as 1."""
    return 1.0 if math.isnan(score.counts.dice) else score.counts.dice


def summary_document(evaluation: Evaluation, *, folds: Sequence[Document] = ()) -> Document:
    """Summarise an evaluation as the JSON values of ``summary.json``, with null for what is undefined.

    Args:
        evaluation: The evaluation of a part, or of all folds together.
        folds: One row per fold of a cross-validation.
    """
    scores = evaluation.scores
    clean = [score for score in scores if score.clean]
    unknown = any(score.clean is None for score in scores)
    document: Document = nan_to_none(
        {
            "n": len(scores),
            "threshold": evaluation.threshold,
            "distance_unit": " or ".join(sorted({"mm" if score.in_mm else "px" for score in scores})),
            "tolerance": TOLERANCE,
            "groups": len({score.group for score in scores}),
            **_describe_scores(scores),
            "pooled": describe_pooled(scores),
            "lesions": _describe_lesions(scores),
            "images": _describe_images(scores),
            "false_alarms": describe_false_alarms(scores),
            "froc": describe_froc(scores, chosen=evaluation.peak_threshold),
            "by": _describe_subgroups(scores),
            "clean": None if unknown else {"n": len(clean), **_describe_scores(clean)},
            "training": _describe_training(evaluation),
            "baselines": _describe_baselines(scores),
            "agreement": describe_agreement(evaluation.agreement),
            "outlined_twice": _describe_outlined_twice(evaluation, scores),
            "calibration": _describe_calibration(evaluation),
            "folds": list(folds),
            "model": evaluation.model,
            "card": evaluation.card,
            "data": {"sha256": hash_part({score.file: score.sha256 for score in scores})},
            "findings": [asdict(finding) for finding in evaluation.findings],
        }
    )
    verdict = judge(document)
    judged = clean if verdict.of_clean else scores
    alarms, twice = describe_false_alarms(judged), _describe_outlined_twice(evaluation, judged)
    beside = nan_to_none({"false_alarms": alarms, "outlined_twice": twice})
    groups = [score.group for score in judged if not math.isnan(score.counts.dice)]
    card = make_number_card(document | beside, verdict, groups)
    return {**document, "verdict": list(verdict.sentences), "number_card": card}


def _describe_scores(scores: Sequence[CaseScore]) -> Document:
    """Describe each metric over images, with the 95 % interval of its mean over groups."""
    groups = [score.group for score in scores]
    return {
        metric: describe_values([_metric_of(score, metric) for score in scores], groups, shares=metric not in LENGTHS)
        for metric in METRICS
    }


def _describe_baselines(scores: Sequence[CaseScore]) -> Document:
    """Describe the overlap metrics of each trivial baseline, on all images and on the clean ones."""
    described = {
        name: _describe_overlap(scores, name)
        | {"clean": _describe_overlap([score for score in scores if score.clean], name)}
        for name in scores[0].baselines
    }
    for side in (described["all_background"], described["all_background"]["clean"]):
        for metric in OVERLAP:
            side[metric]["ci95"] = None  # its score is known without sampling
    return described


def _describe_overlap(scores: Sequence[CaseScore], name: str) -> Document:
    groups = [score.group for score in scores]
    return {"n": len(scores)} | {
        metric: describe_values([getattr(score.baselines[name], metric) for score in scores], groups)
        for metric in OVERLAP
    }


def _share(pairs: Iterable[tuple[int, int, str]]) -> Document:
    """Describe a sum of numerators by a sum of denominators, with its interval over groups."""
    rows = [row for row in pairs if row[1]]
    numerators, denominators = [row[0] for row in rows], [row[1] for row in rows]
    total = sum(denominators)
    interval = ratio_interval(numerators, denominators, [row[2] for row in rows])
    return {"value": sum(numerators) / total if total else math.nan, "ci95": interval_bounds(interval), "n": total}


def _describe_lesions(scores: Sequence[CaseScore]) -> Document:
    return {
        "sensitivity": _share((s.lesions.found_lesions, s.lesions.true_lesions, s.group) for s in scores),
        "precision": _share((s.lesions.right_lesions, s.lesions.predicted_lesions, s.group) for s in scores),
    }


def _describe_images(scores: Sequence[CaseScore]) -> Document:
    ill = [score for score in scores if score.tumour_px]
    free = [score for score in scores if not score.tumour_px]
    marked_px, groups = [float(score.predicted_px) for score in free], [score.group for score in free]
    return {
        "with_tumour": len(ill),
        "tumour_free": len(free),
        "sensitivity": _share((int(score.predicted_px > 0), 1, score.group) for score in ill),
        "specificity": _share((int(score.predicted_px == 0), 1, score.group) for score in free),
        "false_positive_px": describe_values(marked_px, groups, shares=False) if free else None,
    }


def _describe_outlined_twice(evaluation: Evaluation, scores: Sequence[CaseScore]) -> Document | None:
    """Describe the Dice of model and annotators on the same slices; None if none of these slices was outlined twice.

    The annotators' Dice of a slice is the mean over the pairs of outlines that it is in.
    """
    agreed: dict[str, list[float]] = {}
    for pair in evaluation.agreement.pairs if evaluation.agreement else ():
        for file in (pair.first, pair.second):
            agreed.setdefault(file, []).append(pair.counts.dice)
    scores = [score for score in scores if score.file in agreed]
    if not scores:
        return None
    dices = {score.file: sum(agreed[score.file]) / len(agreed[score.file]) for score in scores}
    return {
        **_compare_dices(scores, dices),
        "by": {
            title: {name: _compare_dices(members, dices) for name, members in _divide(scores, sort).items()}
            for title, sort in _SORTERS.items()
            if title in {"tumour class", "plane", "tumour size"}
        },
    }


def _compare_dices(scores: Sequence[CaseScore], annotators: Mapping[str, float]) -> Document:
    groups = [score.group for score in scores]
    return {
        "n": len(scores),
        "groups": len(set(groups)),
        "effective_groups": round(count_effective_groups(groups), 1),
        "model": describe_values([score.counts.dice for score in scores], groups),
        "annotators": describe_values([annotators[score.file] for score in scores], groups),
    }


def _describe_training(evaluation: Evaluation) -> Document:
    """Describe what is known of the training slices, and how many images share a slice or a patient with them.

    Of the other images, those that the kept epoch was chosen on are counted too.
    """
    others = [score for score in evaluation.scores if score.clean is not False]
    chose_all = evaluation.card.get("selected_on") == hash_part({each.file: each.sha256 for each in evaluation.scores})
    return {
        "slices": evaluation.training_slices,
        "compared_slices": evaluation.compared_slices,
        "leaked_images": len(evaluation.scores) - len(others),
        "by_patient_alone": sum(score.leak is not None and score.leak.why == "patient" for score in evaluation.scores),
        "chose_epoch": len(others) if chose_all else sum(score.sha256 in evaluation.choosers for score in others),
    }


def _describe_subgroups(scores: Sequence[CaseScore]) -> Document:
    return {
        title: {
            name: {"n": len(members), **_describe_scores(members), "pooled": describe_pooled(members)}
            for name, members in _divide(scores, sort).items()
        }
        for title, sort in _SORTERS.items()
    }


def _divide(scores: Sequence[CaseScore], sort: Callable[[CaseScore], str]) -> dict[str, list[CaseScore]]:
    """Divide scores into subgroups, by name in order."""
    members: dict[str, list[CaseScore]] = {}
    for score in scores:
        members.setdefault(sort(score), []).append(score)
    return {name: members[name] for name in sorted(members, key=_subgroup_order)}


_SIZES = ("no tumour", f"small (< {SMALL:.0%})", "medium", f"large (> {LARGE:.0%})")


def _name_size(score: CaseScore) -> str:
    if not score.tumour_px:
        return _SIZES[0]
    return _SIZES[1 + (score.tumour_share >= SMALL) + (score.tumour_share > LARGE)]


def _subgroup_order(name: str) -> tuple[int, str]:
    return (_SIZES.index(name) if name in _SIZES else 0, name)


_SORTERS: dict[str, Callable[[CaseScore], str]] = {
    "tumour size": _name_size,
    "tumour class": lambda score: score.tumour_class or ("unnamed" if score.tumour_px else "no tumour"),
    "plane": lambda score: score.plane or "unnamed",
    "lesions": lambda score: {0: "none", 1: "1"}.get(score.lesions.true_lesions, "2 or more"),
    "outline": lambda score: score.shape,
    "source": lambda score: score.source or "unnamed",
    "copies": lambda score: {True: "clean", False: "leaked", None: "unknown"}[score.clean],
}
"""Rules that sort cases into subgroups, by the title of the division."""


def _describe_calibration(evaluation: Evaluation) -> Document:
    """Describe calibration and confidence; the probabilities include the temperatures already."""
    histograms = [score.histogram for score in evaluation.scores]
    bins = reliability(histograms, 1.0)
    before = reliability(histograms, [1 / score.temperature for score in evaluation.scores])
    confidences = [score.confidence for score in evaluation.scores]
    dices = [judged_dice(score) for score in evaluation.scores]
    return {
        "temperature": evaluation.temperature,
        "threshold": evaluation.threshold,
        "peak_threshold": evaluation.peak_threshold,
        "ece": expected_calibration_error(bins),
        "ece_before": expected_calibration_error(before),
        "bins": [asdict(each) for each in bins],
        "risk_coverage": [asdict(point) for point in risk_coverage(confidences, dices)],
        "flagged_share": FLAGGED,
        "low_dice": LOW_DICE,
        "low_masks": sum(dice < LOW_DICE for dice in dices),
        "caught": caught_share(confidences, dices, flagged=FLAGGED),
    }

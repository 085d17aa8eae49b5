"""What an evaluation amounts to: means with intervals over groups, all images beside the clean ones, and its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tumortrace.copies.agreement import describe_agreement
from tumortrace.data.fingerprint import hash_part
from tumortrace.evaluation.evaluate import TOLERANCE, CaseScore, Evaluation
from tumortrace.files import Document, write_csv, write_json
from tumortrace.metrics.aggregate import (
    DISTANCES,
    LENGTHS,
    METRICS,
    OVERLAP,
    describe_values,
    interval_bounds,
    nan_to_none,
)
from tumortrace.metrics.calibration import (
    PAINTED,
    expected_calibration_error,
    reliability,
)
from tumortrace.metrics.intervals import ratio_interval
from tumortrace.metrics.selective import caught_share, risk_coverage

SMALL, LARGE = 0.02, 0.08
"""Shares of the frame below and above which a tumour is called small and large."""

FLAGGED, LOW_DICE = 0.2, 0.5
"""The least confident share of masks that a person looks at, and the Dice below which a mask is called bad."""


def metric_of(score: CaseScore, metric: str) -> float:
    """One metric of one case, NaN where it is undefined."""
    return float(getattr(score.surface if metric in DISTANCES else score.counts, metric))


def summary_document(evaluation: Evaluation, *, folds: Sequence[Document] = ()) -> Document:
    """What ``summary.json`` holds: JSON values, with null for what is undefined.

    Args:
        evaluation: Of any part, or of all folds together.
        folds: Of a cross-validation, a row each.
    """
    scores = evaluation.scores
    clean = [score for score in scores if score.clean]
    document = {
        "n": len(scores),
        "threshold": evaluation.threshold,
        "distance_unit": " or ".join(sorted({"mm" if score.in_mm else "px" for score in scores})),
        "tolerance": TOLERANCE,
        "groups": len({score.group for score in scores}),
        **describe_scores(scores),
        "lesions": _describe_lesions(scores),
        "images": _describe_images(scores),
        "by": _describe_subgroups(scores),
        "clean": None if any(score.clean is None for score in scores) else {"n": len(clean), **describe_scores(clean)},
        "baselines": describe_baselines(scores),
        "agreement": describe_agreement(evaluation.agreement),
        "calibration": _describe_calibration(evaluation),
        "folds": list(folds),
        "model": evaluation.model,
        "card": evaluation.card,
        "data": {"sha256": hash_part({score.file: score.sha256 for score in scores})},
        "findings": [asdict(finding) for finding in evaluation.findings],
    }
    return dict(nan_to_none(document))


def describe_scores(scores: Sequence[CaseScore]) -> Document:
    """Each metric's spread over images with the 95 % interval of its mean over groups."""
    groups = [score.group for score in scores]
    return {
        metric: describe_values([metric_of(score, metric) for score in scores], groups, shares=metric not in LENGTHS)
        for metric in METRICS
    }


def describe_baselines(scores: Sequence[CaseScore]) -> Document:
    """The overlap metrics of each trivial baseline, on all images and on the clean ones."""
    described = {
        name: _describe_overlap(scores, name)
        | {"clean": _describe_overlap([score for score in scores if score.clean], name)}
        for name in scores[0].baselines
    }
    for side in (described["all_background"], described["all_background"]["clean"]):
        for metric in OVERLAP:
            side[metric]["ci95"] = None  # what it scores is known without any sampling
    return described


def write_evaluation(evaluation: Evaluation, out: Path, *, folds: Sequence[Document] = ()) -> Document:
    """Write ``per_image.csv`` and ``summary.json``; returns the latter's document."""
    rows = case_rows(evaluation.scores)
    write_csv(out / "per_image.csv", rows, columns=list(rows[0]))
    document = summary_document(evaluation, folds=folds)
    write_json(out / "summary.json", document)
    return document


def _describe_overlap(scores: Sequence[CaseScore], name: str) -> Document:
    groups = [score.group for score in scores]
    return {"n": len(scores)} | {
        metric: describe_values([getattr(score.baselines[name], metric) for score in scores], groups)
        for metric in OVERLAP
    }


def _share(pairs: Iterable[tuple[int, int, str]]) -> Document:
    """Sum of numerators by sum of denominators, with its interval over groups."""
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
    painted = [float(score.predicted_px) for score in free]
    return {
        "with_tumour": len(ill),
        "tumour_free": len(free),
        "sensitivity": _share((int(score.predicted_px > 0), 1, score.group) for score in ill),
        "specificity": _share((int(score.predicted_px == 0), 1, score.group) for score in free),
        "false_alarms": _share((int(_is_painted(score)), 1, score.group) for score in free),
        "false_positive_px": describe_values(painted, [score.group for score in free], shares=False) if free else None,
    }


def _is_painted(score: CaseScore) -> bool:
    frame_px = score.counts.tp + score.counts.fp + score.counts.fn + score.counts.tn
    return score.predicted_px > PAINTED * frame_px


def _describe_subgroups(scores: Sequence[CaseScore]) -> Document:
    sorters: dict[str, Callable[[CaseScore], str]] = {
        "tumour size": _name_size,
        "lesions": lambda score: {0: "none", 1: "1"}.get(score.lesions.true_lesions, "2 or more"),
        "outline": lambda score: score.shape,
        "source": lambda score: score.source or "unnamed",
        "copies": lambda score: {True: "clean", False: "leaked", None: "unknown"}[score.clean],
    }
    return {
        title: {
            name: {"n": len(members), **describe_scores(members)}
            for name in sorted({sort(score) for score in scores}, key=_subgroup_order)
            for members in [[score for score in scores if sort(score) == name]]
        }
        for title, sort in sorters.items()
    }


_SIZES = ("no tumour", f"small (< {SMALL:.0%})", "medium", f"large (> {LARGE:.0%})")


def _name_size(score: CaseScore) -> str:
    if not score.tumour_px:
        return _SIZES[0]
    return _SIZES[1 + (score.tumour_share >= SMALL) + (score.tumour_share > LARGE)]


def _subgroup_order(name: str) -> tuple[int, str]:
    return (_SIZES.index(name) if name in _SIZES else 0, name)


def _describe_calibration(evaluation: Evaluation) -> Document:
    """How far the probabilities mean what they say; they come with the model's temperature applied already."""
    histograms = [score.histogram for score in evaluation.scores]
    bins = reliability(histograms, 1.0)
    confidences = [score.confidence for score in evaluation.scores]
    dices = [judged_dice(score) for score in evaluation.scores]
    return {
        "temperature": evaluation.temperature,
        "threshold": evaluation.threshold,
        "peak_threshold": evaluation.peak_threshold,
        "ece": expected_calibration_error(bins),
        "ece_before": expected_calibration_error(reliability(histograms, 1 / evaluation.temperature)),
        "bins": [asdict(each) for each in bins],
        "risk_coverage": [asdict(point) for point in risk_coverage(confidences, dices)],
        "flagged_share": FLAGGED,
        "low_dice": LOW_DICE,
        "caught": caught_share(confidences, dices, flagged=FLAGGED, low=LOW_DICE),
    }


def judged_dice(score: CaseScore) -> float:
    """Dice as the confidence is to predict it: an empty mask of a tumour-free slice is right, so it counts as 1."""
    return 1.0 if math.isnan(score.counts.dice) else score.counts.dice


def case_rows(scores: Sequence[CaseScore]) -> list[dict[str, str]]:
    """Return the rows of ``per_image.csv``, one a case."""
    return [_row(score) for score in scores]


def _row(score: CaseScore) -> dict[str, str]:
    numbers = {metric: _cell(metric_of(score, metric)) for metric in METRICS}
    assd = numbers.pop("assd")
    return {
        "file": score.file,
        "part": score.part,
        "group": score.group,
        "clean": {True: "true", False: "false", None: ""}[score.clean],
        **{name: str(count) for name, count in asdict(score.counts).items()},
        **numbers,
        "confidence": _cell(score.confidence),
        "assd": assd,
        **{name: str(count) for name, count in asdict(score.lesions).items()},
        "source": score.source,
        "shape": score.shape,
        "nearest": score.leak.nearest if score.leak else "",
        "similarity": _cell(score.leak.similarity if score.leak else math.nan),
        "fold": score.fold,
        "sha256": score.sha256,
    }


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"

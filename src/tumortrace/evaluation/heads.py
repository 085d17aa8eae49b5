"""Scores of whole heads: false alarms, FROC, Dice pooled over a patient.

Slices of one head are not independent, so intervals are over heads. The slices of a head are those of one group: of one
patient where the data names patients, otherwise copies of one slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.json_csv import Document
from tumortrace.metrics.aggregate import describe_values, interval_bounds
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.froc import PEAKS, trace_operating_points
from tumortrace.metrics.intervals import mean_interval
from tumortrace.metrics.overlap import PixelCounts


def describe_false_alarms(scores: Sequence[CaseScore]) -> Document:
    """Count the false alarms on tumour-free slices, and the false lesions of each head.

    Args:
        scores: Scores, at least one.
    """
    free = [score for score in scores if not score.tumour_px]
    alarms = [float(score.predicted_px > FALSE_ALARM_AREA * score.frame_px) for score in free]
    interval = mean_interval(alarms, [score.group for score in free])
    false_lesions: dict[str, float] = {}
    for score in scores:
        false_lesions[score.group] = false_lesions.get(score.group, 0) + score.lesions.false_lesions
    counts = list(false_lesions.values())
    return {
        "tumour_free_slices": len(free),
        "painted": {"share": sum(alarms) / len(free) if free else math.nan, "ci95": interval_bounds(interval)},
        "heads": len(counts),
        "false_lesions_per_head": {
            "mean": sum(counts) / len(counts),
            "ci95": interval_bounds(mean_interval(counts, list(false_lesions), shares=False)),
        },
    }


def describe_froc(scores: Sequence[CaseScore], *, chosen: float) -> list[Document]:
    """List what each peak threshold would give, by rising threshold: lesions found, false lesions, Dice, false alarms.

    Args:
        scores: Scores, at least one.
        chosen: The model's own peak threshold, which is one of the points.
    """
    slices, heads = [score.marks for score in scores], [score.group for score in scores]
    points = trace_operating_points(slices, heads, alarm_area=FALSE_ALARM_AREA, peaks=sorted({*PEAKS, chosen}))
    return [
        {key: interval_bounds(value) if key.endswith("_ci95") else value for key, value in asdict(point).items()}
        for point in points
    ]


def describe_pooled(scores: Sequence[CaseScore]) -> Document | None:
    """Describe Dice computed from the pixels of all slices of a patient; None if no patient is named.

    Args:
        scores: Those of cases without a named patient are omitted.
    """
    slices: dict[tuple[str, str], list[CaseScore]] = {}
    for score in scores:
        if score.patient:
            slices.setdefault((score.source, score.patient), []).append(score)
    if not slices:
        return None
    dices = [_add(score.counts for score in each).dice for each in slices.values()]
    groups = [each[0].group for each in slices.values()]
    return {"patients": len(slices), "slices": sum(map(len, slices.values())), "dice": describe_values(dices, groups)}


def _add(counts: Iterable[PixelCounts]) -> PixelCounts:
    """Add the pixels of several slices."""
    rows = [(each.tp, each.fp, each.fn, each.tn) for each in counts]
    return PixelCounts(*map(sum, zip(*rows, strict=True)))

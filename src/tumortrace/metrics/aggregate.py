"""Mean, percentiles and interval of a metric over images, also as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tumortrace.json_csv import Document
from tumortrace.metrics.intervals import mean_interval

OVERLAP = ("precision", "recall", "dice", "iou")
DISTANCES = ("nsd", "hd95", "assd")
LENGTHS = ("hd95", "assd")
METRICS = (*OVERLAP, *DISTANCES)


@dataclass(frozen=True)
class Distribution:
    """The distribution of a metric over images; NaN is omitted.

    Attributes:
        mean: Arithmetic mean.
        median: 50th percentile.
        min: Smallest value.
        max: Largest value.
        p05: 5th percentile (linear interpolation).
        p95: 95th percentile. From p05 to p95 lie 90 % of the images; this is not an interval of the mean.
        undefined: Number of images without a value. If no image has one, everything else is NaN.
    """

    mean: float
    median: float
    min: float
    max: float
    p05: float
    p95: float
    undefined: int


def summarise(values: Iterable[float]) -> Distribution:
    """Summarise a metric over images; NaN values are counted as undefined and omitted."""
    array = np.array(list(values), dtype=np.float64)
    defined = array[~np.isnan(array)]
    undefined = len(array) - len(defined)
    if len(defined) == 0:
        return Distribution(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, undefined)
    p05, median, p95 = (float(value) for value in np.percentile(defined, [5, 50, 95]))
    return Distribution(float(defined.mean()), median, float(defined.min()), float(defined.max()), p05, p95, undefined)


def describe_values(values: Sequence[float], groups: Sequence[str], *, shares: bool = True) -> Document:
    """Summarise values as JSON, with the 95 % interval of their mean over groups."""
    return {**asdict(summarise(values)), "ci95": interval_bounds(mean_interval(values, groups, shares=shares))}


def interval_bounds(interval: tuple[float, float]) -> list[float] | None:
    """Return an interval as JSON holds it; None where it is undefined."""
    return None if math.isnan(interval[0]) else list(interval)

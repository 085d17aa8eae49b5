"""How a metric spreads over cases, and the same as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tumortrace.files import Document
from tumortrace.metrics.intervals import mean_interval

OVERLAP = ("precision", "recall", "dice", "iou")
DISTANCES = ("nsd", "hd95", "assd")
LENGTHS = ("hd95", "assd")
METRICS = (*OVERLAP, *DISTANCES)


@dataclass(frozen=True)
class Spread:
    """How a metric spreads over images, NaN left out.

    Attributes:
        mean: Arithmetic mean.
        median: 50th percentile.
        min: Smallest.
        max: Largest.
        p05: 5th percentile (linear interpolation).
        p95: 95th percentile. From p05 to p95 lie 90 % of the images; it is no interval of the mean.
        undefined: How many images have no value. With no value at all, everything else is NaN.
    """

    mean: float
    median: float
    min: float
    max: float
    p05: float
    p95: float
    undefined: int


def summarise(values: Iterable[float]) -> Spread:
    """Spread of a metric over images; NaN values are counted as undefined and left out."""
    array = np.array(list(values), dtype=np.float64)
    defined = array[~np.isnan(array)]
    undefined = len(array) - len(defined)
    if len(defined) == 0:
        return Spread(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, undefined)
    p05, median, p95 = (float(value) for value in np.percentile(defined, [5, 50, 95]))
    return Spread(float(defined.mean()), median, float(defined.min()), float(defined.max()), p05, p95, undefined)


def describe_values(values: Sequence[float], groups: Sequence[str], *, shares: bool = True) -> Document:
    """Spread of the values with the 95 % interval of their mean over groups."""
    return {**asdict(summarise(values)), "ci95": interval_bounds(mean_interval(values, groups, shares=shares))}


def interval_bounds(interval: tuple[float, float]) -> list[float] | None:
    """An interval as JSON holds it; None where it is undefined."""
    return None if math.isnan(interval[0]) else list(interval)


def nan_to_none(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON document with null in place of NaN."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

"""Paired comparison of models on the same cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.groups import join_patients
from tumortrace.errors import DataError
from tumortrace.evaluation.folder import ImageRow, StoredEvaluation, read_evaluations
from tumortrace.frames import make_frame
from tumortrace.json_csv import Document, nan_to_none
from tumortrace.metrics.aggregate import summarise
from tumortrace.metrics.intervals import holm, mean_interval, paired_p_value

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("dice", "iou", "nsd", "hd95")
"""Metrics that are compared; a lower HD95 is better."""

SAME_BUT_THE_SEED = ("config_sha256", "trained_on", "selected_on")
"""Statements of a card that trainings share which differ only in their seed."""

POWER = (1.959964 + 0.841621) / 1.959964
"""Smallest difference found with a power of 80 %, as a multiple of half the 95 % interval (normal quantiles)."""


@dataclass(frozen=True)
class Difference:
    """The difference of two models on one metric.

    Attributes:
        metric: One of ``COMPARED``.
        first: Name of the first evaluation.
        second: Name of the second evaluation.
        n: Number of images on which both have a value.
        groups: Number of groups of these images.
        undefined: Number of common images on which one of them has no value.
        only_first: Number of these on which only the first has one: for Dice, tumour-free images that only it marks.
        only_second: The same of the second.
        mean: Mean of first minus second.
        ci95: 95 % interval of the mean, over groups; NaN with fewer than two groups.
        p: P-value of no difference (sign-flip test over groups).
        p_holm: The same, adjusted for all pairs of models on this metric.
        higher: Number of images on which the first is higher.
        lower: Number of images on which the first is lower.
        detectable: Smallest true difference that such images show with a probability of 80 %; NaN without an interval.
    """

    metric: str
    first: str
    second: str
    n: int
    groups: int
    undefined: int
    only_first: int
    only_second: int
    mean: float
    ci95: tuple[float, float]
    p: float
    p_holm: float
    higher: int
    lower: int
    detectable: float


@dataclass(frozen=True)
class SeedSpread:
    """Models of the same settings and slices that differ only in their seed.

    Attributes:
        models: Names of the evaluations.
        seeds: Their seeds, in the same order.
        mean: Mean of the models' mean Dice on the common images.
        deviation: Standard deviation of these means (n - 1).
    """

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    mean: float
    deviation: float


@dataclass(frozen=True)
class Comparison:
    """Two or more evaluations of the same cases.

    Attributes:
        names: Names of the evaluations.
        n: Number of images that all of them hold with the same content.
        left_out: The other images, with the reason.
        means: Mean Dice of each evaluation on the common images.
        differences: Every pair of models on every metric.
        seeds: Spread over seeds, where settings and slices of the training agree.
        trained_on: Number of the common images that each model was trained on, as the same slice, a copy, or another
            slice of the patient; None where that is unknown for some of them.
        known_trained_on: Number of those that are known, of each model.
    """

    names: tuple[str, ...]
    n: int
    left_out: tuple[tuple[str, str], ...]
    means: tuple[float, ...]
    differences: tuple[Difference, ...]
    seeds: tuple[SeedSpread, ...]
    trained_on: tuple[int | None, ...]
    known_trained_on: tuple[int, ...]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row for each pair of models and metric."""
        return make_frame(asdict(row) for row in self.differences)


def compare_evaluations(folders: Sequence[Path]) -> Comparison:
    """Compare evaluations of the same cases.

    Args:
        folders: Two or more folders that ``evaluate`` or ``crossval`` wrote.

    Raises:
        DataError: Fewer than two folders, one that holds no evaluation, or no common case.
    """
    if len(folders) < 2:
        raise DataError("one evaluation cannot be compared; name at least two folders that evaluate wrote")
    evaluations = read_evaluations(folders)
    tables = [{row.file: row for row in evaluation.rows} for evaluation in evaluations]
    names = tuple(evaluation.name for evaluation in evaluations)
    common, left_out = _match(names, tables)
    if not common:
        raise DataError(f"{folders[0]} and {folders[1]}: no case in common; evaluate both on the same data")
    rows = {name: [table[file] for file in common] for name, table in zip(names, tables, strict=True)}
    means = [summarise(_values(rows[name], "dice")).mean for name in names]
    groups = _join_groups(list(rows.values()))
    differences = tuple(row for metric in COMPARED for row in _compare_metric(metric, rows, groups))
    return Comparison(
        names=names,
        n=len(common),
        left_out=tuple(left_out),
        means=tuple(means),
        differences=differences,
        seeds=_spread_seeds(evaluations, means),
        trained_on=tuple(map(_count_trained_on, rows.values())),
        known_trained_on=tuple(sum(row.clean is False for row in each) for each in rows.values()),
    )


def comparison_document(comparison: Comparison) -> Document:
    """Return the comparison as JSON values, with null for what is undefined."""
    return dict(nan_to_none(asdict(comparison)))


def _match(names: Sequence[str], tables: Sequence[dict[str, ImageRow]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the files that all evaluations hold with the same content; and the others, with the reason."""
    common, left_out = [], []
    for file in sorted({file for table in tables for file in table}):
        lacking = [name for name, table in zip(names, tables, strict=True) if file not in table]
        if lacking:
            left_out.append((file, f"not in {', '.join(lacking)}"))
        elif len({table[file].sha256 for table in tables}) > 1:
            left_out.append((file, "the image or its truth differs"))
        else:
            common.append(file)
    return common, left_out


def _join_groups(tables: Sequence[Sequence[ImageRow]]) -> tuple[str, ...]:
    """Join the groups of all evaluations: one that saw more images, or more patients' names, knows of more links."""
    joined, *others = (tuple(row.group for row in rows) for rows in tables)
    for groups in others:
        joined = join_patients(joined, groups)
    return joined


def _compare_metric(metric: str, rows: dict[str, list[ImageRow]], groups: Sequence[str]) -> list[Difference]:
    pairs = [_compare_pair(metric, first, second, rows, groups) for first, second in combinations(rows, 2)]
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)]


def _compare_pair(
    metric: str, first: str, second: str, rows: dict[str, list[ImageRow]], groups: Sequence[str]
) -> Difference:
    one, other = _values(rows[first], metric), _values(rows[second], metric)
    differences = one - other
    defined = ~np.isnan(differences)
    low, high = mean_interval(differences, groups, shares=False)
    return Difference(
        metric=metric,
        first=first,
        second=second,
        n=int(defined.sum()),
        groups=len({group for group, kept in zip(groups, defined, strict=True) if kept}),
        undefined=int((~defined).sum()),
        only_first=int((~np.isnan(one) & np.isnan(other)).sum()),
        only_second=int((np.isnan(one) & ~np.isnan(other)).sum()),
        mean=summarise(differences).mean,
        ci95=(low, high),
        p=paired_p_value(differences, groups),
        p_holm=math.nan,
        higher=int((differences[defined] > 0).sum()),
        lower=int((differences[defined] < 0).sum()),
        detectable=POWER * (high - low) / 2,
    )


def _spread_seeds(evaluations: Sequence[StoredEvaluation], means: Sequence[float]) -> tuple[SeedSpread, ...]:
    same: dict[tuple[object, ...], list[int]] = {}
    cards = [evaluation.summary["card"] for evaluation in evaluations]
    for index, card in enumerate(cards):
        if card.get("config_sha256") and "seed" in card:
            same.setdefault(tuple(map(card.get, SAME_BUT_THE_SEED)), []).append(index)
    spreads = []
    for indices in same.values():
        seeds = tuple(int(cards[index]["seed"]) for index in indices)
        if len(set(seeds)) > 1:
            scores = np.array([means[index] for index in indices])
            models = tuple(evaluations[index].name for index in indices)
            spreads.append(SeedSpread(models, seeds, float(scores.mean()), float(scores.std(ddof=1))))
    return tuple(spreads)


def _count_trained_on(rows: Sequence[ImageRow]) -> int | None:
    return None if any(row.clean is None for row in rows) else sum(not row.clean for row in rows)


def _values(rows: Sequence[ImageRow], metric: str) -> NDArray[np.float64]:
    return np.array([getattr(row, metric) for row in rows], dtype=np.float64)

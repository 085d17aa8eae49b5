"""Models compared on the same cases: paired differences with intervals, permutation tests, Holm over all pairs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.errors import DataError
from tumortrace.metrics.intervals import holm, mean_interval, paired_p_value

COMPARED = ("dice", "iou", "nsd", "hd95")
"""Metrics that are compared; of HD95 less is better."""


@dataclass(frozen=True, eq=False)
class EvaluationFolder:
    """What ``evaluate`` left in a folder.

    Attributes:
        name: Of the folder.
        rows: Of ``per_image.csv``, by file.
        card: Of the model.
    """

    name: str
    rows: dict[str, dict[str, str]]
    card: dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One model against another on one metric.

    Attributes:
        metric: Of ``COMPARED``.
        first: Name of the one.
        second: Name of the other.
        n: Images where both have a value.
        groups: Of these images.
        undefined: Common images left out because one of both has no value.
        mean: Of first minus second.
        ci95: Its interval, over groups; NaN with fewer than two groups.
        p: Of no difference, by flipping groups.
        p_holm: Adjusted for all pairs of models on this metric.
        higher: Images on which the first is higher.
        lower: On which it is lower.
    """

    metric: str
    first: str
    second: str
    n: int
    groups: int
    undefined: int
    mean: float
    ci95: tuple[float, float]
    p: float
    p_holm: float
    higher: int
    lower: int


@dataclass(frozen=True)
class SeedSpread:
    """Models of the same settings that differ in their seed alone.

    Attributes:
        models: Names of the folders.
        seeds: In the same order.
        mean: Of the models' mean Dice on the common images.
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
        names: Of the folders.
        n: Images in all of them with the same content.
        left_out: Images that are not, with the reason.
        means: Mean Dice of each on the common images.
        differences: Every pair of models on every metric.
        seeds: Spread over seeds, where settings agree.
    """

    names: tuple[str, ...]
    n: int
    left_out: tuple[tuple[str, str], ...]
    means: tuple[float, ...]
    differences: tuple[Difference, ...]
    seeds: tuple[SeedSpread, ...]


def compare_evaluations(folders: Sequence[Path]) -> Comparison:
    """Compare evaluations of the same cases.

    Args:
        folders: Two or more, as ``evaluate`` or ``crossval`` wrote them.

    Raises:
        DataError: Fewer than two, a file that is missing or is none of ours, or not one common case.
    """
    if len(folders) < 2:
        raise DataError("one evaluation cannot be compared; name at least two folders that evaluate wrote")
    evaluations = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    common, left_out = _match(evaluations)
    if not common:
        raise DataError(f"{folders[0]} and {folders[1]}: not one case in common; evaluate both on the same data")
    means = [_mean_dice(evaluation, common) for evaluation in evaluations]
    differences = tuple(row for metric in COMPARED for row in _compare_metric(metric, evaluations, common))
    names = tuple(evaluation.name for evaluation in evaluations)
    return Comparison(names, len(common), tuple(left_out), tuple(means), differences, _spread_seeds(evaluations, means))


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values, with null for what is undefined."""
    document = asdict(comparison)
    return dict(json.loads(json.dumps(document), parse_constant=lambda _: None))


def _names(folders: Sequence[Path]) -> list[str]:
    """Last parts of the paths, as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise DataError(f"{folders[0]}: named twice; an evaluation cannot be compared with itself")


def _read(folder: Path, name: str) -> EvaluationFolder:
    table, summary = folder / "per_image.csv", folder / "summary.json"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = {row["file"]: row for row in csv.DictReader(file)}
        card = dict(json.loads(summary.read_text(encoding="utf-8")).get("card") or {})
        for row in rows.values():
            _ = row["group"], row["sha256"], [_value(row, metric) for metric in COMPARED]
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read ({error.strerror}); name folders that evaluate wrote"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise DataError(f"{folder}: not an evaluation of this version ({error}); evaluate again") from None
    return EvaluationFolder(name, rows, card)


def _match(evaluations: Sequence[EvaluationFolder]) -> tuple[list[str], list[tuple[str, str]]]:
    """Files that all evaluations hold with the same content; and the others, with the reason."""
    common, left_out = [], []
    for file in sorted({file for evaluation in evaluations for file in evaluation.rows}):
        lacking = [evaluation.name for evaluation in evaluations if file not in evaluation.rows]
        if lacking:
            left_out.append((file, f"not in {', '.join(lacking)}"))
        elif len({evaluation.rows[file]["sha256"] for evaluation in evaluations}) > 1:
            left_out.append((file, "the image or its truth differs"))
        else:
            common.append(file)
    return common, left_out


def _compare_metric(metric: str, evaluations: Sequence[EvaluationFolder], common: Sequence[str]) -> list[Difference]:
    pairs = list(combinations(evaluations, 2))
    rows = [_compare_pair(metric, first, second, common) for first, second in pairs]
    adjusted = holm([row.p for row in rows])
    return [Difference(**{**row.__dict__, "p_holm": p}) for row, p in zip(rows, adjusted, strict=True)]


def _compare_pair(metric: str, first: EvaluationFolder, second: EvaluationFolder, common: Sequence[str]) -> Difference:
    differences = _values(first, metric, common) - _values(second, metric, common)
    groups = [first.rows[file]["group"] or file for file in common]
    defined = ~np.isnan(differences)
    return Difference(
        metric=metric,
        first=first.name,
        second=second.name,
        n=int(defined.sum()),
        groups=len({group for group, kept in zip(groups, defined, strict=True) if kept}),
        undefined=int((~defined).sum()),
        mean=float(differences[defined].mean()) if defined.any() else math.nan,
        ci95=mean_interval(differences, groups, shares=False),
        p=paired_p_value(differences, groups),
        p_holm=math.nan,
        higher=int((differences[defined] > 0).sum()),
        lower=int((differences[defined] < 0).sum()),
    )


def _spread_seeds(evaluations: Sequence[EvaluationFolder], means: Sequence[float]) -> tuple[SeedSpread, ...]:
    same: dict[str, list[int]] = {}
    for index, evaluation in enumerate(evaluations):
        if evaluation.card.get("config_sha256") and "seed" in evaluation.card:
            same.setdefault(evaluation.card["config_sha256"], []).append(index)
    spreads = []
    for indices in same.values():
        seeds = tuple(int(evaluations[index].card["seed"]) for index in indices)
        if len(set(seeds)) > 1:
            scores = np.array([means[index] for index in indices])
            models = tuple(evaluations[index].name for index in indices)
            spreads.append(SeedSpread(models, seeds, float(scores.mean()), float(scores.std(ddof=1))))
    return tuple(spreads)


def _mean_dice(evaluation: EvaluationFolder, common: Sequence[str]) -> float:
    values = _values(evaluation, "dice", common)
    return float(np.nanmean(values)) if not np.isnan(values).all() else math.nan


def _values(evaluation: EvaluationFolder, metric: str, common: Sequence[str]) -> NDArray[np.float64]:
    return np.array([_value(evaluation.rows[file], metric) for file in common])


def _value(row: dict[str, str], metric: str) -> float:
    return float(row[metric]) if row[metric] else math.nan

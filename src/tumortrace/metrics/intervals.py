"""Confidence intervals and tests over groups of images.

- Intervals: the BCa bootstrap (Efron 1987) over groups.
- Paired comparison of two models: the sign-flip (randomisation) test over groups.
- Several comparisons at once: Holm's correction.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
FLIPS = 10_000

UNEQUAL = 2 / 3
"""Effective groups as a fraction of all, below which the intervals are too narrow."""

FEW = 10
"""Groups below which they are too narrow as well: no resampling of three groups knows of a fourth."""

RATHER_FEW = 30
"""Groups below which they are still a little too narrow: they hold the truth in 87 to 94 of 100 sets."""

FEWEST_GROUPS = 6
"""Fewest groups with which any difference can be shown: 2 of the 64 ways to flip six signs are as extreme as all."""

_LEVEL = 0.95
_Z = 1.959964  # of the normal distribution, two-sided, 95 %
_ENUMERATED = 12  # groups up to which all flips of sign are tried
_FLIPPED = 1000  # flips that are drawn at a time
_DRAWN = 20  # parts in which resamples are summed up


def mean_interval(values: ArrayLike, clusters: Sequence[str], *, shares: bool = True) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of the mean over images, resampled over groups.

    Args:
        values: One value per image, shape (N,); NaN is omitted.
        clusters: The group of each image.
        shares: Whether the values lie between 0 and 1; other values have no interval where all groups agree.

    Returns:
        Low and high; NaN with fewer than two groups.
    """
    array = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(array)
    values_or_0, counted = np.where(defined, array, 0), defined.astype(np.float64)
    if not shares and _all_agree(*_sum_by_cluster(values_or_0, counted, clusters)):
        return math.nan, math.nan
    return ratio_interval(values_or_0, counted, clusters)


def ratio_interval(numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of a ratio of sums (a mean, a sensitivity), resampled over groups.

    Whole groups are drawn with replacement. The quantiles are corrected for bias and skewness (BCa, Efron 1987, with
    the jackknife over groups) and moved outwards for few groups, by the ratio of the t to the normal distribution
    (Hesterberg 2015). Resampling says nothing where all groups agree exactly. The interval is then Wilson's (1927) for
    that many independent groups, if the ratio is between 0 and 1.

    Args:
        numerators: One value per image, shape (N,).
        denominators: One value per image, shape (N,), 0 or more.
        clusters: The group of each image.

    Returns:
        Low and high; NaN with fewer than two groups whose denominator is not 0.
    """
    tops, bottoms = _sum_by_cluster(numerators, denominators, clusters)
    count = len(tops)
    if count < 2:
        return math.nan, math.nan
    ratio = tops.sum() / bottoms.sum()
    if _all_agree(tops, bottoms):
        return _wilson(ratio, count) if 0 <= ratio <= 1 else (float(ratio), float(ratio))
    sums = np.column_stack([tops, bottoms])
    blocks = np.array_split(_draw_clusters(count), _DRAWN)
    drawn = np.sort(np.concatenate([np.divide(*(block.astype(np.float64) @ sums).T) for block in blocks]))
    low, high = np.quantile(drawn, _corrected_levels(tops, bottoms, drawn))
    return float(low), float(high)


def paired_p_value(differences: ArrayLike, clusters: Sequence[str], *, seed: int = 0) -> float:
    """Return the two-sided p-value of a sign-flip test (Fisher's randomisation test) of no difference over groups.

    If the two models are equal, the sign of each group's difference is a coin toss. Up to 12 groups all flips are
    tried. Beyond that, 10,000 random flips are drawn and the observed one counts as well, so that p is never 0 (Phipson
    and Smyth 2010).

    Args:
        differences: First model minus second on the same images, shape (N,); NaN is omitted.
        clusters: The group of each image; whole groups are flipped.
        seed: Seed of the flips.

    Returns:
        In (0, 1]; NaN without a single value.
    """
    array = np.asarray(differences, dtype=np.float64)
    defined = ~np.isnan(array)
    sums, _ = _sum_by_cluster(np.where(defined, array, 0), defined.astype(np.float64), clusters)
    if not len(sums):
        return math.nan
    observed = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # ties are equal, whatever the order of summation
    if len(sums) <= _ENUMERATED:
        bits = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float((np.abs((1 - 2 * bits) @ sums) >= observed).mean())
    flipped = sum_flipped(sums, rng=np.random.default_rng(seed), flips=FLIPS)
    return float((1 + (np.abs(flipped) >= observed).sum()) / (1 + FLIPS))


def sum_flipped(values: Floats, *, rng: np.random.Generator, flips: int) -> Floats:
    """Return sums over groups whose signs were flipped at random, shape (flips, ...).

    Signs are drawn in blocks: those of all flips at once would take half a gigabyte for 3,000 groups.

    Args:
        values: One value, or a row of them, per group, shape (groups, ...).
        rng: Draws the signs.
        flips: Number of flips.
    """
    counts = (min(_FLIPPED, flips - start) for start in range(0, flips, _FLIPPED))
    return np.concatenate([rng.choice([-1.0, 1.0], size=(count, len(values))) @ values for count in counts])


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method (1979); NaN stays NaN and is not counted."""
    array = np.asarray(p_values, dtype=np.float64)
    places = np.flatnonzero(~np.isnan(array))
    order = places[np.argsort(array[places], kind="stable")]
    adjusted = np.full(len(array), math.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(array[order] * factors), 1)
    return [float(value) for value in adjusted]


def count_effective_groups(clusters: Sequence[str]) -> float:
    """Return how many groups of equal size would weigh as much as these: (sum of sizes)^2 / sum of squares (Kish 1965).

    With sizes as unequal as 1 to 100 slices, 20 groups may count as 5. The bootstrap draws them as 20, so its intervals
    are then too narrow (``docs/metrics.md`` gives the coverage that we measured).

    Args:
        clusters: The group of each image; may be empty, which gives 0.
    """
    if not len(clusters):
        return 0.0
    sizes = np.unique(np.asarray(clusters, dtype=np.str_), return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def describe_width(groups: int) -> str:
    """Say how far intervals over few groups are too narrow (``docs/metrics.md`` gives the coverage that we measured).

    Args:
        groups: Number of groups of about equal size.

    Returns:
        What the intervals are; empty where they are wide enough, or where there are none.
    """
    if groups < 2 or groups >= RATHER_FEW:
        return ""
    return "rough and mostly too narrow" if groups < FEW else "slightly too narrow"


def warn_of_groups(groups: int, effective: float) -> str:
    """Say why intervals are too narrow, as a clause; empty where they are not, or where there are none.

    Args:
        groups: Number of groups.
        effective: Number of equal groups that weigh as much (``count_effective_groups``).
    """
    if groups < 2:
        return ""
    if effective < UNEQUAL * groups:
        return f"the groups are unequal ({groups} count as {effective:.0f} equal ones), so the intervals are too narrow"
    width = describe_width(groups)
    return f"the groups are few ({groups}), so the intervals are {width}" if width else ""


@functools.lru_cache(maxsize=8)
def _draw_clusters(count: int) -> NDArray[np.uint8]:
    """Draw how often each group counts, shape (RESAMPLES, count); the same for all metrics of one evaluation.

    A byte for each number, which is seldom above 10: those of several thousand groups are kept for several subgroups.
    """
    rng, shares = np.random.default_rng(0), np.full(count, 1 / count)
    return np.stack([rng.multinomial(count, shares).astype(np.uint8) for _ in range(RESAMPLES)])


def _sum_by_cluster(numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Return both sums of each group, in the order of the groups' names; groups without a denominator are omitted."""
    _, which = np.unique(np.asarray(clusters, dtype=np.str_), return_inverse=True)
    tops = np.bincount(which, np.asarray(numerators, dtype=np.float64))
    bottoms = np.bincount(which, np.asarray(denominators, dtype=np.float64))
    counted = bottoms > 0
    return tops[counted].astype(np.float64), bottoms[counted].astype(np.float64)


def _all_agree(tops: Floats, bottoms: Floats) -> bool:
    """Return whether all groups have the same ratio, but for rounding; True without a group."""
    ratios = tops / bottoms
    return not len(ratios) or bool(np.ptp(ratios) <= 1e-12 * max(1.0, float(np.abs(ratios).max())))


def _corrected_levels(tops: Floats, bottoms: Floats, drawn: Floats) -> tuple[float, float]:
    """Return the levels of the two quantiles: those of BCa, with the normal quantile widened to that of t."""
    from scipy import special  # noqa: PLC0415 - not part of the core, whose tables import this module

    count, normal = len(tops), NormalDist()
    ratio = tops.sum() / bottoms.sum()
    below = ((drawn < ratio).mean() + (drawn <= ratio).mean()) / 2
    bias = normal.inv_cdf(min(max(float(below), 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    left_out = (tops.sum() - tops) / (bottoms.sum() - bottoms)
    pulls = left_out.mean() - left_out
    skew = float((pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5))
    reach = math.sqrt(count / (count - 1)) * float(special.stdtrit(count - 1, (1 + _LEVEL) / 2))
    levels = (normal.cdf(bias + (bias + z) / (1 - skew * (bias + z))) for z in (-reach, reach))
    low, high = levels
    return low, high


def _wilson(share: float, count: int) -> tuple[float, float]:
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    low, high = float(centre - half), float(centre + half)
    return (max(low, 0.0) if share > 0 else 0.0), (min(high, 1.0) if share < 1 else 1.0)  # without rounding errors

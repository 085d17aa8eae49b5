"""The best of many settings, and whether it is better by more than chance.

Chance enters twice. Other slices would have favoured another setting. Another seed would have given another network,
better or worse on all slices at once. A test that only flips groups of slices sees the first source, and calls two
trainings of one setting different far too often. Here both count: a difference of two settings is compared with what
flipping groups *and* drawing new runs would give if all settings were equal. It is compared with the largest such
difference among all pairs, because the best setting was searched for (the max statistic of Westfall and Young 1993).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.metrics.aggregate import summarise
from tumortrace.metrics.intervals import FLIPS, mean_interval, sum_flipped

Floats = NDArray[np.float64]

RESULTS = Path("results.csv")
"""In a sweep's folder: a row for each finished run."""

LEADERBOARD = Path("leaderboard.csv")
"""In a sweep's folder: a row for each setting, best first; there once the sweep has finished."""

LEVEL = 0.05
"""Largest fraction of searches among equal settings that may find one better than another."""


@dataclass(frozen=True)
class Run:
    """One finished run of a search, as it stands in ``results.csv``.

    Attributes:
        run: Name of its folder.
        setting: Name of its setting.
        seed: Seed of its training.
        fold: Number of the fold that was held out.
        cases: Number of held-out slices with tumour, on which it is scored.
        dice_mean: Mean Dice over these; None if the run failed.
        val_loss: Mean cross-entropy, after the kept epoch, on the slices that each epoch was measured on; None if the
            run failed.
        dice_third: Dice on the same slices after a third of the epochs, on the network's grid; None if undefined.
        epochs: Number of epochs that were trained.
        seconds: Seconds that they took.
        outcome: ``"finished"``, ``"stopped"`` for a hopeless run, or why it failed.
    """

    run: str
    setting: str
    seed: int
    fold: str
    cases: int
    dice_mean: float | None
    val_loss: float | None
    dice_third: float | None
    epochs: int
    seconds: float
    outcome: str


@dataclass(frozen=True, eq=False)
class Scores:
    """Settings that were tried under the same seeds on the same held-out slices.

    Attributes:
        settings: Their names.
        dices: Dice of each slice under each seed, shape (settings, seeds, slices), without NaN.
        groups: The group of each slice.
        folds: The fold in which each slice was held out.
    """

    settings: tuple[str, ...]
    dices: Floats
    groups: tuple[str, ...]
    folds: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """One line of the leaderboard.

    Attributes:
        setting: Its name.
        runs: Number of its runs that were scored.
        mean: Mean Dice over seeds and slices; NaN without a scored run.
        seed_deviation: Standard deviation (n - 1) of the mean under each seed; NaN with one seed.
        ci95: 95 % interval of the mean, over groups, under these very seeds.
        behind: Difference of the first's mean and its own; NaN where it is not compared.
        p: P-value of being no worse than the first, corrected for all pairs; NaN where it is not compared.
        note: Reason why it is not compared; empty if it is, and for the first.
    """

    setting: str
    runs: int
    mean: float
    seed_deviation: float
    ci95: tuple[float, float]
    behind: float
    p: float
    note: str = ""

    @property
    def beaten(self) -> bool:
        """Whether the first is better by more than chance."""
        return self.p <= LEVEL


@dataclass(frozen=True)
class Leaderboard:
    """The settings of a search, best first; those that were not tried to the end come last.

    Attributes:
        places: One per setting that was tried.
        slices: Number of held-out slices with tumour on which settings were compared.
        groups: Number of groups of these slices.
        runs: Number of runs of each setting that was tried to the end.
        pairs: Number of pairs of settings, for all of which p is corrected.
    """

    places: tuple[Standing, ...]
    slices: int
    groups: int
    runs: int
    pairs: int


DiceByRun = Mapping[str, Mapping[str, float]]


def rank_settings(runs: Sequence[Run], dices: DiceByRun, groups: Mapping[str, str]) -> Leaderboard:
    """Order settings by their mean Dice, and compare the first with the others.

    Only settings with a finished run for every seed and fold are compared. A setting that was given up ranks behind
    them: it has fewer slices or fewer epochs.

    Args:
        runs: Finished, stopped and failed ones, at least one.
        dices: Dice of each held-out slice with a tumour, by the name of the run and of the case.
        groups: The group of each case.
    """
    by_setting: dict[str, list[Run]] = {}
    for run in runs:
        by_setting.setdefault(run.setting, []).append(run)
    scores = _stack(by_setting, dices, groups)
    whole = set(scores.settings)
    rest = [_give_up(name, tried, dices, groups) for name, tried in by_setting.items() if name not in whole]
    rest.sort(key=lambda place: -math.inf if math.isnan(place.mean) else place.mean, reverse=True)
    count = len(scores.settings)
    return Leaderboard(
        places=(*_place(scores), *rest),
        slices=len(scores.groups),
        groups=len(set(scores.groups)),
        runs=scores.dices.shape[1] * len(set(scores.folds)),
        pairs=count * (count - 1) // 2,
    )


def compare_with_best(scores: Scores, *, seed: int = 0, draws: int = FLIPS) -> Floats:
    """Return the p-value of each setting against the best one, by a max-statistic test (Westfall and Young 1993).

    The statistic of a pair is the difference of their means divided by its standard error. The error has two parts:
    over groups; and over runs, from the differences between settings under each seed and fold after subtracting their
    means, pooled over all settings. Each draw is a search among equal settings: the groups' signs are flipped, in all
    pairs at once, and runs come from a t distribution with the measured spread, which few runs measure badly. An
    observed statistic is compared with the largest one of any pair in a draw. Without a spread over runs this is a
    sign-flip test. No p is below that of Tukey's test, which uses the runs only and is exact where nothing else
    differs. All settings are assumed to vary equally between runs. Noise of single slices counts in both parts, which
    makes the test conservative.

    Args:
        scores: Scores of one or more settings, slices and seeds.
        seed: Seed of the draws.
        draws: Number of draws; the observed one counts as well, so that p is never 0.

    Returns:
        Shape (settings,), each in (0, 1]; NaN for the best itself. All NaN if each setting was trained only once:
        nothing then tells what another seed would have done.
    """
    count = len(scores.settings)
    p_values = np.full(count, math.nan)
    blocks = _run_means(scores)
    freedom = (count - 1) * (blocks.shape[1] - 1)
    if freedom < 1:
        return p_values
    run_variance = _residual_variance(blocks, freedom) / blocks.shape[1]
    parts = _split_by_group(scores)
    best = int(scores.dices.mean(axis=(1, 2)).argmax())
    means, tilts = _part(parts.columns.sum(axis=0, keepdims=True))
    error = np.sqrt(_group_variances(parts, best, slice(None), means, tilts) + 2 * run_variance)
    observed = _standardise(means - means[:, [best]], error)[0]
    behind = np.abs(means - means[:, [best]])[0]
    largest, ranges = _draw_largest(parts, run_variance, freedom, rng=np.random.default_rng(seed), draws=draws)
    for other in range(count):
        if other != best:  # ties are equal, whatever the order of summation
            reached = (largest >= observed[other] * (1 - 1e-9)).sum()
            by_runs = (ranges >= behind[other] * (1 - 1e-9)).sum()
            p_values[other] = (1 + max(reached, by_runs)) / (1 + draws)
    return p_values


@dataclass(frozen=True, eq=False)
class _Parts:
    """The means of all settings, group by group.

    Attributes:
        sums: Contribution of each group to each mean, less its average over settings, shape (groups, settings).
        weights: Fraction of the slices in each group, shape (groups,).
        squares: Sum over groups of a pair's squared differences, shape (settings, settings).
    """

    sums: Floats
    weights: Floats
    squares: Floats

    @property
    def columns(self) -> Floats:
        """The contributions, and the same weighted once more, shape (groups, 2 x settings)."""
        return np.hstack([self.sums, self.weights[:, None] * self.sums])


def _stack(by_setting: Mapping[str, Sequence[Run]], dices: DiceByRun, groups: Mapping[str, str]) -> Scores:
    """Stack the settings that have a finished run for each seed and fold that any setting was tried with."""
    tried = {(run.seed, run.fold) for runs in by_setting.values() for run in runs}
    seeds, folds = sorted({seed for seed, _ in tried}), sorted({fold for _, fold in tried}, key=int)
    of_run: dict[str, dict[tuple[int, str], Mapping[str, float]]] = {}
    for name, runs in by_setting.items():
        scored = {(run.seed, run.fold): dices[run.run] for run in runs if run.outcome == "finished"}
        if all((seed, fold) in scored for seed in seeds for fold in folds):
            of_run[name] = scored
    first = next(iter(of_run.values()), {})
    cases = [(fold, case) for fold in folds for case in first.get((seeds[0], fold), {})]
    array = [[[scored[seed, fold][case] for fold, case in cases] for seed in seeds] for scored in of_run.values()]
    return Scores(
        settings=tuple(of_run),
        dices=np.array(array, dtype=np.float64).reshape(len(of_run), len(seeds), len(cases)),
        groups=tuple(groups[case] for _, case in cases),
        folds=tuple(fold for fold, _ in cases),
    )


def _place(scores: Scores) -> list[Standing]:
    if not scores.settings:
        return []
    p_values = compare_with_best(scores)
    means = scores.dices.mean(axis=(1, 2))
    places = []
    for index in np.argsort(-means, kind="stable"):
        by_seed = scores.dices[index].mean(axis=1)
        places.append(
            Standing(
                setting=scores.settings[index],
                runs=len(by_seed) * len(set(scores.folds)),
                mean=float(means[index]),
                seed_deviation=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else math.nan,
                ci95=mean_interval(scores.dices[index].mean(axis=0), scores.groups),
                behind=float(means.max() - means[index]),
                p=float(p_values[index]),
            )
        )
    return places


def _give_up(name: str, runs: Sequence[Run], dices: DiceByRun, groups: Mapping[str, str]) -> Standing:
    scored = [dices[run.run] for run in runs if run.dice_mean is not None]
    pairs = [(case, dice) for each in scored for case, dice in each.items()]
    bad = next((run for run in runs if run.outcome != "finished"), None)
    note = "not tried to the end" if bad is None else f"seed {bad.seed}, fold {bad.fold}: {bad.outcome}"
    return Standing(
        setting=name,
        runs=len(scored),
        mean=summarise(dice for _, dice in pairs).mean,
        seed_deviation=math.nan,
        ci95=mean_interval([dice for _, dice in pairs], [groups[case] for case, _ in pairs]),
        behind=math.nan,
        p=math.nan,
        note=note,
    )


def _run_means(scores: Scores) -> Floats:
    """Return the mean Dice of each run, shape (settings, seeds x folds)."""
    folds = np.array(scores.folds)
    by_fold = [scores.dices[:, :, folds == fold].mean(axis=2) for fold in dict.fromkeys(scores.folds)]
    return np.concatenate(by_fold, axis=1)


def _residual_variance(blocks: Floats, freedom: int) -> float:
    """Return the variance of runs after subtracting the mean of their setting and that of their seed and fold."""
    rest = blocks - blocks.mean(axis=1, keepdims=True) - blocks.mean(axis=0, keepdims=True) + blocks.mean()
    return float((rest**2).sum() / freedom)


def _split_by_group(scores: Scores) -> _Parts:
    names, which = np.unique(np.array(scores.groups), return_inverse=True)
    sums = np.zeros((len(names), len(scores.settings)))
    np.add.at(sums, which, scores.dices.mean(axis=1).T / len(which))
    sums -= sums.mean(axis=1, keepdims=True)  # cancels in every pair; without it, the rest keeps more digits
    squares = ((sums[:, :, None] - sums[:, None, :]) ** 2).sum(axis=0)
    return _Parts(sums, np.bincount(which) / len(which), squares)


def _part(sums: Floats) -> tuple[Floats, Floats]:
    """Return the settings' means, and the same weighted once more, each (draws, settings), of sums of the columns."""
    means, tilts = np.hsplit(sums, 2)
    return means, tilts


def _draw_largest(
    parts: _Parts, run_variance: float, freedom: int, *, rng: np.random.Generator, draws: int
) -> tuple[Floats, Floats]:
    """Draw searches among equals: the largest statistic of a pair and the range of the runs only, shapes (draws,)."""
    count = parts.sums.shape[1]
    means, tilts = _part(sum_flipped(parts.columns, rng=rng, flips=draws))
    # A chi-square for each draw: few runs estimate their own spread badly.
    scale = np.sqrt(run_variance * freedom / rng.chisquare(freedom, size=(draws, 1)))
    runs = scale * rng.standard_normal((draws, count))
    drawn = means + runs
    largest = np.zeros(draws)
    for index in range(count - 1):
        others = slice(index + 1, None)
        error = np.sqrt(_group_variances(parts, index, others, means, tilts) + 2 * run_variance)
        statistics = _standardise(drawn[:, others] - drawn[:, [index]], error)
        largest = np.maximum(largest, statistics.max(axis=1))
    return largest, np.ptp(runs, axis=1)


def _group_variances(parts: _Parts, index: int, others: slice, means: Floats, tilts: Floats) -> Floats:
    """Return the variances over groups of one setting's differences from others, shape (draws, others).

    Each is the sum over groups of the squared distance from the pair's own difference in that draw. It is never quite 0
    where settings differ, so that ties stay ties.
    """
    gap, tilt = means[:, others] - means[:, [index]], tilts[:, others] - tilts[:, [index]]
    square = parts.squares[index, others]
    spread = square - 2 * gap * tilt + gap**2 * (parts.weights**2).sum()
    return np.asarray(np.maximum(spread, 1e-12 * square), dtype=np.float64)


def _standardise(differences: Floats, errors: Floats) -> Floats:
    """Divide the sizes of differences by their standard errors; 0 where settings agree on every slice."""
    size = np.abs(differences)
    return np.asarray(np.divide(size, errors, out=np.zeros_like(size), where=errors > 0), dtype=np.float64)

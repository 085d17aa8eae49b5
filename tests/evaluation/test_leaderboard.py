"""The best of many settings: by hand, and among equals never more often better than it may be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tumortrace.evaluation.leaderboard import LEVEL, Run, Scores, compare_with_best, rank_settings
from tumortrace.metrics.intervals import holm, mean_interval, paired_p_value

SEARCHES = 400
SLACK = 2.5 * math.sqrt(LEVEL * (1 - LEVEL) / SEARCHES)
"""Of a share counted in so many searches; 1 in 160 exceeds it by chance."""

SETTINGS, SEEDS, GROUPS = 8, 3, 25


def draw_search(
    rng: np.random.Generator, *, run: float, group: float, slice_: float = 0.02, better: float = 0.0, folds: int = 1
) -> Scores:
    """A search among equals but for the first setting.

    Some slices are harder than others. ``run`` is how far another seed moves a network on all slices at once, ``group``
    how far a setting is moved on the slices of a group under all seeds, ``slice_`` what differs besides.
    """
    which = np.repeat(np.arange(GROUPS), rng.integers(1, 6, GROUPS))
    fold = which % folds
    dices = np.tile(0.75 + rng.normal(0, 0.15, GROUPS)[which], (SETTINGS, SEEDS, 1))
    dices += rng.normal(0, run, (SETTINGS, SEEDS, folds))[:, :, fold]
    dices += rng.normal(0, group, (SETTINGS, 1, GROUPS))[:, :, which]
    dices += rng.normal(0, slice_, dices.shape)
    dices[0] += better
    names = tuple(f"s{index}" for index in range(SETTINGS))
    return Scores(names, dices, tuple(f"g{index}" for index in which), tuple(str(index + 1) for index in fold))


def share_with_a_winner(draw: Callable[[np.random.Generator], Scores]) -> float:
    """How often the best setting beats any other."""
    rng = np.random.default_rng(11)
    smallest = [np.nanmin(compare_with_best(draw(rng), seed=seed, draws=199)) for seed in range(SEARCHES)]
    return float(np.mean(np.array(smallest) <= LEVEL))


NOISE = {
    "runs alone": {"run": 0.02, "group": 0.0},
    "slices alone": {"run": 0.0, "group": 0.1},
    "both alike": {"run": 0.04, "group": 0.1},
    "single slices": {"run": 0.0, "group": 0.0, "slice_": 0.2},
    "three folds": {"run": 0.02, "group": 0.05, "folds": 3},
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_among_equals_there_is_seldom_a_winner(noise: dict[str, float]):
    assert share_with_a_winner(lambda rng: draw_search(rng, **noise)) <= LEVEL + SLACK  # type: ignore[arg-type]


def test_giving_up_the_worse_half_after_the_first_seed_makes_no_winners():
    def draw(rng: np.random.Generator) -> Scores:
        whole = draw_search(rng, run=0.02, group=0.03)
        kept = np.argsort(-whole.dices[:, 0].mean(axis=1))[: SETTINGS // 2]
        names = tuple(whole.settings[index] for index in kept)
        return Scores(names, whole.dices[kept], whole.groups, whole.folds)

    assert share_with_a_winner(draw) <= LEVEL + SLACK


def test_a_real_difference_is_found_and_it_is_the_right_one():
    rng = np.random.default_rng(12)
    found = []
    for seed in range(100):
        p_values = compare_with_best(draw_search(rng, run=0.012, group=0.03, better=0.08), seed=seed, draws=199)
        assert math.isnan(p_values[0])
        found.append(np.nanmax(p_values) <= LEVEL)
    assert np.mean(found) >= 0.9  # better than every other


def test_flipping_groups_alone_would_call_seeds_a_difference():
    """Why runs count: Holm over all pairs, as good as it is on slices, finds winners among trainings of one setting."""
    rng = np.random.default_rng(13)
    winners = 0
    for seed in range(40):
        scores = draw_search(rng, run=0.02, group=0.0)
        means = scores.dices.mean(axis=1)
        pairs = [(one, two) for one in range(SETTINGS) for two in range(one)]
        p_values = [paired_p_value(means[one] - means[two], scores.groups, seed=seed) for one, two in pairs]
        winners += min(holm(p_values)) <= LEVEL
    assert winners / 40 > 0.5


def scores_by_hand(dices: list[list[list[float]]], groups: str) -> Scores:
    names = tuple(f"s{index}" for index in range(len(dices)))
    return Scores(names, np.array(dices), tuple(groups), ("1",) * len(groups))


def test_one_training_each_tells_nothing():
    assert np.isnan(compare_with_best(scores_by_hand([[[0.9, 0.8]], [[0.1, 0.2]]], "ab"))).all()


def test_settings_that_agree_everywhere_are_the_same():
    dices = [[0.9, 0.8, 0.3], [0.7, 0.8, 0.3]]
    assert compare_with_best(scores_by_hand([dices, dices], "abc"))[1] == 1.0


def test_without_a_spread_over_runs_it_is_the_permutation_test():
    # Differences 0.3, 0.2 and -0.1, the same under both seeds: of the 8 flips, 4 are as far from their own spread.
    first, second = [0.9, 0.8, 0.5], [0.6, 0.6, 0.6]
    p = compare_with_best(scores_by_hand([[first, first], [second, second]], "abc"), draws=4000)[1]
    assert p == pytest.approx(paired_p_value(np.subtract(first, second), list("abc")), abs=0.03)
    assert p == pytest.approx(0.5, abs=0.03)


def test_without_a_spread_over_groups_it_is_a_t_test_of_runs():
    # Two settings under three seeds, 0.04, 0.02 and 0.03 apart: t = 0.03 / (0.01 / sqrt 3) = 5.196 with 2 degrees of
    # freedom, p = 0.0351.
    level = np.array([[0.74, 0.72, 0.73], [0.70, 0.70, 0.70]])
    scores = scores_by_hand(np.repeat(level[:, :, None], 200, axis=2).tolist(), "a" * 200)
    scores = Scores(scores.settings, scores.dices, tuple(f"g{index}" for index in range(200)), scores.folds)
    assert compare_with_best(scores, draws=40_000)[1] == pytest.approx(0.0351, abs=0.004)


def run_of(setting: str, seed: int, outcome: str = "finished", *, dice: float | None = 0.5) -> Run:
    return Run(f"{setting}-{seed}", setting, seed, "1", 2, dice, 0.1, 0.4, 3, 9.5, outcome)


def test_places_by_hand():
    runs = [run_of("low", 0), run_of("high", 0), run_of("low", 1), run_of("high", 1)]
    dices = {
        "low-0": {"x": 0.2, "y": 0.4}, "low-1": {"x": 0.4, "y": 0.6},
        "high-0": {"y": 0.9, "x": 0.7}, "high-1": {"x": 0.6, "y": 0.8},
    }  # fmt: skip
    board = rank_settings(runs, dices, {"x": "g1", "y": "g2"})
    assert (board.slices, board.groups, board.runs, board.pairs) == (2, 2, 2, 1)
    first, second = board.places
    assert (first.setting, first.runs, first.mean, first.behind) == ("high", 2, pytest.approx(0.75), 0.0)
    assert first.seed_deviation == pytest.approx(0.1 / math.sqrt(2))  # 0.8 and 0.7
    assert first.ci95 == pytest.approx(mean_interval([0.65, 0.85], ["g1", "g2"]))
    assert math.isnan(first.p)
    assert not first.beaten
    assert (second.setting, second.mean, second.behind) == ("low", pytest.approx(0.4), pytest.approx(0.35))
    assert second.seed_deviation == pytest.approx(0.2 / math.sqrt(2))
    assert 0 < second.p <= 1


def test_settings_that_were_given_up_come_last_whatever_their_score():
    runs = [
        run_of("good", 0), run_of("stopped", 0, "stopped"), run_of("failed", 0, "diverged", dice=None),
        run_of("good", 1),
    ]  # fmt: skip
    dices = {"good-0": {"x": 0.5}, "stopped-0": {"x": 0.9}, "good-1": {"x": 0.7}}
    board = rank_settings(runs, dices, {"x": "g1"})
    assert [place.setting for place in board.places] == ["good", "stopped", "failed"]
    assert [place.note for place in board.places] == ["", "seed 0, fold 1: stopped", "seed 0, fold 1: diverged"]
    assert [place.runs for place in board.places] == [2, 1, 0]
    assert math.isnan(board.places[1].p)
    assert math.isnan(board.places[2].mean)
    assert (board.pairs, board.slices) == (0, 1)


def test_a_search_in_which_everything_failed():
    board = rank_settings([run_of("only", 0, "diverged", dice=None)], {}, {})
    assert [(place.setting, place.note) for place in board.places] == [("only", "seed 0, fold 1: diverged")]
    assert (board.slices, board.groups) == (0, 0)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumortrace.metrics.calibration import (
    CaseHistogram,
    choose_peak_threshold,
    choose_threshold,
    count_logits,
    expected_calibration_error,
    fit_temperature,
    reliability,
)

Floats = NDArray[np.float64]


def sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))


def simulate(
    seed: int, *, temperature: float, size_hw: tuple[int, int] = (60, 80)
) -> tuple[CaseHistogram, Floats, Floats]:
    """A case whose tumour pixels are drawn from sigmoid(logit / temperature), all of it in the band."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, size_hw)
    truth = rng.random(size_hw) < sigmoid(logits / temperature)
    probability = sigmoid(logits).astype(np.float32)
    return count_logits(probability, probability >= 0.5, truth), probability, truth


def test_pixels_are_counted_by_truth_and_logit():
    probability = np.array([[0.0, 0.5, 1.0], [0.25, 0.75, 0.5]], dtype=np.float32)
    truth = np.array([[False, True, True], [False, False, False]])
    counts = count_logits(probability, probability > 0.6, truth).whole
    assert counts.sum() == 6
    # A bin is 0.1 wide from -16: logits -16 and less, +16 and more, 0, and log 3 = 1.0986 at 170.98.
    assert (counts[0, 0], counts[1, 319], counts[1, 160], counts[0, 160]) == (1, 1, 1, 1)
    assert (counts[0, 170], counts[0, 149]) == (1, 1)


def test_the_band_lies_around_tumour_and_prediction():
    truth, mask = np.zeros((3, 40), dtype=np.bool_), np.zeros((3, 40), dtype=np.bool_)
    truth[1, 10], mask[1, 12] = True, True
    half = np.full((3, 40), 0.5, dtype=np.float32)
    # 5 % of 40: 2 pixels. Row 1: columns 8 to 14; rows 0 and 2: 9 to 13 (distance to (1, 10) from column 9: sqrt 2).
    assert count_logits(half, mask, truth).band.sum() == 7 + 2 * 5
    empty = np.zeros((3, 40), dtype=np.bool_)
    assert count_logits(half, empty, empty).band.sum() == 0
    assert count_logits(half, ~empty, empty).band.sum() == 120


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float):
    histograms = [simulate(seed, temperature=temperature)[0] for seed in range(12)]
    assert fit_temperature(histograms) == pytest.approx(temperature, rel=0.03)


def test_every_case_has_the_same_say_in_the_temperature():
    small = [simulate(seed, temperature=1.0, size_hw=(40, 40))[0] for seed in range(20)]
    large = [simulate(seed, temperature=3.0, size_hw=(400, 400))[0] for seed in range(1)]
    assert fit_temperature(small + large) < 1.3


def test_without_a_band_there_is_nothing_to_fit():
    empty = np.zeros((3, 4), dtype=np.bool_)
    histogram = count_logits(np.full((3, 4), 0.1, np.float32), empty, empty)
    assert fit_temperature([histogram]) == 1.0
    assert fit_temperature([]) == 1.0
    assert math.isnan(expected_calibration_error(reliability([histogram], 1.0)))


def test_calibration_error_by_hand():
    # 10 pixels of probability 0.85, of which 5 are tumour; 10 of 0.2, of which 2 are: (10 x 0.35 + 10 x 0) / 20.
    probability = np.repeat([[0.85], [0.2]], 10, axis=1).astype(np.float32)
    truth = np.zeros((2, 10), dtype=np.bool_)
    truth[0, :5], truth[1, :2] = True, True
    bins = reliability([count_logits(probability, np.ones_like(truth), truth)], 1.0)
    assert expected_calibration_error(bins) == pytest.approx(0.175, abs=0.01)
    filled = [each for each in bins if each.pixels]
    assert [(each.pixels, each.tumour_share) for each in filled] == [(10, 0.2), (10, 0.5)]
    assert filled[1].low <= 0.85 < filled[1].high


def test_what_is_calibrated_has_no_error():
    # Tumour in 0 of 40, 20 of 40 and 40 of 40 pixels of probability 0, 0.5 and 1; 0.5 is counted at logit 0.05.
    probability = np.repeat([[0.0], [0.5], [1.0]], 40, axis=1).astype(np.float32)
    truth = np.zeros((3, 40), dtype=np.bool_)
    truth[1, :20], truth[2] = True, True
    bins = reliability([count_logits(probability, np.ones_like(truth), truth)], 1.0)
    assert expected_calibration_error(bins) == pytest.approx((sigmoid(np.array(0.05)) - 0.5) / 3, abs=1e-6)
    assert [each.pixels for each in bins if each.pixels] == [40, 40, 40]
    assert (bins[0].low, bins[0].pixels, bins[7].pixels, bins[14].high, bins[14].pixels) == (0.0, 40, 40, 1.0, 40)


def test_each_case_is_divided_by_its_own_temperature():
    first, second = (simulate(seed, temperature=2.0)[0] for seed in (0, 1))
    alone = zip(reliability([first], 1.0), reliability([second], 2.0), strict=True)
    together = reliability([first, second], [1.0, 2.0])
    assert [each.pixels for each in together] == [one.pixels + other.pixels for one, other in alone]


def test_bins_without_pixels():
    bins = reliability([], 1.0)
    assert [each.pixels for each in bins] == [0] * 15
    assert math.isnan(bins[3].mean_probability)
    assert math.isnan(bins[3].tumour_share)
    assert math.isnan(expected_calibration_error(bins))


def test_a_temperature_stays_in_its_bounds():
    truth = np.array([[True, False]])
    right, wrong = np.array([[0.6, 0.4]], dtype=np.float32), np.array([[0.4, 0.6]], dtype=np.float32)
    always = np.ones_like(truth)
    assert fit_temperature([count_logits(right, always, truth)]) == pytest.approx(0.05)
    assert fit_temperature([count_logits(wrong, always, truth)]) == pytest.approx(20)


def test_the_right_temperature_calibrates():
    histograms = [simulate(seed, temperature=2.0)[0] for seed in range(6)]
    before, after = (expected_calibration_error(reliability(histograms, each)) for each in (1.0, 2.0))
    assert after < 0.012
    assert before > 0.08


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=4), st.sampled_from([0.4, 1.0, 1.37, 2.5]))
def test_the_threshold_is_one_of_the_best_and_the_nearest_to_one_half(seeds: list[int], temperature: float):
    cases = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        logits = (rng.integers(-60, 60, (9, 12)) + 0.5) / 10  # centres of bins: on no edge
        cases.append((logits, rng.random((9, 12)) < sigmoid(logits / 1.7 - 1)))
    grid = [round(0.05 * step, 2) for step in range(1, 20)]
    means = [np.mean([dice_at(threshold, temperature, *case) for case in cases]) for threshold in grid]
    good = [threshold for threshold, mean in zip(grid, means, strict=True) if mean >= max(means) - 0.005]
    histograms = [count_logits(sigmoid(logits).astype(np.float32), truth, truth) for logits, truth in cases]
    assert choose_threshold(histograms, temperature) == min(good, key=lambda each: (round(abs(each - 0.5), 6), each))


def dice_at(threshold: float, temperature: float, logits: Floats, truth: NDArray[np.bool_]) -> float:
    # Rounded up to an edge, but for an error of floating point: a multiple of 0.1.
    edge = math.ceil(round(temperature * math.log(threshold / (1 - threshold)) * 10, 6)) / 10
    mask = logits >= edge
    marked = mask.sum() + truth.sum()
    return float(2 * (mask & truth).sum() / marked) if marked else 1.0


def test_a_threshold_by_hand():
    # From 0.6 down all six are marked, Dice 2/7; from 0.65 to 0.8 (logit 1.386) only the tumour, Dice 1.
    probability = np.array([[0.82, 0.63, 0.63], [0.63, 0.63, 0.63]], dtype=np.float32)
    truth = np.array([[True, False, False], [False, False, False]])
    assert choose_threshold([count_logits(probability, truth, truth)], 1.0) == 0.65


def test_a_tumour_free_case_does_not_raise_the_threshold():
    truth, empty = np.array([[True, True, False]]), np.zeros((1, 3), dtype=np.bool_)
    tumour = count_logits(np.array([[0.9, 0.52, 0.1]], dtype=np.float32), truth, truth)
    healthy = count_logits(np.array([[0.1, 0.64, 0.1]], dtype=np.float32), empty, empty)
    assert choose_threshold([tumour, healthy], 1.0) == choose_threshold([tumour], 1.0) == 0.5
    assert choose_threshold([healthy], 1.0) == 0.5


def test_of_equal_thresholds_the_nearest_to_one_half_wins():
    truth = np.array([[True, True, False]])
    sharp = count_logits(np.array([[1.0, 1.0, 0.0]], dtype=np.float32), truth, truth)
    assert choose_threshold([sharp], 1.0) == 0.5
    # From 0.45 down both are marked: Dice 1 in place of 2/3.
    unsure = count_logits(np.array([[1.0, 0.46, 0.0]], dtype=np.float32), truth, truth)
    assert choose_threshold([unsure], 1.0) == 0.45
    assert choose_threshold([], 1.0) == 0.5


def test_a_hardly_better_threshold_does_not_win_and_a_better_one_does():
    truth = np.zeros((1, 1000), dtype=np.bool_)
    truth[0, :400] = True
    # 4 or 10 background pixels more up to a threshold of 0.6: Dice 1 above; 800 / 804 = 0.995 or 800 / 810 below.
    for added, chosen in ((4, 0.5), (10, 0.65)):
        probability = np.where(truth, 0.99, 0.01).astype(np.float32)
        probability[0, 400 : 400 + added] = 0.63
        assert choose_threshold([count_logits(probability, truth, truth)], 1.0) == chosen


def healthy_with_peak(peak: float) -> CaseHistogram:
    """A tumour-free case of which one pixel in a hundred has this probability."""
    probability = np.full((10, 10), 0.01, dtype=np.float32)
    probability[2, 7] = peak
    return count_logits(probability, probability > 0.3, np.zeros((10, 10), dtype=np.bool_))


def test_a_peak_threshold_by_hand():
    quiet = [healthy_with_peak(0.02)] * 37
    # Of forty, two may be painted: 5 %.
    assert choose_peak_threshold([*quiet, *map(healthy_with_peak, (0.2, 0.6, 0.97))], 1.0, 0.3) == 0.0
    assert choose_peak_threshold([*quiet, *map(healthy_with_peak, (0.65, 0.97, 0.99))], 1.0, 0.3) == 0.7
    assert choose_peak_threshold([healthy_with_peak(0.9999)] * 9, 1.0, 0.3) == 0.99
    # Logits divided by 2: that of 0.95 becomes that of 0.813.
    assert choose_peak_threshold([healthy_with_peak(0.95)] * 3, 2.0, 0.3) == 0.825


def tumour_with_peak(peak: float) -> CaseHistogram:
    """A case whose tumour has this probability, and background a higher one."""
    truth = np.array([[True, False]])
    return count_logits(np.array([[peak, 0.999]], np.float32), truth, truth)


def test_a_peak_that_most_tumours_do_not_reach_is_not_asked():
    alarms = [healthy_with_peak(0.65)] * 9
    # All nine are painted up to a peak of 0.6. Of four tumours, four reach 0.5, two 0.6, and 0.7 as many as are given.
    for peaks, chosen in (((0.55, 0.55, 0.65, 0.65), 0.6), ((0.55, 0.55, 0.75, 0.75), 0.7), ((0.45,) * 4, 0.0)):
        assert choose_peak_threshold([*alarms, *map(tumour_with_peak, peaks)], 1.0, 0.4) == chosen


def test_no_peak_is_asked_where_nothing_is_free_of_tumour():
    truth = np.array([[True, False]])
    assert choose_peak_threshold([count_logits(np.array([[0.4, 0.6]], np.float32), truth, truth)], 1.0, 0.5) == 0.0
    assert choose_peak_threshold([], 1.0, 0.5) == 0.0


def test_a_false_alarm_beside_a_tumour_does_not_raise_the_peak():
    cases = [*[healthy_with_peak(0.02)] * 3, *[tumour_with_peak(0.999)] * 3]
    assert choose_peak_threshold(cases, 1.0, 0.3) == 0.0


@pytest.mark.parametrize(("pixels", "chosen"), [(1, 0.0), (2, 0.98)])
def test_a_painted_pixel_in_a_thousand_is_no_false_alarm(pixels: int, chosen: float):
    probability = np.full((20, 50), 0.01, dtype=np.float32)
    probability[3, 4 : 4 + pixels] = 0.97
    empty = np.zeros((20, 50), dtype=np.bool_)
    assert choose_peak_threshold([count_logits(probability, probability > 0.5, empty)], 1.0, 0.5) == chosen

"""Single changes of augmentation, with draws given by hand instead of a generator's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.config import AugmentationConfig
from tumortrace.training.augment import augment, change_intensity, mostly_small, recolour_tumour

STEPS = ("remap", "bias", "lower resolution", "blur", "sharpen", "noise", "compress")
CHANCES = (0.6, 0.1, 0.1, 0.1, 0.06, 0.15, 0.1)
CURVES = ("gamma", "window", "bend", "not monotone", "inverted")
CURVE_CHANCES = (0.7, 0.35, 0.2, 0.03, 0.1)


class Script:
    """Takes the place of a Generator: ``random()`` gives the coins in turn, everything else the values.

    Attributes:
        asked: Bounds or parameters of each value that was drawn.
    """

    def __init__(self, coins: list[float], values: list[Any] | None = None) -> None:
        self.coins, self.values, self.asked = list(coins), list(values or []), []

    def random(self, size: int | None = None) -> object:
        return self.coins.pop(0) if size is None else np.array(self.values.pop(0))

    def _draw(self, *asked: object) -> object:
        self.asked.append(asked)
        return self.values.pop(0)

    def uniform(self, low: float, high: float, size: object = None) -> object:
        value = self._draw(round(low, 4), high)
        return value if size is None else np.broadcast_to(value, size)

    def normal(self, mean: float, deviation: float) -> object:
        return self._draw(mean, round(deviation, 4))

    def integers(self, low: int, high: int) -> object:
        return self._draw(low, high)

    def dirichlet(self, weights: NDArray[np.float64]) -> object:
        return np.array(self._draw(*weights))

    def standard_normal(self, shape: tuple[int, int], dtype: type) -> object:
        return np.full(shape, self.values.pop(0), dtype)

    def check_used(self) -> None:
        assert (self.coins, self.values) == ([], [])


def change(grey: list[list[float]] | NDArray[np.float32], coins: list[float], values: list[Any]) -> NDArray[np.float32]:
    script = Script(coins, values)
    changed = change_intensity(np.array(grey, dtype=np.float32), script)  # type: ignore[arg-type]
    script.check_used()
    return changed


def coins_for(step: str) -> list[float]:
    """Coins that let one step of the intensities happen, and no other."""
    coins = [0.0 if step == each else 1.0 for each in STEPS]
    if step == "blur":
        del coins[STEPS.index("sharpen")]  # a blurred slice is not sharpened as well
    return coins


def coins_for_curve(curve: str) -> list[float]:
    return [0.0, *(0.0 if curve == each else 1.0 for each in CURVES), *coins_for("none")[1:]]


# Grey values that are whole numbers of the 255 steps of a curve.
GREYS = [[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]]


@pytest.mark.parametrize(
    ("curve", "values", "expected"),
    [
        ("gamma", [np.log(2)], [[0.0, 0.04, 0.16], [0.36, 0.64, 1.0]]),
        ("window", [0.1, 0.7], [[0.0, 1 / 6, 0.5], [5 / 6, 1.0, 1.0]]),
        ("bend", [[0.1, 0.3, 0.2, 0.25, 0.15]], [[0.0, 0.1, 0.4], [0.6, 0.85, 1.0]]),
        ("not monotone", [[0.3, 1.0, 0.0, 0.5, 0.2, 0.9]], [[0.3, 1.0, 0.0], [0.5, 0.2, 0.9]]),
        ("inverted", [], [[0.0, 0.8, 0.6], [0.4, 0.2, 0.0]]),
    ],
)
def test_curves_of_the_grey_values(curve: str, values: list[Any], expected: list[list[float]]) -> None:
    np.testing.assert_allclose(change(GREYS, coins_for_curve(curve), values), expected, atol=1e-6)


def test_inverted_air_stays_dark() -> None:
    (row,) = change([[0.0, 0.06, 0.12]], coins_for_curve("inverted"), [])
    assert row[0] == 0
    assert row[1] == pytest.approx(0.941 * 0.49, abs=0.01)  # 15 of 255 steps
    assert row[2] == pytest.approx(0.88, abs=0.01)


def test_each_change_has_its_chance() -> None:
    grey = np.random.default_rng(0).random((16, 24), dtype=np.float32)
    draws = {
        "remap": [],
        "bias": [0.3],
        "lower resolution": [0.5],
        "blur": [1.0],
        "sharpen": [1.0, 1.0],
        "noise": [0.05, 1.0],
        "compress": [40],
    }
    for step, chance in zip(STEPS, CHANCES, strict=True):
        more = {"remap": [1.0, 1.0, 1.0, 1.0, 0.0], "lower resolution": [1.0]}.get(step, [])
        for coin, happens in ((np.nextafter(chance, 0), True), (chance, False)):
            coins = coins_for(step) if happens else coins_for("none")
            at = STEPS.index(step)
            coins[at : at + 1] = [coin, *(more if happens else [])]
            changed = change(grey, coins, draws[step] if happens else [])
            assert np.allclose(changed, grey, atol=1e-6) != happens, (step, coin)


def test_each_curve_has_its_chance() -> None:
    draws = {"gamma": [0.5], "window": [0.1, 0.9], "bend": [[0.4, 0.3, 0.1, 0.1, 0.1]], "not monotone": [[0.5] * 6]}
    for curve, chance in zip(CURVES, CURVE_CHANCES, strict=True):
        for coin, happens in ((np.nextafter(chance, 0), True), (chance, False)):
            coins = coins_for_curve("none")
            coins[1 + CURVES.index(curve)] = coin
            changed = change(GREYS, coins, draws.get(curve, []) if happens else [])
            assert np.allclose(changed, GREYS, atol=1e-6) != happens, (curve, coin)


def test_draws_of_the_intensities_have_their_bounds() -> None:
    script = Script(
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, [0.2] * 5, 0.0, [0.0, 0.0], 1.0, 0.05, 0.0, 40],
    )
    change_intensity(np.array(GREYS, dtype=np.float32).repeat(8, 0).repeat(8, 1), script)  # type: ignore[arg-type]
    script.check_used()
    assert script.asked == [
        (-0.7, 0.7),  # logarithm of gamma
        (-0.2, 0.12),
        (0.72, 1.2),  # ends of the window
        (2.5,) * 5,  # knots of the bend
        (-0.5, 0.5),  # logarithm of the bias field
        (round(float(np.log(0.35)), 4), 0.0),  # logarithm of the resolution
        (0.4, 1.6),  # blur
        (0.005, 0.07),  # noise
        (10, 80),  # quality of a JPEG
    ]


def test_a_bias_field_is_a_factor_that_differs_from_side_to_side() -> None:
    flat = np.full((9, 12), 0.5, np.float32)
    np.testing.assert_allclose(change(flat, coins_for("bias"), [np.log(1.2)]), 0.6, atol=1e-6)
    towards_the_right = np.array([[-0.4, 0.0, 0.4]] * 3)
    field = change(flat, coins_for("bias"), [towards_the_right])
    assert (np.diff(field, axis=1) >= 0).all()
    assert field[:, 0].max() < 0.5 * np.exp(-0.3)
    assert field[:, -1].min() > 0.5 * np.exp(0.3)


def test_a_lower_resolution_averages_what_is_close() -> None:
    columns = np.tile(np.array([0.0, 1.0], np.float32), (32, 16))
    coins = coins_for("lower resolution")
    both = [*coins[:3], 1.0, *coins[3:]]
    one = [*coins[:3], 0.0, *coins[3:]]
    np.testing.assert_allclose(change(columns, both, [0.5]), 0.5, atol=1e-6)
    np.testing.assert_allclose(change(columns, one, [np.log([0.5, 1.0])]), 0.5, atol=1e-6)
    np.testing.assert_allclose(change(columns, one, [np.log([1.0, 0.5])]), columns, atol=1e-6)
    assert change(columns[:4, :8], both, [0.4]).shape == (4, 8)  # eight pixels are the fewest


def test_blur_and_sharpening_of_an_edge() -> None:
    edge = np.zeros((12, 16), np.float32)
    edge[:, 8:] = 1.0
    blurred = change(edge, coins_for("blur"), [1.0])
    assert 0.2 < blurred[6, 7] < 0.4
    assert blurred[6, 7] + blurred[6, 8] == pytest.approx(1, abs=1e-5)
    sharp = change(edge, coins_for("sharpen"), [1.0, 0.5])
    assert sharp[6, 8] == pytest.approx(1 + 0.5 * (1 - blurred[6, 8]), abs=1e-5)
    assert sharp[6, 7] == pytest.approx(-0.5 * blurred[6, 7], abs=1e-5)


def test_noise_is_added_to_every_pixel() -> None:
    np.testing.assert_allclose(change(GREYS, coins_for("noise"), [0.05, 2.0]), np.array(GREYS) + 0.1, atol=1e-6)


def test_a_compressed_slice_uses_all_grey_values_of_the_file() -> None:
    halves = np.repeat(np.array([[0.2, 0.7]], np.float32), 8, 1).repeat(8, 0)
    changed = change(halves, coins_for("compress"), [79])
    np.testing.assert_allclose(changed, np.where(halves > 0.5, 255, 0), atol=2)


def test_mostly_small_draws_are_cut_off() -> None:
    script = Script([], [0.3, 0.7, -0.9])
    assert [mostly_small(0.6, script) for _ in range(3)] == [0.3, 0.6, -0.6]  # type: ignore[arg-type]
    assert script.asked == [(0.0, 0.2)] * 3


@pytest.mark.parametrize(("coin", "sign"), [(0.14, -1), (0.15, 1)])
def test_a_recoloured_tumour_keeps_its_outline(coin: float, sign: int) -> None:
    truth = np.zeros((30, 40), np.uint8)
    truth[5:25, 10:30] = 1
    grey = np.where(truth, 0.5, 0.2).astype(np.float32)
    grey[14, 18], grey[16, 22] = 0.6, 0.4
    script = Script([coin], [0.5, 1.2, 0.1])
    changed = recolour_tumour(grey, truth, script)  # type: ignore[arg-type]
    script.check_used()
    assert script.asked == [(0.5, 2.5), (0.4, 1.4), (-0.3, 0.3)]
    assert changed[20, 20] == pytest.approx(0.6, abs=1e-5)
    assert changed[14, 18] == pytest.approx(0.6 + sign * 0.12, abs=1e-5)
    assert changed[16, 22] == pytest.approx(0.6 - sign * 0.12, abs=1e-5)
    np.testing.assert_allclose(changed[:, :7], 0.2, atol=1e-6)


def test_recolouring_stays_within_the_grey_values() -> None:
    truth = np.ones((9, 11), np.uint8)
    grey = np.full((9, 11), 0.95, np.float32)
    assert recolour_tumour(grey, truth, Script([1.0], [0.5, 1.0, 0.3])).max() == 1.0  # type: ignore[arg-type]


def move(truth: NDArray[np.uint8], draws: list[float]) -> NDArray[np.uint8]:
    script = Script([], draws)
    settings = AugmentationConfig(geometry=True)
    _, moved = augment(truth.astype(np.float32), truth, settings, script)  # type: ignore[arg-type]
    assert script.asked == [(0.0, round(largest / 3, 4)) for largest in (40, 0.6, 0.15, 0.12, 0.15, 0.15)]
    return moved


def block(rows: slice, columns: slice) -> NDArray[np.uint8]:
    truth = np.zeros((41, 61), np.uint8)  # its middle is (20, 30)
    truth[rows, columns] = 1
    return truth


@pytest.mark.parametrize(
    ("draws", "rows", "columns"),
    [
        ([0, 0, 0, 0, 0, 0], slice(18, 23), slice(28, 33)),
        ([0, 0, 0, 0, 4 / 61, -3 / 41], slice(15, 20), slice(32, 37)),  # shift
        ([0, 0, 0, 0, 0.4 / 61, 0], slice(18, 23), slice(28, 33)),  # less than half a pixel
        ([0, np.log(1.8), 0, 0, 0, 0], slice(16, 25), slice(26, 35)),  # scale: 5 x 1.8 = 9
    ],
)
def test_geometry_of_a_block_in_the_middle(draws: list[float], rows: slice, columns: slice) -> None:
    moved = move(block(slice(18, 23), slice(28, 33)), draws)
    np.testing.assert_array_equal(moved, block(rows, columns))


def test_a_stretch_is_wider_by_as_much_as_lower() -> None:
    moved = move(block(slice(15, 26), slice(25, 36)), [0, 0, 0.15, 0, 0, 0])
    np.testing.assert_array_equal(moved, block(slice(16, 25), slice(24, 37)))  # 11 / 1.16 and 11 x 1.16, whole pixels


def test_shear_and_turn_move_the_lower_part() -> None:
    low = block(slice(34, 37), slice(29, 32))  # 15 rows below the middle
    sheared = np.argwhere(move(low, [0, 0, 0, 0.12, 0, 0])).mean(axis=0)
    np.testing.assert_allclose(sheared, (35, 30 + 0.12 * 15), atol=0.3)
    turned = np.argwhere(move(low, [30, 0, 0, 0, 0, 0])).mean(axis=0)
    np.testing.assert_allclose(turned, (20 + 15 * np.cos(np.pi / 6), 30 - 15 * np.sin(np.pi / 6)), atol=0.4)


def test_a_frame_of_one_value_is_drawn_over() -> None:
    grey = np.zeros((20, 30), np.float32)
    grey[8:12, 10:20] = 1.0
    script = Script([1.0, 1.0, 0.0, 0.5], [1, 0.8])
    settings = AugmentationConfig(appearance=True)
    drawn, _ = augment(grey, np.zeros((20, 30), np.uint8), settings, script)  # type: ignore[arg-type]
    script.check_used()
    assert script.asked == [(1, 7), (0.5, 1.0)]
    levels = (drawn - drawn.min()) / (drawn.max() - drawn.min())
    expected = grey.copy()
    expected[[0, -1]] = expected[:, [0, -1]] = 0.8
    np.testing.assert_allclose(levels, expected, atol=1e-5)

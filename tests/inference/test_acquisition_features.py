from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.data.upright import UprightSlice, turn_upright
from tumortrace.inference import acquisition_features
from tumortrace.inference.acquisition_features import SIDE_PX, measure_contrast_features, measure_plane_features

DrawHead = Callable[..., NDArray[np.uint8]]


def disk(rim: float, inside: float) -> NDArray[np.float32]:
    """A disk of 30 px radius whose outer third has another grey value than its inside."""
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - 31.5
    distance = np.hypot(rows, columns)
    return np.where(distance < 20, inside, np.where(distance < 30, rim, 0)).astype(np.float32)


def test_a_head_is_drawn_in_the_middle_of_a_square(draw_head: DrawHead):
    head = acquisition_features.draw_head(turn_upright(draw_head(3)))
    assert head is not None
    assert (head.shape, head.dtype) == ((SIDE_PX, SIDE_PX), np.float32)
    columns = np.flatnonzero(head.max(axis=0) > 0.2)
    assert abs((columns[0] + columns[-1]) / 2 - (SIDE_PX - 1) / 2) <= 2
    assert 0 < head[SIDE_PX // 2, SIDE_PX // 2] <= 1.5


@pytest.mark.parametrize("pixels", [np.zeros((90, 80), np.uint8), np.eye(20, dtype=np.uint8) + 1])
def test_what_shows_too_little_is_not_drawn(pixels: NDArray[np.uint8]):
    assert acquisition_features.draw_head(turn_upright(pixels)) is None


def upright_box(grey: NDArray[np.float32]) -> UprightSlice:
    """A slice whose head is a box of these grey values, within a margin of 5 px."""
    box = SimpleNamespace(top=5, bottom=5 + grey.shape[0], left=5, right=5 + grey.shape[1])
    return SimpleNamespace(grey=np.pad(grey, 5, constant_values=0.3), head=SimpleNamespace(box=box))  # type: ignore[return-value] # all that is read


@pytest.mark.parametrize("turned", [False, True])
def test_the_box_around_a_head_is_enlarged_to_the_square_and_its_grey_values_are_cut(turned: bool):  # noqa: FBT001 - a parameter
    grey = np.full((32, 16), 0.5, np.float32)
    grey[:, 8:] = 2.0
    head = acquisition_features.draw_head(upright_box(grey.T if turned else grey))
    assert head is not None
    seen = head.T if turned else head  # twice as large: 64 x 32, from column 16 on
    assert (seen[:, :16] == 0).all()
    assert (seen[:, 48:] == 0).all()
    assert (seen[:, 16:31] == 0.5).all()
    assert (seen[:, 33:48] == 1.5).all()
    assert acquisition_features.draw_head(upright_box(grey[1:, :].T if turned else grey[1:, :])) is None


def test_type_offset_and_unit_of_the_grey_values_make_no_difference(draw_head: DrawHead):
    pixels = draw_head(5)
    plain, other = (acquisition_features.draw_head(turn_upright(each)) for each in (pixels, 300.0 + 7.0 * pixels))
    assert plain is not None
    assert other is not None
    np.testing.assert_allclose(measure_plane_features(other), measure_plane_features(plain), atol=1e-3)
    np.testing.assert_allclose(measure_contrast_features(other), measure_contrast_features(plain), atol=1e-3)


def test_the_picture_and_the_edges_are_scaled_to_one():
    head = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    head[:, 32:] = np.arange(32) / 128  # across the right half, the upper half of it four times as steep
    head[:32] *= 4
    features = measure_plane_features(head)
    assert features[: 24 * 24].mean() == pytest.approx(0, abs=1e-6)
    assert features[: 24 * 24].std() == pytest.approx(1, rel=0.03)
    edges = features[24 * 24 :].reshape(8, 8, 8)
    assert (edges**2).mean() == pytest.approx(1, rel=0.03)
    assert edges[0, 1, 6] / edges[0, 6, 6] == pytest.approx(2, rel=1e-3)  # the root of four


def test_edges_are_counted_by_place_and_direction():
    ramp = np.tile(np.arange(SIDE_PX, dtype=np.float32) / SIDE_PX, (SIDE_PX, 1))
    edges = measure_plane_features(ramp)[24 * 24 :].reshape(8, 8, 8)
    assert (edges[0, :, 1:-1] > 0.5).all()  # brighter to the right, everywhere alike
    assert np.ptp(edges[0, :, 1:-1]) < 1e-4
    assert (edges[1:] < 1e-3).all()
    down = measure_plane_features(np.ascontiguousarray(ramp.T))[24 * 24 :].reshape(8, 8, 8)
    np.testing.assert_allclose(down[2], edges[0].T, atol=1e-5)


def test_an_edge_between_two_directions_counts_half_for_each():
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    turned = columns * np.cos(np.pi / 8) + rows * np.sin(np.pi / 8)  # between the first direction and the second
    edges = measure_plane_features(turned.astype(np.float32))[24 * 24 :].reshape(8, 8, 8)[:, 1:-1, 1:-1]
    assert (edges[0] > 0.5).all()
    np.testing.assert_allclose(edges[1], edges[0], rtol=0.03)
    assert (edges[2:] < 0.1).all()


def test_depth_counts_from_a_thin_dark_skin_over_black_bone():
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - 32.0
    distance = np.hypot(rows, columns)
    head = np.select([distance < 22, distance < 28, distance < 30], [1.0, 0.0, 0.2]).astype(np.float32)
    depth = acquisition_features._relative_depth(head)
    assert depth[32, 7] > 0.1  # in the bone
    assert depth[32, 32] == pytest.approx(1, abs=0.02)


def test_ranks_by_hand():
    ranks = acquisition_features._ranks(np.arange(10, -1, -1, dtype=np.float32), (0.0, 0.25, 0.5, 0.99))
    assert ranks.tolist() == [0, 2, 5, 9]


def test_the_course_by_hand():
    # The second band has the values 0 to 10, the last one a single 3; air, of depth 0, is in none.
    depth = np.array([[0.0, *[0.15] * 11, 1.0]], np.float32)
    relative = np.array([[9.0, *range(10, -1, -1), 3.0]], np.float32)
    course = acquisition_features._measure_course(relative, depth)
    empty = [1.0, 0.0, 1.0, 1.0]
    assert course.tolist() == [empty, pytest.approx([5.0, 10**0.5, 1.0, 9.0]), *[empty] * 7, [3.0, 0.0, 3.0, 3.0]]


def test_the_course_runs_from_the_scalp_inwards():
    features = measure_contrast_features(disk(rim=1.2, inside=0.6))
    assert features.shape == (89,)
    means = features[11:51].reshape(10, 4)[:, 0]
    assert means[1] == pytest.approx(2.0, abs=0.02)  # the rim, relative to the median inside
    assert means[-1] == pytest.approx(1.0, abs=0.01)


def test_contrast_features_of_an_even_brain_by_hand():
    # All of the brain has its median, hence log 1; no detail, in the third of five steps; brightness in the third of
    # six, because 0.6 lies a little below 0.6 + 0.001.
    features = measure_contrast_features(np.full((SIDE_PX, SIDE_PX), 0.6, np.float32))
    joint = np.zeros(30)
    joint[2 * 5 + 2] = 3.0
    assert features[:11] == pytest.approx(np.zeros(11), abs=2e-3)
    assert features[51:59] == pytest.approx(np.zeros(8), abs=1e-4)
    assert features[59:] == pytest.approx(joint, abs=1e-6)


def test_contrast_features_of_two_grey_values_by_hand():
    # Two columns of three have 0.3 and the third 0.6; the outer fifth, of 1.5, is none of the brain.
    head = np.full((SIDE_PX, SIDE_PX), 0.3, np.float32)
    head[:, ::3] = 0.6
    head[:6] = head[-6:] = head[:, :6] = head[:, -6:] = 1.5
    ranks = measure_contrast_features(head)[:11]
    assert ranks[:6] == pytest.approx(np.zeros(6), abs=4e-3)  # up to the median
    assert ranks[7:9] == pytest.approx(np.full(2, np.log(2)), abs=4e-3)  # 0.8 and 0.9


def test_detail_of_waves_by_hand():
    # Waves of 8 px, 0.3 / 0.601 high. A blur of deviation s leaves exp(-(2 pi s / 8)^2 / 2) of them: of 1 px 0.7346,
    # of 3 px 0.0623. Their crest and the column beside it are ranks 0.9 and 0.75; their middle is rank 0.5.
    waves = (0.6 + 0.3 * np.cos(2 * np.pi * np.arange(SIDE_PX) / 8)).astype(np.float32)
    features = measure_contrast_features(np.tile(waves, (SIDE_PX, 1)))
    crest = 5 * 0.3 / 0.601 * (0.7346 - 0.0623)
    assert features[54:57] == pytest.approx([0.0, crest * 0.5**0.5, crest], abs=2e-3)


def test_detail_that_is_brighter_than_its_surroundings_has_the_opposite_skew():
    skews = []
    for spot in (0.3, 0.9):
        head = np.full((SIDE_PX, SIDE_PX), 0.6, np.float32)
        head[::4, ::4] = spot
        skews.append(measure_contrast_features(head)[58])
    assert skews[0] == pytest.approx(-skews[1], rel=0.01)
    assert skews[1] > 0.5


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_picture_has_finite_features(value: float):
    head = np.full((SIDE_PX, SIDE_PX), value, dtype=np.float32)
    assert np.isfinite(measure_plane_features(head)).all()
    features = measure_contrast_features(head)
    assert features.shape == (89,)
    assert np.isfinite(features).all()

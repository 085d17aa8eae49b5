from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.data.upright import turn_upright
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


def test_type_offset_and_unit_of_the_grey_values_make_no_difference(draw_head: DrawHead):
    pixels = draw_head(5)
    plain, other = (acquisition_features.draw_head(turn_upright(each)) for each in (pixels, 300.0 + 7.0 * pixels))
    assert plain is not None
    assert other is not None
    np.testing.assert_allclose(measure_plane_features(other), measure_plane_features(plain), atol=1e-3)
    np.testing.assert_allclose(measure_contrast_features(other), measure_contrast_features(plain), atol=1e-3)


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


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_picture_has_finite_features(value: float):
    head = np.full((SIDE_PX, SIDE_PX), value, dtype=np.float32)
    assert np.isfinite(measure_plane_features(head)).all()
    features = measure_contrast_features(head)
    assert features.shape == (89,)
    assert np.isfinite(features).all()

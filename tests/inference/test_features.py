"""What a picture looks like, on shapes whose numbers can be worked out."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tumortrace.data.head import SIDE_PX
from tumortrace.data.upright import turn_upright
from tumortrace.inference.features import PictureFeatures, _measure_frame, _measure_inside, measure_features


def oval(size_hw: tuple[int, int], half_wh: tuple[int, int], *, inside: int = 120) -> np.ndarray:
    picture = np.zeros(size_hw, np.uint8)
    return cv2.ellipse(picture, (size_hw[1] // 2, size_hw[0] // 2), half_wh, 0, 0, 360, inside, cv2.FILLED)


def look(pixels: np.ndarray) -> PictureFeatures:
    features = measure_features(turn_upright(pixels))
    assert features is not None
    return features


def test_an_oval_on_black_has_the_looks_of_its_geometry():
    features = look(oval((240, 240), (60, 90)))
    assert features.head_area == pytest.approx(math.pi * 60 * 90 / 240**2, rel=0.05)
    assert features.elongation == pytest.approx(1.5, rel=0.03)
    assert features.width == pytest.approx(2 / 3, rel=0.03)
    assert features.rectangle == pytest.approx(math.pi / 4, rel=0.04)
    assert features.ellipse > 0.95
    assert features.solidity > 0.95
    assert features.outside == 0.0
    assert (features.dark_frame, features.bright_corner) == (1.0, 0.0)
    assert features.brightness == 1.0
    assert features.white == 1.0
    assert features.grain == 0.0
    assert features.texture == pytest.approx(0.0, abs=1e-3)
    assert features.colour == 0.0


def test_an_oval_that_is_turned_and_lies_to_one_side_is_one_still():
    features = look(cv2.ellipse(np.zeros((240, 240), np.uint8), (90, 140), (50, 75), 30, 0, 360, 120, cv2.FILLED))
    assert features.ellipse > 0.95
    assert features.elongation == pytest.approx(1.5, rel=0.03)
    assert features.rectangle == pytest.approx(math.pi / 4, rel=0.04)


def test_the_frame_by_hand():
    # Edges of 2 pixels and corners of 4, of 48 rows and 30 columns; of the corners, the last one is dark.
    grey = np.zeros((48, 30), np.float32)
    grey[:4, :4], grey[:4, -4:], grey[-4:, :4], grey[-4:, -4:] = 0.9, 0.7, 0.4, 0.1
    grey[20:30, 2] = 0.9  # behind the left edge
    # Two rows above and below, two columns on both sides, with the pixels in the corners twice: 48 of 312 are bright.
    assert _measure_frame(grey) == {"dark_frame": 264 / 312, "bright_corner": pytest.approx(0.7)}


def test_the_inside_by_hand():
    # Mean 0.5, variance (0.25 + 0.09 + 0.01 + 0.25 + 0.16) / 5.
    values = np.array([0.0, 0.2, 0.4, 1.0, 0.9], np.float32)
    measured = {"air": 0.2, "white": 0.2, "brightness": 0.4, "variation": math.sqrt(0.152) / 0.5}
    assert _measure_inside(values) == pytest.approx(measured)


def test_roughness_is_the_share_of_the_spread_that_a_slight_blur_takes_away():
    # Of independent pixels a Gaussian of deviation 1 leaves 1 / (2 sqrt(pi)) along each axis, and its middle weighs
    # 1 / (2 pi): the variance of the difference is 1 - 2 / (2 pi) + 1 / (4 pi).
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX), dtype=np.uint8)
    assert look(noise).roughness == pytest.approx(math.sqrt(1 - 1 / math.pi + 1 / (4 * math.pi)), rel=0.03)


def test_a_wide_box_is_a_rectangle():
    pixels = np.zeros((200, 200), np.uint8)
    pixels[80:120, 40:160] = 90
    features = look(pixels)
    assert features.width == pytest.approx(3.0, rel=0.06)
    assert features.rectangle > 0.93


def test_a_second_object_lies_outside():
    pixels = oval((240, 240), (60, 60))
    pixels[:40, :40] = 120
    assert look(pixels).outside == pytest.approx(1600 / (1600 + math.pi * 60**2), rel=0.05)


def test_a_bright_ring_around_a_darker_inside_is_bone():
    ring = oval((240, 240), (80, 90), inside=250)
    assert look(cv2.ellipse(ring, (120, 120), (70, 80), 0, 0, 360, 80, cv2.FILLED)).ring > 0.6
    broken = ring.copy()
    broken[:, 100:140] = np.minimum(broken[:, 100:140], 80)
    assert look(cv2.ellipse(broken, (120, 120), (70, 80), 0, 0, 360, 80, cv2.FILLED)).ring < 0.3


def test_a_large_bright_bleeding_hides_no_ring():
    head = oval((240, 240), (80, 90), inside=250)
    head = cv2.ellipse(head, (120, 120), (70, 80), 0, 0, 360, 80, cv2.FILLED)
    bled = cv2.ellipse(head.copy(), (100, 120), (28, 40), 0, 0, 360, 250, cv2.FILLED)  # a fifth of the inside
    assert look(bled).ring == pytest.approx(look(head).ring, abs=0.02)


def test_a_dark_ring_beneath_the_outer_one_is_the_skull_of_an_mr_slice():
    ring = oval((240, 240), (80, 90), inside=250)
    joined = cv2.ellipse(ring.copy(), (120, 120), (70, 80), 0, 0, 360, 100, cv2.FILLED)
    gap = cv2.ellipse(ring.copy(), (120, 120), (74, 84), 0, 0, 360, 5, cv2.FILLED)
    gap = cv2.ellipse(gap, (120, 120), (62, 72), 0, 0, 360, 100, cv2.FILLED)
    assert look(joined).skull == pytest.approx(1.0, abs=0.05)
    assert look(gap).skull < 0.3
    core = cv2.ellipse(gap.copy(), (120, 120), (44, 50), 0, 0, 360, 255, 5)  # brighter than the outer ring, but inside
    assert look(core).skull < 0.3
    part = cv2.ellipse(joined.copy(), (120, 120), (66, 76), 0, 0, 40, 5, 6)  # a ninth of the way around
    assert look(part).skull == pytest.approx(1.0, abs=0.05)


def test_grain_that_is_drawn_out_sideways_is_told_from_grain_that_is_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 40, (256, 256)).astype(np.float32)
    head = oval((256, 256), (90, 110)).astype(np.float32)
    sideways = head + (head > 0) * cv2.GaussianBlur(noise, (9, 1), 3)
    down = head + (head > 0) * cv2.GaussianBlur(noise, (1, 9), 3)
    assert look(sideways).drawn_out < -0.3
    assert look(down).drawn_out > 0.3
    assert abs(look(head + (head > 0) * noise).drawn_out) < 0.1


def test_grain_is_the_median_of_what_a_slight_blur_takes_away():
    # Of independent pixels of deviation 4 it takes away a deviation of 4 sqrt(1 - 1 / pi + 1 / (4 pi)), whose absolute
    # value has the median 0.6745 times that. Grey values count from about 10 to about 120.
    head = oval((256, 256), (80, 100), inside=110) + np.random.default_rng(0).normal(10, 4, (256, 256))
    expected = 0.6745 * 4 * math.sqrt(1 - 1 / math.pi + 1 / (4 * math.pi)) / 110
    assert look(head).grain == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_looks_hardly_depend_on_the_size(scale: float):
    picture = oval((240, 200), (60, 90)) + (np.indices((240, 200))[0] // 4).astype(np.uint8)
    small, large = look(picture), look(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    for name in ("head_area", "elongation", "width", "brightness", "dark_frame", "roughness"):
        assert getattr(small, name) == pytest.approx(getattr(large, name), abs=0.04), name


def test_looks_do_not_depend_on_the_scale_of_the_values():
    picture = oval((120, 100), (30, 45)) + (np.indices((120, 100))[0] // 4).astype(np.uint8)
    for other in (picture.astype(np.uint16) * 200, picture.astype(np.float64) / 7):
        assert np.allclose(look(picture), look(other), atol=1e-3)


def test_colour_is_that_of_the_file():
    features = measure_features(turn_upright(oval((120, 100), (30, 45))), colour_share=0.25)
    assert features is not None
    assert features.colour == 0.25


@pytest.mark.parametrize("value", [0, 9, 255])
def test_a_blank_picture_has_no_looks(value: int):
    pixels = np.full((50, 60), value, np.uint8)
    assert measure_features(turn_upright(pixels)) is None
    pixels[20, 30] = 100  # a single dot makes it no less blank
    assert measure_features(turn_upright(np.repeat(np.repeat(pixels, 4, 0), 4, 1))) is None


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.integers(0, 255),
    )
)
def test_looks_of_any_picture_are_finite(pixels: np.ndarray):
    features = measure_features(turn_upright(pixels))
    assert features is None or np.isfinite(features).all()

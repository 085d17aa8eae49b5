"""Random augmentation: geometry, contrast, artefacts, appearance.

``augment`` is pure: a slice, its truth, the settings and a Generator in; a new slice and truth out. Every change works
on grey values scaled to 0..1 and the result is standardised like any slice, so that brightness and contrast as such do
not exist for the network. Written on OpenCV, in single precision; no change reads a pixel twice where once does.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tumortrace.config import AugmentationConfig
from tumortrace.data.head import measure_depth
from tumortrace.inference.recipe import standardise
from tumortrace.training.erase import erase

Grey = NDArray[np.float32]
Truth = NDArray[np.uint8]

CURVE_STEPS = 256
"""Grey levels of a random contrast curve."""

AIR = 0.12
"""Grey level below which there is more air than tissue."""


def augment(image: Grey, truth: Truth, settings: AugmentationConfig, rng: Generator) -> tuple[Grey, Truth]:
    """Return a random variant of a slice and its truth.

    Args:
        image: Shape (H, W), float32, any range; a constant picture gives zeros.
        truth: Shape (H, W), uint8, 1 where there is tumour; may be empty.
        settings: Kinds of change to draw.
        rng: Decides everything; the same state gives the same variant.

    Returns:
        New arrays of the same shapes: the slice standardised to mean 0 and standard deviation 1, and its truth of 0
        and 1.
    """
    grey = scale_to_unit(image)
    if settings.flips:
        grey, truth = _flip(grey, truth, rng)
    if settings.erasures:
        grey, truth = erase(grey, truth, rng)
    if settings.appearance:
        grey, truth = _change_appearance(grey, truth, rng)
    if settings.geometry:
        grey, truth = _move(grey, truth, rng)
    if settings.intensity:
        grey = change_intensity(grey, rng)
    return standardise(grey), np.ascontiguousarray(truth)


def scale_to_unit(image: Grey) -> Grey:
    """Return a slice with its grey values scaled to 0..1."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-6)


def _flip(grey: Grey, truth: Truth, rng: Generator) -> tuple[Grey, Truth]:
    """Mirror half of the slices, and turn one in seven by quarters; one that is not square by a half."""
    if rng.random() < 0.5:
        grey, truth = grey[:, ::-1], truth[:, ::-1]
    if rng.random() < 0.15:
        turns = int(rng.integers(1, 4)) if grey.shape[0] == grey.shape[1] else 2
        grey, truth = np.rot90(grey, turns), np.rot90(truth, turns)
    return np.ascontiguousarray(grey), np.ascontiguousarray(truth)


def _move(grey: Grey, truth: Truth, rng: Generator) -> tuple[Grey, Truth]:
    """Turn, scale, stretch, shear and shift in one step; what comes in from outside is black."""
    height, width = grey.shape
    angle = np.deg2rad(mostly_small(40, rng))
    scale, stretch = np.exp(mostly_small(0.6, rng)), np.exp(mostly_small(0.15, rng))
    shear = mostly_small(0.12, rng)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([scale * stretch, scale / stretch])
    centre_xy = np.array([(width - 1) / 2, (height - 1) / 2])
    shift_xy = np.array([mostly_small(0.15, rng) * width, mostly_small(0.15, rng) * height])
    affine = np.column_stack([matrix, centre_xy + shift_xy - matrix @ centre_xy])
    moved = cv2.warpAffine(grey, affine, (width, height), flags=cv2.INTER_LINEAR)
    outline = cv2.warpAffine(truth * np.uint8(255), affine, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(moved, dtype=np.float32), (outline >= 128).astype(np.uint8)


def mostly_small(largest: float, rng: Generator) -> float:
    """Draw a number within +- ``largest``; two of three draws lie within a third of it."""
    return float(np.clip(rng.normal(0.0, largest / 3), -largest, largest))


def _change_appearance(grey: Grey, truth: Truth, rng: Generator) -> tuple[Grey, Truth]:
    if rng.random() < 0.1:
        grey = strip_skull(grey, truth, depth=float(rng.uniform(0.12, 0.32)))
    if rng.random() < 0.06 and truth.any():
        grey = recolour_tumour(grey, truth, rng)
    if rng.random() < 0.06:
        grey = _draw_over(grey, rng)
    return grey, truth


def strip_skull(grey: Grey, truth: Truth, *, depth: float) -> Grey:
    """Blacken everything but the head without its rim; the tumour always stays.

    Args:
        grey: Shape (H, W), float32 in 0..1.
        truth: Shape (H, W), uint8, 1 where there is tumour.
        depth: Depth of the rim, as a fraction of the distance from the head's edge to its middle.

    Returns:
        A new slice; the given one if it has no head.
    """
    inside = find_inside(grey, depth)
    if not inside.any():
        return grey
    rim = cv2.dilate(truth, np.ones((7, 7), np.uint8))
    return np.asarray(grey * (inside | (rim > 0)), dtype=np.float32)


def find_inside(grey: Grey, depth: float) -> NDArray[np.bool_]:
    """Return the head without its rim, roughly.

    Args:
        grey: Shape (H, W), float32 in 0..1.
        depth: Depth of the rim, as a share of the distance from the head's edge to its middle.

    Returns:
        Shape (H, W), bool; empty if there is no head.
    """
    small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA)
    head = (small > 0.08 + 0.4 * float(small.mean())).astype(np.uint8)
    closed = cv2.morphologyEx(head, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros(grey.shape, dtype=np.bool_)
    largest = max(contours, key=cv2.contourArea)
    filled = cv2.drawContours(np.zeros_like(head), [largest], -1, 1, cv2.FILLED)
    inwards = measure_depth(np.asarray(filled, dtype=np.uint8))
    inside = cv2.resize((inwards > depth * inwards.max()).astype(np.float32), grey.shape[::-1])
    return np.asarray(inside >= 0.5)


def recolour_tumour(grey: Grey, truth: Truth, rng: Generator) -> Grey:
    """Brighten, darken or invert the tumour within a softened outline, so that no contrast alone means tumour."""
    spread = float(rng.uniform(0.5, 2.5))
    soft = cv2.GaussianBlur(truth.astype(np.float32), (0, 0), spread)
    inside = float(grey[truth > 0].mean())
    gain, offset = rng.uniform(0.4, 1.4), rng.uniform(-0.3, 0.3)
    if rng.random() < 0.15:
        gain = -gain
    changed = (grey - inside) * np.float32(gain) + np.float32(inside + offset)
    return np.asarray(np.clip(grey + soft * (changed - grey), 0.0, 1.0), dtype=np.float32)


def _draw_over(grey: Grey, rng: Generator) -> Grey:
    """Draw a line of text or a frame, as pictures from a viewer have them."""
    drawn = np.zeros(grey.shape, dtype=np.uint8)
    height, width = grey.shape
    if rng.random() < 0.5:
        text = "".join(chr(code) for code in rng.integers(48, 91, size=rng.integers(3, 14)))
        corner_xy = (int(rng.integers(0, width // 2)), int(rng.integers(height // 2, height)))
        cv2.putText(drawn, text, corner_xy, cv2.FONT_HERSHEY_SIMPLEX, float(rng.uniform(0.3, 0.7)), 1, 1)
    else:
        side = int(rng.integers(1, 7))
        cv2.rectangle(drawn, (0, 0), (width - 1, height - 1), 1, side)
    return np.where(drawn > 0, np.float32(rng.uniform(0.5, 1.0)), grey)


def change_intensity(grey: Grey, rng: Generator) -> Grey:
    """Change the contrast, then add the effects of receiving coil, reconstruction and file, in that order.

    Each change is rare, so that many slices keep most of their own contrast. Applied to every slice, the changes cost
    more on the hospitals in the training set than they gain on others.
    """
    if rng.random() < 0.6:
        grey = _remap(grey, rng)
    if rng.random() < 0.1:
        grey = grey * _bias_field(grey.shape, rng)
    if rng.random() < 0.1:
        grey = _lower_resolution(grey, rng)
    if rng.random() < 0.1:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.4, 1.6))), dtype=np.float32)
    elif rng.random() < 0.06:
        soft = cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.8, 2.0)))
        grey = grey + np.float32(rng.uniform(0.3, 1.5)) * (grey - soft)
    if rng.random() < 0.15:
        deviation = np.float32(rng.uniform(0.005, 0.07))
        grey = grey + deviation * rng.standard_normal(grey.shape, dtype=np.float32)
    if rng.random() < 0.1:
        grey = _compress(grey, rng)
    return np.asarray(grey, dtype=np.float32)


def _remap(grey: Grey, rng: Generator) -> Grey:
    """Apply a random curve to the grey levels: gamma, a window, bends; rarely not monotone, or with tissue inverted.

    Air stays black when tissue is inverted, as between T1 and T2. Slices inverted as a whole were turned back before.
    """
    level = np.linspace(0.0, 1.0, CURVE_STEPS)
    curve = level ** np.exp(rng.uniform(-0.7, 0.7)) if rng.random() < 0.7 else level
    if rng.random() < 0.35:  # a window narrower or wider than the data, as a viewer sets it
        bottom, top = rng.uniform(-0.2, 0.12), rng.uniform(0.72, 1.2)
        curve = np.clip((curve - bottom) / (top - bottom), 0.0, 1.0)
    if rng.random() < 0.2:  # a monotone bend through random knots
        knots = np.concatenate([[0.0], np.cumsum(rng.dirichlet(np.full(5, 2.5)))])
        curve = np.interp(curve, np.linspace(0.0, 1.0, len(knots)), knots)
    if rng.random() < 0.03:
        curve = np.interp(level, np.linspace(0.0, 1.0, 6), rng.random(6))
    if rng.random() < 0.1:
        curve = (1.0 - curve) * np.minimum(level / AIR, 1.0)
    indices = np.clip(grey * (CURVE_STEPS - 1) + 0.5, 0, CURVE_STEPS - 1).astype(np.uint8)
    return np.asarray(curve.astype(np.float32)[indices], dtype=np.float32)


def _bias_field(shape_hw: tuple[int, ...], rng: Generator) -> Grey:
    """Draw a smooth factor around 1 from a few random numbers."""
    coarse = np.exp(rng.uniform(-0.5, 0.5, size=(3, 3))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (shape_hw[1], shape_hw[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _lower_resolution(grey: Grey, rng: Generator) -> Grey:
    height, width = grey.shape
    factors = np.exp(rng.uniform(np.log(0.35), 0.0, size=2)) if rng.random() < 0.3 else [rng.uniform(0.4, 1.0)] * 2
    small_wh = (max(int(width * factors[0]), 8), max(int(height * factors[1]), 8))
    small = cv2.resize(grey, small_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _compress(grey: Grey, rng: Generator) -> Grey:
    low, high = float(grey.min()), float(grey.max())
    pixels = ((grey - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(10, 80))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.float32)

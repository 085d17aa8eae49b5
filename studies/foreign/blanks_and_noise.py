"""Blank pictures and noise."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from studies.foreign.painting import (
    SMALLEST,
    Field,
    Pixels,
    Shape,
    blur,
    grain,
    make_plane,
    oval,
    random_side,
    to_bytes,
)


def make_blank(rng: Generator, index: int) -> Pixels:
    """Black, grey, white, a faint gradient, and black with a single light dot."""
    plane = make_plane(random_side(rng, SMALLEST), random_side(rng, SMALLEST))
    level: ArrayLike
    match index:
        case 0:
            level = 0.0
        case 1:
            level = rng.uniform(0.25, 0.75)
        case 2:
            level = 1.0
        case 3:
            angle, faint = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.12)
            level = rng.uniform(0.2, 0.8) + faint * (np.cos(angle) * plane.x + np.sin(angle) * plane.y)
        case _:
            level = oval(plane, (rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)), (0.02, 0.02))
    return to_bytes(np.broadcast_to(level, plane.x.shape))


def make_noise(rng: Generator, index: int) -> Pixels:
    """Noise of nine kinds, each filling the frame but for the last."""
    shape = random_side(rng, SMALLEST, 560), random_side(rng, SMALLEST, 560)
    match index:
        case 0:
            level = 0.5 + rng.uniform(0.1, 0.25) * rng.standard_normal(shape, dtype=np.float32)
        case 1:
            salt, share = rng.random(shape, dtype=np.float32), rng.uniform(0.03, 0.12)
            level = np.select([salt < share, salt > 1 - share], [0.0, 1.0], 0.5)
        case 3:
            level = 0.5 + 0.2 * grain(shape, rng.uniform(6, 15), rng)
        case 4:
            level = 0.5 + 0.25 * grain(shape, rng.uniform(60, 140), rng)
        case 5:
            level = 0.5 + 0.18 * _one_over_f(shape, rng)
        case 6:
            level = _television(shape, rng)
        case 8:
            # Darkening to black outside an oval: a head's outline and statistics without a head.
            head = blur(oval(make_plane(*shape), (0, 0), (0.68, 0.85)), 3)
            level = head * (0.45 + 0.15 * _one_over_f(shape, rng))
        case _:
            return rng.integers(0, 256, shape if index == 2 else (*shape, 3), np.uint8)
    return to_bytes(level)


def _television(shape: Shape, rng: Generator) -> Field:
    """A television without a signal: rows of random level, rolling bars, snow."""
    rows = rng.standard_normal((shape[0], 1), dtype=np.float32)
    bars = np.sin(np.arange(shape[0], dtype=np.float32)[:, None] * rng.uniform(0.05, 0.6))
    snow = rng.standard_normal(shape, dtype=np.float32)
    return 0.45 + 0.12 * rows + 0.15 * bars + 0.12 * snow


def _one_over_f(shape: Shape, rng: Generator) -> Field:
    """Noise whose amplitude falls with the frequency, as in natural pictures; mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency[0, 0] = np.inf
    pink = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / frequency, s=shape)
    return (pink / pink.std()).astype(np.float32)

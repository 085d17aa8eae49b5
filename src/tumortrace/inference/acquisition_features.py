"""Features of a slice, by which its plane and contrast are recognised."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.head import BRAIN_DEPTH, measure_depth, rank
from tumortrace.data.upright import UprightSlice

SIDE_PX = 64
"""Side of the square picture of the head on which everything is measured."""

_PICTURE_PX = 24
_CELLS, _DIRECTIONS = 8, 8
_BANDS = 10
_RANKS = (0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.99)
_DETAIL_RANKS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_COARSE_EDGES = np.array([0.5, 0.8, 1.0, 1.2, 1.5])  # of the brain's median
_DETAIL_EDGES = np.array([-0.1, -0.03, 0.03, 0.1])

Grey = NDArray[np.float32]
Floats = NDArray[np.float64]


def draw_head(upright: UprightSlice) -> Grey | None:
    """Draw the box around the head, padded to a square of ``SIDE_PX``; None if it is blank or half as small.

    Returns:
        Shape (64, 64), float32, air 0.
    """
    if upright.head is None:
        return None
    box = upright.head.box
    grey = upright.grey[box.top : box.bottom, box.left : box.right]
    scale = SIDE_PX / max(grey.shape)
    if scale > 2:
        return None
    width, height = (max(round(side * scale), 1) for side in grey.shape[::-1])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((SIDE_PX, SIDE_PX), dtype=np.float32)
    top, left = (SIDE_PX - height) // 2, (SIDE_PX - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(grey, (width, height), interpolation=method)
    return np.clip(square, 0.0, 1.5, out=square)


def measure_plane_features(head: Grey) -> Floats:
    """Measure what distinguishes the planes: a small picture, and the directions of its edges place by place.

    Args:
        head: Picture from ``draw_head``.

    Returns:
        Shape (1088,), finite: 24 x 24 grey values of mean 0 and deviation 1, and 8 x 8 cells of 8 directions
        (histograms of oriented gradients, Dalal and Triggs 2005).
    """
    small = cv2.resize(head, (_PICTURE_PX, _PICTURE_PX), interpolation=cv2.INTER_AREA)
    picture = (small - small.mean()) / (small.std() + np.float32(1e-3))
    across, down = (cv2.Sobel(head, cv2.CV_32F, right, 1 - right, ksize=3) for right in (1, 0))
    steps, angles = cv2.cartToPolar(across, down)
    turns = angles * np.float32(_DIRECTIONS / (2 * np.pi))
    lower = np.floor(turns)
    weight = turns - lower
    which = lower.astype(np.intp)[np.newaxis] % _DIRECTIONS  # (1, 64, 64)
    shares = np.zeros((_DIRECTIONS, *head.shape), dtype=np.float32)  # of each edge, between the two nearest directions
    np.put_along_axis(shares, which, steps * (1 - weight), axis=0)
    np.put_along_axis(shares, (which + 1) % _DIRECTIONS, steps * weight, axis=0)
    cells = [cv2.resize(share, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA) for share in shares]
    edges = np.sqrt(np.stack(cells))
    edges /= np.sqrt((edges**2).mean()) + np.float32(1e-3)
    return np.concatenate([picture.ravel(), edges.ravel()]).astype(np.float64)


def measure_contrast_features(head: Grey) -> Floats:
    """Measure what distinguishes the contrasts, with all grey values relative to the brain's median.

    These are the distribution of grey values in the brain, their course from the scalp inwards (fat, bone, cortex,
    white matter, ventricles), and how fine detail such as furrows stands out of bright and dark surroundings.

    Args:
        head: Picture from ``draw_head``.

    Returns:
        Shape (89,), finite.
    """
    depth = _relative_depth(head)
    inside = depth > BRAIN_DEPTH
    if not inside.any():
        return np.zeros(len(_RANKS) + 4 * _BANDS + len(_DETAIL_RANKS) + 1 + 30)
    relative = head / (rank(head[inside], 0.5) + np.float32(1e-3))
    ranks = np.clip(np.log(np.clip(_ranks(relative[inside], _RANKS), 0.02, 20)), -3, 3)
    detail = (cv2.GaussianBlur(relative, (0, 0), 1.0) - cv2.GaussianBlur(relative, (0, 0), 3.0))[inside]
    skew = (detail**3).mean() / ((detail**2).mean() ** 1.5 + 1e-6)
    coarse = np.searchsorted(_COARSE_EDGES, cv2.GaussianBlur(relative, (0, 0), 2.0)[inside])
    fine = np.searchsorted(_DETAIL_EDGES, detail)
    joint = np.bincount(coarse * (len(_DETAIL_EDGES) + 1) + fine, minlength=30) / detail.size
    courses = np.clip(_measure_course(relative, depth), 0, 4).ravel()
    return np.concatenate([ranks, courses, 5 * _ranks(detail, _DETAIL_RANKS), [skew], 3 * np.sqrt(joint)])


def _relative_depth(head: Grey) -> Grey:
    """Depth of each pixel below the head's edge, as a fraction of the greatest; 0 outside."""
    bright = (head > 0.12 * rank(head, 0.98)).astype(np.uint8)
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = cv2.drawContours(np.zeros_like(closed), contours, -1, 1, cv2.FILLED)
    depth = measure_depth(np.asarray(filled, dtype=np.uint8))
    return depth / max(float(depth.max()), 1.0)


def _measure_course(relative: Grey, depth: Grey) -> Floats:
    """Mean, deviation, lowest and highest tenth of the grey values in bands of equal depth, shape (10, 4)."""
    within = depth > 0
    bands = np.minimum((depth[within] * np.float32(_BANDS)).astype(np.uint8), _BANDS - 1)
    values = relative[within].astype(np.float64)
    course = np.array([[1.0, 0.0, 1.0, 1.0]] * _BANDS)  # of a band without a pixel
    for band in range(_BANDS):
        here = np.sort(values[bands == band])
        if here.size:
            low, high = here[int(0.1 * (len(here) - 1))], here[int(0.9 * (len(here) - 1))]
            course[band] = here.mean(), here.std(), low, high
    return course


def _ranks(values: Grey, fractions: tuple[float, ...]) -> Floats:
    ordered = np.sort(values)
    return np.array([ordered[int(fraction * (len(ordered) - 1))] for fraction in fractions], dtype=np.float64)

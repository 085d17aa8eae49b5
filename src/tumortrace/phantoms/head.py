"""The healthy head of a phantom, as a map of tissues.

Head coordinates (u, v) run from -1 to 1 over the brain: u to the right of the picture, v from the forehead (top) to the
back of the head (bottom). Outlines in head coordinates are bent, turned and scaled to pixels and painted as labels, on
a grid finer than the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.geometry import Polygon, rasterize

TURN_RAD = 2 * np.pi

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
Labels = NDArray[np.uint8]
Move = Callable[[Floats], Floats]
"""A map of points (..., 2) to points (..., 2)."""

_FINE = 2  # fine pixels a side of a pixel: edges come out smooth
_OUTERMOST = 1.202  # how far the skin reaches at most, in brains


class Tissue(IntEnum):
    """Labels of the painted map; each is an index into the grey values of a sequence."""

    AIR = 0
    SKIN = 1
    FAT = 2
    BONE = 3
    MARROW = 4
    DURA = 5
    FALX = 6
    CSF = 7
    SULCUS = 8  # CSF in a gap narrower than a pixel
    GREY = 9
    WHITE = 10
    DEEP_GREY = 11
    TUMOUR = 12
    NECROSIS = 13
    OEDEMA = 14


# Grey values in 0..255, in the order of Tissue. Fat is as bright as tumour on purpose: no threshold solves the task.
SEQUENCES = {
    "t1-contrast": (3, 108, 225, 22, 92, 84, 175, 34, 62, 96, 122, 108, 228, 50, 84),
    "t2": (3, 108, 206, 14, 72, 178, 70, 228, 184, 132, 92, 108, 214, 180, 170),
    "flair": (3, 114, 212, 16, 60, 150, 80, 24, 72, 122, 98, 114, 220, 58, 164),
}


@dataclass(frozen=True, eq=False)
class Head:
    """Shape and place of one head.

    Attributes:
        size_hw: Height and width of the frame in pixels.
        center_xy: Pixel position of (u, v) = (0, 0).
        half_width_px: Length of u = 1.
        half_length_px: Length of v = 1.
        angle_rad: Rotation of the head, from +x towards +y.
        bumps: Waves of the outline around the head, rows of (amplitude, frequency, phase).
        bends: Waves of the midline along v, rows of (amplitude, frequency, phase).
    """

    size_hw: tuple[int, int]
    center_xy: Floats
    half_width_px: float
    half_length_px: float
    angle_rad: float
    bumps: Floats
    bends: Floats


def draw_head(rng: np.random.Generator, size_hw: tuple[int, int]) -> Head:
    """Draw shape and place of a head that lies whole in a frame of ``size_hw`` pixels and fills it nearly."""
    height, width = size_hw
    orders = np.arange(2, 7)
    shape = Head(
        size_hw=size_hw,
        center_xy=np.zeros(2),
        half_width_px=rng.uniform(0.77, 0.89),
        half_length_px=1.0,
        angle_rad=min(max(rng.normal(0, 0.06), -0.15), 0.15),
        bumps=np.column_stack((rng.normal(0, 0.016, 5) / orders, orders, rng.uniform(0, TURN_RAD, 5))),
        bends=np.column_stack((rng.normal(0, 0.025, 2), rng.uniform(1, 3, 2), rng.uniform(0, TURN_RAD, 2))),
    )
    skin = brain_contour(shape, scale=_OUTERMOST)
    low, high = skin.min(axis=0), skin.max(axis=0)
    scale = rng.uniform(0.91, 0.98) * float(np.min((width, height) / (high - low)))
    slack = (width, height) - scale * (high - low)
    return replace(
        shape,
        center_xy=slack * rng.uniform(0.3, 0.7, 2) - 0.5 - scale * low,
        half_width_px=scale * shape.half_width_px,
        half_length_px=scale,
    )


def brain_contour(head: Head, *, scale: float | Floats = 1.0) -> Floats:
    """Outline of the brain, or of a layer around it at ``scale``; shape (180, 2) xy in pixels."""
    return _to_pixels(head, _rim_uv(head, np.linspace(0, TURN_RAD, 180, endpoint=False), scale=scale))


def paint_tissues(rng: np.random.Generator, head: Head, *, displace: Move) -> Labels:
    """Paint a healthy slice.

    Args:
        rng: Source of every random choice.
        head: The head.
        displace: Function that returns where a mass pushes points of the brain, in pixels; the skull stays.

    Returns:
        Values of ``Tissue`` on the fine grid, shape (2 H, 2 W), uint8; see ``shrink``.
    """
    shell = _paint_shell(rng, head)
    inside = (shell == Tissue.GREY) | (shell == Tissue.CSF)
    labels = shell.copy()

    def place(points_uv: Floats) -> Floats:
        return displace(_to_pixels(head, points_uv))

    _fold_cortex(rng, labels, head=head, place=place)
    _paint_midline(labels, head=head, place=place)
    _paint_deep(rng, labels, place=place)
    np.putmask(shell, inside, labels)
    return shell


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, ...], *, grain_px: float) -> Image:
    """Smooth noise of shape (H, W), mean 0, spread somewhat below 1, with grains about ``grain_px`` wide."""
    height, width = size_hw
    coarse = rng.standard_normal((int(height / grain_px) + 2, int(width / grain_px) + 2), dtype=np.float32)
    return _as_image(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def soft_mask(contour_xy: Floats, size_hw: tuple[int, ...], *, soft_px: float) -> Image:
    """1 inside a contour, 0 outside, about 0.5 on it; shape (H, W). ``soft_px`` is the sigma of the border."""
    fine = rasterize([Polygon(_to_fine_grid(contour_xy))], (size_hw[0] * _FINE, size_hw[1] * _FINE))
    share = shrink(fine.view(np.uint8) * np.uint8(255)) / np.float32(255)
    return _as_image(cv2.GaussianBlur(share, (0, 0), soft_px))


def shrink(fine: NDArray[np.uint8]) -> Image:
    """Average a picture on the fine grid, shape (2 H, 2 W), to (H, W)."""
    return _as_image(cv2.resize(fine, None, fx=1 / _FINE, fy=1 / _FINE, interpolation=cv2.INTER_AREA))


def _waves(rows: Floats, at: Floats) -> Floats:
    """Sum of cosines, given as rows of (amplitude, frequency, phase), at each of ``at``."""
    amplitude, frequency, phase = rows.T
    return np.asarray(np.cos(at[..., np.newaxis] * frequency + phase) @ amplitude)


def _rim_uv(head: Head, angles_rad: Floats, *, scale: float | Floats) -> Floats:
    """Points of the outline times ``scale``, shape (..., 2); angle 0 is the forehead, pi/2 the right of the picture."""
    u = np.sin(angles_rad) * (1 - 0.07 * np.cos(angles_rad))  # the forehead is narrower than the back
    v = -np.cos(angles_rad)
    stretch = scale * (1 + _waves(head.bumps, angles_rad))
    return np.stack((u * stretch, v * stretch), axis=-1)


def _to_pixels(head: Head, points_uv: Floats) -> Floats:
    u, v = points_uv[..., 0], points_uv[..., 1]
    x, y = (u + _waves(head.bends, v)) * head.half_width_px, v * head.half_length_px
    cos, sin = np.cos(head.angle_rad), np.sin(head.angle_rad)
    return np.stack((x * cos - y * sin, x * sin + y * cos), axis=-1) + head.center_xy


def _paint_shell(rng: np.random.Generator, head: Head) -> Labels:
    """Skin, fat and skull around a brain that is still all grey matter."""
    labels = np.zeros((head.size_hw[0] * _FINE, head.size_hw[1] * _FINE), dtype=np.uint8)
    fat, bone = rng.uniform(1.14, 1.19), rng.uniform(1.08, 1.11)
    angles_rad = np.linspace(0, TURN_RAD, 180, endpoint=False)
    phases_rad = rng.uniform(0, TURN_RAD, 2)
    uneven = 0.012 * np.cos(3 * angles_rad + phases_rad[0]) + 0.01 * np.cos(5 * angles_rad + phases_rad[1])
    # From the skin inwards; each layer covers the middle of the one before.
    for scale, tissue in (
        (fat + 0.012, Tissue.SKIN),
        (fat, Tissue.FAT),
        (bone + uneven, Tissue.BONE),
        (bone - 0.02 + 0.6 * uneven, Tissue.MARROW),
        (bone - 0.035, Tissue.BONE),
        (1.045, Tissue.DURA),
        (1.03, Tissue.CSF),
        (1.0, Tissue.GREY),
    ):
        _fill(labels, brain_contour(head, scale=scale), tissue)
    return labels


def _fold_cortex(rng: np.random.Generator, labels: Labels, *, head: Head, place: Move) -> None:
    """Cut sulci and the fissure into the brain: what lies near a cut is cortex, the rest white matter."""
    width_px = head.half_length_px * rng.uniform(0.014, 0.026)
    trunks, twigs = _draw_sulci(rng, head)
    _stroke(labels, place(twigs), Tissue.SULCUS, width_px=0.7 * width_px)
    _stroke(labels, place(trunks), Tissue.SULCUS, width_px=0.9 * width_px)
    # A sulcus is wider where it opens, and some gape.
    _stroke(labels, place(trunks[:, :6]), Tissue.SULCUS, width_px=1.4 * width_px)
    _stroke(labels, place(trunks[::2, :6]), Tissue.CSF, width_px=0.6 * width_px)
    v = np.linspace(-1.02, 1.02, 40)
    u = 0.006 * np.cumsum(rng.standard_normal(40)) * (1 - v**2)
    _stroke(labels, place(np.stack((u, v), axis=-1)[np.newaxis]), Tissue.CSF, width_px=1.2 * width_px)
    grey = labels == Tissue.GREY
    depth_px = cv2.distanceTransform(grey.view(np.uint8), cv2.DIST_L2, 3) / np.float32(_FINE)
    depth_px -= head.half_length_px * 0.012 * smooth_noise(rng, labels.shape, grain_px=14)
    np.putmask(labels, grey & (depth_px > head.half_length_px * 0.045), Tissue.WHITE)


def _draw_sulci(rng: np.random.Generator, head: Head) -> tuple[Floats, Floats]:
    """Winding lines from the rim inwards, shape (N, 12, 2) in head coordinates, and side branches of every other."""
    count = int(rng.integers(30, 40))
    along = np.linspace(0, 1, 12)
    starts = np.linspace(0, TURN_RAD, count, endpoint=False) + rng.normal(0, 0.05, count)
    depth = rng.choice([0.6, 1.0, 1.6], (count, 1)) * rng.uniform(0.16, 0.26, (count, 1))
    swing = rng.normal(0, 0.06, (count, 1)) * np.sin(rng.uniform(4, 9, (count, 1)) * along)
    angles_rad = starts[:, np.newaxis] + swing + np.cumsum(rng.normal(0, 0.015, (count, 12)), axis=1)
    trunks = _rim_uv(head, angles_rad, scale=1.02 - depth * along)
    side = rng.choice([-1, 1], (count, 1)) * rng.uniform(0.08, 0.2, (count, 1))
    branch_angles_rad = angles_rad[:, 6:7] + side * along**0.8
    twigs = _rim_uv(head, branch_angles_rad, scale=1.02 - depth * (0.55 + 0.25 * along**3))
    return trunks, twigs[::2]


def _paint_midline(labels: Labels, *, head: Head, place: Move) -> None:
    falx = np.array([[0.0, 0.47], [0.0, 1.0]])
    _stroke(labels, place(np.stack((falx, -falx))), Tissue.FALX, width_px=0.012 * head.half_length_px)
    sinus = np.array([[-0.05, 1.02], [0.05, 1.02], [0.0, 0.93]])
    _fill(labels, place(sinus), Tissue.FALX)


def _paint_deep(rng: np.random.Generator, labels: Labels, *, place: Move) -> None:
    """Outline what lies deep at the height of the slice: nothing, ventricles, or horns and basal ganglia."""
    level = str(rng.choice(["high", "bodies", "basal"], p=[0.2, 0.4, 0.4]))
    width = rng.uniform(0.033, 0.082)
    if level == "high":
        return
    _fill(labels, place(_oval_uv((0, 0), (0.17, 0.46))), Tissue.WHITE)
    for side in (-1.0, 1.0):
        shapes = _ventricle_body(width) if level == "bodies" else _basal_structures(width)
        stretch = np.array([side * rng.uniform(0.9, 1.1), rng.uniform(0.93, 1.07)])
        for points_uv, tissue in shapes:
            _fill(labels, place(stretch * points_uv), tissue)
    if level == "basal":
        _fill(labels, place(_oval_uv((0, 0.1), (0.25 * width, 0.17))), Tissue.CSF)


def _ventricle_body(width: float) -> list[tuple[Floats, Tissue]]:
    return [(_ribbon_uv((-0.44, 0.42), start=0.07, bow=0.5, width=width), Tissue.CSF)]


def _basal_structures(width: float) -> list[tuple[Floats, Tissue]]:
    """Outline lentiform nucleus, caudate, thalamus, frontal and occipital horn of one side."""
    return [
        (_oval_uv((0.34, 0.02), (0.09, 0.2), tilt_rad=-0.25), Tissue.DEEP_GREY),
        (_oval_uv((0.17, -0.27), (0.07, 0.13), tilt_rad=0.2), Tissue.DEEP_GREY),
        (_oval_uv((0.12, 0.13), (0.1, 0.17), tilt_rad=-0.3), Tissue.DEEP_GREY),
        (_ribbon_uv((-0.46, -0.12), start=0.035, bow=0.9, width=width), Tissue.CSF),
        (_ribbon_uv((0.25, 0.6), start=0.2, bow=0.35, width=0.9 * width), Tissue.CSF),
    ]


def _oval_uv(center_uv: tuple[float, float], radii_uv: tuple[float, float], *, tilt_rad: float = 0.0) -> Floats:
    angles_rad = np.linspace(0, TURN_RAD, 40, endpoint=False)
    u, v = radii_uv[0] * np.cos(angles_rad), radii_uv[1] * np.sin(angles_rad)
    cos, sin = np.cos(tilt_rad), np.sin(tilt_rad)
    return np.column_stack((u * cos - v * sin, u * sin + v * cos)) + center_uv


def _ribbon_uv(span_v: tuple[float, float], *, start: float, bow: float, width: float) -> Floats:
    """A curved band with round ends on the right of the picture; it leaves the midline away from v = 0."""
    v = np.linspace(*span_v, 30)
    middle = start + width + bow * (np.abs(v) - np.abs(v).min()) ** 1.5
    half = width * np.sqrt(np.sin(np.linspace(0, np.pi, 30)))
    return np.concatenate((np.column_stack((middle - half, v)), np.column_stack((middle + half, v))[::-1]))


def _fill(labels: Labels, contour_xy: Floats, label: int) -> None:
    cv2.fillPoly(labels, [_fixed_point(contour_xy)], label, shift=4)


def _stroke(labels: Labels, lines_xy: Floats, label: int, *, width_px: float) -> None:
    cv2.polylines(labels, list(_fixed_point(lines_xy)), False, label, max(1, round(width_px * _FINE)), shift=4)


def _to_fine_grid(points_xy: Floats) -> Floats:
    return points_xy * _FINE + (_FINE - 1) / 2


def _fixed_point(points_xy: Floats) -> NDArray[np.int32]:
    """Coordinates in sixteenths of a fine pixel, as OpenCV draws them with ``shift=4``."""
    return np.rint(_to_fine_grid(points_xy) * 16).astype(np.int32)


def _as_image(pixels: cv2.typing.MatLike) -> Image:
    return np.asarray(pixels, dtype=np.float32)

"""Tools to paint pictures: planes, ovals, strokes, blur, grain, letters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from PIL import ImageFont

Pixels = NDArray[np.uint8]
Field = NDArray[np.floating]
Point = tuple[float, float]
Shape = tuple[int, int]

# A picture at least this large on its shorter side, and at most that large on its longer one.
SMALLEST, LARGEST = 180, 800

BOLD = "DejaVuSans-Bold.ttf"
_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


@dataclass(frozen=True, eq=False)
class Plane:
    """A frame with its origin in the middle, x to the right and y down, in halves of its shorter side.

    Attributes:
        x: float32 (H, W).
        y: float32 (H, W).
        pixel: The side of a pixel in the same unit.
        middle: Point in the middle of the frame.
    """

    x: Field
    y: Field
    pixel: float
    middle: Point = (0.0, 0.0)

    def at(self, points: ArrayLike) -> NDArray[np.int32]:
        """Return points (N, 2) as OpenCV wants them: int32 pixels with four binary places."""
        height, width = self.x.shape
        middle_px = np.array([width, height]) / 2 - 0.5
        return np.round((np.subtract(points, self.middle) / self.pixel + middle_px) * 16).astype(np.int32)


def make_plane(height: int, width: int) -> Plane:
    """Return the plane of a frame of so many pixels."""
    half = min(height, width) / 2
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return Plane((x + 0.5 - width / 2) / half, (y + 0.5 - height / 2) / half, 1 / half)


def moved(x: Field, y: Field, pixel: float) -> Plane:
    """Return the plane of a body that does not lie straight in the middle of its frame."""
    middle = x.shape[0] // 2, x.shape[1] // 2
    return Plane(x, y, pixel, (float(x[middle]), float(y[middle])))


def oval(plane: Plane, centre: Point, radii: Point, turn_deg: float = 0, rng: Generator | None = None) -> Field:
    """Fill an ellipse: 0..1, a pixel wide at the edge; with ``rng`` its outline undulates."""
    x, y = plane.x - np.float32(centre[0]), plane.y - np.float32(centre[1])
    cos, sin = np.float32(np.cos(np.radians(turn_deg))), np.float32(np.sin(np.radians(turn_deg)))
    u, v = (cos * x + sin * y) / np.float32(radii[0]), (cos * y - sin * x) / np.float32(radii[1])
    radius = np.hypot(u, v)
    if rng is not None:
        angle = np.arctan2(v, u)
        for waves in (2, 3, 5):
            radius *= 1 + rng.normal(0, 0.1 / waves) * np.cos(waves * angle + rng.uniform(0, 6))
    return inside(radius, min(radii) / plane.pixel)


def inside(radius: Field, radius_px: float) -> Field:
    """Fill what has a radius below 1: 0..1, a pixel wide at the edge."""
    return np.clip((1 - radius) * np.float32(radius_px) + 0.5, 0, 1)


def stroke(plane: Plane, points: ArrayLike, width: float) -> Field:
    """Draw a line of the given width through points (N, 2), in the plane's unit: 0..1."""
    canvas = np.zeros(plane.x.shape, np.uint8)
    thickness = max(1, round(width / plane.pixel))
    cv2.polylines(canvas, [plane.at(points)], False, 255, thickness, cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def filled(plane: Plane, corners: ArrayLike) -> Field:
    """Fill a closed smooth curve through corners (N, 2): 0..1."""
    points = np.asarray(corners)
    # Chaikin's corner cutting.
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    canvas = np.zeros(plane.x.shape, np.uint8)
    cv2.fillPoly(canvas, [plane.at(points)], 255, cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def lay(under: Field, mask: NDArray[np.floating | np.bool_], value: ArrayLike) -> None:
    """Replace, in place, what lies under a mask of 0..1 by a value."""
    under += mask * (np.asarray(value, np.float32) - under)


def blur(field: Field, sigma_px: float) -> Field:
    """Blur by a Gaussian, in float32."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px), np.float32)


def grain(shape: Shape, size_px: float, rng: Generator) -> Field:
    """Return smooth noise of mean 0 and standard deviation 1, whose lumps are about ``size_px`` wide."""
    # A coarse grid made larger is as smooth as a wide blur, and much quicker.
    coarse = max(1.0, size_px / 2)
    grid = [max(3, round(side / coarse)) for side in shape]
    noise = blur(rng.standard_normal(grid, dtype=np.float32), max(0.3, size_px / coarse / 2))
    noise = np.asarray(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    return (noise - noise.mean()) / (noise.std() + np.float32(1e-6))


def to_bytes(field: Field) -> Pixels:
    """Return 0..1 as uint8; what lies outside is cut off."""
    return np.round(np.clip(field, 0, 1) * 255).astype(np.uint8)


def random_side(rng: Generator, low: int = 240, high: int = 640) -> int:
    """Draw a side in pixels, ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def random_colour(rng: Generator, low: int = 0, high: int = 256) -> tuple[int, ...]:
    """Draw three channels, each from ``low`` up to but not including ``high``."""
    return tuple(rng.integers(low, high, 3).tolist())


def resized(picture: Pixels, longest: int) -> Pixels:
    """Resize to a longer side of so many pixels, and a shorter one of at least ``SMALLEST``."""
    scale = longest / max(picture.shape[:2])
    height, width = (max(SMALLEST, round(side * scale)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def at_random_size(picture: Pixels, rng: Generator) -> Pixels:
    """Resize at random; one in three is pressed into a square, as careless pipelines do."""
    longest = random_side(rng, 320, LARGEST)
    if rng.random() < 1 / 3:
        return np.asarray(cv2.resize(picture, (min(longest, 512),) * 2, interpolation=cv2.INTER_AREA), np.uint8)
    return resized(picture, longest)


def as_saved(grey: Pixels, index: int) -> Pixels:
    """Return every third grey picture as three equal channels, the way viewers save their screen."""
    return np.repeat(grey[..., None], 3, axis=2) if index % 3 == 2 else grey


def load_font(size_px: int, name: str = "DejaVuSans.ttf") -> ImageFont.FreeTypeFont:
    """Return a typeface that comes with matplotlib."""
    return ImageFont.truetype(str(_FONTS / name), size_px)

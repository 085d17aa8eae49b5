"""Generated brain-MR slices with known tumours.

A healthy head is painted as a map of tissues, the map becomes the grey values of one MR sequence, lesions are laid
over, and texture, coil shading, blur and noise follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.annotations.via import write_via
from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region, rasterize, region_area
from tumortrace.errors import DataError
from tumortrace.files import sync_folders_once, write_atomically
from tumortrace.phantoms.head import (
    SEQUENCES,
    TURN_RAD,
    Floats,
    Head,
    Image,
    Tissue,
    brain_contour,
    draw_head,
    paint_tissues,
    shrink,
    smooth_noise,
    soft_mask,
)

KINDS = ("bright", "ring", "oedema", "multiple", "none")
NO_TUMOUR = "no_tumour"
"""Name of the folder of tumour-free images in a phantom dataset."""

_LESION_KINDS = KINDS[:3]
_TUMOUR_KINDS = KINDS[:4]
_SMALLEST_SIDE_PX = 96
_CONTOUR_POINTS = 160


@dataclass(frozen=True, eq=False)
class Phantom:
    """One generated slice.

    Attributes:
        pixels: Grey values, shape (H, W), uint8.
        regions: Outlines of the lesions, one region each; empty for the kind ``"none"``.
        kind: One of ``KINDS``.
    """

    pixels: NDArray[np.uint8]
    regions: tuple[Region, ...]
    kind: str


@dataclass(frozen=True, eq=False)
class _Lesion:
    """One lesion.

    Attributes:
        kind: One of ``_LESION_KINDS``.
        center_xy: A point from which the whole contour is seen.
        contour_xy: Its exact extent as a closed contour, shape (160, 2), in pixels.
        radius_px: Radius of the circle of the same area.
        region: Outline of the lesion.
    """

    kind: str
    center_xy: Floats
    contour_xy: Floats
    radius_px: float
    region: Region


def draw_phantom(rng: np.random.Generator, *, size_hw: tuple[int, int], kind: str) -> Phantom:
    """Draw one slice; all that is random comes from ``rng``.

    Args:
        rng: Source of every random choice; the same state gives the same pixels.
        size_hw: Height and width in pixels, each at least 96.
        kind: One of ``KINDS``: ``"bright"``, a bright mass; ``"ring"``, a bright rim around a dark core, with oedema
            that is not part of the truth; ``"oedema"``, a diffuse region with a brighter core, tumour as a whole;
            ``"multiple"``, two or three of these; ``"none"``.

    Returns:
        The slice. Lesions lie inside the brain, apart from each other, and cover 1 to 12 percent of the frame together
        (less where the frame is so long that the brain is a small part of it).

    Raises:
        ValueError: The kind is unknown or the frame is too small.
    """
    return draw_cut(rng, rng, size_hw=size_hw, kind=kind)


def draw_cut(
    rng: np.random.Generator,
    noise: np.random.Generator,
    *,
    size_hw: tuple[int, int],
    kind: str,
    head_scale: float = 1.0,
    lesion_scale: float = 1.0,
) -> Phantom:
    """Draw one slice of a head: the same state of ``rng`` gives the same head, cut elsewhere by the scales.

    Args:
        rng: Source of head, lesions and contrast.
        noise: Source of what the scanner adds.
        size_hw: Height and width in pixels, each at least 96.
        kind: One of ``KINDS``.
        head_scale: Size of the head in this slice, as a fraction of its largest, above 0.
        lesion_scale: Size of the lesions, likewise; 0 for a slice beyond them.

    Raises:
        ValueError: The kind is unknown or the frame is too small.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of phantom {kind!r}; choose one of {', '.join(KINDS)}")
    if min(size_hw) < _SMALLEST_SIDE_PX:
        raise ValueError(f"a phantom of {size_hw} pixels is too small; give at least {_SMALLEST_SIDE_PX} a side")
    whole = draw_head(rng, size_hw)
    drawn = _draw_lesions(rng, whole, kind=kind)
    grey = _choose_sequence(rng, drawn)
    head, lesions = _cut(whole, drawn, head_scale=head_scale, lesion_scale=lesion_scale)
    labels = paint_tissues(rng, head, displace=partial(_push_aside, lesions=lesions))
    image = shrink(grey.take(labels))
    white = shrink((labels == Tissue.WHITE).view(np.uint8) * np.uint8(255)) / np.float32(255)
    for lesion in lesions:
        image = _lay_lesion(rng, image, lesion=lesion, grey=grey, white=white)
    return Phantom(_scan(noise, image), tuple(lesion.region for lesion in lesions), kind)


def write_phantom_dataset(folder: Path, *, counts: dict[str, int], no_tumour: int, seed: int) -> None:
    """Write a dataset in the Br35H layout, and in it a folder of slices without a tumour.

    ``folder/TRAIN`` (and so on) holds images and ``annotations_train.json`` in the VIA format; ``folder/no_tumour``
    holds images alone, because an image without annotation is a fault elsewhere. Sizes differ and are not square; most
    files are JPEG, some PNG, some have three equal channels. Each image depends on ``seed``, its part and its number
    alone: a larger count adds images and leaves the others as they were.

    Args:
        folder: Folder to write to; created if it does not exist.
        counts: Number of annotated images by part, for example ``{"TRAIN": 120, "VAL": 24, "TEST": 24}``; a part of 0
            has no folder. The four kinds with a tumour take turns.
        no_tumour: Number of images without a tumour.
        seed: Seed, 0 or more; the same seed gives the same bytes.

    Raises:
        DataError: The folder exists and is not empty, or is a file.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: exists and is not an empty folder; choose a new one for the phantoms")
    with sync_folders_once():
        for part, count in counts.items():
            records = [_write_image(folder / part, index=index, seed=seed) for index in range(count)]
            if records:
                write_via(folder / part / f"annotations_{part.lower()}.json", records)
        for index in range(no_tumour):
            _write_image(folder / NO_TUMOUR, index=index, seed=seed)


def _write_image(folder: Path, *, index: int, seed: int) -> ImageAnnotation:
    part = folder.name
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*part.encode(), index)))
    kind = "none" if part == NO_TUMOUR else _TUMOUR_KINDS[index % len(_TUMOUR_KINDS)]
    height = int(rng.integers(200, 321))
    width = int(height * rng.uniform(0.8, 0.97))
    suffix = ".png" if rng.random() < 0.15 else ".jpg"
    colour = rng.random() < 0.4
    phantom = draw_phantom(rng, size_hw=(height, width), kind=kind)
    pixels = cv2.cvtColor(phantom.pixels, cv2.COLOR_GRAY2BGR) if colour else phantom.pixels
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else []
    data = cv2.imencode(suffix, pixels, options)[1].tobytes()
    path = folder / f"{part.lower()}_{index:03d}{suffix}"
    write_atomically(path, data)
    return ImageAnnotation(filename=path.name, size_bytes=len(data), regions=phantom.regions)


def _cut(head: Head, lesions: list[_Lesion], *, head_scale: float, lesion_scale: float) -> tuple[Head, list[_Lesion]]:
    """A head and its lesions as they are on another slice; unchanged for scales of 1."""
    if head_scale == lesion_scale == 1:
        return head, lesions
    smaller = replace(
        head, half_width_px=head_scale * head.half_width_px, half_length_px=head_scale * head.half_length_px
    )
    moved = [_shrink_lesion(lesion, head, head_scale, lesion_scale) for lesion in lesions if lesion_scale > 0]
    return smaller, moved


def _shrink_lesion(lesion: _Lesion, head: Head, head_scale: float, lesion_scale: float) -> _Lesion:
    """A lesion on another slice: smaller, and moved with the head around it."""
    center_xy = head.center_xy + head_scale * (lesion.center_xy - head.center_xy)
    contour_xy = center_xy + lesion_scale * (lesion.contour_xy - lesion.center_xy)
    radius_px = lesion_scale * lesion.radius_px
    return _Lesion(lesion.kind, center_xy, contour_xy, radius_px=radius_px, region=Polygon(contour_xy))


def _draw_lesions(rng: np.random.Generator, head: Head, *, kind: str) -> list[_Lesion]:
    """Place lesions, the largest first, where they lie inside the brain and apart from each other."""
    if kind == "none":
        return []
    count = int(rng.integers(2, 4)) if kind == "multiple" else 1
    shares = np.exp(rng.uniform(np.log(0.013), np.log(0.03 if count > 1 else 0.1), count))
    free = rasterize([Polygon(brain_contour(head, scale=0.97))], head.size_hw)
    lesions: list[_Lesion] = []
    for share in np.sort(shares)[::-1]:
        chosen = str(rng.choice(_LESION_KINDS)) if kind == "multiple" else kind
        lesion = _draw_lesion(rng, free, kind=chosen, area_px=float(share) * free.size)
        free &= ~rasterize([Polygon(_scaled(lesion, 1.15))], head.size_hw)
        lesions.append(lesion)
    return lesions


def _draw_lesion(rng: np.random.Generator, free: NDArray[np.bool_], *, kind: str, area_px: float) -> _Lesion:
    """One lesion within the free pixels, made smaller until it fits."""
    shape = str(rng.choice(["polygon", "ellipse", "circle"], p=[0.76, 0.17, 0.07]))
    blob = _draw_blob(rng, roughness=0.05 if shape == "polygon" else 0.015, longest=1.1 if shape == "circle" else 1.6)
    reach = 1.04 * float(np.linalg.norm(blob, axis=1).max())  # an outline may be drawn a little wide
    room_px = cv2.distanceTransform(free.view(np.uint8), cv2.DIST_L2, 5)
    scale = float(np.sqrt(area_px / np.pi)) / _radius(blob)
    while not (room_px > scale * reach + 1).any():
        scale *= 0.9
    rows, columns = np.nonzero(room_px > scale * reach + 1)
    pick = rng.integers(rows.size)
    center_xy = np.array([columns[pick], rows[pick]], dtype=np.float64)
    contour_xy = center_xy + scale * blob
    region = _outline_by_hand(rng, contour_xy, shape=shape)
    return _Lesion(kind, center_xy, contour_xy, radius_px=_radius(contour_xy), region=region)


def _draw_blob(rng: np.random.Generator, *, roughness: float, longest: float) -> Floats:
    """A closed irregular contour around (0, 0), seen whole from there, shape (160, 2), of radius about 1."""
    angles_rad = np.linspace(0, TURN_RAD, _CONTOUR_POINTS, endpoint=False)
    orders = np.arange(2, 9)
    waves = np.cos(np.outer(angles_rad, orders) + rng.uniform(0, TURN_RAD, orders.size))
    radius = 1 + np.clip(waves @ (rng.normal(0, roughness, orders.size) * np.sqrt(2 / orders)), -0.5, 0.5)
    stretch, turn_rad = np.sqrt(rng.uniform(1, longest)), rng.uniform(0, np.pi)
    x, y = radius * np.cos(angles_rad) * stretch, radius * np.sin(angles_rad) / stretch
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    return np.column_stack((x * cos - y * sin, x * sin + y * cos))


def _outline_by_hand(rng: np.random.Generator, contour_xy: Floats, *, shape: str) -> Region:
    """The region that a careful annotator, who is not perfect, would draw around a contour."""
    if shape == "polygon":
        return _polygon_by_hand(rng, contour_xy)
    moments = cv2.moments(contour_xy.astype(np.float32))
    area_px = moments["m00"]
    slip_xy = rng.normal(0, 0.01, 2) * np.sqrt(area_px)
    center_xy = (moments["m10"] / area_px + slip_xy[0], moments["m01"] / area_px + slip_xy[1])
    if shape == "circle":
        return Circle(center_xy, _radius(contour_xy) * rng.normal(1.01, 0.01))
    # The second moments of an ellipse about its axes are a^2 / 4 and b^2 / 4 times its area.
    spread = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area_px
    variances, axes = np.linalg.eigh(spread)
    radius_x, radius_y = (2 * np.sqrt(variances) * rng.normal(1.01, 0.01, 2)).tolist()
    return Ellipse(center_xy, (radius_x, radius_y), float(np.arctan2(axes[1, 0], axes[0, 0])))


def _polygon_by_hand(rng: np.random.Generator, contour_xy: Floats) -> Polygon:
    """Twelve to forty clicks along a contour, each a little beside it."""
    count = int(rng.integers(12, 41))
    step = len(contour_xy) / count
    clicks = ((np.arange(count) + rng.uniform(0, 0.8, count)) * step).astype(int)
    middle_xy = contour_xy.mean(axis=0)
    # Chords cut corners; a hand makes up for it by drawing a little wide.
    stretch = rng.normal(1 + 3 / count**2, 0.012, (count, 1))
    return Polygon(middle_xy + (contour_xy[clicks] - middle_xy) * stretch)


def _push_aside(points_xy: Floats, *, lesions: list[_Lesion]) -> Floats:
    """Move points away from lesions, most at their border, as a mass displaces the midline and the ventricles."""
    for lesion in lesions:
        offset = points_xy - lesion.center_xy
        distance = np.linalg.norm(offset, axis=-1, keepdims=True) / (1.3 * lesion.radius_px)
        nearness = np.exp(-(distance**2))
        points_xy = points_xy + 0.35 * offset * nearness
    return points_xy


def _choose_sequence(rng: np.random.Generator, lesions: list[_Lesion]) -> NDArray[np.uint8]:
    """Grey values by tissue, of a sequence on which every lesion looks as its kind says."""
    # Water is dark on T1, so oedema would be too; it is bright on T2, so a necrotic core would be too.
    unfit = {{"oedema": "t1-contrast", "ring": "t2"}.get(lesion.kind) for lesion in lesions}
    return np.array(SEQUENCES[str(rng.choice([name for name in SEQUENCES if name not in unfit]))], dtype=np.uint8)


def _lay_lesion(
    rng: np.random.Generator, image: Image, *, lesion: _Lesion, grey: NDArray[np.uint8], white: Image
) -> Image:
    """Blend a lesion into an image of shape (H, W); ``white`` is the share of white matter, along which water seeps."""
    radius_px = lesion.radius_px
    border_px = max(0.8, 0.05 * radius_px)
    mask = partial(soft_mask, size_hw=image.shape)
    patches = rng.uniform(0.86, 1.0) * (1 + 0.07 * smooth_noise(rng, image.shape, grain_px=max(3.0, radius_px / 3)))
    tumour, oedema, necrosis = (grey[t] * patches for t in (Tissue.TUMOUR, Tissue.OEDEMA, Tissue.NECROSIS))
    inside = mask(lesion.contour_xy, soft_px=border_px)
    if lesion.kind == "oedema":
        core = mask(_scaled(lesion, rng.uniform(0.4, 0.6)), soft_px=3 * border_px)
        return _blend(_blend(image, oedema, 0.92 * inside), tumour, core)
    if lesion.kind == "ring" or rng.random() < 0.4:
        halo = mask(_scaled(lesion, rng.uniform(1.3, 1.7)), soft_px=0.22 * radius_px)
        image = _blend(image, oedema, 0.6 * halo * cv2.GaussianBlur(white, (0, 0), 1.5))
    image = _blend(image, tumour, inside)
    if lesion.kind == "bright":
        return image
    bays = np.linalg.norm(_draw_blob(rng, roughness=0.08, longest=1.3), axis=1, keepdims=True)
    core = mask(_scaled(lesion, np.clip(rng.uniform(0.6, 0.74) * bays, 0.35, 0.86)), soft_px=border_px)
    return _blend(image, necrosis, core)


def _blend(image: Image, paint: Image, cover: Image) -> Image:
    return image + (paint - image) * cover


def _scaled(lesion: _Lesion, factor: float | Floats) -> Floats:
    return lesion.center_xy + (lesion.contour_xy - lesion.center_xy) * factor


def _radius(contour_xy: Floats) -> float:
    return float(np.sqrt(region_area(Polygon(contour_xy)) / np.pi))


def _scan(rng: np.random.Generator, image: Image) -> NDArray[np.uint8]:
    """Add what the scanner does: texture, coil shading, contrast, blur, and the Rician noise of a magnitude image."""
    fine, middle, coarse = (smooth_noise(rng, image.shape, grain_px=grain_px) for grain_px in (2, 5, 20))
    texture = 1 + rng.uniform(0.02, 0.045) * (fine + middle + coarse)
    shading = 1 + 0.13 * smooth_noise(rng, image.shape, grain_px=max(image.shape) / 2)
    bright = np.clip(image * texture * shading / 255, 0, 1.15)
    signal = cv2.GaussianBlur(255 * cv2.pow(bright, rng.uniform(0.8, 1.2)), (0, 0), rng.uniform(0.35, 0.8))
    real, imaginary = rng.uniform(1.5, 5) * rng.standard_normal((2, *image.shape), dtype=np.float32)
    magnitude = cv2.convertScaleAbs(cv2.magnitude(signal + real, imaginary))  # rounds, and cuts at 255
    return np.asarray(magnitude, dtype=np.uint8)

"""CT slices of heads and trunks, in Hounsfield units, blurred, noisy and windowed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.random import Generator

from studies.foreign.painting import (
    Field,
    Pixels,
    Plane,
    Point,
    as_saved,
    blur,
    filled,
    grain,
    inside,
    lay,
    make_plane,
    moved,
    oval,
    random_side,
    resized,
    to_bytes,
)

_HEAD_MM, _BODY_MM = 240.0, 400.0
_AIR, _FAT, _FLUID, _WHITE_MATTER, _GREY_MATTER, _MUSCLE, _BONE = -1000.0, -95.0, 7.0, 28.0, 38.0, 55.0, 1250.0
# Level and width in Hounsfield units.
_BRAIN_WINDOW, _WIDE_BRAIN_WINDOW, _STROKE_WINDOW = (38, 85), (45, 140), (35, 60)
_BONE_WINDOW, _SOFT_WINDOW, _LUNG_WINDOW = (500, 2000), (40, 400), (-550, 1500)


def make_ct(rng: Generator, index: int) -> Pixels:
    """A slice of a head or a trunk, by turns."""
    slices = (
        (partial(_head, level="ventricles"), _BRAIN_WINDOW),
        (partial(_abdomen, upper=True), _SOFT_WINDOW),
        (partial(_head, level="vertex"), _BRAIN_WINDOW),
        (_thorax, _SOFT_WINDOW),
        (partial(_head, level="ventricles"), _WIDE_BRAIN_WINDOW),
        (partial(_abdomen, upper=False), _SOFT_WINDOW),
        (partial(_head, level="base"), _BONE_WINDOW),
        (_thorax, _LUNG_WINDOW),
        (partial(_head, level="base"), _WIDE_BRAIN_WINDOW),
        (partial(_abdomen, upper=True), _SOFT_WINDOW),
        (partial(_head, level="ventricles"), _STROKE_WINDOW),
        (_thorax, _SOFT_WINDOW),
    )
    body, (level, width) = slices[index]
    return as_saved(_reframed(to_bytes((body(rng) - level) / width + 0.5), rng), index)


def _reframed(pixels: Pixels, rng: Generator) -> Pixels:
    """Half as the scanner gives it, half cut close to the body, as pictures in articles are; at a random size."""
    if rng.random() < 0.5:
        rows, columns = (np.flatnonzero((pixels > 25).mean(axis=axis) > 0.06) for axis in (1, 0))
        pad = int(rng.integers(2, 20))
        pixels = pixels[max(0, rows[0] - pad) : rows[-1] + pad, max(0, columns[0] - pad) : columns[-1] + pad]
    return resized(pixels, random_side(rng, 256, 640))


def _depth_px(mask: Field) -> Field:
    """Distance in pixels from each inside pixel to the outline; 0 outside."""
    return np.asarray(cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _scanned(hounsfield: Field, noise_hu: Field | float, rng: Generator) -> Field:
    """Blurred by the scanner's resolution, with quantum noise that the reconstruction has correlated."""
    noise = rng.standard_normal(hounsfield.shape, dtype=np.float32)
    # A reconstruction filter leaves neither single pixels nor wide lumps: a band between two blurs.
    noise = blur(noise, 0.7) - 0.7 * blur(noise, 2.2)
    return blur(hounsfield, 0.8) + noise_hu * noise / noise.std()


def _head(rng: Generator, *, level: str) -> Field:
    """A head in Hounsfield units: a closed ring of bone of one thickness round a flat brain, in a headrest."""
    size = int(rng.choice([320, 400, 512, 512]))
    plane = _leaning(make_plane(size, size), rng.uniform(-9, 9))
    mm = _HEAD_MM / size
    shrink = rng.uniform(0.74, 0.86) if level == "vertex" else rng.uniform(0.93, 1.04)
    radii = (0.56 * shrink * rng.uniform(0.95, 1.05), 0.7 * shrink)
    # Wider behind than in front, as heads are.
    breadth = radii[0] * (1 + 0.09 * np.clip(plane.y / radii[1], -1.3, 1.3))
    cavity = inside(np.hypot(plane.x / breadth, plane.y / radii[1]), radii[0] / plane.pixel)
    picture = np.full((size, size), _AIR, np.float32)
    _shells(picture, plane, _depth_px(1 - cavity) * mm, rng)
    lay(picture, cavity, _brain(plane, _depth_px(cavity) * mm, radii, rng, level))
    if level == "base":
        _skull_base(picture, plane, radii, rng)
    if rng.random() < 0.85:
        _headrest(picture, plane, radii[1], rng)
    return _scanned(picture, rng.uniform(2.5, 5), rng)


def _leaning(plane: Plane, angle_deg: float) -> Plane:
    """The same frame seen by a body that leans and does not lie quite in the middle."""
    cos, sin = np.float32(np.cos(np.radians(angle_deg))), np.float32(np.sin(np.radians(angle_deg)))
    x, y = plane.x - angle_deg / 300, plane.y + 0.06
    return moved(cos * x + sin * y, cos * y - sin * x, plane.pixel)


def _shells(picture: Field, plane: Plane, outside_mm: Field, rng: Generator) -> None:
    """Bone, a layer of fat and skin round the brain's cavity, each as thick all the way round."""
    bone, fat, skin = rng.uniform(5, 9), rng.uniform(1.5, 6), rng.uniform(1.5, 3)
    picture[(outside_mm > 0) & (outside_mm <= bone + fat + skin)] = 45
    picture[(outside_mm > bone + 1) & (outside_mm <= bone + fat)] = _FAT
    # The temporal muscles lie outside the bone at the sides, where the scalp is thicker for them.
    temples = (outside_mm > bone) & (outside_mm < bone + 7 * np.exp(-(((plane.y + 0.1) / 0.25) ** 2)) + 0.5)
    picture[temples & (np.abs(plane.x) > 0.3)] = _MUSCLE + 5
    ring = (outside_mm > 0) & (outside_mm <= bone)
    picture[ring] = _BONE
    # Marrow between the two hard tables, which only a bone window shows.
    picture[ring & (np.abs(outside_mm - bone / 2) < bone / 6)] = _BONE * 0.55


def _brain(plane: Plane, depth_mm: Field, radii: Point, rng: Generator, level: str) -> Field:
    """Grey and white matter of almost one density, darker fluid in furrows and ventricles, the falx."""
    shape = plane.x.shape
    px_per_mm = shape[0] / _HEAD_MM
    folded = depth_mm + 3 * grain(shape, 14 * px_per_mm, rng)
    brain = _WHITE_MATTER + (_GREY_MATTER - _WHITE_MATTER) / (1 + np.exp((folded - 6) / 1.2))
    lay(brain, _furrows(plane, depth_mm, rng, 30 if level == "vertex" else 17), _FLUID + 3)
    lay(brain, depth_mm < rng.uniform(0.8, 2.2), _FLUID + 8)
    if level == "ventricles":
        _ventricles(brain, plane, radii[1], rng)
    falx = (np.abs(plane.x) < 0.009) & ((np.abs(plane.y) > 0.5 * radii[1]) | (level == "vertex"))
    lay(brain, falx, 52)
    if rng.random() < 0.4:
        spot = (rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.35))
        lesion = oval(plane, spot, (rng.uniform(0.06, 0.16), rng.uniform(0.06, 0.14)), 0, rng)
        lay(brain, blur(lesion, 2), float(rng.choice([66, 17])))
    # The beam hardens in the bone, which brightens the rim of the brain.
    brain += 7 * np.exp(-depth_mm / 7)
    return brain


def _furrows(plane: Plane, depth_mm: Field, rng: Generator, reach_mm: float) -> Field:
    """Furrows that run inward from the brain's rim, wander, and end at different depths: 0..1."""
    shape = plane.x.shape
    px_per_mm = shape[0] / _HEAD_MM
    angle = np.arctan2(plane.x, plane.y) * int(rng.integers(15, 22)) + 1.3 * grain(shape, 22 * px_per_mm, rng)
    ends = reach_mm * (0.55 + 0.3 * grain(shape, 26 * px_per_mm, rng))
    # As wide at the mouth as the patient is old.
    narrow = rng.uniform(0.93, 0.985) + 0.02 * np.clip(depth_mm / reach_mm, 0, 1)
    lines = np.clip((np.cos(angle) - narrow) * 40, 0, 1) * np.clip((ends - depth_mm) / 3, 0, 1)
    return blur(lines, 0.4 * px_per_mm)


def _ventricles(brain: Field, plane: Plane, length: float, rng: Generator) -> None:
    """The lateral ventricles' horns, the third ventricle, deep grey matter and calcified plexus, in place."""
    wide = rng.uniform(0.75, 1.7)
    # A higher slice shows each ventricle in one piece.
    joined = float(rng.random() < 0.5)
    for side in (-1, 1):
        lay(brain, blur(oval(plane, (side * 0.2, 0.0), (0.07, 0.17), side * -14), 2), _GREY_MATTER - 2)
        front = oval(plane, (side * (0.05 + 0.025 * wide), -0.22 * length / 0.7), (0.035 * wide, 0.14), side * 14, rng)
        waist = oval(plane, (side * 0.13, 0.03), (0.016 * wide, 0.14), side * -26, rng)
        back = oval(plane, (side * 0.2, 0.25 * length / 0.7), (0.042 * wide, 0.15), side * 20, rng)
        fluid = np.maximum.reduce([front, waist * joined, back])
        lay(brain, blur(fluid, 1.2), _FLUID)
        if rng.random() < 0.7:
            lay(brain, oval(plane, (side * 0.19, 0.24), (0.022, 0.03), 0, rng), 170)
    lay(brain, oval(plane, (0, 0.02), (0.014 * wide, 0.09)), _FLUID)
    lay(brain, blur(oval(plane, (0, 0.17), (0.09, 0.03), 0, rng), 1.5), _FLUID + 4)
    if rng.random() < 0.6:
        lay(brain, oval(plane, (0, 0.14), (0.018, 0.018)), 200)


def _skull_base(picture: Field, plane: Plane, radii: Point, rng: Generator) -> None:
    """Petrous bones with air cells, the sphenoid, air-filled sinuses and the orbits, in place."""
    across, along = radii
    cells = np.clip(grain(plane.x.shape, 5, rng), -1, 1)
    for side in (-1, 1):
        wedge = np.array([[across, 0.02], [across, 0.26], [0.3, 0.14], [0.09, 0.02], [0.25, 0.02]]) * [side, 1]
        lay(picture, filled(plane, wedge), _BONE + 500 * cells)
        mastoid = oval(plane, (side * across * 0.92, 0.2), (0.1, 0.11), 0, rng)
        lay(picture, mastoid, np.where(cells > 0.1, _BONE * 0.7, _AIR))
        wing = np.array([[across, -0.25], [across * 0.6, -0.22], [0.12, -0.12], [0.12, -0.08], [across * 0.7, -0.17]])
        lay(picture, filled(plane, wing * [side, 1]), _BONE)
        lay(picture, oval(plane, (side * 0.27, -along * 0.72), (0.19, 0.17)), _FAT)
        lay(picture, oval(plane, (side * 0.27, -along * 0.8), (0.12, 0.12)), 45)
        lay(picture, oval(plane, (side * 0.27, -along * 0.8), (0.1, 0.1)), 12)
    lay(picture, oval(plane, (0, -0.12), (0.13, 0.12), 0, rng), _BONE)
    lay(picture, oval(plane, (0, -0.14), (0.085, 0.07), 0, rng), _AIR)
    for x in (-0.05, 0.05):
        lay(picture, oval(plane, (x, -along * 0.7), (0.055, 0.19)), _BONE)
        lay(picture, oval(plane, (x, -along * 0.7), (0.038, 0.17)), _AIR)
    lay(picture, oval(plane, (0, 0.3), (0.045, 0.03)), _FLUID)


def _headrest(picture: Field, plane: Plane, length: float, rng: Generator) -> None:
    """A thin shell under the back of the head, with a pad between, in place."""
    bottom = length + rng.uniform(0.14, 0.19)
    curve = bottom - plane.y - 0.62 * plane.x**2
    reach = np.abs(plane.x) < rng.uniform(0.55, 0.8)
    thickness = rng.uniform(0.012, 0.022)
    shell = (np.abs(curve) < thickness) & reach
    if rng.random() < 0.5:
        shell |= (np.abs(curve + 0.07) < thickness) & reach
    free = picture < _FAT - 100
    picture[shell & free] = rng.uniform(10, 70)


@dataclass(frozen=True, eq=False)
class _Trunk:
    """A trunk slice as it is painted.

    Attributes:
        picture: Hounsfield units.
        plane: Coordinates in halves of the slice's width.
        shape: Depth of each pixel in the trunk, 0..1.
        radii: Its half axes.
        under_mm: Depth of each pixel under the fat.
        cavity: Depth of each pixel within the muscular wall, 0..1.
    """

    picture: Field
    plane: Plane
    shape: Field
    radii: Point
    under_mm: Field
    cavity: Field


def _wall(rng: Generator) -> _Trunk:
    """Skin, fat and the muscular wall."""
    size = int(rng.choice([384, 512, 512]))
    height = size if rng.random() < 0.6 else round(size * 0.78)
    plane, mm = make_plane(height, size), _BODY_MM / size
    # In halves of the width, whatever the height, so that the organs keep their places.
    plane = moved(plane.x * height / size, plane.y * height / size + 0.04, plane.pixel * height / size)
    radii = (rng.uniform(0.76, 0.9), rng.uniform(0.52, 0.64))
    radius = (np.abs(plane.x / radii[0]) ** 2.4 + np.abs(plane.y / radii[1]) ** 2.4) ** (1 / 2.4)
    # The back is flatter than the belly, because the body lies on it.
    radius *= 1 + 0.1 * np.clip(plane.y / radii[1], 0, 1) ** 4 + 0.01 * grain(radius.shape, 120, rng)
    shape = inside(radius, radii[1] / plane.pixel)
    depth_mm = _depth_px(shape) * mm
    # Thicker on the belly's side than on the flanks and the back.
    under_mm = depth_mm - rng.uniform(7, 24) * (1 + 0.35 * np.clip(-plane.y, 0, 1))
    fat = _FAT + 4 * grain(shape.shape, 6, rng)
    picture = np.select([depth_mm <= 0, depth_mm < 2], [np.float32(_AIR), np.float32(30)], fat)
    streaks = np.where(grain(shape.shape, 7, rng) > 1.2, -30, _MUSCLE)
    lay(picture, np.clip(under_mm / mm, 0, 1), streaks)
    return _Trunk(picture, plane, shape, radii, under_mm, np.clip((under_mm - 15) / mm, 0, 1))


def _rib_ring(trunk: _Trunk, rng: Generator) -> None:
    """Ribs cut aslant, strung along the middle of the wall, with a hard shell and softer marrow, in place."""
    on_track = np.exp(-(((trunk.under_mm - 9) / 4.5) ** 2))
    angle = np.arctan2(trunk.plane.y / trunk.radii[1], trunk.plane.x / trunk.radii[0])
    phase = rng.uniform(0, 6)
    dashes = np.sin(angle * 13 + phase + 0.6 * np.sin(3 * angle + phase))
    bone = np.clip((np.minimum(on_track - 0.5, (dashes - 0.15) * 0.6)) * 12, 0, 1) * (np.abs(trunk.plane.x) > 0.16)
    marrow = np.clip((np.minimum(on_track - 0.8, (dashes - 0.45) * 0.6)) * 12, 0, 1)
    lay(trunk.picture, bone, 650)
    lay(trunk.picture, bone * marrow, 180)


def _vertebra(picture: Field, plane: Plane, bottom: float, rng: Generator) -> None:
    """A vertebra seen from below, with its canal and processes, between the muscles of the back; in place."""
    size = rng.uniform(0.88, 1.06)
    # The muscles' lower edge stays a little above the skin of the back.
    plane = moved(plane.x / size, (plane.y - bottom + 0.06) / size + 0.53, plane.pixel / size)
    marrow = rng.uniform(170, 260) + 45 * grain(plane.x.shape, 4, rng)
    slant = rng.uniform(8, 28)
    for side in (-1, 1):
        lay(picture, oval(plane, (side * 0.19, 0.4), (0.15, 0.105), side * 12, rng), _MUSCLE)
        lay(picture, oval(plane, (side * 0.15, 0.3), (rng.uniform(0.08, 0.13), 0.026), side * slant, rng), 430)
        lay(picture, oval(plane, (side * 0.065, 0.37), (0.075, 0.02), side * 50), 520)
    lay(picture, oval(plane, (rng.uniform(-0.01, 0.01), 0.45), (0.018, rng.uniform(0.05, 0.085)), 0, rng), 480)
    lay(picture, oval(plane, (0, 0.23), (0.118, 0.09)), 560)
    lay(picture, oval(plane, (0, 0.23), (0.107, 0.079)), marrow)
    lay(picture, oval(plane, (0, 0.335), (0.058, 0.043)), 30)


def _table_top(picture: Field, plane: Plane, bottom: float, rng: Generator) -> None:
    """The table's two curved skins under the back, in place."""
    curve = plane.y - bottom - 0.03 + rng.uniform(0.05, 0.16) * plane.x**2
    for offset, density in ((0.0, 60), (0.09, -40)):
        skin = (np.abs(curve - offset) < 0.008) & (picture < -500) & (np.abs(plane.x) < 0.78)
        picture[skin] = density


def _finished(trunk: _Trunk, rng: Generator) -> Field:
    """Bones and table, then noise that grows toward the middle, where most of the beam is lost."""
    picture, plane, bottom = trunk.picture, trunk.plane, trunk.radii[1]
    _vertebra(picture, plane, bottom, rng)
    _rib_ring(trunk, rng)
    _table_top(picture, plane, bottom, rng)
    deep = 0.5 + 0.8 * blur(trunk.shape, 30) * np.exp(-(plane.x**2 + plane.y**2) / 0.5)
    return _scanned(picture, rng.uniform(12, 22) * deep, rng)


def _abdomen(rng: Generator, *, upper: bool) -> Field:
    """An upper or middle abdomen in Hounsfield units, with contrast medium in the vessels more often than not."""
    trunk = _wall(rng)
    lay(trunk.picture, trunk.cavity, _FAT + 6 * grain(trunk.shape.shape, 5, rng))
    contrast = float(rng.choice([0.0, 1.0, 1.0]))
    organs = trunk.picture.copy()
    _bowel(organs, trunk.plane, rng, contrast)
    if upper:
        _upper_organs(organs, trunk.plane, rng, contrast)
    _kidneys_and_vessels(organs, trunk.plane, rng, contrast)
    lay(trunk.picture, trunk.cavity, organs)
    return _finished(trunk, rng)


def _bowel(picture: Field, plane: Plane, rng: Generator, contrast: float) -> None:
    """Loops of bowel: a wall, and in it fluid, contrast medium, or gas that floats above fluid; in place."""
    for _ in range(int(rng.integers(34, 56))):
        centre = (rng.uniform(-0.6, 0.62), rng.uniform(-0.46, 0.08))
        radii, turn = (rng.uniform(0.05, 0.14), rng.uniform(0.035, 0.07)), rng.uniform(0, 180)
        lay(picture, oval(plane, centre, radii, turn, rng), 50 + 40 * contrast)
        lumen = oval(plane, centre, (radii[0] * 0.78, radii[1] * 0.74), turn, rng)
        filling = float(rng.choice([20, 30, 35, 45, 50, 260]))
        lay(picture, lumen, filling + 8 * grain(plane.x.shape, 8, rng))
        if rng.random() < 0.2:
            lay(picture, lumen * (plane.y < centre[1] + 0.01), -900)


def _upper_organs(picture: Field, plane: Plane, rng: Generator, contrast: float) -> None:
    """Liver with its vessels, stomach with an air bubble, spleen and pancreas, in place."""
    size = rng.uniform(0.9, 1.12)
    liver = np.maximum(
        oval(plane, (-0.42, -0.05), (0.36 * size, 0.38 * size), 15, rng),
        oval(plane, (-0.1, -0.22), (0.3, 0.17), -12, rng),
    )
    lay(picture, liver, 58 + 48 * contrast)
    for _ in range(9):
        centre = (rng.uniform(-0.62, -0.12), rng.uniform(-0.3, 0.18))
        vein = oval(plane, centre, (rng.uniform(0.02, 0.09), rng.uniform(0.009, 0.018)), rng.uniform(0, 180), rng)
        lay(picture, vein * liver, 40 + 120 * contrast)
    stomach = oval(plane, (0.33, -0.2), (0.25, 0.17), rng.uniform(-30, 10), rng)
    lay(picture, stomach, 55 + 30 * contrast)
    lumen = oval(plane, (0.33, -0.2), (0.22, 0.14), rng.uniform(-30, 10), rng) * stomach
    lay(picture, lumen, 25 + 20 * grain(plane.x.shape, 25, rng))
    lay(picture, lumen * (plane.y < rng.uniform(-0.3, -0.18)), -920)
    lay(picture, oval(plane, (0.6, 0.1), (0.12, 0.22), -18, rng), 50 + 75 * contrast)
    lay(picture, oval(plane, (0.12, 0.01), (0.25, 0.045), -14, rng), 42 + 50 * contrast)


def _kidneys_and_vessels(picture: Field, plane: Plane, rng: Generator, contrast: float) -> None:
    """Kidneys with their fatty sinus, psoas, aorta (sometimes calcified) and vena cava, in place."""
    for side in (-1, 1):
        centre = (side * 0.36, 0.2 + rng.uniform(-0.02, 0.04))
        lay(picture, oval(plane, centre, (0.17, 0.18)), _FAT)
        lay(picture, oval(plane, centre, (0.115, 0.14), side * 25, rng), 32 + 160 * contrast)
        lay(picture, oval(plane, (centre[0] - side * 0.05, centre[1]), (0.06, 0.05), side * 20, rng), -40)
        lay(picture, oval(plane, (side * 0.17, 0.23), (0.07, 0.085), side * -10, rng), _MUSCLE)
    lay(picture, oval(plane, (0.06, 0.09), (0.052, 0.052)), 42 + 190 * contrast)
    if rng.random() < 0.5:
        lay(picture, oval(plane, (0.105, 0.1), (0.012, 0.03)), 600)
    lay(picture, oval(plane, (-0.09, 0.1), (0.065, 0.048), 0, rng), 40 + 95 * contrast)


def _thorax(rng: Generator) -> Field:
    """A chest slice in Hounsfield units: lungs with vessels, heart or arch, spine, breastbone, shoulder blades."""
    trunk = _wall(rng)
    picture, plane = trunk.picture, trunk.plane
    lay(picture, trunk.cavity, _FAT + 20)
    vessels = grain(picture.shape, 7, rng) + 0.6 * grain(picture.shape, 16, rng)
    lung_hu = np.where(vessels > 2.1, 20, -860 + 30 * vessels)
    for side in (-1, 1):
        lung = oval(plane, (side * 0.44, -0.02), (rng.uniform(0.34, 0.38), 0.48), side * -8, rng)
        lay(picture, lung * trunk.cavity, lung_hu)
    contrast = float(rng.choice([0.0, 1.0]))
    (_heart_slice if rng.random() < 0.6 else _arch_slice)(picture, plane, rng, contrast)
    lay(picture, oval(plane, (0, 0.11 - trunk.radii[1]), (0.11, 0.028)), 380)
    return _finished(trunk, rng)


def _heart_slice(picture: Field, plane: Plane, rng: Generator, contrast: float) -> None:
    """Heart with its chambers in fat, and the descending aorta, in place."""
    lay(picture, oval(plane, (0.1, -0.12), (0.36, 0.26), 28, rng), _FAT)
    lay(picture, oval(plane, (0.1, -0.12), (0.33, 0.235), 28, rng), 55 + 50 * contrast)
    for centre, chamber in (((0.22, -0.1), (0.13, 0.085)), ((0.0, -0.2), (0.12, 0.08)), ((0.05, 0.02), (0.12, 0.06))):
        lay(picture, oval(plane, centre, chamber, 35, rng), 42 + 180 * contrast)
    lay(picture, oval(plane, (0.11, 0.14), (0.055, 0.055)), 42 + 190 * contrast)
    lay(picture, oval(plane, (0.01, 0.1), (0.035, 0.025)), 40)


def _arch_slice(picture: Field, plane: Plane, rng: Generator, contrast: float) -> None:
    """The upper chest: fat with the aortic arch, the vena cava and the windpipe, in place."""
    lay(picture, oval(plane, (0, -0.15), (0.17, 0.34), 0, rng), _FAT + 10)
    lay(picture, oval(plane, (0.06, -0.08), (0.065, 0.2), -28, rng), 42 + 200 * contrast)
    lay(picture, oval(plane, (-0.1, -0.17), (0.045, 0.05), 0, rng), 40 + 300 * contrast)
    lay(picture, oval(plane, (-0.01, 0.03), (0.055, 0.055)), 40)
    lay(picture, oval(plane, (-0.01, 0.03), (0.045, 0.047)), -980)
    lay(picture, oval(plane, (0.01, 0.11), (0.04, 0.025)), 40)

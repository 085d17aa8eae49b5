"""Ultrasound pictures: echoes as speckle along the beams."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from studies.foreign.painting import (
    LARGEST,
    SMALLEST,
    Field,
    Pixels,
    Plane,
    as_saved,
    blur,
    grain,
    lay,
    load_font,
    oval,
    random_side,
    to_bytes,
)

_DEPTH_SAMPLES, _LINES = 420, 240
_DYNAMIC_DB = 62.0


@dataclass(frozen=True)
class _Probe:
    """Where the beams start and how far they spread, in depths of the picture.

    Attributes:
        radius: Radius of the curved face; 0 makes a linear probe whose beams are parallel.
        half_angle_rad: Angle between the middle beam and the last; half the width for a linear probe.
    """

    radius: float
    half_angle_rad: float


_CONVEX, _SECTOR, _LINEAR = _Probe(0.38, 0.56), _Probe(0.03, 0.72), _Probe(0.0, 0.42)


def make_ultrasound(rng: Generator, index: int) -> Pixels:
    """A picture of one of six organs, by turns."""
    scenes = (
        (_liver, _CONVEX),
        (_kidney, _CONVEX),
        (_unborn, _CONVEX),
        (_heart_chambers, _SECTOR),
        (_gland, _LINEAR),
        (_artery, _LINEAR),
    )
    scene, probe = scenes[index % len(scenes)]
    half_angle_rad = probe.half_angle_rad * rng.uniform(0.85, 1.15)
    probe = _Probe(probe.radius * rng.uniform(0.8, 1.2), half_angle_rad)
    echoes = _echoes(scene(_beams(probe), rng), rng)
    return as_saved(_on_screen(_scan_converted(echoes, probe, rng), rng), index)


def _beams(probe: _Probe) -> Plane:
    """Where each sample of each beam lies: x from the middle, y (depth) 0..1; (depths, beams)."""
    depth, across = np.mgrid[0 : 1 : _DEPTH_SAMPLES * 1j, -1 : 1 : _LINES * 1j].astype(np.float32)
    if not probe.radius:
        return Plane(across * probe.half_angle_rad, depth, 1 / _DEPTH_SAMPLES)
    angle, reach = across * probe.half_angle_rad, depth + probe.radius
    return Plane(reach * np.sin(angle), reach * np.cos(angle) - probe.radius, 1 / _DEPTH_SAMPLES)


def _echoes(level_db: Field, rng: Generator) -> Field:
    """The log-compressed envelope, 0..1: Rayleigh speckle at the tissue's level, weakened with depth."""
    # Resolution is finer along a beam than across it, which is what makes speckle lie in arcs.
    real, imaginary = (
        cv2.GaussianBlur(rng.standard_normal(level_db.shape, dtype=np.float32), (0, 0), 1.7, sigmaY=1.1)
        for _ in range(2)
    )
    speckle = np.hypot(real, imaginary)
    speckle_db = 20 * np.log10(speckle / speckle.mean() + 1e-4)
    depth = np.linspace(0, 1, level_db.shape[0], dtype=np.float32)[:, None]
    # The operator's gain sliders make up for most of the attenuation, unevenly.
    gain_db = -rng.uniform(3, 14) * depth + 2 * np.sin(depth * rng.uniform(4, 9))
    near_db = 14 * np.exp(-depth / 0.015)
    contact_db = 3 * grain((1, level_db.shape[1]), 30, rng)
    total = blur(level_db, 0.9) + speckle_db + gain_db + near_db + contact_db
    return np.clip((total + rng.uniform(24, 32)) / _DYNAMIC_DB, 0, 1)


def _scan_converted(envelope: Field, probe: _Probe, rng: Generator) -> Field:
    """Beams brought to where they lie in the body, black where there are none, 0..1."""
    height = random_side(rng, 300, 460)
    if not probe.radius:
        width = round(height * 2 * probe.half_angle_rad * rng.uniform(0.9, 1.25))
        return np.asarray(cv2.resize(envelope, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    top = probe.radius * np.cos(probe.half_angle_rad)
    scale = (1 + probe.radius - top) / height
    width = round(2 * (1 + probe.radius) * np.sin(probe.half_angle_rad) / scale)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x + 0.5 - width / 2) * scale, top + (y + 0.5) * scale
    column = (np.arctan2(x, y) / probe.half_angle_rad + 1) / 2 * (_LINES - 1)
    row = (np.hypot(x, y) - probe.radius) * (_DEPTH_SAMPLES - 1)
    beams = cv2.remap(envelope, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(beams, np.float32)


def _on_screen(echoes: Field, rng: Generator) -> Pixels:
    """The scanner's screen: black, often with the machine's lettering, a depth scale and a grey wedge."""
    height, width = echoes.shape
    lettered = rng.random() < 0.55
    margin = (int(rng.integers(28, 60)), int(rng.integers(40, 110))) if lettered else (int(rng.integers(0, 14)),) * 2
    size = min(LARGEST, height + 2 * margin[0]), min(LARGEST, max(SMALLEST, width + 2 * margin[1]))
    screen = np.zeros(size, np.float32)
    left = (screen.shape[1] - width) // 2
    screen[margin[0] : margin[0] + height, left : left + width] = echoes
    picture = Image.fromarray(to_bytes(screen))
    if lettered:
        _letter_screen(ImageDraw.Draw(picture), picture.size, height, rng)
    return np.asarray(picture)


def _letter_screen(draw: ImageDraw.ImageDraw, size: tuple[int, int], depth_px: int, rng: Generator) -> None:
    """Lettering in the margins, ticks for each centimetre, a grey wedge, and sometimes a measured distance."""
    width, height = size
    small = load_font(11)
    draw.text((6, 4), f"{rng.choice(['C5-2', 'L12-3', 'S4-2', '3.5C'])}  {rng.integers(10, 60)}Hz", 200, font=small)
    draw.text(
        (width - 6, 4), f"TIs {rng.uniform(0.1, 1.5):.1f}  MI {rng.uniform(0.5, 1.4):.1f}", 200, font=small, anchor="ra"
    )
    for line, words in enumerate((f"2D {rng.integers(40, 90)}%", f"DR {rng.integers(50, 75)}", "P Low", "Gen")):
        draw.text((6, 40 + 15 * line), words, 170, font=small)
    for y in np.linspace(height - depth_px - 20, height - 20, int(rng.integers(8, 18))):
        draw.line([(width - 12, y), (width - 6, y)], fill=180)
    for step in range(100):
        draw.line([(8, height - 20 - step), (16, height - 20 - step)], fill=round(step * 2.5))
    if rng.random() < 0.5:
        points = [(width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.75)) for _ in range(2)]
        for x, y in points:
            draw.line([(x - 5, y), (x + 5, y)], fill=255)
            draw.line([(x, y - 5), (x, y + 5)], fill=255)
        distance = f"+ Dist {rng.uniform(0.5, 9):.2f} cm"
        draw.text((width - 6, height - 16), distance, 230, font=small, anchor="ra")


def _shadow(mask: Field) -> Field:
    """What lies deeper than a mask on the same beams, 0..1."""
    return np.maximum.accumulate(mask, axis=0)


def _cyst(level: Field, mask: Field) -> None:
    """Fluid: no echo inside, a bright front and back wall, and more echo behind, since fluid does not attenuate."""
    level += 7 * blur(_shadow(mask), 3)
    # Never quite empty: the beam's side lobes and echoes between skin and probe fill in a little.
    haze = -38 + 12 * np.clip(mask - np.roll(mask, _DEPTH_SAMPLES // 20, axis=0), 0, 1)
    lay(level, blur(mask, 1.2), haze)
    level += 14 * np.clip(np.abs(cv2.Sobel(mask, cv2.CV_32F, 0, 1)), 0, 1)


def _liver(beams: Plane, rng: Generator) -> Field:
    """An even liver with dark veins, the diaphragm as a bright arc, a gall bladder that may hold a stone; dB."""
    level = 1.5 * grain(beams.x.shape, 60, rng)
    level += 9 * np.exp(-(((beams.y - 0.05 - 0.02 * np.sin(8 * beams.x)) / 0.012) ** 2))
    level -= 6 * (beams.y < 0.05)
    arc = np.hypot(beams.x - rng.uniform(-0.2, 0.2), beams.y - 0.1) - rng.uniform(0.68, 0.78)
    level += 24 * np.exp(-((arc / 0.012) ** 2)) - 9 * (arc > 0)
    for _ in range(int(rng.integers(4, 8))):
        centre = (rng.uniform(-0.35, 0.35), rng.uniform(0.25, 0.65))
        vein = oval(beams, centre, (rng.uniform(0.04, 0.18), rng.uniform(0.012, 0.03)), rng.uniform(-70, 70), rng)
        lay(level, vein, -30)
    bladder = oval(beams, (rng.uniform(0.0, 0.25), 0.42), (0.17, 0.075), rng.uniform(-40, 40), rng)
    _cyst(level, bladder)
    if rng.random() < 0.5:
        inside = np.argwhere(bladder > 0.9)
        row, column = inside[int(len(inside) * 0.8)]
        stone = oval(beams, (float(beams.x[row, column]), float(beams.y[row, column])), (0.03, 0.02))
        level -= 35 * blur(_shadow(stone), 1.5)
        level += stone * 75
    return level


def _kidney(beams: Plane, rng: Generator) -> Field:
    """A kidney: a dark rind with darker pyramids round a bright sinus, in striped muscle and liver; dB."""
    level = 2 * grain(beams.x.shape, 40, rng)
    level += 4 * np.sin(70 * beams.y + 3 * beams.x) * (beams.y < 0.2)
    centre, turn = (rng.uniform(-0.1, 0.1), rng.uniform(0.42, 0.52)), rng.uniform(-25, 25)
    length, breadth = rng.uniform(0.3, 0.36), rng.uniform(0.14, 0.18)
    level += 10 * oval(beams, centre, (length + 0.015, breadth + 0.015), turn)
    rind = oval(beams, centre, (length, breadth), turn)
    lay(level, rind, -7 + 1.5 * grain(beams.x.shape, 25, rng))
    for angle in np.linspace(0, 2 * np.pi, 9)[:-1]:
        along, off = 0.72 * length * np.cos(angle), 0.68 * breadth * np.sin(angle)
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        spot = (centre[0] + cos * along - sin * off, centre[1] + sin * along + cos * off)
        lay(level, 0.8 * oval(beams, spot, (0.035, 0.03), 0, rng), -15)
    sinus = oval(beams, centre, (length * 0.55, breadth * 0.4), turn, rng)
    lay(level, sinus, 9 + 4 * grain(beams.x.shape, 14, rng))
    if rng.random() < 0.5:
        _cyst(level, oval(beams, (centre[0] + length * 0.8, centre[1]), (0.07, 0.065)))
    return level


def _unborn(beams: Plane, rng: Generator) -> Field:
    """A child before birth: dark fluid and a bright oval skull with a midline echo, the closest to a head; dB."""
    level = 2 + 2 * grain(beams.x.shape, 50, rng)
    _cyst(level, oval(beams, (0, 0.52), (0.5, 0.36), 0, rng))
    centre, turn = (rng.uniform(-0.1, 0.1), rng.uniform(0.46, 0.54)), rng.uniform(-30, 30)
    radii = (rng.uniform(0.24, 0.29), rng.uniform(0.18, 0.21))
    skull = oval(beams, centre, (radii[0] + 0.028, radii[1] + 0.028), turn)
    brain = oval(beams, centre, radii, turn)
    # Beams that meet the bone at a slant are sent away, so the ring fades at its sides.
    steep = 0.45 + 0.55 * np.abs(np.cos(np.arctan2(beams.x - centre[0], beams.y - centre[1])))
    lay(level, skull, 26 * steep)
    lay(level, brain, -17 + 3 * grain(beams.x.shape, 22, rng))
    lay(level, oval(beams, centre, (radii[0] * 0.8, 0.006), turn), 10)
    for side in (-0.4, 0.4):
        spot = (centre[0], centre[1] + side * radii[1])
        lay(level, oval(beams, spot, (radii[0] * 0.4, 0.025), turn, rng), -32)
        lay(level, oval(beams, spot, (radii[0] * 0.2, 0.015), turn, rng), 4)
    return level


def _heart_chambers(beams: Plane, rng: Generator) -> Field:
    """Four dark chambers between brighter walls, with thin valves; dB."""
    level = -10 + 4 * grain(beams.x.shape, 50, rng)
    turn = rng.uniform(-12, 12)
    lay(level, oval(beams, (0, 0.52), (0.34, 0.42), turn, rng), 1 + 3 * grain(beams.x.shape, 15, rng))
    level += 8 * np.exp(-(((np.hypot(beams.x / 0.36, (beams.y - 0.52) / 0.44) - 1) / 0.03) ** 2))
    chambers = (
        ((0.12, 0.4), (0.1, 0.2)),
        ((-0.14, 0.44), (0.085, 0.15)),
        ((0.12, 0.75), (0.11, 0.1)),
        ((-0.14, 0.74), (0.1, 0.1)),
    )
    for centre, (across, along) in chambers:
        size = rng.uniform(0.9, 1.12)
        lay(level, oval(beams, centre, (across * size, along * size), turn, rng), -34)
    for centre in ((0.12, 0.62), (-0.14, 0.61)):
        for side in (-1, 1):
            leaf = oval(beams, (centre[0] + side * 0.04, centre[1] - 0.02), (0.05, 0.008), side * rng.uniform(20, 55))
            lay(level, leaf, 8)
    return level


def _gland(beams: Plane, rng: Generator) -> Field:
    """Skin, fat lobules, a gland with a nodule or a cyst, striped muscle, and a rib that casts a shadow; dB."""
    shape = beams.x.shape
    warp = 0.02 * grain(shape, 120, rng)
    depth = beams.y + warp
    level = -9 + 3 * grain(shape, 30, rng) + 8 * (np.abs(grain(shape, 50, rng)) < 0.08)
    level += 14 * np.exp(-((beams.y / 0.02) ** 2))
    lay(level, np.clip((depth - 0.2) * 80, 0, 1), 2 + 2.5 * grain(shape, 18, rng))
    stripes = -9 + 7 * np.sin(2 * np.pi * depth / 0.028 + grain(shape, 40, rng))
    lay(level, np.clip((depth - 0.62) * 80, 0, 1), stripes)
    level += 12 * np.exp(-(((depth - 0.62) / 0.008) ** 2))
    lump = oval(beams, (rng.uniform(-0.15, 0.15), 0.42), (rng.uniform(0.1, 0.16), rng.uniform(0.07, 0.11)), 0, rng)
    if rng.random() < 0.5:
        _cyst(level, lump)
    else:
        lay(level, lump, -13 + 3 * grain(shape, 12, rng))
        level -= 7 * blur(_shadow(lump) - lump, 4)
    rib = oval(beams, (rng.uniform(-0.3, 0.3), 0.8), (0.1, 0.02))
    level -= 26 * blur(_shadow(rib), 3)
    level += 40 * rib
    return level


def _artery(beams: Plane, rng: Generator) -> Field:
    """The neck along an artery: a dark tube between two bright double lines, under layers of muscle; dB."""
    shape = beams.x.shape
    slope = rng.uniform(-0.15, 0.15)
    depth = beams.y + slope * beams.x + 0.008 * grain(shape, 120, rng)
    level = -3 + 4 * np.sin(2 * np.pi * depth / 0.045 + 2 * grain(shape, 90, rng)) + 2 * grain(shape, 25, rng)
    middle, half = rng.uniform(0.42, 0.52), rng.uniform(0.07, 0.1)
    level += 5 * (depth > middle + half)
    lay(level, np.clip((half - np.abs(depth - middle)) * 150 + 0.5, 0, 1), -42)
    for offset, bright in ((half + 0.006, 16), (half - 0.016, 26)):
        for side in (-1, 1):
            level += bright * np.exp(-(((depth - middle - side * offset) / 0.005) ** 2))
    lay(level, oval(beams, (rng.uniform(-0.2, 0.2), 0.2), (0.12, 0.035), 0, rng), -30)
    return level

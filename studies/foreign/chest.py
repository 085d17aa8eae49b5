"""Frontal chest films, shaded by summed attenuation."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from studies.foreign.painting import (
    BOLD,
    Field,
    Pixels,
    Plane,
    as_saved,
    blur,
    filled,
    grain,
    load_font,
    make_plane,
    moved,
    oval,
    random_side,
    stroke,
    to_bytes,
)


def make_chest_film(rng: Generator, index: int) -> Pixels:
    """A film of one patient; the eighth is a negative."""
    height = random_side(rng, 320, 640)
    width = round(height * rng.uniform(0.85, 1.2))
    plane = _patient(make_plane(height, width), rng)
    film = _trunk(plane, rng)
    lungs, heart = _lungs(plane, rng), _mediastinum(plane, rng)
    air = lungs * (1 - 0.85 * np.clip(heart, 0, 1))
    film += rng.uniform(0.38, 0.52) * air * (0.12 * plane.y - 0.93) + 0.08 * heart
    film += _vessels(plane, rng) * air
    film += _bones(plane, rng) + _abnormal(plane, air, rng)
    return as_saved(_exposed(film, plane, rng, negative=index == 7), index)


def _patient(frame: Plane, rng: Generator) -> Plane:
    """The coordinates of a body larger or smaller than the frame, not quite in its middle, leaning, narrow or broad."""
    zoom, broad, lean = rng.uniform(0.85, 1.12), rng.uniform(0.9, 1.08), rng.uniform(-0.05, 0.05)
    x = frame.x * zoom / broad + lean * frame.y + rng.uniform(-0.06, 0.06)
    return moved(x, frame.y * zoom + rng.uniform(-0.06, 0.06), frame.pixel * zoom)


def _abnormal(plane: Plane, air: Field, rng: Generator) -> Field:
    """What sick people's films show: a hazy patch, fluid over a diaphragm, the cables of a monitor."""
    added = np.zeros(plane.x.shape, np.float32)
    side = float(rng.choice([-1, 1]))
    if rng.random() < 0.4:
        centre = (side * rng.uniform(0.25, 0.5), rng.uniform(-0.4, 0.3))
        patch = oval(plane, centre, (rng.uniform(0.1, 0.22), rng.uniform(0.1, 0.22)), 0, rng)
        added += rng.uniform(0.15, 0.35) * blur(patch, 0.035 / plane.pixel) * air
    if rng.random() < 0.25:
        level = rng.uniform(0.1, 0.3) - 0.3 * np.clip(plane.x * side - 0.35, 0, 1)
        added += 0.4 * air * np.clip((plane.y - level) * 7, 0, 1) * (plane.x * side > 0)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.35 else 0):
        t = np.linspace(0, 1, 40)
        bend = rng.uniform(-0.5, 0.5) * np.sin(np.pi * t)
        cable = np.stack([rng.uniform(-0.6, 0.6) + bend, 1.1 - rng.uniform(0.9, 1.7) * t], 1)
        # Cables lie in the frame, wherever the body is.
        added += 0.22 * stroke(plane, cable + plane.middle, 0.012)
        added += 0.2 * oval(plane, cable[-1] + [plane.x.mean(), plane.y.mean()], (0.03, 0.03))
    return added


def _trunk(plane: Plane, rng: Generator) -> Field:
    """Soft tissue: shoulders, neck, armpits and the denser belly, whose top the diaphragm makes."""
    slope = rng.uniform(0.12, 0.3)
    shoulder = -1.0 + slope * np.clip((np.abs(plane.x) - 0.3) / 0.7, 0, 2) ** 1.8
    neck = np.clip((0.27 - np.abs(plane.x)) * 14, 0, 1)
    skin = np.maximum(np.clip((plane.y - shoulder) * 14 + 0.5, 0, 1), neck)
    tissue = 0.62 - 0.1 * np.clip(np.abs(plane.x) - 0.6, 0, 1) + 0.16 * np.clip((plane.y - 0.4) * 2, 0, 1)
    # Under the armpit the beam passes less tissue, beyond the ribs none of the chest.
    tissue -= 0.1 * blur(oval(plane, (-1.12, 0.2), (0.16, 0.7)) + oval(plane, (1.12, 0.2), (0.16, 0.7)), 12)
    belly_gas = oval(
        plane,
        (rng.uniform(0.3, 0.5), 0.66),
        (rng.uniform(0.1, 0.2), rng.uniform(0.05, 0.09)),
        rng.uniform(-20, 20),
        rng,
    )
    tissue -= float(rng.choice([0.0, 0.1, 0.18])) * blur(belly_gas, 0.012 / plane.pixel)
    breast = rng.uniform(0, 0.1)
    for side in (-1, 1):
        tissue += breast * blur(oval(plane, (side * 0.5, 0.42), (0.34, 0.3)), 0.03 / plane.pixel)
    return blur(skin * tissue + 0.02, 0.01 / plane.pixel)


# The right lung as the viewer sees it on the left, from the apex down the chest wall and back along the spine.
_RIGHT_LUNG = np.array(
    [
        [-0.25, -0.8], [-0.42, -0.7], [-0.6, -0.4], [-0.7, 0.0], [-0.75, 0.35], [-0.77, 0.62], [-0.74, 0.64],
        [-0.6, 0.46], [-0.42, 0.38], [-0.24, 0.43], [-0.12, 0.55], [-0.11, 0.2], [-0.1, -0.2], [-0.09, -0.6],
    ]
)  # fmt: skip
_LEFT_LUNG = _RIGHT_LUNG * [-1, 1] + [0, 0.04]


def _lungs(plane: Plane, rng: Generator) -> Field:
    """Both lungs, 0..1, soft-edged because the chest wall is curved; each corner moves a little."""
    height = rng.uniform(0.82, 1.08)
    lungs = np.zeros(plane.x.shape, np.float32)
    for outline in (_RIGHT_LUNG, _LEFT_LUNG):
        lungs += filled(plane, outline * [1, height] + rng.normal(0, 0.018, outline.shape))
    return blur(lungs, 0.014 / plane.pixel)


def _mediastinum(plane: Plane, rng: Generator) -> Field:
    """Heart, aorta and great vessels as one soft shadow, 0..1; the trachea is a dark stripe in it."""
    size = rng.uniform(0.95, 1.45)
    heart = oval(plane, (0.11, 0.32), (0.33 * size, 0.25 * size), rng.uniform(25, 45))
    knob = oval(plane, (0.12, -0.22), (0.1, 0.11))
    middle = oval(plane, (0.01, 0), (0.15, 1.1))
    hila = oval(plane, (-0.17, 0.05), (0.09, 0.14), 20, rng) + oval(plane, (0.2, 0), (0.09, 0.12), -20, rng)
    shadow = blur(np.maximum.reduce([heart, knob, middle, 0.6 * hila]), 0.016 / plane.pixel)
    trachea = blur(oval(plane, (-0.01, -0.6), (0.045, 0.42)), 0.01 / plane.pixel)
    return shadow - 0.55 * trachea


def _vessels(plane: Plane, rng: Generator) -> Field:
    """Vessels that leave the hila, fork and thin out: added attenuation."""
    vessels = np.zeros(plane.x.shape, np.float32)
    for side in (-1, 1):
        for angle in np.linspace(-1.4, 1.4, 11) + rng.normal(0, 0.1, 11):
            start, heading = np.array([side * 0.17, 0.04]), angle
            for step, width in enumerate((0.03, 0.024, 0.018, 0.014, 0.011, 0.009, 0.007)):
                for _ in range(1 + (step > 1)):
                    turn = heading + rng.normal(0, 0.12 + 0.08 * step)
                    end = start + rng.uniform(0.06, 0.1) * np.array([side * np.cos(turn), np.sin(turn)])
                    vessels += 0.055 * stroke(plane, np.stack([start, end]), width)
                start, heading = end, 0.6 * heading + 0.4 * turn
    mottle = 0.012 * grain(plane.x.shape, 0.03 / plane.pixel, rng)
    return blur(np.minimum(vessels, 0.12), 0.008 / plane.pixel) + mottle


def _bones(plane: Plane, rng: Generator) -> Field:
    """Ribs, clavicles, shoulder blades, arms and spine: added attenuation."""
    bones = _ribs(plane, rng) + _spine(plane, rng)
    tilt = rng.uniform(-0.04, 0.08)
    for side in (-1, 1):
        clavicle = np.array([[0.07, -0.55], [0.25, -0.63], [0.45, -0.7 + tilt], [0.68, -0.72 + tilt]]) * [side, 1]
        bones += 0.13 * _tube(plane, clavicle, 0.075)
        blade = np.array([[0.62, -0.66], [0.9, -0.55], [0.86, -0.2], [0.74, 0.08], [0.7, -0.2]]) * [side, 1]
        bones += 0.06 * blur(filled(plane, blade), 0.01 / plane.pixel)
        arm = np.array([[1.02, -0.62], [1.1, -0.3], [1.2, 0.3]]) * [side, 1]
        head = blur(oval(plane, (side * 0.98, -0.62), (0.12, 0.14)), 0.02 / plane.pixel)
        bones += np.maximum(0.08 * head, 0.1 * _tube(plane, arm, 0.13))
    return bones


def _tube(plane: Plane, points: ArrayLike, width: float) -> Field:
    """A long bone: a band whose edges, where the beam runs along the hard shell, are denser than its middle."""
    band, marrow = stroke(plane, points, width), stroke(plane, points, width * 0.62)
    return blur(band - 0.45 * marrow, 0.007 / plane.pixel)


def _ribs(plane: Plane, rng: Generator) -> Field:
    """Ten pairs: the back part falls gently to the chest wall, the front part steeply and more faintly inward."""
    ribs = np.zeros(plane.x.shape, np.float32)
    contrast = rng.uniform(0.08, 0.15)
    t = np.linspace(0, 1, 24)
    for number in range(10):
        top = -0.76 + 0.135 * number
        wall = 0.36 + 0.42 * np.sqrt(min(1, (number + 0.4) / 6))
        fall = 0.1 + 0.022 * number
        for side in (-1, 1):
            down = top - 0.05 * np.sin(t * 2) + fall * t**2.2
            back = np.stack([0.06 + (wall - 0.06) * np.sin(t * np.pi / 2), down], 1)
            front = np.stack([wall - (wall - 0.26) * t**1.6, down[-1] + (0.2 + 0.02 * number) * t], 1)
            sway = rng.normal(0, 0.006, 2)
            ribs += contrast * _tube(plane, (back + sway) * [side, 1], 0.062)
            if number < 7:
                ribs += 0.5 * contrast * _tube(plane, (front + sway) * [side, 1], 0.066)
    return ribs


def _spine(plane: Plane, rng: Generator) -> Field:
    """A column of vertebrae with their discs and spinous processes, faint behind the heart."""
    column = np.clip((0.085 - np.abs(plane.x)) / 0.02, 0, 1)
    phase = plane.y * (2 * np.pi / rng.uniform(0.125, 0.15))
    bodies = 0.06 + 0.025 * np.tanh(2 * np.sin(phase))
    process = 0.05 * np.clip((0.018 - np.abs(plane.x)) / 0.01, 0, 1) * (np.sin(phase + 1) > 0.3)
    return blur(column * bodies + process, 0.008 / plane.pixel)


def _exposed(film: Field, plane: Plane, rng: Generator, *, negative: bool) -> Pixels:
    """A film as scanned: mottled by quanta, over- or underexposed, marked with its side, its edges collimated."""
    film = (film - 0.02) / rng.uniform(0.85, 1.02)
    bright = np.clip(film, 0, 1.2) ** rng.uniform(0.75, 1.35)
    quanta = rng.uniform(0.008, 0.03) * (1.2 - 0.6 * bright)
    bright += quanta * blur(rng.standard_normal(film.shape, dtype=np.float32), 0.6) * 2
    picture = Image.fromarray(to_bytes(bright))
    draw = ImageDraw.Draw(picture)
    letter_px = max(14, round(0.09 / plane.pixel))
    place = (picture.width * rng.uniform(0.86, 0.93), picture.height * rng.uniform(0.03, 0.2))
    draw.text(place, str(rng.choice(["L", "AP", "PA", "L"])), 250, font=load_font(letter_px, BOLD))
    if rng.random() < 0.35:
        border = int(rng.integers(4, 22))
        draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=0, width=border)
    return 255 - np.asarray(picture) if negative else np.asarray(picture)

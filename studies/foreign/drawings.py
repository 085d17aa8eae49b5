"""Drawings: charts, diagrams, cartoons and ovals."""

from __future__ import annotations

import io

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

from studies.foreign.painting import (
    Pixels,
    at_random_size,
    blur,
    lay,
    make_plane,
    oval,
    random_colour,
    random_side,
    stroke,
    to_bytes,
)
from studies.foreign.texts import heading, some_words


def make_drawing(rng: Generator, index: int, *, held_out: bool) -> Pixels:
    """A drawing: the first is scikit-image's, the others are generated."""
    if index == 0:
        return at_random_size(_logo() if held_out else to_bytes(data.horse()), rng)
    drawings = (
        *[_chart] * 3,
        _flow_diagram,
        _cartoon_face,
        _landscape,
        _white_ellipse,
        _egg_outline,
        _ovals_on_dark,
        _ovals_on_white,
        _cartoon_brain,
    )
    return drawings[index - 1](rng)


def _logo() -> Pixels:
    """scikit-image's logo on white, (500, 500, 3)."""
    logo = data.logo().astype(np.float32) / 255
    return to_bytes(1 - logo[..., 3:] * (1 - logo[..., :3]))


def _chart(rng: Generator) -> Pixels:
    """A chart of random numbers, drawn by matplotlib: lines, bars, a pie, or points."""
    figure = Figure(figsize=(rng.uniform(3, 6), rng.uniform(3, 5)), dpi=100)
    axes = figure.subplots()
    values = rng.uniform(1, 10, 7)
    match int(rng.integers(4)):
        case 0:
            axes.plot(np.cumsum(rng.normal(0, 1, (60, 3)), axis=0))
            axes.grid()
        case 1:
            axes.bar(range(7), values, color=rng.uniform(0, 1, (7, 3)))
        case 2:
            axes.pie(values[:5], labels=some_words(rng, 5).split())
        case _:
            x, y = rng.normal(0, 1, (2, 150))
            axes.scatter(x, y, c=rng.uniform(0, 1, 150))
    axes.set_title(heading(rng, 4) + ".")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return np.asarray(Image.open(stream).convert("RGB" if rng.random() < 0.5 else "L"))


def _flow_diagram(rng: Generator) -> Pixels:
    """Boxes with words, joined by arrows."""
    width = random_side(rng, 380, 560)
    page = np.full((420, width, 3), 255, np.uint8)
    last = None
    for row in range(5):
        x, y = int(rng.integers(80, width - 80)), 45 + 82 * row
        fill = random_colour(rng, 170, 256)
        cv2.rectangle(page, (x - 65, y - 22), (x + 65, y + 22), fill, -1)
        cv2.rectangle(page, (x - 65, y - 22), (x + 65, y + 22), (0, 0, 0), 2, cv2.LINE_AA)
        cv2.putText(page, some_words(rng, 1), (x - 40, y + 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        if last:
            cv2.arrowedLine(page, (last[0], last[1] + 23), (x, y - 24), (40, 40, 40), 2, cv2.LINE_AA, 0, 0.2)
        last = (x, y)
    return page


def _cartoon_face(rng: Generator) -> Pixels:
    """A round face with eyes, a mouth and hair in flat colours with a black outline."""
    side = random_side(rng, 260, 520)
    page = Image.new("RGB", (side, side), random_colour(rng, 120, 256))
    draw = ImageDraw.Draw(page)
    skin = (int(rng.integers(200, 256)), int(rng.integers(150, 220)), int(rng.integers(90, 170)))
    line = max(3, side // 80)

    def ellipse(x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        box = [side * v for v in (x - rx, y - ry, x + rx, y + ry)]
        draw.ellipse(box, fill=fill, outline=(0, 0, 0), width=line)

    ellipse(0.5, 0.42, 0.36, 0.34, random_colour(rng, 20, 140))
    ellipse(0.5, 0.53, 0.33, 0.37, skin)
    for x in (0.37, 0.63):
        ellipse(x, 0.48, 0.08, 0.09, (255, 255, 255))
        ellipse(x + rng.uniform(-0.03, 0.03), 0.5, 0.03, 0.035, (0, 0, 0))
    draw.arc([side * v for v in (0.35, 0.55, 0.65, 0.8)], 10, 170, (0, 0, 0), 2 * line)
    return np.asarray(page)


def _landscape(rng: Generator) -> Pixels:
    """A line drawing of hills, a house and the sun, ink on paper."""
    plane = make_plane(random_side(rng, 260, 400), random_side(rng, 400, 620))
    width = plane.x[0, -1]
    x = np.linspace(-width, width, 80)
    lines = []
    for level in (-0.2, 0.05, 0.3):
        waves = 0.15 * np.sin(rng.uniform(2, 5) * x + rng.uniform(0, 6)) + rng.normal(0, 0.006, 80)
        lines.append((np.stack([x, level + waves], axis=1), 0.015))
    house = [[0, 0.8], [0, 0.35], [0.25, 0.1], [0.5, 0.35], [0.5, 0.8], [0, 0.8], [0, 0.35], [0.5, 0.35]]
    lines.append((np.add(house, [rng.uniform(-0.8, 0.2), 0]), 0.018))
    sun = np.array([0.7, -0.65])
    lines.append((sun + 0.15 * _circle(60), 0.018))
    lines += [(sun + np.outer([0.19, 0.28], ray), 0.012) for ray in _circle(13)]
    ink = np.maximum.reduce([stroke(plane, points, pen) for points, pen in lines])
    return to_bytes(0.96 - 0.9 * ink)


def _circle(points: int) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, points)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _white_ellipse(rng: Generator) -> Pixels:
    """A white filled ellipse on black: the outline of a head and nothing in it."""
    plane = make_plane(random_side(rng, 260, 340), random_side(rng, 240, 320))
    return to_bytes(oval(plane, (0, 0), (rng.uniform(0.55, 0.7), rng.uniform(0.75, 0.9)), rng.uniform(-15, 15)))


def _egg_outline(rng: Generator) -> Pixels:
    """An egg-shaped ring, light on black: a skull to anything that looks for a bright closed ring."""
    side = random_side(rng, 240, 512)
    plane = make_plane(side, side)
    angle = np.linspace(0, 2 * np.pi, 200)
    egg = np.stack([(0.6 - 0.1 * np.cos(angle)) * np.sin(angle), -0.8 * np.cos(angle)], axis=1)
    return to_bytes(rng.uniform(0.6, 1) * stroke(plane, egg, rng.uniform(0.02, 0.07)))


def _ovals_on_dark(rng: Generator) -> Pixels:
    """A flat grey oval with a lighter rim and smaller ovals in it on black, after a test phantom."""
    plane = make_plane(random_side(rng, 256, 512), random_side(rng, 256, 512))
    picture = 0.85 * oval(plane, (0, 0), (0.68, 0.88))
    lay(picture, oval(plane, (0, 0), (0.62, 0.81)), rng.uniform(0.2, 0.45))
    for _ in range(int(rng.integers(4, 9))):
        centre, radii = rng.uniform(-0.4, 0.4, 2).tolist(), rng.uniform(0.05, 0.2, 2).tolist()
        lay(picture, oval(plane, centre, radii, rng.uniform(0, 180)), rng.uniform(0, 1))
    return to_bytes(picture)


def _ovals_on_white(rng: Generator) -> Pixels:
    """Outlined and filled circles and ellipses strewn over white, in flat colours."""
    side = random_side(rng, 300, 600)
    page = np.full((side, side, 3), 255, np.uint8)
    for _ in range(int(rng.integers(8, 20))):
        centre, radii = rng.integers(0, side, 2).tolist(), rng.integers(side // 20, side // 4, 2).tolist()
        colour, turn_deg, pen = random_colour(rng), int(rng.integers(180)), int(rng.choice([-1, 2, 5]))
        cv2.ellipse(page, centre, radii, turn_deg, 0, 360, colour, pen, cv2.LINE_AA)
    return page


def _cartoon_brain(rng: Generator) -> Pixels:
    """A brain as a textbook's line drawing shows it from above: an oval, a cleft, winding furrows."""
    side = random_side(rng, 300, 520)
    plane = make_plane(side, side)
    brain = oval(plane, (0, 0), (0.66, 0.85))
    rim = brain - oval(plane, (0, 0), (0.63, 0.82))
    folds = blur(rng.standard_normal((side, side), dtype=np.float32), side / 28)
    # The zero line of smooth noise winds as furrows do; dividing by its slope makes the pen's width even.
    slope = np.hypot(cv2.Sobel(folds, cv2.CV_32F, 1, 0), cv2.Sobel(folds, cv2.CV_32F, 0, 1)) / 8
    pen = np.clip(2.2 - np.abs(folds) / (slope + 1e-6), 0, 1) * brain
    cleft = (np.abs(plane.x) < 0.012) * brain
    ink = np.maximum.reduce([rim, pen, cleft])
    tint = 0.9 if rng.random() < 0.5 else 0.75
    return to_bytes((1 - (1 - tint) * brain) * (1 - ink))

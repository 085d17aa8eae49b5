"""Pictures that are no brain MR slices, for finding out what a gate before the model lets through.

Every picture is made here or comes from a file inside scikit-image's wheel; nothing is fetched and no patient's picture
is stored. The made ones follow the physics of what they imitate (Hounsfield units and a window, an attenuated and
scan-converted speckle, summed attenuation on a film), because a gate that only has to refuse careless imitations
would look better than it is.

There are two sets of 100. One may be looked at while a gate is tuned; the other is for the figure that is reported.
"""

from __future__ import annotations

import io
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Point = tuple[float, float]
Shape = tuple[int, int]

_SEEDS = {False: 7_310, True: 918_204}

# A picture at least this large on its shorter side, and at most that large on its longer one.
_SMALLEST, _LARGEST = 180, 800


@dataclass(frozen=True, eq=False)
class ForeignPicture:
    """One picture that is not a brain MR slice.

    Attributes:
        kind: "photograph", "text", "drawing", "chest film", "ultrasound", "CT", "blank" or "noise".
        name: The kind and a number from 1, such as "CT 3"; unique within a set.
        pixels: uint8, grey of shape (H, W) or RGB of shape (H, W, 3), each side 180 to 800.
    """

    kind: str
    name: str
    pixels: Pixels


def foreign_pictures(*, held_out: bool) -> Iterator[ForeignPicture]:
    """100 pictures; the two sets (``held_out`` False and True) share no random state and no photograph.

    Args:
        held_out: False for the set to tune on, True for the set to report on.

    Yields:
        26 photographs, 12 text, 12 drawings, 12 chest films, 12 ultrasounds, 12 CTs, 5 blank, 9 noise, in that order;
        the same pixels on every call.
    """
    for number, (kind, count, make) in enumerate(_KINDS):
        for index in range(count):
            rng = np.random.default_rng([_SEEDS[held_out], number, index])
            yield ForeignPicture(kind, f"{kind} {index + 1}", make(rng, index, held_out))


# What every kind draws with.


@dataclass(frozen=True, eq=False)
class _Plane:
    """A frame with its origin in the middle, x to the right and y down, in halves of its shorter side.

    Attributes:
        x: float32 (H, W).
        y: float32 (H, W).
        pixel: The side of a pixel in the same unit.
    """

    x: Field
    y: Field
    pixel: float

    def at(self, points: NDArray[np.floating]) -> NDArray[np.int32]:
        """Points (N, 2) as OpenCV wants them: int32 pixels with four binary places."""
        height, width = self.x.shape
        middle = np.array([width, height]) / 2 - 0.5
        return np.round((np.asarray(points) / self.pixel + middle) * 16).astype(np.int32)


def _plane(height: int, width: int) -> _Plane:
    half = min(height, width) / 2
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return _Plane((x + 0.5 - width / 2) / half, (y + 0.5 - height / 2) / half, 1 / half)


def _oval(plane: _Plane, centre: Point, radii: Point, turn_deg: float = 0, rng: Generator | None = None) -> Field:
    """How far each pixel lies in an ellipse: 0..1, a pixel wide at the edge; with ``rng`` its outline undulates."""
    x, y = plane.x - np.float32(centre[0]), plane.y - np.float32(centre[1])
    cos, sin = np.float32(np.cos(np.radians(turn_deg))), np.float32(np.sin(np.radians(turn_deg)))
    u, v = (cos * x + sin * y) / np.float32(radii[0]), (cos * y - sin * x) / np.float32(radii[1])
    radius = np.hypot(u, v)
    if rng is not None:
        angle = np.arctan2(v, u)
        for waves in (2, 3, 5):
            radius *= 1 + np.float32(rng.normal(0, 0.1 / waves)) * np.cos(waves * angle + np.float32(rng.uniform(0, 6)))
    return np.clip((1 - radius) * np.float32(min(radii) / plane.pixel) + 0.5, 0, 1).astype(np.float32)


def _stroke(plane: _Plane, points: NDArray[np.floating], width: float) -> Field:
    """A line of the given width through points (N, 2), in the plane's unit: 0..1."""
    canvas = np.zeros(plane.x.shape, np.uint8)
    thickness = max(1, round(width / plane.pixel))
    cv2.polylines(canvas, [plane.at(points)], isClosed=False, color=255, thickness=thickness, lineType=16, shift=4)
    return canvas.astype(np.float32) / 255


def _filled(plane: _Plane, corners: NDArray[np.floating]) -> Field:
    """The inside of a closed smooth curve through corners (N, 2): 0..1."""
    canvas = np.zeros(plane.x.shape, np.uint8)
    cv2.fillPoly(canvas, [plane.at(_rounded(corners))], 255, lineType=16, shift=4)
    return canvas.astype(np.float32) / 255


def _rounded(corners: NDArray[np.floating]) -> NDArray[np.float64]:
    """A closed polygon (N, 2) after three rounds of Chaikin's corner cutting."""
    points = np.asarray(corners, np.float64)
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    return points


def _lay(under: Field, mask: Field, value: float | Field) -> None:
    """Replace, in place, what lies under a mask of 0..1 by a value."""
    under += mask * (value - under)


def _blur(field: Field, sigma_px: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px), dtype=np.float32)


def _grain(shape: tuple[int, int], size_px: float, rng: Generator) -> Field:
    """Smooth noise of mean 0 and standard deviation 1, whose lumps are about ``size_px`` wide."""
    # A coarse grid made larger is as smooth as a wide blur, and much quicker.
    coarse = max(1.0, size_px / 2)
    grid = (max(3, round(shape[0] / coarse)), max(3, round(shape[1] / coarse)))
    noise = cv2.GaussianBlur(rng.standard_normal(grid, dtype=np.float32), (0, 0), max(0.3, size_px / coarse / 2))
    noise = np.asarray(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    return (noise - noise.mean()) / (noise.std() + np.float32(1e-6))


def _bytes(field: Field) -> Pixels:
    """0..1 as uint8; what lies outside is cut off."""
    return np.asarray(np.round(np.clip(field, 0, 1) * 255), dtype=np.uint8)


def _side(rng: Generator, low: int = 240, high: int = 640) -> int:
    return int(rng.integers(low, high + 1))


def _as_saved(grey: Pixels, index: int) -> Pixels:
    """Every third grey picture as three equal channels, the way viewers save their screen."""
    return np.repeat(grey[..., None], 3, axis=2) if index % 3 == 2 else grey


def _between(rng: Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


# Photographs.


def _faces() -> Pixels:
    """The hundred faces of ``lfw_subset`` as one contact sheet, (250, 250)."""
    faces = data.lfw_subset()[:100].reshape(10, 10, 25, 25)
    return _bytes(faces.transpose(0, 2, 1, 3).reshape(250, 250).astype(np.float32))


_COLOURED = {
    False: (data.chelsea, data.coffee, data.hubble_deep_field, data.retina, data.colorwheel),
    True: (
        data.astronaut,
        data.rocket,
        data.immunohistochemistry,
        lambda: data.stereo_motorcycle()[0],
    ),
}
_GREY = {
    False: (data.camera, data.coins, data.brick, data.clock, data.gravel),
    True: (data.moon, data.grass, data.cell, data.microaneurysms, _faces),
}
_COLOUR_PHOTOGRAPHS = 13


def _photograph(rng: Generator, index: int, held_out: bool) -> Pixels:  # noqa: FBT001
    """A part of one of scikit-image's photographs, flipped, resized and exposed at random; the second 13 in grey."""
    in_colour = index < _COLOUR_PHOTOGRAPHS
    # Colour alone must not be what gives a photograph away, so the coloured ones come again without.
    sources = _COLOURED[held_out] if in_colour else _COLOURED[held_out] + _GREY[held_out]
    picture = np.asarray(sources[index % len(sources)]())
    if not in_colour and picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    # The first of each source is whole: a dark surround, as round the retina, is part of what it looks like.
    picture = picture if index % _COLOUR_PHOTOGRAPHS < len(sources) else _cropped(picture, rng)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    exposed = (picture.astype(np.float32) / 255) ** np.float32(_between(rng, 0.8, 1.25))
    return _resized(_bytes(exposed), rng)


def _cropped(picture: Pixels, rng: Generator) -> Pixels:
    """A part of random place and shape, each side half to nine tenths of the whole."""
    height, width = (round(side * _between(rng, 0.5, 0.9)) for side in picture.shape[:2])
    top = int(rng.integers(picture.shape[0] - height + 1))
    left = int(rng.integers(picture.shape[1] - width + 1))
    return picture[top : top + height, left : left + width]


def _resized(picture: Pixels, rng: Generator) -> Pixels:
    """At a random size within 180..800; one in three is pressed into a square, as careless pipelines do."""
    height, width = picture.shape[:2]
    longest = _side(rng, 320, _LARGEST)
    scale = longest / max(height, width)
    height, width = (max(_SMALLEST, round(side * scale)) for side in (height, width))
    if rng.random() < 1 / 3:
        height = width = min(longest, 512)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


# Text.


# The commonest words of English.
# fmt: off
_WORDS = (
    "a", "in", "do", "an", "of", "at", "to", "so", "it", "no", "or", "as", "by", "be", "up", "if", "on", "he", "is",
    "two", "can", "how", "his", "are", "the", "not", "man", "its", "and", "may", "own", "see", "had", "who", "one",
    "for", "our", "but", "any", "all", "day", "men", "was", "too", "way", "now", "good", "time", "same", "just",
    "work", "then", "make", "when", "even", "this", "some", "here", "very", "both", "will", "they", "made", "what",
    "much", "have", "most", "more", "such", "must", "than", "from", "with", "were", "been", "like", "life", "long",
    "over", "said", "also", "only", "down", "each", "into", "well", "that", "them", "first", "years", "other",
    "still", "there", "after", "world", "those", "could", "being", "which", "their", "would", "under", "never",
    "state", "about", "where", "these", "before", "should", "little", "people", "another", "through", "between",
    "because",
)
# fmt: on
_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
_TYPEFACES = ("DejaVuSerif.ttf", "DejaVuSans.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf", "DejaVuSans-Bold.ttf")
_HERSHEY = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
)


def _font(size_px: int, name: str = "DejaVuSans.ttf") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONTS / name), size_px)


def _sentence(rng: Generator, words: int) -> str:
    return " ".join(rng.choice(_WORDS, words)).capitalize() + "."


def _text(rng: Generator, index: int, held_out: bool) -> Pixels:  # noqa: FBT001
    """A page of print: black on white, white on black, a receipt, a table, a slide, a photographed page."""
    pages = (_paragraphs, _terminal, _receipt, _table, _columns, _slide, _stroke_fonts)
    if index == 0:
        return _resized(np.asarray(data.text() if held_out else data.page()), rng)
    page = pages[(index - 1) % len(pages)](rng)
    # The second time round, pages come the way a telephone or a scanner sees them.
    return _as_saved(page if index <= len(pages) else _photographed(page, rng), index)


def _set_column(draw: ImageDraw.ImageDraw, rng: Generator, box: tuple[int, int, int, int], size_px: int) -> None:
    """Fill a box (left, top, right, bottom) with paragraphs of running text."""
    left, y, right, bottom = box
    font = _font(size_px, str(rng.choice(_TYPEFACES[:2])))
    while y + size_px < bottom:
        for _ in range(int(rng.integers(3, 9))):
            line = str(rng.choice(_WORDS))
            while draw.textlength(line, font=font) < (right - left) * 0.93 and y + size_px < bottom:
                line += " " + str(rng.choice(_WORDS))
            draw.text((left, y), line if draw.textlength(line, font=font) <= right - left else line[:-3], 0, font=font)
            y += round(size_px * 1.35)
            if y + size_px >= bottom:
                return
        y += size_px


def _paragraphs(rng: Generator) -> Pixels:
    """A page with a heading and running text, black on white."""
    height, width = _side(rng, 480, 760), _side(rng, 380, 560)
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    margin = width // 10
    draw.text((margin, margin), _sentence(rng, 3)[:-1], 0, font=_font(24, "DejaVuSans-Bold.ttf"))
    _set_column(draw, rng, (margin, margin + 45, width - margin, height - margin), int(rng.integers(10, 17)))
    return np.asarray(page)


def _columns(rng: Generator) -> Pixels:
    """An article in two columns of small print with a grey figure in one of them."""
    height, width = _side(rng, 600, 800), _side(rng, 480, 620)
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    middle, margin = width // 2, width // 14
    draw.text((margin, margin), _sentence(rng, 5)[:-1], 0, font=_font(22, "DejaVuSerif-Bold.ttf"))
    top, split = margin + 60, int(rng.integers(height // 2, height * 3 // 4))
    _set_column(draw, rng, (margin, top, middle - 10, height - margin), 9)
    _set_column(draw, rng, (middle + 10, top, width - margin, split), 9)
    figure = _bytes(0.5 + 0.2 * _grain((height - margin - split - 12, middle - margin - 10), 40, rng))
    page.paste(Image.fromarray(figure), (middle + 10, split + 12))
    return np.asarray(page)


def _terminal(rng: Generator) -> Pixels:
    """Lines of a log in light letters on black."""
    height, width = _side(rng, 260, 520), _side(rng, 420, 780)
    page = Image.new("L", (width, height), int(rng.integers(0, 25)))
    draw, font = ImageDraw.Draw(page), _font(int(rng.integers(11, 16)), "DejaVuSansMono.ttf")
    for y in range(6, height - 12, 18):
        stamp = f"{rng.integers(24):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}"
        words = " ".join(rng.choice(_WORDS, int(rng.integers(1, 9))))
        draw.text((6, y), f"{stamp} [{rng.choice(['info', 'warn', 'debug'])}] {words}", 210, font=font)
    return np.asarray(page)


def _receipt(rng: Generator) -> Pixels:
    """A narrow till receipt on thermal paper: items, prices, a bar code."""
    height, width = _side(rng, 520, 780), _side(rng, 190, 260)
    paper = Image.new("L", (width, height), 240)
    draw, font = ImageDraw.Draw(paper), _font(12, "DejaVuSansMono.ttf")
    letters = "".join(rng.choice(list(string.ascii_uppercase), 8))
    draw.text((width // 2, 20), letters, 30, font=_font(20, "DejaVuSans-Bold.ttf"), anchor="mm")
    for y in range(50, height - 110, 17):
        draw.text((10, y), " ".join(rng.choice(_WORDS, 2)).upper()[:14], 50, font=font)
        draw.text((width - 10, y), f"{rng.uniform(0.5, 60):.2f}", 50, font=font, anchor="ra")
    draw.text((10, height - 100), "TOTAL", 20, font=_font(18, "DejaVuSans-Bold.ttf"))
    for x in range(20, width - 20, 2):
        draw.line([(x, height - 65), (x, height - 25)], fill=int(rng.choice([20, 240])), width=2)
    fading = 6 * _grain((height, width), 120, rng)
    return np.clip(np.asarray(paper) + fading, 0, 255).astype(np.uint8)


def _table(rng: Generator) -> Pixels:
    """A ruled table of numbers with a shaded heading, as in a spreadsheet."""
    rows, columns = int(rng.integers(10, 24)), int(rng.integers(4, 8))
    row_px, column_px = 24, int(rng.integers(70, 100))
    page = Image.new("L", (columns * column_px + 1, rows * row_px + 1), 255)
    draw, font = ImageDraw.Draw(page), _font(12)
    draw.rectangle((0, 0, columns * column_px, row_px), fill=int(rng.integers(60, 220)))
    for row in range(rows):
        draw.line([(0, row * row_px), (columns * column_px, row * row_px)], fill=170)
        for column in range(columns):
            words = str(rng.choice(_WORDS)) if not row or not column else f"{rng.normal(0, 300):.1f}"
            draw.text((column * column_px + 6, row * row_px + 5), words, 0, font=font)
    for column in range(columns + 1):
        draw.line([(column * column_px, 0), (column * column_px, rows * row_px)], fill=170)
    return np.asarray(page)


def _slide(rng: Generator) -> Pixels:
    """A slide: a coloured ground, a heading and a few bullet points."""
    height, width = 450, 600
    dark = bool(rng.random() < 0.5)
    ground = tuple(int(v) for v in (rng.integers(0, 70, 3) if dark else rng.integers(190, 256, 3)))
    ink = (240, 240, 230) if dark else (20, 20, 40)
    page = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(page)
    draw.text((40, 35), _sentence(rng, 4)[:-1], ink, font=_font(32, "DejaVuSans-Bold.ttf"))
    for line in range(int(rng.integers(4, 7))):
        draw.text((50, 120 + 48 * line), "• " + _sentence(rng, 6), ink, font=_font(21))
    return np.asarray(page)


def _stroke_fonts(rng: Generator) -> Pixels:
    """Lines of OpenCV's stroke fonts in several sizes, light on dark or dark on light."""
    height, width = _side(rng, 300, 600), _side(rng, 300, 600)
    paper, ink = (0, 255) if rng.random() < 0.5 else (255, 0)
    page = np.full((height, width), paper, np.uint8)
    y = 10
    while y < height:
        scale = _between(rng, 0.5, 1.6)
        y += round(30 * scale)
        font = int(rng.choice(_HERSHEY))
        cv2.putText(page, _sentence(rng, 7), (8, y), font, scale, ink, 1 + (scale > 1), cv2.LINE_AA)
    return page


def _photographed(page: Pixels, rng: Generator) -> Pixels:
    """A page seen a little from the side under uneven light, on a dark desk, with the camera's noise."""
    height, width = page.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inset = rng.uniform(0.02, 0.12, (4, 2)) * [width, height] * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    matrix = cv2.getPerspectiveTransform(corners, (corners + inset).astype(np.float32))
    desk = (int(rng.integers(20, 90)),) * 3
    seen = cv2.warpPerspective(page, matrix, (width, height), borderValue=desk).astype(np.float32) / 255
    light = 0.8 + 0.12 * _grain((height, width), min(height, width), rng)
    light = light[..., None] if seen.ndim == 3 else light
    noise = rng.normal(0, 0.02, seen.shape).astype(np.float32)
    return _bytes(_blur(seen * light, 0.6) + noise)


# Drawings.


def _drawing(rng: Generator, index: int, held_out: bool) -> Pixels:  # noqa: FBT001
    """A chart, a diagram, a logo, a cartoon, or ovals that share their outline, and no more, with a head."""
    drawings = (
        _chart,
        _chart,
        _chart,
        _flow_diagram,
        _cartoon_face,
        _landscape,
        _white_ellipse,
        _egg_outline,
        _ovals_on_dark,
        _ovals_on_white,
        _cartoon_brain,
    )
    if index == 0:
        return _resized(_logo() if held_out else _bytes(data.horse().astype(np.float32)), rng)
    return drawings[index - 1](rng)


def _logo() -> Pixels:
    """scikit-image's logo on white, (500, 500, 3)."""
    logo = data.logo().astype(np.float32) / 255
    return _bytes(1 - logo[..., 3:] * (1 - logo[..., :3]))


def _chart(rng: Generator) -> Pixels:
    """A chart of random numbers, drawn by matplotlib: lines, bars, a pie, or points."""
    figure = Figure(figsize=(_between(rng, 3, 6), _between(rng, 3, 5)), dpi=100)
    axes = figure.subplots()
    values = rng.uniform(1, 10, 7)
    match int(rng.integers(4)):
        case 0:
            axes.plot(np.cumsum(rng.normal(0, 1, (60, 3)), axis=0))
            axes.grid()
        case 1:
            axes.bar(range(7), values, color=rng.uniform(0, 1, (7, 3)))
        case 2:
            axes.pie(values[:5], labels=list(rng.choice(_WORDS, 5)))
        case _:
            axes.scatter(*rng.normal(0, 1, (2, 150)), c=rng.uniform(0, 1, 150))
    axes.set_title(_sentence(rng, 4))
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return np.asarray(Image.open(stream).convert("RGB" if rng.random() < 0.5 else "L"))


def _flow_diagram(rng: Generator) -> Pixels:
    """Boxes with words, joined by arrows."""
    height, width = 420, _side(rng, 380, 560)
    page = np.full((height, width, 3), 255, np.uint8)
    last = None
    for row in range(5):
        x, y = int(rng.integers(80, width - 80)), 45 + 82 * row
        fill = tuple(int(v) for v in rng.integers(170, 256, 3))
        cv2.rectangle(page, (x - 65, y - 22), (x + 65, y + 22), fill, -1)
        cv2.rectangle(page, (x - 65, y - 22), (x + 65, y + 22), (0, 0, 0), 2, cv2.LINE_AA)
        cv2.putText(page, str(rng.choice(_WORDS)), (x - 40, y + 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, 16)
        if last:
            cv2.arrowedLine(page, (last[0], last[1] + 23), (x, y - 24), (40, 40, 40), 2, cv2.LINE_AA, 0, 0.2)
        last = (x, y)
    return page


def _cartoon_face(rng: Generator) -> Pixels:
    """A round face with eyes, a mouth and hair in flat colours with a black outline."""
    side = _side(rng, 260, 520)
    page = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(120, 256, 3)))
    draw = ImageDraw.Draw(page)
    skin = (int(rng.integers(200, 256)), int(rng.integers(150, 220)), int(rng.integers(90, 170)))
    line = max(3, side // 80)

    def ellipse(x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        box = [side * v for v in (x - rx, y - ry, x + rx, y + ry)]
        draw.ellipse(box, fill=fill, outline=(0, 0, 0), width=line)

    ellipse(0.5, 0.42, 0.36, 0.34, tuple(int(v) for v in rng.integers(20, 140, 3)))
    ellipse(0.5, 0.53, 0.33, 0.37, skin)
    for x in (0.37, 0.63):
        ellipse(x, 0.48, 0.08, 0.09, (255, 255, 255))
        ellipse(x + _between(rng, -0.03, 0.03), 0.5, 0.03, 0.035, (0, 0, 0))
    draw.arc([side * v for v in (0.35, 0.55, 0.65, 0.8)], 10, 170, (0, 0, 0), 2 * line)
    return np.asarray(page)


def _landscape(rng: Generator) -> Pixels:
    """A line drawing of hills, a house and the sun, ink on paper."""
    plane = _plane(_side(rng, 260, 400), _side(rng, 400, 620))
    width = plane.x[0, -1]
    ink = np.zeros(plane.x.shape, np.float32)
    x = np.linspace(-width, width, 80)
    for level in (-0.2, 0.05, 0.3):
        waves = 0.15 * np.sin(_between(rng, 2, 5) * x + _between(rng, 0, 6)) + rng.normal(0, 0.006, 80)
        ink = np.maximum(ink, _stroke(plane, np.stack([x, level + waves], axis=1), 0.015))
    left = _between(rng, -0.8, 0.2)
    house = np.array([[0, 0.8], [0, 0.35], [0.25, 0.1], [0.5, 0.35], [0.5, 0.8], [0, 0.8], [0, 0.35], [0.5, 0.35]])
    ink = np.maximum(ink, _stroke(plane, np.add(house, (left, 0)), 0.018))
    sun = np.linspace(0, 2 * np.pi, 60)
    ink = np.maximum(
        ink, _stroke(plane, np.add(0.15 * np.stack([np.cos(sun), np.sin(sun)], axis=1), (0.7, -0.65)), 0.018)
    )
    for angle in np.linspace(0, 2 * np.pi, 13):
        ray = np.add(np.outer([0.19, 0.28], [np.cos(angle), np.sin(angle)]), (0.7, -0.65))
        ink = np.maximum(ink, _stroke(plane, ray, 0.012))
    return _bytes(0.96 - 0.9 * ink)


def _white_ellipse(rng: Generator) -> Pixels:
    """A white filled ellipse on black: the outline of a head and nothing in it."""
    plane = _plane(_side(rng, 260, 340), _side(rng, 240, 320))
    return _bytes(_oval(plane, (0, 0), (_between(rng, 0.55, 0.7), _between(rng, 0.75, 0.9)), _between(rng, -15, 15)))


def _egg_outline(rng: Generator) -> Pixels:
    """An egg-shaped ring, light on black: a skull to anything that looks for a bright closed ring."""
    side = _side(rng, 240, 512)
    plane = _plane(side, side)
    angle = np.linspace(0, 2 * np.pi, 200)
    egg = np.stack([(0.6 - 0.1 * np.cos(angle)) * np.sin(angle), -0.8 * np.cos(angle)], axis=1)
    return _bytes(_between(rng, 0.6, 1) * _stroke(plane, egg, _between(rng, 0.02, 0.07)))


def _ovals_on_dark(rng: Generator) -> Pixels:
    """A flat grey oval with a lighter rim and smaller ovals in it on black, after a test phantom."""
    plane = _plane(_side(rng, 256, 512), _side(rng, 256, 512))
    picture = 0.85 * _oval(plane, (0, 0), (0.68, 0.88))
    _lay(picture, _oval(plane, (0, 0), (0.62, 0.81)), _between(rng, 0.2, 0.45))
    for _ in range(int(rng.integers(4, 9))):
        centre, radii = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.05, 0.2, 2)
        shape = _oval(plane, (centre[0], centre[1]), (radii[0], radii[1]), _between(rng, 0, 180))
        _lay(picture, shape, _between(rng, 0, 1))
    return _bytes(picture)


def _ovals_on_white(rng: Generator) -> Pixels:
    """Outlined and filled circles and ellipses strewn over white, in flat colours."""
    side = _side(rng, 300, 600)
    page = np.full((side, side, 3), 255, np.uint8)
    for _ in range(int(rng.integers(8, 20))):
        centre = tuple(int(v) for v in rng.integers(0, side, 2))
        axes = tuple(int(v) for v in rng.integers(side // 20, side // 4, 2))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        cv2.ellipse(
            page, centre, axes, int(rng.integers(180)), 0, 360, colour, int(rng.choice([-1, 2, 5])), cv2.LINE_AA
        )
    return page


def _cartoon_brain(rng: Generator) -> Pixels:
    """A brain as a textbook's line drawing shows it from above: an oval, a cleft, winding furrows."""
    side = _side(rng, 300, 520)
    plane = _plane(side, side)
    brain = _oval(plane, (0, 0), (0.66, 0.85))
    rim = brain - _oval(plane, (0, 0), (0.63, 0.82))
    folds = _blur(rng.standard_normal((side, side), dtype=np.float32), side / 28)
    # The zero line of smooth noise winds as furrows do; dividing by its slope makes the pen's width even.
    slope = np.hypot(cv2.Sobel(folds, cv2.CV_32F, 1, 0), cv2.Sobel(folds, cv2.CV_32F, 0, 1)) / 8
    pen = np.clip(2.2 - np.abs(folds) / (slope + 1e-6), 0, 1).astype(np.float32) * brain
    cleft = (np.abs(plane.x) < 0.012).astype(np.float32) * brain
    ink = np.maximum(np.maximum(rim, pen), cleft)
    paper, tint = (1.0, 0.9) if rng.random() < 0.5 else (1.0, 0.75)
    return _bytes((paper - (paper - tint) * brain) * (1 - ink))


# Chest films.


def _chest_film(rng: Generator, index: int, _held_out: bool) -> Pixels:  # noqa: FBT001
    """A frontal chest film, shaded by summed attenuation: 0 where the film is black, 1 where the body is densest."""
    height = _side(rng, 320, 640)
    width = round(height * _between(rng, 0.85, 1.2))
    plane = _patient(_plane(height, width), rng)
    film = _trunk(plane, rng)
    lungs, heart = _lungs(plane, rng), _mediastinum(plane, rng)
    air = lungs * (1 - 0.85 * np.clip(heart, 0, 1))
    film += _between(rng, 0.38, 0.52) * air * (0.12 * plane.y - 0.93) + 0.08 * heart
    film += _vessels(plane, rng) * air
    film += _bones(plane, rng) + _abnormal(plane, air, rng)
    return _as_saved(_exposed(film, plane, rng, negative=index == 7), index)


def _patient(frame: _Plane, rng: Generator) -> _Plane:
    """The coordinates of a body larger or smaller than the frame, not quite in its middle, leaning, narrow or broad."""
    zoom, broad, lean = _between(rng, 0.85, 1.12), _between(rng, 0.9, 1.08), _between(rng, -0.05, 0.05)
    x = frame.x * zoom / broad + lean * frame.y + _between(rng, -0.06, 0.06)
    return _Plane(x, frame.y * zoom + _between(rng, -0.06, 0.06), frame.pixel * zoom)


def _abnormal(plane: _Plane, air: Field, rng: Generator) -> Field:
    """What sick people's films show: a hazy patch, fluid over a diaphragm, the cables of a monitor."""
    added = np.zeros(plane.x.shape, np.float32)
    side = float(rng.choice([-1, 1]))
    if rng.random() < 0.4:
        centre = (side * _between(rng, 0.25, 0.5), _between(rng, -0.4, 0.3))
        patch = _oval(plane, centre, (_between(rng, 0.1, 0.22), _between(rng, 0.1, 0.22)), 0, rng)
        added += _between(rng, 0.15, 0.35) * _blur(patch, 0.035 / plane.pixel) * air
    if rng.random() < 0.25:
        level = _between(rng, 0.1, 0.3) - 0.3 * np.clip(plane.x * side - 0.35, 0, 1)
        added += 0.4 * air * np.clip((plane.y - level) * 7, 0, 1) * (plane.x * side > 0)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.35 else 0):
        t = np.linspace(0, 1, 40)
        bend = _between(rng, -0.5, 0.5) * np.sin(np.pi * t)
        cable = np.stack([_between(rng, -0.6, 0.6) + bend, 1.1 - _between(rng, 0.9, 1.7) * t], 1)
        added += 0.22 * _stroke(plane, cable, 0.012)
        pad = cable[-1]
        added += 0.2 * _oval(plane, (pad[0] + plane.x.mean(), pad[1] + plane.y.mean()), (0.03, 0.03))
    return added


def _trunk(plane: _Plane, rng: Generator) -> Field:
    """Soft tissue: shoulders, neck, armpits and the denser belly, whose top the diaphragm makes."""
    slope = _between(rng, 0.12, 0.3)
    shoulder = -1.0 + slope * np.clip((np.abs(plane.x) - 0.3) / 0.7, 0, 2) ** 1.8
    neck = np.clip((0.27 - np.abs(plane.x)) * 14, 0, 1)
    inside = np.maximum(np.clip((plane.y - shoulder) * 14 + 0.5, 0, 1), neck)
    tissue = 0.62 - 0.1 * np.clip(np.abs(plane.x) - 0.6, 0, 1) + 0.16 * np.clip((plane.y - 0.4) * 2, 0, 1)
    # Under the armpit the beam passes less tissue, beyond the ribs none of the chest.
    tissue -= 0.1 * _blur(_oval(plane, (-1.12, 0.2), (0.16, 0.7)) + _oval(plane, (1.12, 0.2), (0.16, 0.7)), 12)
    belly_gas = _oval(
        plane,
        (_between(rng, 0.3, 0.5), 0.66),
        (_between(rng, 0.1, 0.2), _between(rng, 0.05, 0.09)),
        _between(rng, -20, 20),
        rng,
    )
    tissue -= float(rng.choice([0.0, 0.1, 0.18])) * _blur(belly_gas, 0.012 / plane.pixel)
    breast = _between(rng, 0, 0.1)
    for side in (-1, 1):
        tissue += breast * _blur(_oval(plane, (side * 0.5, 0.42), (0.34, 0.3)), 0.03 / plane.pixel)
    return np.asarray(_blur((inside * tissue + 0.02).astype(np.float32), 0.01 / plane.pixel))


# The right lung as the viewer sees it on the left, from the apex down the chest wall and back along the spine.
_RIGHT_LUNG = np.array(
    [
        [-0.25, -0.8], [-0.42, -0.7], [-0.6, -0.4], [-0.7, 0.0], [-0.75, 0.35], [-0.77, 0.62], [-0.74, 0.64],
        [-0.6, 0.46], [-0.42, 0.38], [-0.24, 0.43], [-0.12, 0.55], [-0.11, 0.2], [-0.1, -0.2], [-0.09, -0.6],
    ]
)  # fmt: skip
_LEFT_LUNG = _RIGHT_LUNG * [-1, 1] + [0, 0.04]


def _lungs(plane: _Plane, rng: Generator) -> Field:
    """Both lungs, 0..1, soft-edged because the chest wall is curved; each corner moves a little."""
    height = _between(rng, 0.82, 1.08)
    lungs = np.zeros(plane.x.shape, np.float32)
    for outline in (_RIGHT_LUNG, _LEFT_LUNG):
        lungs += _warp_to(plane, outline * [1, height] + rng.normal(0, 0.018, outline.shape))
    return _blur(lungs, 0.014 / plane.pixel)


def _warp_to(plane: _Plane, corners: NDArray[np.floating]) -> Field:
    """A rounded polygon in the coordinates of a moved plane: 0..1."""
    return _filled(plane, corners - _origin(plane))


def _origin(plane: _Plane) -> NDArray[np.float64]:
    """Where a moved plane's frame has its middle, (2,)."""
    row, column = plane.x.shape[0] // 2, plane.x.shape[1] // 2
    return np.array([plane.x[row, column], plane.y[row, column]], np.float64)


def _mediastinum(plane: _Plane, rng: Generator) -> Field:
    """Heart, aorta and great vessels as one soft shadow, 0..1; the trachea is a dark stripe in it."""
    size = _between(rng, 0.95, 1.45)
    heart = _oval(plane, (0.11, 0.32), (0.33 * size, 0.25 * size), _between(rng, 25, 45))
    knob = _oval(plane, (0.12, -0.22), (0.1, 0.11))
    middle = _oval(plane, (0.01, 0), (0.15, 1.1))
    hila = 0.6 * _oval(plane, (-0.17, 0.05), (0.09, 0.14), 20, rng) + 0.6 * _oval(
        plane, (0.2, 0), (0.09, 0.12), -20, rng
    )
    shadow = _blur(np.maximum.reduce([heart, knob, middle, hila]).astype(np.float32), 0.016 / plane.pixel)
    trachea = _blur(_oval(plane, (-0.01, -0.6), (0.045, 0.42)), 0.01 / plane.pixel)
    return shadow - 0.55 * trachea


def _vessels(plane: _Plane, rng: Generator) -> Field:
    """Vessels that leave the hila, fork and thin out: added attenuation."""
    vessels = np.zeros(plane.x.shape, np.float32)
    origin = _origin(plane)
    for side in (-1, 1):
        for angle in np.linspace(-1.4, 1.4, 11) + rng.normal(0, 0.1, 11):
            start, heading = np.array([side * 0.17, 0.04]), angle
            for step, width in enumerate((0.03, 0.024, 0.018, 0.014, 0.011, 0.009, 0.007)):
                for _ in range(1 + (step > 1)):
                    turn = heading + rng.normal(0, 0.12 + 0.08 * step)
                    end = start + _between(rng, 0.06, 0.1) * np.array([side * np.cos(turn), np.sin(turn)])
                    vessels += 0.055 * _stroke(plane, np.stack([start, end]) - origin, width)
                start, heading = end, 0.6 * heading + 0.4 * turn
    mottle = 0.012 * _grain(plane.x.shape, 0.03 / plane.pixel, rng)
    return _blur(np.minimum(vessels, 0.12), 0.008 / plane.pixel) + mottle


def _bones(plane: _Plane, rng: Generator) -> Field:
    """Ribs, clavicles, shoulder blades, arms and spine: added attenuation."""
    bones = _ribs(plane, rng) + _spine(plane, rng)
    origin = _origin(plane)
    tilt = _between(rng, -0.04, 0.08)
    for side in (-1, 1):
        clavicle = np.array([[0.07, -0.55], [0.25, -0.63], [0.45, -0.7 + tilt], [0.68, -0.72 + tilt]]) * [side, 1]
        bones += 0.13 * _tube(plane, clavicle - origin, 0.075)
        blade = np.array([[0.62, -0.66], [0.9, -0.55], [0.86, -0.2], [0.74, 0.08], [0.7, -0.2]]) * [side, 1]
        bones += 0.06 * _blur(_filled(plane, blade - origin), 0.01 / plane.pixel)
        arm = np.array([[1.02, -0.62], [1.1, -0.3], [1.2, 0.3]]) * [side, 1]
        head = _blur(_oval(plane, (side * 0.98, -0.62), (0.12, 0.14)), 0.02 / plane.pixel)
        bones += np.maximum(0.08 * head, 0.1 * _tube(plane, arm - origin, 0.13))
    return bones


def _tube(plane: _Plane, points: NDArray[np.floating], width: float) -> Field:
    """A long bone: a band whose edges, where the beam runs along the hard shell, are denser than its middle."""
    band, marrow = _stroke(plane, points, width), _stroke(plane, points, width * 0.62)
    return _blur(band - 0.45 * marrow, 0.007 / plane.pixel)


def _ribs(plane: _Plane, rng: Generator) -> Field:
    """Ten pairs: the back part falls gently to the chest wall, the front part steeply and more faintly inward."""
    ribs = np.zeros(plane.x.shape, np.float32)
    origin = _origin(plane)
    contrast = _between(rng, 0.08, 0.15)
    t = np.linspace(0, 1, 24)
    for number in range(10):
        top = -0.76 + 0.135 * number
        wall = 0.36 + 0.42 * np.sqrt(min(1, (number + 0.4) / 6))
        fall = 0.1 + 0.022 * number
        for side in (-1, 1):
            back = np.stack(
                [0.06 + (wall - 0.06) * np.sin(t * np.pi / 2), top - 0.05 * np.sin(t * 2) + fall * t**2.2], 1
            )
            front = np.stack([wall - (wall - 0.26) * t**1.6, back[-1, 1] + (0.2 + 0.02 * number) * t], 1)
            sway = rng.normal(0, 0.006, 2)
            ribs += contrast * _tube(plane, (back + sway) * [side, 1] - origin, 0.062)
            if number < 7:
                ribs += 0.5 * contrast * _tube(plane, (front + sway) * [side, 1] - origin, 0.066)
    return ribs


def _spine(plane: _Plane, rng: Generator) -> Field:
    """A column of vertebrae with their discs and spinous processes, faint behind the heart."""
    column = np.clip((0.085 - np.abs(plane.x)) / 0.02, 0, 1)
    phase = plane.y * np.float32(2 * np.pi / _between(rng, 0.125, 0.15))
    bodies = 0.06 + 0.025 * np.tanh(2 * np.sin(phase))
    process = 0.05 * np.clip((0.018 - np.abs(plane.x)) / 0.01, 0, 1) * (np.sin(phase + 1) > 0.3)
    return _blur((column * bodies + process).astype(np.float32), 0.008 / plane.pixel)


def _exposed(film: Field, plane: _Plane, rng: Generator, *, negative: bool) -> Pixels:
    """A film as scanned: mottled by quanta, over- or underexposed, marked with its side, its edges collimated."""
    film = (film - 0.02) / _between(rng, 0.85, 1.02)
    bright = np.clip(film, 0, 1.2) ** np.float32(_between(rng, 0.75, 1.35))
    quanta = _between(rng, 0.008, 0.03) * (1.2 - 0.6 * bright)
    bright = bright + quanta * _blur(rng.standard_normal(film.shape, dtype=np.float32), 0.6) * 2
    picture = Image.fromarray(_bytes(bright))
    draw = ImageDraw.Draw(picture)
    letter_px = max(14, round(0.09 / plane.pixel))
    place = (picture.width * _between(rng, 0.86, 0.93), picture.height * _between(rng, 0.03, 0.2))
    draw.text(place, str(rng.choice(["L", "AP", "PA", "L"])), 250, font=_font(letter_px, "DejaVuSans-Bold.ttf"))
    if rng.random() < 0.35:
        border = int(rng.integers(4, 22))
        draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=0, width=border)
    return 255 - np.asarray(picture) if negative else np.asarray(picture)


# Ultrasound.


_DEPTH_SAMPLES, _LINES = 420, 240
_DYNAMIC_DB = 62.0
Scene = Callable[[_Plane, Generator], Field]


@dataclass(frozen=True)
class _Probe:
    """Where the beams start and how far they spread, in depths of the picture.

    Attributes:
        radius: Of the curved face; 0 makes a linear probe whose beams are parallel.
        half_angle_rad: Between the middle beam and the last; for a linear probe, half the width instead.
    """

    radius: float
    half_angle_rad: float


_CONVEX, _SECTOR, _LINEAR = _Probe(0.38, 0.56), _Probe(0.03, 0.72), _Probe(0.0, 0.42)


def _ultrasound(rng: Generator, index: int, _held_out: bool) -> Pixels:  # noqa: FBT001
    """An ultrasound picture: an organ's echoes as speckle along the beams, brought to a fan or a rectangle."""
    scenes: tuple[tuple[Scene, _Probe], ...] = (
        (_liver, _CONVEX),
        (_kidney, _CONVEX),
        (_unborn, _CONVEX),
        (_heart_chambers, _SECTOR),
        (_gland, _LINEAR),
        (_artery, _LINEAR),
    )
    scene, probe = scenes[index % len(scenes)]
    spread = probe.half_angle_rad * _between(rng, 0.85, 1.15)
    probe = _Probe(probe.radius * _between(rng, 0.8, 1.2), spread)
    beams = _beams(probe)
    return _as_saved(_on_screen(_scan_converted(_echoes(scene(beams, rng), rng), probe, rng), rng), index)


def _beams(probe: _Probe) -> _Plane:
    """Where each sample of each beam lies: x from the middle, y (depth) 0..1; (depths, beams)."""
    depth, across = np.mgrid[0 : 1 : _DEPTH_SAMPLES * 1j, -1 : 1 : _LINES * 1j].astype(np.float32)
    if not probe.radius:
        return _Plane(across * np.float32(probe.half_angle_rad), depth, 1 / _DEPTH_SAMPLES)
    angle, reach = across * np.float32(probe.half_angle_rad), depth + np.float32(probe.radius)
    return _Plane(reach * np.sin(angle), reach * np.cos(angle) - np.float32(probe.radius), 1 / _DEPTH_SAMPLES)


def _echoes(level_db: Field, rng: Generator) -> Field:
    """The log-compressed envelope, 0..1: Rayleigh speckle at the tissue's level, weakened with depth."""
    # Resolution is finer along a beam than across it, which is what makes speckle lie in arcs.
    real, imaginary = (
        cv2.GaussianBlur(rng.standard_normal(level_db.shape, dtype=np.float32), (0, 0), sigmaX=1.7, sigmaY=1.1)
        for _ in range(2)
    )
    speckle = np.hypot(real, imaginary)
    speckle_db = 20 * np.log10(speckle / speckle.mean() + 1e-4)
    depth = np.linspace(0, 1, level_db.shape[0], dtype=np.float32)[:, None]
    # The operator's gain sliders make up for most of the attenuation, unevenly.
    gain_db = -_between(rng, 3, 14) * depth + 2 * np.sin(depth * np.float32(_between(rng, 4, 9)))
    near_db = 14 * np.exp(-depth / 0.015)
    contact_db = 3 * _grain((1, level_db.shape[1]), 30, rng)
    total = _blur(level_db, 0.9) + speckle_db + gain_db + near_db + contact_db
    return np.clip((total + _between(rng, 24, 32)) / np.float32(_DYNAMIC_DB), 0, 1).astype(np.float32)


def _scan_converted(envelope: Field, probe: _Probe, rng: Generator) -> Field:
    """Beams brought to where they lie in the body, black where there are none, 0..1."""
    height = _side(rng, 300, 460)
    if not probe.radius:
        width = round(height * 2 * probe.half_angle_rad * _between(rng, 0.9, 1.25))
        return np.asarray(cv2.resize(envelope, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)
    top = probe.radius * np.cos(probe.half_angle_rad)
    scale = (1 + probe.radius - top) / height
    width = round(2 * (1 + probe.radius) * np.sin(probe.half_angle_rad) / scale)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x + 0.5 - width / 2) * scale, top + (y + 0.5) * scale
    column = (np.arctan2(x, y) / probe.half_angle_rad + 1) / 2 * (_LINES - 1)
    row = (np.hypot(x, y) - probe.radius) * (_DEPTH_SAMPLES - 1)
    return np.asarray(
        cv2.remap(envelope, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR), dtype=np.float32
    )


def _on_screen(echoes: Field, rng: Generator) -> Pixels:
    """The scanner's screen: black, often with the machine's lettering, a depth scale and a grey wedge."""
    height, width = echoes.shape
    lettered = bool(rng.random() < 0.55)
    margin = (int(rng.integers(28, 60)), int(rng.integers(40, 110))) if lettered else (int(rng.integers(0, 14)),) * 2
    screen = np.zeros((min(_LARGEST, height + 2 * margin[0]), min(_LARGEST, max(_SMALLEST, width + 2 * margin[1]))))
    left = (screen.shape[1] - width) // 2
    screen[margin[0] : margin[0] + height, left : left + width] = echoes
    picture = Image.fromarray(_bytes(screen.astype(np.float32)))
    if lettered:
        _letter_screen(ImageDraw.Draw(picture), picture.size, height, rng)
    return np.asarray(picture)


def _letter_screen(draw: ImageDraw.ImageDraw, size: tuple[int, int], depth_px: int, rng: Generator) -> None:
    """Lettering in the margins, ticks for each centimetre, a grey wedge, and sometimes a measured distance."""
    width, height = size
    small = _font(11)
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
        points = [(width * _between(rng, 0.35, 0.65), height * _between(rng, 0.35, 0.75)) for _ in range(2)]
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
    level += 7 * _blur(_shadow(mask), 3)
    # Never quite empty: the beam's side lobes and echoes between skin and probe fill in a little.
    haze = -38 + 12 * np.clip(mask - np.roll(mask, _DEPTH_SAMPLES // 20, axis=0), 0, 1)
    _lay(level, _blur(mask, 1.2), haze.astype(np.float32))
    level += 14 * np.clip(np.abs(cv2.Sobel(mask, cv2.CV_32F, 0, 1)), 0, 1)


def _liver(beams: _Plane, rng: Generator) -> Field:
    """An even liver with dark veins, the diaphragm as a bright arc, a gall bladder that may hold a stone; dB."""
    level = 1.5 * _grain(beams.x.shape, 60, rng)
    level += 9 * np.exp(-(((beams.y - 0.05 - 0.02 * np.sin(8 * beams.x)) / 0.012) ** 2))
    level -= 6 * (beams.y < 0.05)
    arc = np.hypot(beams.x - _between(rng, -0.2, 0.2), beams.y - 0.1) - _between(rng, 0.68, 0.78)
    level += 24 * np.exp(-((arc / 0.012) ** 2)) - 9 * (arc > 0)
    for _ in range(int(rng.integers(4, 8))):
        centre = (_between(rng, -0.35, 0.35), _between(rng, 0.25, 0.65))
        vein = _oval(
            beams, centre, (_between(rng, 0.04, 0.18), _between(rng, 0.012, 0.03)), _between(rng, -70, 70), rng
        )
        _lay(level, vein, -30)
    bladder = _oval(beams, (_between(rng, 0.0, 0.25), 0.42), (0.17, 0.075), _between(rng, -40, 40), rng)
    _cyst(level, bladder)
    if rng.random() < 0.5:
        inside = np.argwhere(bladder > 0.9)
        row, column = inside[int(len(inside) * 0.8)]
        stone = _oval(beams, (float(beams.x[row, column]), float(beams.y[row, column])), (0.03, 0.02))
        level -= 35 * _blur(_shadow(stone), 1.5)
        level += stone * 75
    return level


def _kidney(beams: _Plane, rng: Generator) -> Field:
    """A kidney: a dark rind with darker pyramids round a bright sinus, in striped muscle and liver; dB."""
    level = 2 * _grain(beams.x.shape, 40, rng)
    level += 4 * np.sin(70 * beams.y + 3 * beams.x) * (beams.y < 0.2)
    centre, turn = (_between(rng, -0.1, 0.1), _between(rng, 0.42, 0.52)), _between(rng, -25, 25)
    length, breadth = _between(rng, 0.3, 0.36), _between(rng, 0.14, 0.18)
    level += 10 * (_oval(beams, centre, (length + 0.015, breadth + 0.015), turn))
    rind = _oval(beams, centre, (length, breadth), turn)
    _lay(level, rind, -7 + 1.5 * _grain(beams.x.shape, 25, rng))
    for angle in np.linspace(0, 2 * np.pi, 9)[:-1]:
        along, off = 0.72 * length * np.cos(angle), 0.68 * breadth * np.sin(angle)
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        spot = (centre[0] + cos * along - sin * off, centre[1] + sin * along + cos * off)
        _lay(level, 0.8 * _oval(beams, spot, (0.035, 0.03), 0, rng), -15)
    sinus = _oval(beams, centre, (length * 0.55, breadth * 0.4), turn, rng)
    _lay(level, sinus, 9 + 4 * _grain(beams.x.shape, 14, rng))
    if rng.random() < 0.5:
        _cyst(level, _oval(beams, (centre[0] + length * 0.8, centre[1]), (0.07, 0.065)))
    return level


def _unborn(beams: _Plane, rng: Generator) -> Field:
    """A child before birth: dark fluid and a bright oval skull with a midline echo, the closest to a head; dB."""
    level = 2 + 2 * _grain(beams.x.shape, 50, rng)
    _cyst(level, _oval(beams, (0, 0.52), (0.5, 0.36), 0, rng))
    centre, turn = (_between(rng, -0.1, 0.1), _between(rng, 0.46, 0.54)), _between(rng, -30, 30)
    radii = (_between(rng, 0.24, 0.29), _between(rng, 0.18, 0.21))
    skull = _oval(beams, centre, (radii[0] + 0.028, radii[1] + 0.028), turn)
    brain = _oval(beams, centre, radii, turn)
    # Beams that meet the bone at a slant are sent away, so the ring fades at its sides.
    steep = 0.45 + 0.55 * np.abs(np.cos(np.arctan2(beams.x - centre[0], beams.y - centre[1])))
    _lay(level, skull, 26 * steep)
    _lay(level, brain, -17 + 3 * _grain(beams.x.shape, 22, rng))
    _lay(level, _oval(beams, centre, (radii[0] * 0.8, 0.006), turn), 10)
    for side in (-0.4, 0.4):
        spot = (centre[0], centre[1] + side * radii[1])
        _lay(level, _oval(beams, spot, (radii[0] * 0.4, 0.025), turn, rng), -32)
        _lay(level, _oval(beams, spot, (radii[0] * 0.2, 0.015), turn, rng), 4)
    return level


def _heart_chambers(beams: _Plane, rng: Generator) -> Field:
    """Four dark chambers between brighter walls, with thin valves; dB."""
    level = -10 + 4 * _grain(beams.x.shape, 50, rng)
    turn = _between(rng, -12, 12)
    _lay(level, _oval(beams, (0, 0.52), (0.34, 0.42), turn, rng), 1 + 3 * _grain(beams.x.shape, 15, rng))
    level += 8 * np.exp(-(((np.hypot(beams.x / 0.36, (beams.y - 0.52) / 0.44) - 1) / 0.03) ** 2))
    chambers = (
        ((0.12, 0.4), (0.1, 0.2)),
        ((-0.14, 0.44), (0.085, 0.15)),
        ((0.12, 0.75), (0.11, 0.1)),
        ((-0.14, 0.74), (0.1, 0.1)),
    )
    for centre, (across, along) in chambers:
        size = _between(rng, 0.9, 1.12)
        _lay(level, _oval(beams, centre, (across * size, along * size), turn, rng), -34)
    for centre in ((0.12, 0.62), (-0.14, 0.61)):
        for side in (-1, 1):
            leaf = _oval(
                beams, (centre[0] + side * 0.04, centre[1] - 0.02), (0.05, 0.008), side * _between(rng, 20, 55)
            )
            _lay(level, leaf, 8)
    return level


def _gland(beams: _Plane, rng: Generator) -> Field:
    """Skin, fat lobules, a gland with a nodule or a cyst, striped muscle, and a rib that casts a shadow; dB."""
    shape = beams.x.shape
    warp = 0.02 * _grain(shape, 120, rng)
    depth = beams.y + warp
    level = -9 + 3 * _grain(shape, 30, rng) + 8 * (np.abs(_grain(shape, 50, rng)) < 0.08)
    level += 14 * np.exp(-((beams.y / 0.02) ** 2))
    _lay(level, np.clip((depth - 0.2) * 80, 0, 1), 2 + 2.5 * _grain(shape, 18, rng))
    stripes = -9 + 7 * np.sin(2 * np.pi * depth / 0.028 + _grain(shape, 40, rng))
    _lay(level, np.clip((depth - 0.62) * 80, 0, 1), stripes)
    level += 12 * np.exp(-(((depth - 0.62) / 0.008) ** 2))
    lump = _oval(
        beams, (_between(rng, -0.15, 0.15), 0.42), (_between(rng, 0.1, 0.16), _between(rng, 0.07, 0.11)), 0, rng
    )
    if rng.random() < 0.5:
        _cyst(level, lump)
    else:
        _lay(level, lump, -13 + 3 * _grain(shape, 12, rng))
        level -= 7 * _blur(_shadow(lump) - lump, 4)
    rib = _oval(beams, (_between(rng, -0.3, 0.3), 0.8), (0.1, 0.02))
    level -= 26 * _blur(_shadow(rib), 3)
    level += 40 * rib
    return level


def _artery(beams: _Plane, rng: Generator) -> Field:
    """The neck along an artery: a dark tube between two bright double lines, under layers of muscle; dB."""
    shape = beams.x.shape
    slope = _between(rng, -0.15, 0.15)
    depth = beams.y + slope * beams.x + 0.008 * _grain(shape, 120, rng)
    level = -3 + 4 * np.sin(2 * np.pi * depth / 0.045 + 2 * _grain(shape, 90, rng)) + 2 * _grain(shape, 25, rng)
    middle, half = _between(rng, 0.42, 0.52), _between(rng, 0.07, 0.1)
    level += 5 * (depth > middle + half)
    _lay(level, np.clip((half - np.abs(depth - middle)) * 150 + 0.5, 0, 1), -42)
    for offset, bright in ((half + 0.006, 16), (half - 0.016, 26)):
        for side in (-1, 1):
            level += bright * np.exp(-(((depth - middle - side * offset) / 0.005) ** 2))
    _lay(level, _oval(beams, (_between(rng, -0.2, 0.2), 0.2), (0.12, 0.035), 0, rng), -30)
    return level


# CT.


_HEAD_MM, _BODY_MM = 240.0, 400.0
_AIR, _FAT, _FLUID, _WHITE_MATTER, _GREY_MATTER, _MUSCLE, _BONE = -1000.0, -95.0, 7.0, 28.0, 38.0, 55.0, 1250.0
# Level and width in Hounsfield units.
_BRAIN_WINDOW, _WIDE_BRAIN_WINDOW, _STROKE_WINDOW = (38, 85), (45, 140), (35, 60)
_BONE_WINDOW, _SOFT_WINDOW, _LUNG_WINDOW = (500, 2000), (40, 400), (-550, 1500)


def _ct(rng: Generator, index: int, _held_out: bool) -> Pixels:  # noqa: FBT001
    """A CT slice in Hounsfield units, blurred, noisy and windowed; heads and trunks by turns."""
    body, window = _CT_SLICES[index]
    return _as_saved(_reframed(_windowed(body(rng), window), rng), index)


def _reframed(pixels: Pixels, rng: Generator) -> Pixels:
    """Half as the scanner gives it, half cut close to the body, as pictures in articles are; at a random size."""
    if rng.random() < 0.5:
        rows, columns = (np.flatnonzero((pixels > 25).mean(axis=axis) > 0.06) for axis in (1, 0))
        pad = int(rng.integers(2, 20))
        pixels = pixels[max(0, rows[0] - pad) : rows[-1] + pad, max(0, columns[0] - pad) : columns[-1] + pad]
    scale = _side(rng, 256, 640) / max(pixels.shape)
    height, width = (max(_SMALLEST, round(side * scale)) for side in pixels.shape)
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _windowed(hounsfield: Field, window: tuple[int, int]) -> Pixels:
    level, width = window
    return _bytes((hounsfield - level) / np.float32(width) + np.float32(0.5))


def _depth_px(mask: Field) -> Field:
    """Distance in pixels from each inside pixel to the outline; 0 outside."""
    return np.asarray(cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5), dtype=np.float32)


def _scanned(hounsfield: Field, noise_hu: Field | float, rng: Generator) -> Field:
    """Blurred by the scanner's resolution, with quantum noise that the reconstruction has correlated."""
    noise = rng.standard_normal(hounsfield.shape, dtype=np.float32)
    # A reconstruction filter leaves neither single pixels nor wide lumps: a band between two blurs.
    noise = _blur(noise, 0.7) - 0.7 * _blur(noise, 2.2)
    return _blur(hounsfield, 0.8) + noise_hu * noise / noise.std()


def _head(level: str, rng: Generator) -> Field:
    """A head in Hounsfield units: a closed ring of bone of one thickness round a flat brain, in a headrest."""
    size = int(rng.choice([320, 400, 512, 512]))
    plane = _leaning(_plane(size, size), _between(rng, -9, 9))
    mm = _HEAD_MM / size
    shrink = _between(rng, 0.74, 0.86) if level == "vertex" else _between(rng, 0.93, 1.04)
    radii = (0.56 * shrink * _between(rng, 0.95, 1.05), 0.7 * shrink)
    # Wider behind than in front, as heads are.
    cavity = _egg(plane, radii)
    picture = np.full((size, size), _AIR, np.float32)
    _shells(picture, plane, _depth_px(1 - cavity) * mm, rng)
    _lay(picture, cavity, _brain(plane, _depth_px(cavity) * mm, radii, rng, level))
    if level == "base":
        _skull_base(picture, plane, radii, rng)
    if rng.random() < 0.85:
        _headrest(picture, plane, radii[1], rng)
    return _scanned(picture, _between(rng, 2.5, 5), rng)


def _leaning(plane: _Plane, angle_deg: float) -> _Plane:
    """The same frame seen by a body that leans and does not lie quite in the middle."""
    cos, sin = np.float32(np.cos(np.radians(angle_deg))), np.float32(np.sin(np.radians(angle_deg)))
    x, y = plane.x - np.float32(angle_deg / 300), plane.y + np.float32(0.06)
    return _Plane(cos * x + sin * y, cos * y - sin * x, plane.pixel)


def _egg(plane: _Plane, radii: Point) -> Field:
    breadth = radii[0] * (1 + 0.09 * np.clip(plane.y / radii[1], -1.3, 1.3))
    radius = np.hypot(plane.x / breadth, plane.y / radii[1])
    return np.clip((1 - radius) * np.float32(radii[0] / plane.pixel) + 0.5, 0, 1).astype(np.float32)


def _shells(picture: Field, plane: _Plane, outside_mm: Field, rng: Generator) -> None:
    """Bone, a layer of fat and skin round the brain's cavity, each as thick all the way round."""
    bone, fat, skin = _between(rng, 5, 9), _between(rng, 1.5, 6), _between(rng, 1.5, 3)
    picture[(outside_mm > 0) & (outside_mm <= bone + fat + skin)] = 45
    picture[(outside_mm > bone + 1) & (outside_mm <= bone + fat)] = _FAT
    # The temporal muscles lie outside the bone at the sides, where the scalp is thicker for them.
    temples = (outside_mm > bone) & (outside_mm < bone + 7 * np.exp(-(((plane.y + 0.1) / 0.25) ** 2)) + 0.5)
    picture[temples & (np.abs(plane.x) > 0.3)] = _MUSCLE + 5
    ring = (outside_mm > 0) & (outside_mm <= bone)
    picture[ring] = _BONE
    # Marrow between the two hard tables, which only a bone window shows.
    picture[ring & (np.abs(outside_mm - bone / 2) < bone / 6)] = _BONE * 0.55


def _brain(plane: _Plane, depth_mm: Field, radii: Point, rng: Generator, level: str) -> Field:
    """Grey and white matter of almost one density, darker fluid in furrows and ventricles, the falx."""
    shape = plane.x.shape
    px_per_mm = shape[0] / _HEAD_MM
    folded = depth_mm + 3 * _grain(shape, 14 * px_per_mm, rng)
    brain = _WHITE_MATTER + (_GREY_MATTER - _WHITE_MATTER) / (1 + np.exp((folded - 6) / 1.2))
    _lay(brain, _furrows(plane, depth_mm, rng, 30 if level == "vertex" else 17), _FLUID + 3)
    _lay(brain, (depth_mm < _between(rng, 0.8, 2.2)).astype(np.float32), _FLUID + 8)
    if level == "ventricles":
        _ventricles(brain, plane, radii[1], rng)
    falx = (np.abs(plane.x) < 0.009) & ((np.abs(plane.y) > 0.5 * radii[1]) | (level == "vertex"))
    _lay(brain, falx.astype(np.float32), 52)
    if rng.random() < 0.4:
        spot = (_between(rng, -0.3, 0.3), _between(rng, -0.3, 0.35))
        lesion = _oval(plane, spot, (_between(rng, 0.06, 0.16), _between(rng, 0.06, 0.14)), 0, rng)
        _lay(brain, _blur(lesion, 2), float(rng.choice([66, 17])))
    # The beam hardens in the bone, which brightens the rim of the brain.
    brain += 7 * np.exp(-depth_mm / 7)
    return brain.astype(np.float32)


def _furrows(plane: _Plane, depth_mm: Field, rng: Generator, reach_mm: float) -> Field:
    """Furrows that run inward from the brain's rim, wander, and end at different depths: 0..1."""
    shape = plane.x.shape
    px_per_mm = shape[0] / _HEAD_MM
    angle = np.arctan2(plane.x, plane.y) * np.float32(rng.integers(15, 22)) + 1.3 * _grain(shape, 22 * px_per_mm, rng)
    ends = reach_mm * (0.55 + 0.3 * _grain(shape, 26 * px_per_mm, rng))
    # As wide at the mouth as the patient is old.
    narrow = _between(rng, 0.93, 0.985) + 0.02 * np.clip(depth_mm / reach_mm, 0, 1)
    lines = np.clip((np.cos(angle) - narrow) * 40, 0, 1) * np.clip((ends - depth_mm) / 3, 0, 1)
    return _blur(lines.astype(np.float32), 0.4 * px_per_mm)


def _ventricles(brain: Field, plane: _Plane, length: float, rng: Generator) -> None:
    """The lateral ventricles' horns, the third ventricle, deep grey matter and calcified plexus, in place."""
    wide = _between(rng, 0.75, 1.7)
    # A higher slice shows each ventricle in one piece.
    joined = np.float32(rng.random() < 0.5)
    for side in (-1, 1):
        _lay(brain, _blur(_oval(plane, (side * 0.2, 0.0), (0.07, 0.17), side * -14), 2), _GREY_MATTER - 2)
        front = _oval(plane, (side * (0.05 + 0.025 * wide), -0.22 * length / 0.7), (0.035 * wide, 0.14), side * 14, rng)
        waist = _oval(plane, (side * 0.13, 0.03), (0.016 * wide, 0.14), side * -26, rng)
        back = _oval(plane, (side * 0.2, 0.25 * length / 0.7), (0.042 * wide, 0.15), side * 20, rng)
        fluid = np.maximum.reduce([front, waist * joined, back])
        _lay(brain, _blur(fluid, 1.2), _FLUID)
        if rng.random() < 0.7:
            _lay(brain, _oval(plane, (side * 0.19, 0.24), (0.022, 0.03), 0, rng), 170)
    _lay(brain, _oval(plane, (0, 0.02), (0.014 * wide, 0.09)), _FLUID)
    _lay(brain, _blur(_oval(plane, (0, 0.17), (0.09, 0.03), 0, rng), 1.5), _FLUID + 4)
    if rng.random() < 0.6:
        _lay(brain, _oval(plane, (0, 0.14), (0.018, 0.018)), 200)


def _skull_base(picture: Field, plane: _Plane, radii: Point, rng: Generator) -> None:
    """Petrous bones with air cells, the sphenoid, air-filled sinuses and the orbits, in place."""
    across, along = radii
    cells = np.clip(_grain(plane.x.shape, 5, rng), -1, 1)
    for side in (-1, 1):
        wedge = np.array([[across, 0.02], [across, 0.26], [0.3, 0.14], [0.09, 0.02], [0.25, 0.02]]) * [side, 1]
        petrous = _filled(plane, wedge - _origin(plane))
        _lay(picture, petrous, (_BONE + 500 * cells).astype(np.float32))
        mastoid = _oval(plane, (side * across * 0.92, 0.2), (0.1, 0.11), 0, rng)
        _lay(picture, mastoid, np.where(cells > 0.1, _BONE * 0.7, _AIR).astype(np.float32))
        wing = np.array([[across, -0.25], [across * 0.6, -0.22], [0.12, -0.12], [0.12, -0.08], [across * 0.7, -0.17]])
        _lay(picture, _filled(plane, wing * [side, 1] - _origin(plane)), _BONE)
        orbit = _oval(plane, (side * 0.27, -along * 0.72), (0.19, 0.17))
        _lay(picture, orbit, _FAT)
        _lay(picture, _oval(plane, (side * 0.27, -along * 0.8), (0.12, 0.12)), 45)
        _lay(picture, _oval(plane, (side * 0.27, -along * 0.8), (0.1, 0.1)), 12)
    _lay(picture, _oval(plane, (0, -0.12), (0.13, 0.12), 0, rng), _BONE)
    _lay(picture, _oval(plane, (0, -0.14), (0.085, 0.07), 0, rng), _AIR)
    for x in (-0.05, 0.05):
        _lay(picture, _oval(plane, (x, -along * 0.7), (0.055, 0.19)), _BONE)
        _lay(picture, _oval(plane, (x, -along * 0.7), (0.038, 0.17)), _AIR)
    _lay(picture, _oval(plane, (0, 0.3), (0.045, 0.03)), _FLUID)


def _headrest(picture: Field, plane: _Plane, length: float, rng: Generator) -> None:
    """A thin shell under the back of the head, with a pad between, in place."""
    bottom = length + _between(rng, 0.14, 0.19)
    curve = bottom - plane.y - 0.62 * plane.x**2
    reach = np.abs(plane.x) < _between(rng, 0.55, 0.8)
    thickness = _between(rng, 0.012, 0.022)
    shell = (np.abs(curve) < thickness) & reach
    if rng.random() < 0.5:
        shell |= (np.abs(curve + 0.07) < thickness) & reach
    free = picture < _FAT - 100
    picture[shell & free] = _between(rng, 10, 70)


def _trunk_outline(rng: Generator) -> tuple[_Plane, Field, Point, float]:
    """The frame of a trunk slice, the trunk's shape (0..1), its half axes, and a pixel's side in mm."""
    size = int(rng.choice([384, 512, 512]))
    height = size if rng.random() < 0.6 else round(size * 0.78)
    plane = _plane(height, size)
    # In halves of the width, whatever the height, so that the organs keep their places.
    plane = _Plane(plane.x * height / size, plane.y * height / size + 0.04, plane.pixel * height / size)
    radii = (_between(rng, 0.76, 0.9), _between(rng, 0.52, 0.64))
    radius = (np.abs(plane.x / radii[0]) ** 2.4 + np.abs(plane.y / radii[1]) ** 2.4) ** np.float32(1 / 2.4)
    # The back is flatter than the belly, because the body lies on it.
    radius *= 1 + 0.1 * np.clip(plane.y / radii[1], 0, 1) ** 4 + 0.01 * _grain(plane.x.shape, 120, rng)
    shape = np.clip((1 - radius) * np.float32(radii[1] / plane.pixel) + 0.5, 0, 1).astype(np.float32)
    return plane, shape, radii, _BODY_MM / size


def _wall(plane: _Plane, shape: Field, mm: float, rng: Generator) -> tuple[Field, Field, float]:
    """Skin, fat and the muscular wall in Hounsfield units, the depth under the skin in mm, and the wall's depth."""
    depth = _depth_px(shape) * mm
    fat_mm = _between(rng, 7, 24)
    picture = np.full(shape.shape, _AIR, np.float32)
    fat = _FAT + 4 * _grain(shape.shape, 6, rng)
    picture = np.where(depth > 0, np.where(depth < 2, 30, fat), picture).astype(np.float32)
    # Thicker on the belly's side than on the flanks and the back.
    inner = fat_mm * (1 + 0.35 * np.clip(-plane.y, 0, 1))
    muscle = np.clip((depth - inner) / mm, 0, 1)
    streaks = np.where(_grain(shape.shape, 7, rng) > 1.2, -30, _MUSCLE)
    _lay(picture, muscle, streaks.astype(np.float32))
    return picture, (depth - inner).astype(np.float32), 15.0


def _rib_ring(picture: Field, plane: _Plane, radii: Point, under_mm: Field, rng: Generator) -> None:
    """Ribs cut aslant, strung along the middle of the wall, with a hard shell and softer marrow, in place."""
    on_track = np.exp(-(((under_mm - 9) / 4.5) ** 2))
    angle = np.arctan2(plane.y / radii[1], plane.x / radii[0])
    phase = _between(rng, 0, 6)
    dashes = np.sin(angle * 13 + phase + 0.6 * np.sin(3 * angle + phase))
    bone = np.clip((np.minimum(on_track - 0.5, (dashes - 0.15) * 0.6)) * 12, 0, 1) * (np.abs(plane.x) > 0.16)
    marrow = np.clip((np.minimum(on_track - 0.8, (dashes - 0.45) * 0.6)) * 12, 0, 1)
    _lay(picture, bone.astype(np.float32), 650)
    _lay(picture, (bone * marrow).astype(np.float32), 180)


def _vertebra(picture: Field, plane: _Plane, bottom: float, rng: Generator) -> None:
    """A vertebra seen from below, with its canal and processes, between the muscles of the back; in place."""
    size = _between(rng, 0.88, 1.06)
    # The muscles' lower edge stays a little above the skin of the back.
    plane = _Plane(plane.x / size, (plane.y - bottom + 0.06) / size + 0.53, plane.pixel / size)
    marrow = _between(rng, 170, 260) + 45 * _grain(plane.x.shape, 4, rng)
    slant = _between(rng, 8, 28)
    for side in (-1, 1):
        _lay(picture, _oval(plane, (side * 0.19, 0.4), (0.15, 0.105), side * 12, rng), _MUSCLE)
        _lay(picture, _oval(plane, (side * 0.15, 0.3), (_between(rng, 0.08, 0.13), 0.026), side * slant, rng), 430)
        _lay(picture, _oval(plane, (side * 0.065, 0.37), (0.075, 0.02), side * 50), 520)
    _lay(picture, _oval(plane, (_between(rng, -0.01, 0.01), 0.45), (0.018, _between(rng, 0.05, 0.085)), 0, rng), 480)
    _lay(picture, _oval(plane, (0, 0.23), (0.118, 0.09)), 560)
    _lay(picture, _oval(plane, (0, 0.23), (0.107, 0.079)), marrow)
    _lay(picture, _oval(plane, (0, 0.335), (0.058, 0.043)), 30)


def _table_top(picture: Field, plane: _Plane, bottom: float, rng: Generator) -> None:
    """The table's two curved skins under the back, in place."""
    curve = plane.y - bottom - 0.03 + _between(rng, 0.05, 0.16) * plane.x**2
    for offset, density in ((0.0, 60), (0.09, -40)):
        skin = (np.abs(curve - offset) < 0.008) & (picture < -500) & (np.abs(plane.x) < 0.78)
        picture[skin] = density


def _finished(picture: Field, plane: _Plane, shape: Field, bottom: float, rng: Generator) -> Field:
    """Table, then noise that grows toward the middle, where most of the beam is lost."""
    _table_top(picture, plane, bottom, rng)
    deep = 0.5 + 0.8 * _blur(shape, 30) * np.exp(-(plane.x**2 + plane.y**2) / 0.5)
    return _scanned(picture, (_between(rng, 12, 22) * deep).astype(np.float32), rng)


def _abdomen(upper: bool, rng: Generator) -> Field:  # noqa: FBT001
    """An upper or middle abdomen in Hounsfield units, with contrast medium in the vessels more often than not."""
    plane, shape, radii, mm = _trunk_outline(rng)
    picture, under_mm, wall_mm = _wall(plane, shape, mm, rng)
    cavity = np.clip((under_mm - wall_mm) / mm, 0, 1)
    _lay(picture, cavity, (_FAT + 6 * _grain(shape.shape, 5, rng)).astype(np.float32))
    contrast = float(rng.choice([0.0, 1.0, 1.0]))
    organs = picture.copy()
    _bowel(organs, plane, rng, contrast)
    if upper:
        _upper_organs(organs, plane, rng, contrast)
    _kidneys_and_vessels(organs, plane, rng, contrast)
    _lay(picture, cavity, organs)
    _vertebra(picture, plane, radii[1], rng)
    _rib_ring(picture, plane, radii, under_mm, rng)
    return _finished(picture, plane, shape, radii[1], rng)


def _bowel(picture: Field, plane: _Plane, rng: Generator, contrast: float) -> None:
    """Loops of bowel: a wall, and in it fluid, contrast medium, or gas that floats above fluid; in place."""
    for _ in range(int(rng.integers(34, 56))):
        centre = (_between(rng, -0.6, 0.62), _between(rng, -0.46, 0.08))
        radii, turn = (_between(rng, 0.05, 0.14), _between(rng, 0.035, 0.07)), _between(rng, 0, 180)
        _lay(picture, _oval(plane, centre, radii, turn, rng), 50 + 40 * contrast)
        lumen = _oval(plane, centre, (radii[0] * 0.78, radii[1] * 0.74), turn, rng)
        filling = float(rng.choice([20, 30, 35, 45, 50, 260]))
        _lay(picture, lumen, filling + 8 * _grain(plane.x.shape, 8, rng))
        if rng.random() < 0.2:
            _lay(picture, lumen * (plane.y < centre[1] + 0.01), -900)


def _upper_organs(picture: Field, plane: _Plane, rng: Generator, contrast: float) -> None:
    """Liver with its vessels, stomach with an air bubble, spleen and pancreas, in place."""
    size = _between(rng, 0.9, 1.12)
    liver = np.maximum(
        _oval(plane, (-0.42, -0.05), (0.36 * size, 0.38 * size), 15, rng),
        _oval(plane, (-0.1, -0.22), (0.3, 0.17), -12, rng),
    )
    _lay(picture, liver, 58 + 48 * contrast)
    for _ in range(9):
        centre = (_between(rng, -0.62, -0.12), _between(rng, -0.3, 0.18))
        vein = _oval(
            plane, centre, (_between(rng, 0.02, 0.09), _between(rng, 0.009, 0.018)), _between(rng, 0, 180), rng
        )
        _lay(picture, vein * liver, 40 + 120 * contrast)
    stomach = _oval(plane, (0.33, -0.2), (0.25, 0.17), _between(rng, -30, 10), rng)
    _lay(picture, stomach, 55 + 30 * contrast)
    lumen = _oval(plane, (0.33, -0.2), (0.22, 0.14), _between(rng, -30, 10), rng) * stomach
    _lay(picture, lumen, 25 + 20 * _grain(plane.x.shape, 25, rng))
    _lay(picture, lumen * (plane.y < _between(rng, -0.3, -0.18)), -920)
    _lay(picture, _oval(plane, (0.6, 0.1), (0.12, 0.22), -18, rng), 50 + 75 * contrast)
    _lay(picture, _oval(plane, (0.12, 0.01), (0.25, 0.045), -14, rng), 42 + 50 * contrast)


def _kidneys_and_vessels(picture: Field, plane: _Plane, rng: Generator, contrast: float) -> None:
    """Kidneys with their fatty sinus, psoas, aorta (sometimes calcified) and vena cava, in place."""
    for side in (-1, 1):
        centre = (side * 0.36, 0.2 + _between(rng, -0.02, 0.04))
        _lay(picture, _oval(plane, centre, (0.17, 0.18)), _FAT)
        _lay(picture, _oval(plane, centre, (0.115, 0.14), side * 25, rng), 32 + 160 * contrast)
        _lay(picture, _oval(plane, (centre[0] - side * 0.05, centre[1]), (0.06, 0.05), side * 20, rng), -40)
        _lay(picture, _oval(plane, (side * 0.17, 0.23), (0.07, 0.085), side * -10, rng), _MUSCLE)
    _lay(picture, _oval(plane, (0.06, 0.09), (0.052, 0.052)), 42 + 190 * contrast)
    if rng.random() < 0.5:
        _lay(picture, _oval(plane, (0.105, 0.1), (0.012, 0.03)), 600)
    _lay(picture, _oval(plane, (-0.09, 0.1), (0.065, 0.048), 0, rng), 40 + 95 * contrast)


def _thorax(rng: Generator) -> Field:
    """A chest slice in Hounsfield units: lungs with vessels, heart or arch, spine, breastbone, shoulder blades."""
    plane, shape, radii, mm = _trunk_outline(rng)
    picture, under_mm, wall_mm = _wall(plane, shape, mm, rng)
    cavity = np.clip((under_mm - wall_mm) / mm, 0, 1)
    _lay(picture, cavity, _FAT + 20)
    vessels = _grain(shape.shape, 7, rng) + 0.6 * _grain(shape.shape, 16, rng)
    lung_hu = np.where(vessels > 2.1, 20, -860 + 30 * vessels).astype(np.float32)
    for side in (-1, 1):
        lung = _oval(plane, (side * 0.44, -0.02), (_between(rng, 0.34, 0.38), 0.48), side * -8, rng)
        _lay(picture, lung * cavity, lung_hu)
    contrast = float(rng.choice([0.0, 1.0]))
    if rng.random() < 0.6:
        _heart_slice(picture, plane, rng, contrast)
    else:
        _arch_slice(picture, plane, rng, contrast)
    _vertebra(picture, plane, radii[1], rng)
    _rib_ring(picture, plane, radii, under_mm, rng)
    _lay(picture, _oval(plane, (0, 0.11 - radii[1]), (0.11, 0.028)), 380)
    return _finished(picture, plane, shape, radii[1], rng)


def _heart_slice(picture: Field, plane: _Plane, rng: Generator, contrast: float) -> None:
    """Heart with its chambers in fat, and the descending aorta, in place."""
    _lay(picture, _oval(plane, (0.1, -0.12), (0.36, 0.26), 28, rng), _FAT)
    _lay(picture, _oval(plane, (0.1, -0.12), (0.33, 0.235), 28, rng), 55 + 50 * contrast)
    for centre, chamber in (((0.22, -0.1), (0.13, 0.085)), ((0.0, -0.2), (0.12, 0.08)), ((0.05, 0.02), (0.12, 0.06))):
        _lay(picture, _oval(plane, centre, chamber, 35, rng), 42 + 180 * contrast)
    _lay(picture, _oval(plane, (0.11, 0.14), (0.055, 0.055)), 42 + 190 * contrast)
    _lay(picture, _oval(plane, (0.01, 0.1), (0.035, 0.025)), 40)


def _arch_slice(picture: Field, plane: _Plane, rng: Generator, contrast: float) -> None:
    """The upper chest: fat with the aortic arch, the vena cava and the windpipe, in place."""
    _lay(picture, _oval(plane, (0, -0.15), (0.17, 0.34), 0, rng), _FAT + 10)
    _lay(picture, _oval(plane, (0.06, -0.08), (0.065, 0.2), -28, rng), 42 + 200 * contrast)
    _lay(picture, _oval(plane, (-0.1, -0.17), (0.045, 0.05), 0, rng), 40 + 300 * contrast)
    _lay(picture, _oval(plane, (-0.01, 0.03), (0.055, 0.055)), 40)
    _lay(picture, _oval(plane, (-0.01, 0.03), (0.045, 0.047)), -980)
    _lay(picture, _oval(plane, (0.01, 0.11), (0.04, 0.025)), 40)


# Blank and noise.


def _blank(rng: Generator, index: int, _held_out: bool) -> Pixels:  # noqa: FBT001
    """Black, grey, white, a faint gradient, and black with a single light dot."""
    plane = _plane(_side(rng, _SMALLEST, 640), _side(rng, _SMALLEST, 640))
    flat = np.zeros(plane.x.shape, np.float32)
    match index:
        case 0:
            return _bytes(flat)
        case 1:
            return _bytes(flat + _between(rng, 0.25, 0.75))
        case 2:
            return _bytes(flat + 1)
        case 3:
            angle, faint = _between(rng, 0, 2 * np.pi), _between(rng, 0.03, 0.12)
            return _bytes(_between(rng, 0.2, 0.8) + faint * (np.cos(angle) * plane.x + np.sin(angle) * plane.y))
        case _:
            return _bytes(_oval(plane, (_between(rng, -0.6, 0.6), _between(rng, -0.6, 0.6)), (0.02, 0.02)))


def _noise(rng: Generator, index: int, _held_out: bool) -> Pixels:  # noqa: FBT001
    """Noise of nine kinds, each filling the frame but for the last."""
    kinds = (_gaussian, _salt_and_pepper, _uniform, _lumps, _clouds, _pink, _stripes, _uniform_rgb, _vignetted)
    return kinds[index]((_side(rng, _SMALLEST, 560), _side(rng, _SMALLEST, 560)), rng)


def _gaussian(shape: Shape, rng: Generator) -> Pixels:
    return _bytes(0.5 + _between(rng, 0.1, 0.25) * rng.standard_normal(shape, dtype=np.float32))


def _salt_and_pepper(shape: Shape, rng: Generator) -> Pixels:
    white, share = rng.random(shape, dtype=np.float32), _between(rng, 0.03, 0.12)
    return _bytes(np.select([white < share, white > 1 - share], [0.0, 1.0], 0.5).astype(np.float32))


def _uniform(shape: Shape, rng: Generator) -> Pixels:
    return rng.integers(0, 256, shape, np.uint8)


def _uniform_rgb(shape: Shape, rng: Generator) -> Pixels:
    return rng.integers(0, 256, (*shape, 3), np.uint8)


def _lumps(shape: Shape, rng: Generator) -> Pixels:
    return _bytes(0.5 + 0.2 * _grain(shape, _between(rng, 6, 15), rng))


def _clouds(shape: Shape, rng: Generator) -> Pixels:
    return _bytes(0.5 + 0.25 * _grain(shape, _between(rng, 60, 140), rng))


def _pink(shape: Shape, rng: Generator) -> Pixels:
    return _bytes(0.5 + 0.18 * _one_over_f(shape, rng))


def _stripes(shape: Shape, rng: Generator) -> Pixels:
    """A television without a signal: rows of random level, rolling bars, snow."""
    rows = rng.standard_normal((shape[0], 1), dtype=np.float32)
    bars = np.sin(np.arange(shape[0], dtype=np.float32)[:, None] * np.float32(_between(rng, 0.05, 0.6)))
    snow = rng.standard_normal(shape, dtype=np.float32)
    return _bytes(0.45 + 0.12 * rows + 0.15 * bars + 0.12 * snow)


def _one_over_f(shape: Shape, rng: Generator) -> Field:
    """Noise whose amplitude falls with the frequency, as in natural pictures; mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    frequency[0, 0] = np.inf
    pink = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) / frequency, s=shape)
    return np.asarray(pink / pink.std(), dtype=np.float32)


def _vignetted(shape: Shape, rng: Generator) -> Pixels:
    """1/f noise that darkens to black outside an oval: a head's outline and statistics without a head."""
    oval = _blur(_oval(_plane(*shape), (0, 0), (0.68, 0.85)), 3)
    return _bytes(oval * (0.45 + 0.15 * _one_over_f(shape, rng)))


_CT_SLICES: tuple[tuple[Callable[[Generator], Field], tuple[int, int]], ...] = (
    (partial(_head, "ventricles"), _BRAIN_WINDOW),
    (partial(_abdomen, True), _SOFT_WINDOW),
    (partial(_head, "vertex"), _BRAIN_WINDOW),
    (_thorax, _SOFT_WINDOW),
    (partial(_head, "ventricles"), _WIDE_BRAIN_WINDOW),
    (partial(_abdomen, False), _SOFT_WINDOW),
    (partial(_head, "base"), _BONE_WINDOW),
    (_thorax, _LUNG_WINDOW),
    (partial(_head, "base"), _WIDE_BRAIN_WINDOW),
    (partial(_abdomen, True), _SOFT_WINDOW),
    (partial(_head, "ventricles"), _STROKE_WINDOW),
    (_thorax, _SOFT_WINDOW),
)
_KINDS: tuple[tuple[str, int, Callable[[Generator, int, bool], Pixels]], ...] = (
    ("photograph", 26, _photograph),
    ("text", 12, _text),
    ("drawing", 12, _drawing),
    ("chest film", 12, _chest_film),
    ("ultrasound", 12, _ultrasound),
    ("CT", 12, _ct),
    ("blank", 5, _blank),
    ("noise", 9, _noise),
)

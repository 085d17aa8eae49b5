"""Pages of print: running text, logs, receipts, tables, slides."""

from __future__ import annotations

import string

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from skimage import data

from studies.foreign.painting import (
    BOLD,
    Pixels,
    as_saved,
    at_random_size,
    blur,
    grain,
    load_font,
    random_colour,
    random_side,
    to_bytes,
)

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
_MONOSPACED = "DejaVuSansMono.ttf"
_HERSHEY = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
)


def make_text(rng: Generator, index: int, *, held_out: bool) -> Pixels:
    """A page: the first is scikit-image's, the others are generated."""
    if index == 0:
        return at_random_size(data.text() if held_out else data.page(), rng)
    pages = (_paragraphs, _terminal, _receipt, _table, _columns, _slide, _stroke_fonts)
    page = pages[(index - 1) % len(pages)](rng)
    # The second time round, pages come the way a telephone or a scanner sees them.
    return as_saved(page if index <= len(pages) else _photographed(page, rng), index)


def _set_column(draw: ImageDraw.ImageDraw, rng: Generator, box: tuple[int, int, int, int], size_px: int) -> None:
    """Fill a box (left, top, right, bottom) with paragraphs of running text."""
    left, y, right, bottom = box
    font = load_font(size_px, str(rng.choice(["DejaVuSerif.ttf", "DejaVuSans.ttf"])))
    while y + size_px < bottom:
        for _ in range(int(rng.integers(3, 9))):
            line = some_words(rng, 1)
            while draw.textlength(line, font=font) < (right - left) * 0.93:
                line += " " + some_words(rng, 1)
            fits = draw.textlength(line, font=font) <= right - left
            draw.text((left, y), line if fits else line[:-3], 0, font=font)
            y += round(size_px * 1.35)
            if y + size_px >= bottom:
                return
        y += size_px


def _paragraphs(rng: Generator) -> Pixels:
    """A page with a heading and running text, black on white."""
    height, width = random_side(rng, 480, 760), random_side(rng, 380, 560)
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    margin = width // 10
    draw.text((margin, margin), heading(rng, 3), 0, font=load_font(24, BOLD))
    _set_column(draw, rng, (margin, margin + 45, width - margin, height - margin), int(rng.integers(10, 17)))
    return np.asarray(page)


def _columns(rng: Generator) -> Pixels:
    """An article in two columns of small print with a grey figure in one of them."""
    height, width = random_side(rng, 600, 800), random_side(rng, 480, 620)
    page = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(page)
    middle, margin = width // 2, width // 14
    draw.text((margin, margin), heading(rng, 5), 0, font=load_font(22, "DejaVuSerif-Bold.ttf"))
    top, split = margin + 60, int(rng.integers(height // 2, height * 3 // 4))
    _set_column(draw, rng, (margin, top, middle - 10, height - margin), 9)
    _set_column(draw, rng, (middle + 10, top, width - margin, split), 9)
    figure = to_bytes(0.5 + 0.2 * grain((height - margin - split - 12, middle - margin - 10), 40, rng))
    page.paste(Image.fromarray(figure), (middle + 10, split + 12))
    return np.asarray(page)


def _terminal(rng: Generator) -> Pixels:
    """Lines of a log in light letters on black."""
    height, width = random_side(rng, 260, 520), random_side(rng, 420, 780)
    page = Image.new("L", (width, height), int(rng.integers(0, 25)))
    draw, font = ImageDraw.Draw(page), load_font(int(rng.integers(11, 16)), _MONOSPACED)
    for y in range(6, height - 12, 18):
        stamp = f"{rng.integers(24):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}"
        words = some_words(rng, int(rng.integers(1, 9)))
        draw.text((6, y), f"{stamp} [{rng.choice(['info', 'warn', 'debug'])}] {words}", 210, font=font)
    return np.asarray(page)


def _receipt(rng: Generator) -> Pixels:
    """A narrow till receipt on thermal paper: items, prices, a bar code."""
    height, width = random_side(rng, 520, 780), random_side(rng, 190, 260)
    paper = Image.new("L", (width, height), 240)
    draw, font = ImageDraw.Draw(paper), load_font(12, _MONOSPACED)
    letters = "".join(rng.choice(list(string.ascii_uppercase), 8))
    draw.text((width // 2, 20), letters, 30, font=load_font(20, BOLD), anchor="mm")
    for y in range(50, height - 110, 17):
        draw.text((10, y), some_words(rng, 2).upper()[:14], 50, font=font)
        draw.text((width - 10, y), f"{rng.uniform(0.5, 60):.2f}", 50, font=font, anchor="ra")
    draw.text((10, height - 100), "TOTAL", 20, font=load_font(18, BOLD))
    for x in range(20, width - 20, 2):
        draw.line([(x, height - 65), (x, height - 25)], fill=int(rng.choice([20, 240])), width=2)
    fading = 6 * grain((height, width), 120, rng)
    return np.clip(np.asarray(paper) + fading, 0, 255).astype(np.uint8)


def _table(rng: Generator) -> Pixels:
    """A ruled table of numbers with a shaded heading, as in a spreadsheet."""
    rows, columns = int(rng.integers(10, 24)), int(rng.integers(4, 8))
    row_px, column_px = 24, int(rng.integers(70, 100))
    page = Image.new("L", (columns * column_px + 1, rows * row_px + 1), 255)
    draw, font = ImageDraw.Draw(page), load_font(12)
    draw.rectangle((0, 0, columns * column_px, row_px), fill=int(rng.integers(60, 220)))
    for row in range(rows):
        draw.line([(0, row * row_px), (columns * column_px, row * row_px)], fill=170)
        for column in range(columns):
            words = some_words(rng, 1) if not row or not column else f"{rng.normal(0, 300):.1f}"
            draw.text((column * column_px + 6, row * row_px + 5), words, 0, font=font)
    for column in range(columns + 1):
        draw.line([(column * column_px, 0), (column * column_px, rows * row_px)], fill=170)
    return np.asarray(page)


def _slide(rng: Generator) -> Pixels:
    """A slide: a coloured ground, a heading and a few bullet points."""
    dark = rng.random() < 0.5
    ground = random_colour(rng, 0, 70) if dark else random_colour(rng, 190)
    ink = (240, 240, 230) if dark else (20, 20, 40)
    page = Image.new("RGB", (600, 450), ground)
    draw = ImageDraw.Draw(page)
    draw.text((40, 35), heading(rng, 4), ink, font=load_font(32, BOLD))
    for line in range(int(rng.integers(4, 7))):
        draw.text((50, 120 + 48 * line), f"• {heading(rng, 6)}.", ink, font=load_font(21))
    return np.asarray(page)


def _stroke_fonts(rng: Generator) -> Pixels:
    """Lines of OpenCV's stroke fonts in several sizes, light on dark or dark on light."""
    height, width = random_side(rng, 300, 600), random_side(rng, 300, 600)
    paper, ink = (0, 255) if rng.random() < 0.5 else (255, 0)
    page = np.full((height, width), paper, np.uint8)
    y = 10
    while y < height:
        scale = rng.uniform(0.5, 1.6)
        y += round(30 * scale)
        font = int(rng.choice(_HERSHEY))
        cv2.putText(page, heading(rng, 7) + ".", (8, y), font, scale, ink, 1 + (scale > 1), cv2.LINE_AA)
    return page


def _photographed(page: Pixels, rng: Generator) -> Pixels:
    """A page seen a little from the side under uneven light, on a dark desk, with the camera's noise."""
    height, width = page.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inset = rng.uniform(0.02, 0.12, (4, 2)) * [width, height] * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    matrix = cv2.getPerspectiveTransform(corners, (corners + inset).astype(np.float32))
    desk = (int(rng.integers(20, 90)),) * 3
    seen = cv2.warpPerspective(page, matrix, (width, height), borderValue=desk).astype(np.float32) / 255
    light = 0.8 + 0.12 * grain((height, width), min(height, width), rng)
    light = light[..., None] if seen.ndim == 3 else light
    noise = rng.normal(0, 0.02, seen.shape).astype(np.float32)
    return to_bytes(blur(seen * light, 0.6) + noise)


def some_words(rng: Generator, count: int) -> str:
    """Draw so many words, with spaces between."""
    return " ".join(rng.choice(_WORDS, count))


def heading(rng: Generator, words: int) -> str:
    """Draw so many words, the first with a capital."""
    return some_words(rng, words).capitalize()

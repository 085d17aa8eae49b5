"""Photographs of scikit-image's, cropped, flipped, resized and exposed at random."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from skimage import data

from studies.foreign.painting import Pixels, at_random_size, to_bytes


def _faces() -> Pixels:
    """The hundred faces of ``lfw_subset`` as one contact sheet, (250, 250)."""
    faces = data.lfw_subset()[:100].reshape(10, 10, 25, 25)
    return to_bytes(faces.transpose(0, 2, 1, 3).reshape(250, 250).astype(np.float32))


_COLOURED = {
    False: (data.chelsea, data.coffee, data.hubble_deep_field, data.retina, data.colorwheel),
    True: (data.astronaut, data.rocket, data.immunohistochemistry, lambda: data.stereo_motorcycle()[0]),
}
_GREY = {
    False: (data.camera, data.coins, data.brick, data.clock, data.gravel),
    True: (data.moon, data.grass, data.cell, data.microaneurysms, _faces),
}
_COLOUR_PHOTOGRAPHS = 13


def make_photograph(rng: Generator, index: int, *, held_out: bool) -> Pixels:
    """A part of a photograph; the first 13 in colour, the others in grey."""
    in_colour = index < _COLOUR_PHOTOGRAPHS
    # Colour alone must not be what gives a photograph away, so the coloured ones come again without.
    sources = _COLOURED[held_out] if in_colour else _COLOURED[held_out] + _GREY[held_out]
    picture = sources[index % len(sources)]()
    if not in_colour and picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    # The first of each source is whole: a dark surround, as round the retina, is part of what it looks like.
    picture = picture if index % _COLOUR_PHOTOGRAPHS < len(sources) else _cropped(picture, rng)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    exposed = (picture.astype(np.float32) / 255) ** rng.uniform(0.8, 1.25)
    return at_random_size(to_bytes(exposed), rng)


def _cropped(picture: Pixels, rng: Generator) -> Pixels:
    """A part of random place and shape, each side half to nine tenths of the whole."""
    height, width = (round(side * rng.uniform(0.5, 0.9)) for side in picture.shape[:2])
    top = int(rng.integers(picture.shape[0] - height + 1))
    left = int(rng.integers(picture.shape[1] - width + 1))
    return picture[top : top + height, left : left + width]

"""The recipe: from slice to network input, and from output to mask.

Grids are resampled with pixel centres as the anchor (OpenCV's convention: the outer edges of both grids coincide), so
that going there and back shifts nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.config import Recipe, recipe_from_table
from tumortrace.data.head import Window
from tumortrace.data.slice import NO_CONTRAST
from tumortrace.data.upright import UprightSlice, turn_upright
from tumortrace.json_csv import parse_json


def find_window(upright: UprightSlice, recipe: Recipe) -> Window:
    """Return the part of a slice that the recipe shows the network.

    This is the box around the head if the recipe crops to it, else the whole slice. If the recipe pads to a square, it
    is a square around the same middle, which may reach beyond the slice (the odd row or column at the end).

    Args:
        upright: The slice.
        recipe: The model's recipe.
    """
    height, width = upright.size_hw
    window = upright.head.box if recipe.crop_to_head and upright.head else Window(0, height, 0, width)
    return _make_square(window) if recipe.pad_to_square else window


def prepare(upright: UprightSlice, recipe: Recipe, window: Window | None = None) -> NDArray[np.float32]:
    """Turn a slice into the network's input.

    The window is cut out, resized (averaged over areas along an axis that shrinks, bilinear along one that grows), and
    standardised to mean 0 and standard deviation 1. A constant picture gives zeros.

    Args:
        upright: The slice.
        recipe: The model's recipe.
        window: Window from ``find_window``; computed if None.

    Returns:
        Shape ``recipe.size_hw``, float32.
    """
    darkest = float(upright.grey.min())
    grey = cut_out(upright.grey, window or find_window(upright, recipe), beyond=darkest)
    height, width = recipe.size_hw
    shrunk_wh = (min(width, grey.shape[1]), min(height, grey.shape[0]))
    shrunk = cv2.resize(grey, shrunk_wh, interpolation=cv2.INTER_AREA)
    resized = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
    return standardise(np.asarray(resized - np.float32(darkest), dtype=np.float32))


def prepare_pixels(pixels: NDArray[Any], recipe: Recipe) -> NDArray[np.float32]:
    """Turn grey pixels (H, W) as read from a file into the network's input; see ``prepare``."""
    return prepare(turn_upright(pixels), recipe)


def cut_out(values: NDArray[Any], window: Window, *, beyond: float = 0.0) -> NDArray[Any]:
    """Cut the rows and columns of a window out of a slice.

    Args:
        values: Shape (H, W).
        window: Window that holds pixels of the slice.
        beyond: Value beyond the slice.

    Returns:
        Shape of the window; a view where the window lies within the slice.
    """
    height, width = values.shape
    inside = values[max(window.top, 0) : min(window.bottom, height), max(window.left, 0) : min(window.right, width)]
    top, bottom = max(-window.top, 0), max(window.bottom - height, 0)
    left, right = max(-window.left, 0), max(window.right - width, 0)
    if not (top or bottom or left or right):
        return inside
    return np.asarray(cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=beyond))


def standardise(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring grey values to mean 0 and standard deviation 1.

    Args:
        grey: Shape (H, W), float32, of which 0 is black.

    Returns:
        Of the same shape, float32; zeros if the picture is constant but for rounding.
    """
    means, deviations = cv2.meanStdDev(grey)  # sums in double precision, in one pass
    mean, deviation = float(means.item()), float(deviations.item())
    if deviation <= NO_CONTRAST * float(grey.max()):
        return np.zeros_like(grey)
    return np.asarray((grey - np.float32(mean)) / np.float32(deviation), dtype=np.float32)


def prepare_mask(mask: NDArray[np.bool_], recipe: Recipe, window: Window) -> NDArray[np.bool_]:
    """Bring a truth mask onto the network's grid, by the nearest pixel: a mask stays a mask.

    Args:
        mask: Shape (H, W), bool.
        recipe: The model's recipe.
        window: Window of the slice that it belongs to, from ``find_window``.

    Returns:
        Shape ``recipe.size_hw``, bool.
    """
    values = cut_out(mask.astype(np.uint8), window)
    height, width = recipe.size_hw
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0)


def restore(
    probability: NDArray[np.float32], source_size_hw: tuple[int, int], window: Window, *, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Bring the network's probability back onto the slice's own grid: bilinear in the window, 0 outside of it.

    Args:
        probability: Probability on the network's grid, float32 in [0, 1].
        source_size_hw: Height and width of the slice that was prepared.
        window: Window that it was prepared from.
        temperature: The recipe's temperature, applied to the resized probability.

    Returns:
        Shape ``source_size_hw``, float32 in [0, 1]. The mask is where it reaches ``recipe.threshold``.
    """
    height, width = source_size_hw
    top, bottom, left, right = window
    resized = np.asarray(cv2.resize(probability, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR))
    inside = Window(max(-top, 0), min(bottom, height) - top, max(-left, 0), min(right, width) - left)
    restored = np.zeros(source_size_hw, dtype=np.float32)
    part = restored[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    part[:] = apply_temperature(cut_out(resized, inside), temperature)
    return restored


def tumour_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn the network's output into the probability of tumour.

    The softmax over two channels is the logistic function of their difference, which does not overflow.

    Args:
        logits: Shape (N, 2, H, W): background, tumour.

    Returns:
        Shape (N, H, W), float32 in [0, 1].
    """
    difference = logits[:, 1] - logits[:, 0]
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * difference)), dtype=np.float32)


def apply_temperature(probability: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Divide the logit of a probability by a temperature (Guo et al. 2017); 0 and 1 stay what they are.

    Args:
        probability: Any shape, float32 in [0, 1].
        temperature: Positive; 1 leaves the probability as it is.

    Returns:
        Of the same shape, float32 in [0, 1].
    """
    if temperature == 1.0:
        return probability
    with np.errstate(divide="ignore", over="ignore"):  # 0 and 1 have logits of minus and plus infinity
        odds = np.log(np.float32(1) - probability)
        odds -= np.log(probability)
        odds /= np.float32(temperature)
        np.exp(odds, out=odds)
    odds += 1
    return np.asarray(np.reciprocal(odds, out=odds), dtype=np.float32)


def recipe_to_json(recipe: Recipe) -> str:
    """Return a recipe as the metadata of an ONNX file stores it."""
    return json.dumps(asdict(recipe), sort_keys=True)


def recipe_from_json(text: str) -> Recipe:
    """Read a recipe from the metadata of an ONNX file.

    Raises:
        ConfigError: It has an unknown key or a wrong value.
        ValueError: It is not JSON.
    """
    return recipe_from_table(parse_json(text))


def _make_square(window: Window) -> Window:
    """Return the square of the longer side around the same middle, the odd row or column at the end."""
    top, bottom, left, right = window
    height, width = bottom - top, right - left
    rows, columns = max(width - height, 0), max(height - width, 0)
    above, before = rows // 2, columns // 2
    return Window(top - above, bottom + rows - above, left - before, right + columns - before)

"""Everything between a slice and the network's input, and between its output and a mask on the slice's own grid.

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

ROUNDING = 1e-6
"""Contrast below this share of the brightest value is float32 rounding, and must not be blown up to 1."""


def prepare(pixels: NDArray[Any], recipe: Recipe) -> NDArray[np.float32]:
    """Turn the grey pixels of a slice into the network's input.

    The slice is padded to a square if the recipe says so, resized (averaged over areas along an axis that shrinks,
    bilinear along one that grows), and standardised to mean 0 and standard deviation 1, so that 8-bit and 16-bit
    pictures of one scan give the same input. A constant picture gives zeros.

    Args:
        pixels: Shape (H, W), any real dtype.
        recipe: The model's recipe.

    Returns:
        Shape ``recipe.size_hw``, float32.
    """
    # Counted from the darkest value, a constant picture stays exactly 0 when it is resized, and padding is 0.
    grey = pixels.astype(np.float32) - np.float32(pixels.min())
    if recipe.pad_to_square:
        top, bottom, left, right = _square_padding(grey.shape)
        grey = np.asarray(cv2.copyMakeBorder(grey, top, bottom, left, right, cv2.BORDER_CONSTANT), dtype=np.float32)
    height, width = recipe.size_hw
    shrunk_wh = (min(width, grey.shape[1]), min(height, grey.shape[0]))
    shrunk = cv2.resize(grey, shrunk_wh, interpolation=cv2.INTER_AREA)
    resized = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
    return standardise(np.asarray(resized, dtype=np.float32))


def standardise(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring grey values to mean 0 and standard deviation 1.

    Args:
        grey: Shape (H, W), float32, of which 0 is black.

    Returns:
        Of the same shape, float32; zeros if the picture is constant but for rounding.
    """
    means, deviations = cv2.meanStdDev(grey)  # sums in double precision, in one pass
    mean, deviation = float(means.item()), float(deviations.item())
    if deviation <= ROUNDING * float(grey.max()):
        return np.zeros_like(grey)
    return np.asarray((grey - np.float32(mean)) / np.float32(deviation), dtype=np.float32)


def prepare_mask(mask: NDArray[np.bool_], recipe: Recipe) -> NDArray[np.bool_]:
    """Bring a truth mask onto the network's grid, by the nearest pixel: a mask stays a mask.

    Args:
        mask: Shape (H, W), bool.
        recipe: The model's recipe.

    Returns:
        Shape ``recipe.size_hw``, bool.
    """
    values = mask.astype(np.uint8)
    if recipe.pad_to_square:
        top, bottom, left, right = _square_padding(values.shape)
        values = np.pad(values, ((top, bottom), (left, right)))
    height, width = recipe.size_hw
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0)


def restore(probability: NDArray[np.float32], source_size_hw: tuple[int, int], recipe: Recipe) -> NDArray[np.float32]:
    """Bring the network's probability back onto the slice's own grid: bilinear, then the padding is cut off.

    Args:
        probability: Shape ``recipe.size_hw``, float32 in [0, 1].
        source_size_hw: Height and width of the slice that was prepared.
        recipe: The recipe it was prepared with.

    Returns:
        Shape ``source_size_hw``, float32 in [0, 1]. The mask is where it reaches ``recipe.threshold``.
    """
    height, width = source_size_hw
    top, bottom, left, right = _square_padding(source_size_hw) if recipe.pad_to_square else (0, 0, 0, 0)
    padded_wh = (left + width + right, top + height + bottom)
    resized = cv2.resize(probability, padded_wh, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized[top : top + height, left : left + width], dtype=np.float32)


def tumour_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of tumour from the network's output.

    The softmax over two channels is the logistic function of their difference, which does not overflow.

    Args:
        logits: Shape (N, 2, H, W): background, tumour.

    Returns:
        Shape (N, H, W), float32 in [0, 1].
    """
    difference = logits[:, 1] - logits[:, 0]
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * difference)), dtype=np.float32)


def temper(probability: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
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
    """The recipe as it is stored in the metadata of an ONNX file."""
    return json.dumps(asdict(recipe), sort_keys=True)


def recipe_from_json(text: str) -> Recipe:
    """The recipe of an ONNX file's metadata.

    Raises:
        ConfigError: It has an unknown key or a wrong value.
        ValueError: It is not JSON.
    """
    return recipe_from_table(json.loads(text))


def _square_padding(size_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Rows and columns (top, bottom, left, right) that make a square of the longer side, the odd one at the end."""
    height, width = size_hw
    rows, columns = max(width - height, 0), max(height - width, 0)
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2

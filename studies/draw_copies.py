"""Pictures of docs/trust.md, drawn from generated slices."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tumortrace.copies.compare import CopyPair
from tumortrace.copies.find import find_copies
from tumortrace.copies.registration import lay_mask, lay_pixels
from tumortrace.copies.signatures import measure_signature, stack_signatures
from tumortrace.copies.transforms import make_thumbnail, name_transform
from tumortrace.data.geometry import rasterize
from tumortrace.metrics.overlap import count_pixels
from tumortrace.phantoms.slices import draw_phantom
from tumortrace.reporting.figures import save_figure

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    """Draw one slice with three copies of it, and two outlines of one tumour."""
    phantom = draw_phantom(np.random.default_rng(4), size_hw=(300, 250), kind="ring")
    truth = rasterize(phantom.regions, phantom.pixels.shape)
    save_figure(_draw_copies(phantom.pixels, truth), IMAGES / "trust-copies.png")
    save_figure(_draw_outlines(phantom.pixels, truth), IMAGES / "trust-outlines.png")


def _make_copies(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    gamma = (255 * (pixels / 255.0) ** 0.55).astype(np.uint8)
    small = cv2.resize(pixels[::-1, ::-1], None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    turned = np.rot90(pixels[10:-6, 8:])
    return [gamma[:, ::-1], np.asarray(small), np.clip(1.5 * turned.astype(np.float32) - 40, 0, 255).astype(np.uint8)]


def _find(pixels: NDArray[np.uint8], copy: NDArray[np.uint8]) -> CopyPair:
    (pair,) = find_copies(stack_signatures(map(measure_signature, (pixels, copy))))
    return pair


def _draw_copies(pixels: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Figure:
    copies = [np.ascontiguousarray(copy) for copy in _make_copies(pixels)]
    figure = Figure(figsize=(9.4, 5.6), facecolor="white", layout="constrained")
    rows = figure.subplots(2, 4)
    _show(rows[0, 0], pixels, "a slice in TRAIN")
    _show(rows[1, 0], pixels, "and its outline", truth)
    for column, copy in enumerate(copies, start=1):
        pair = _find(pixels, copy)
        words = name_transform(
            make_thumbnail(copy), make_thumbnail(pixels), first_hw=copy.shape, second_hw=pixels.shape,
            to_second=pair.turned().to_second,
        )  # fmt: skip
        _show(rows[0, column], copy, "in VAL: " + words.replace(", ", ",\n"))
        laid = lay_pixels(copy.astype(np.float32), pair.to_second, pixels.shape)
        _show(rows[1, column], laid, f"laid back: similarity {pair.similarity:.2f}", truth)
    return figure


def _draw_outlines(pixels: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Figure:
    """Draw two annotators' outlines of a slice and its mirrored copy; the second is a little wider, and lower."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    wider = np.roll(np.asarray(cv2.dilate(truth.astype(np.uint8), kernel)) > 0, 3, axis=0)
    copy, its_outline = np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(wider[:, ::-1])
    pair = _find(pixels, copy)
    laid = lay_mask(its_outline, pair.to_second, pixels.shape)
    figure = Figure(figsize=(8.2, 3.6), facecolor="white", layout="constrained")
    first, second, both = figure.subplots(1, 3)
    _show(first, pixels, "one annotator", truth)
    _show(second, copy, "another, on the mirrored copy", its_outline, colour="#56b4e9")
    _show(both, pixels, f"laid onto each other: Dice {count_pixels(laid, truth).dice:.2f}", truth)
    both.contour(laid, levels=[0.5], colors=["#56b4e9"], linewidths=1.4)
    return figure


def _show(
    axes: Axes,
    pixels: NDArray[np.uint8 | np.float32],
    title: str,
    outline: NDArray[np.bool_] | None = None,
    colour: str = "#f0e442",
) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    if outline is not None:
        axes.contour(outline, levels=[0.5], colors=[colour], linewidths=1.4)
    axes.set_title(title, fontsize=9)
    axes.set(xticks=[], yticks=[])


if __name__ == "__main__":
    main()

"""The student paper's U-Net as a drawing and as tables.

What is drawn and tabled are the shapes that each layer takes and gives for one slice, so neither can differ from the
network that ``train --config paper`` trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from torch import Tensor, nn

from reproduction.committed_numbers import Drawn, Rows
from tumortrace.config import load_config
from tumortrace.training.networks import build_network

Shape = tuple[int, int, int]
"""Channels, height and width."""

NAMES = {"encoders": "encoder", "upsamplings": "up", "decoders": "decoder"}
ARROWS: dict[str, tuple[str, str, Any]] = {
    "conv": ("3 x 3 convolution, padded, and ReLU", "black", "-"),
    "pool": ("2 x 2 max pooling", "#d55e00", "--"),
    "up": ("2 x 2 transposed convolution, stride 2", "#0072b2", "-."),
    "skip": ("skip: copied and concatenated", "0.45", ":"),
    "head": ("1 x 1 convolution", "#009e73", (0, (5, 1, 1, 1, 1, 1))),
}
"""What each step of the drawing is, its colour and its line."""

FILLS: dict[str, tuple[str, dict[str, Any]]] = {
    "features": ("features", {"facecolor": "0.85"}),
    "normed": ("features, batch-normalised", {"facecolor": "0.6"}),
    "copy": ("copied features", {"facecolor": "white", "hatch": "////"}),
    "end": ("the slice; the logits of background and tumour", {"facecolor": "white"}),
}
"""What each box of the drawing is, and how it is filled."""

STEP, TALLEST, SHRINKING, BETWEEN = 0.6, 1.25, 0.8, 0.62
"""Of the drawing, in inches: from box to box, height at the finest level, each coarser one's share, between levels."""


@dataclass(frozen=True)
class LayerRun:
    """A layer, once.

    Attributes:
        path: Path of the layer in the network, such as ``"encoders.0.2"``.
        kind: Its class.
        taken: Shape of its input without the batch.
        given: Shape of its output, likewise.
        parameters: Number of parameters.
    """

    path: str
    kind: str
    taken: Shape
    given: Shape
    parameters: int

    @property
    def block(self) -> str:
        """The part of the network that the layer belongs to, such as ``"encoder 1"``."""
        name, *numbers = self.path.split(".")
        return f"{NAMES[name]} {int(numbers[0]) + 1}" if name in NAMES else name


@dataclass(frozen=True)
class Box:
    """Features in the drawing.

    Attributes:
        shape: Shape of the features.
        fill: Key of ``FILLS``.
        arrow: Key of ``ARROWS`` for the step that makes them; empty for the slice and for copies.
        step: Position from the left, in units of ``STEP``.
    """

    shape: Shape
    fill: str
    arrow: str
    step: int


def paper_network() -> tuple[nn.Module, tuple[int, int]]:
    """The network of the config ``paper`` without numbers (on torch's device ``meta``), and its input's size."""
    config = load_config("paper")
    with torch.device("meta"):
        return build_network(config.network, size_hw=config.recipe.size_hw, seed=0).eval(), config.recipe.size_hw


def trace_network(network: nn.Module, size_hw: tuple[int, int]) -> list[LayerRun]:
    """The layers in the order in which they run on one slice; a layer that runs twice is there twice.

    Args:
        network: Network on the device ``meta`` that takes images of shape (1, 1, H, W).
        size_hw: Height and width of the image.
    """
    runs: list[LayerRun] = []
    paths = {layer: path for path, layer in network.named_modules()}

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        count = sum(parameter.numel() for parameter in layer.parameters())
        runs.append(LayerRun(paths[layer], type(layer).__name__, _shape_of(inputs[0]), _shape_of(output), count))

    hooks = [layer.register_forward_hook(record) for layer in paths if not list(layer.children())]
    network(torch.zeros(1, 1, *size_hw, device="meta"))
    for hook in hooks:
        hook.remove()
    return runs


def tabulate_layers(runs: Sequence[LayerRun]) -> Rows:
    """A row a layer, named as in the student paper's annex, then the total."""
    rows = [
        {"layer": f"{run.kind}-{number}", "block": run.block, **_shape_cells(run.given), "parameters": run.parameters}
        for number, run in enumerate(runs, start=1)
    ]
    return [*rows, _total(rows)]


def tabulate_blocks(runs: Sequence[LayerRun]) -> Rows:
    """A row a block (what is drawn between two changes of resolution), with the shape of its output, then the total."""
    rows: Rows = []
    for block, members in groupby(runs, key=lambda run: run.block):
        layers = list(members)
        kinds = " + ".join(layer.kind for layer in layers)
        count = sum(layer.parameters for layer in layers)
        rows.append({"layer": block, "made_of": kinds, **_shape_cells(layers[-1].given), "parameters": count})
    return [*rows, _total(rows)]


def lay_out(runs: Sequence[LayerRun]) -> list[Box]:
    """The boxes of the drawing from left to right; a copy stands before the features that it is joined to.

    Args:
        runs: Layers of a ``UNet``, in the order in which they run.
    """
    boxes = [Box(runs[0].taken, "end", "", 0)]
    for number, run in enumerate(runs):
        step = boxes[-1].step
        if run.kind == "Conv2d":
            head = run.block == "head"
            boxes.append(Box(run.given, "end" if head else "features", "head" if head else "conv", step + 1))
        elif run.kind == "MaxPool2d":
            boxes.append(Box(run.given, "features", "pool", step))
        elif run.kind == "ConvTranspose2d":
            joined = runs[number + 1].taken
            boxes.append(Box((joined[0] - run.given[0], *joined[1:]), "copy", "", step))
            boxes.append(Box(run.given, "features", "up", step))
        elif run.kind == "BatchNorm2d":
            boxes[-1] = Box(boxes[-1].shape, "normed", boxes[-1].arrow, step)
    return boxes


def draw_network(runs: Sequence[LayerRun]) -> Figure:
    """The U: a box for each features' shape, channels above it, height and width beside the first of each level."""
    boxes = lay_out(runs)
    levels = sorted({box.shape[1] for box in boxes}, reverse=True)
    heights = [TALLEST * SHRINKING**level for level in range(len(levels))]
    middles = {size: -sum(heights[:level]) - BETWEEN * level - heights[level] / 2 for level, size in enumerate(levels)}
    tall = dict(zip(levels, heights, strict=True))
    size = (STEP * boxes[-1].step + 1.9, sum(heights) + BETWEEN * (len(levels) - 1) + 1.5)
    figure = Figure(figsize=size, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.1, size[0] - 1.1), ylim=(0.85 - size[1], 0.85), aspect="equal")
    axes.axis("off")
    for number, box in enumerate(boxes):
        _draw_box(axes, box, middles[box.shape[1]], tall[box.shape[1]])
        if not number or box.arrow == "pool":
            left = _left(box) - 0.08
            label = f"{box.shape[1]} x {box.shape[2]}"
            axes.text(left, middles[box.shape[1]], label, ha="right", va="center", fontsize=9)
        if box.arrow:
            source = boxes[number - 2 if box.arrow == "up" else number - 1]
            _draw_arrow(axes, source, box, middles, tall)
    for copied in (box for box in boxes if box.fill == "copy"):
        source = [box for box in boxes if box.fill == "normed" and box.shape[1] == copied.shape[1]][-1]
        y = middles[copied.shape[1]]
        _point(axes, (_right(source), y), (_left(copied), y), "skip")
    total = sum(run.parameters for run in runs)
    widths = "-".join(str(channels) for channels in _widths(runs))
    title = f"The student paper's U-Net, widths {widths}, {total:,} parameters (above the boxes: channels)"
    axes.set_title(title, y=0.94, fontsize=12)
    _draw_legend(figure)
    return figure


def make_architecture(_results: Path) -> Drawn:
    """The drawing, and its blocks as a table."""
    runs = trace_network(*paper_network())
    return Drawn(draw_network(runs), {"architecture": tabulate_blocks(runs)})


def make_annex(_results: Path) -> Drawn:
    """All layers as a table."""
    return Drawn(None, {"annex": tabulate_layers(trace_network(*paper_network()))})


def _shape_of(features: Tensor) -> Shape:
    _, channels, height, width = features.shape
    return channels, height, width


def _shape_cells(shape: Shape) -> dict[str, int]:
    return dict(zip(("channels", "height", "width"), shape, strict=True))


def _total(rows: Rows) -> dict[str, Any]:
    return {"layer": "total", "parameters": sum(row["parameters"] for row in rows)}


def _widths(runs: Sequence[LayerRun]) -> list[int]:
    """Channels at each resolution, finest first."""
    firsts = {run.given[1]: run.given[0] for run in runs if run.kind == "Conv2d" and run.block != "head"}
    return [firsts[size] for size in sorted(firsts, reverse=True)]


def _thickness(box: Box) -> float:
    return 0.05 + 0.02 * box.shape[0].bit_length()


def _left(box: Box) -> float:
    """Boxes are centred on their step; a copy touches from the left what it is joined to."""
    centre = box.step * STEP
    return centre - _thickness(box) * (1.5 if box.fill == "copy" else 0.5)


def _right(box: Box) -> float:
    return _left(box) + _thickness(box)


def _draw_box(axes: Axes, box: Box, middle: float, height: float) -> None:
    corner = (_left(box), middle - height / 2)
    axes.add_patch(Rectangle(corner, _thickness(box), height, edgecolor="black", linewidth=0.8, **FILLS[box.fill][1]))
    # Two halves side by side leave no room for two numbers above their middles.
    x, side = (_right(box), "right") if box.fill == "copy" else (_left(box) + _thickness(box) / 2, "center")
    if box.arrow == "up":
        x, side = _left(box), "left"
    label = f"{box.shape[0]}+" if box.fill == "copy" else str(box.shape[0])
    axes.text(x, middle + height / 2 + 0.04, label, ha=side, va="bottom", fontsize=8)


def _draw_arrow(axes: Axes, source: Box, box: Box, middles: dict[int, float], tall: dict[int, float]) -> None:
    here, there = source.shape[1], box.shape[1]
    if here == there:
        _point(axes, (_right(source), middles[here]), (_left(box), middles[there]), box.arrow)
        return
    x, side = box.step * STEP, 1 if box.arrow == "up" else -1
    room = 0.2  # for the channels above the lower box
    start, end = middles[here] + side * tall[here] / 2, middles[there] - side * tall[there] / 2
    _point(axes, (x, start + room * (side > 0)), (x, end + room * (side < 0)), box.arrow)


def _point(axes: Axes, start: tuple[float, float], end: tuple[float, float], arrow: str) -> None:
    _, colour, line = ARROWS[arrow]
    shaft = {"color": colour, "linewidth": 1.5, "linestyle": line, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-", **shaft})
    # The head by itself, for a broken line would break it too.
    reach = 0.02
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    before = (end[0] - (end[0] - start[0]) * reach / length, end[1] - (end[1] - start[1]) * reach / length)
    axes.annotate("", end, before, arrowprops={**shaft, "arrowstyle": "-|>", "linestyle": "-"})


def _draw_legend(figure: Figure) -> None:
    lines = [Line2D([], [], color=colour, linestyle=line, label=label) for label, colour, line in ARROWS.values()]
    patches = [Patch(edgecolor="black", label=label, **fill) for label, fill in FILLS.values()]
    place = {"frameon": False, "fontsize": 9, "handlelength": 2.6}
    figure.legend(handles=lines, loc="lower left", bbox_to_anchor=(0.01, 0.02), **place)
    figure.legend(handles=patches, loc="lower right", bbox_to_anchor=(0.99, 0.02), **place)

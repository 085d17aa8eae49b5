"""Costly steps of commands, done once for equal inputs while faults are tried.

torch takes five seconds to convert a network to ONNX, and matplotlib half a second for each figure of cases. No fault
can meet them, because they neither open nor write a file.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import onnx
from matplotlib.figure import Figure
from torch import Tensor, nn

from tumortrace.reporting import cases
from tumortrace.reporting.figures import CasePanels, draw_cases
from tumortrace.training import export

Convert = Callable[..., onnx.ModelProto]
Draw = Callable[..., Figure]


@contextmanager
def compute_once() -> Iterator[None]:
    """Convert equal networks, and draw equal figures of cases, once until the block ends."""
    with (
        patch.object(export, "convert", convert_once(export.convert)),
        patch.object(cases, "draw_cases", draw_once(draw_cases)),
    ):
        yield


def convert_once(convert: Convert) -> Convert:
    """Return a function that converts networks of equal layers and weights once."""
    known: dict[str, bytes] = {}

    def answer(network: nn.Module, arguments: tuple[Tensor, ...], **names: Any) -> onnx.ModelProto:  # noqa: ANN401
        weights = {name: value.detach().numpy().tobytes() for name, value in network.state_dict().items()}
        tensors = [(tensor.shape, tensor.numpy().tobytes()) for tensor in arguments]
        key = _digest((str(network), weights, tensors, repr(names)))
        if key not in known:
            known[key] = convert(network, arguments, **names).SerializeToString()
        return onnx.load_from_string(known[key])  # a model of its own: the caller adds to it

    return answer


def draw_once(draw: Draw) -> Draw:
    """Return a function that draws figures of equal cases once; they also render once in each format."""
    known: dict[str, Figure] = {}

    def answer(panels: Sequence[CasePanels], **settings: Any) -> Figure:  # noqa: ANN401
        key = _digest(([vars(each) for each in panels], settings))
        if key not in known:
            known[key] = _Rendered(draw(panels, **settings))
        return known[key]

    return answer


class _Rendered(Figure):
    """A finished figure that keeps what it was rendered to."""

    def __init__(self, figure: Figure) -> None:
        super().__init__()
        self._figure = figure
        self._known: dict[str, bytes] = {}

    def savefig(self, fname: Any, **settings: Any) -> None:  # noqa: ANN401 - as in matplotlib
        """Write the figure into a buffer."""
        key = repr(sorted(settings.items()))
        if key not in self._known:
            buffer = io.BytesIO()
            self._figure.savefig(buffer, **settings)
            self._known[key] = buffer.getvalue()
        fname.write(self._known[key])


def _digest(value: object) -> str:
    return hashlib.sha256(pickle.dumps(value)).hexdigest()

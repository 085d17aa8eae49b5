"""Tables that the figures are drawn from, and a figure with its own table.

Used by ``architecture``, ``curves`` and ``cases``; ``figures`` writes what they draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.tables import read_table
from tumortrace.errors import TumortraceError

Rows = list[dict[str, Any]]


class NumbersMissingError(TumortraceError):
    """A figure cannot be drawn yet; the text says what is missing and what makes it."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a figure's maker hands over.

    Attributes:
        figure: None if there is only a table.
        tables: Rows by the name of their CSV file; each has at least one row.
        text: Text to print; may be empty.
    """

    figure: Figure | None
    tables: dict[str, Rows] = field(default_factory=dict)
    text: str = ""


def read_rows(path: Path, *, remedy: str) -> list[dict[str, str]]:
    """The rows of a CSV file.

    Args:
        path: The file.
        remedy: Command that makes it, as the end of a sentence.

    Raises:
        NumbersMissingError: There is no such file, or no row in it.
    """
    if not path.is_file():
        raise NumbersMissingError(f"there is no {path.name} yet; {remedy}")
    rows = read_table(path)
    if not rows:
        raise NumbersMissingError(f"{path.name} has no rows; {remedy}")
    return rows


def to_number(cell: str) -> float:
    """The number in a cell, NaN if it is empty."""
    return float(cell) if cell else math.nan


def clean(axes: Axes, *, axis: str = "both") -> None:
    """A faint grid along ``axis``, and no frame above or to the right."""
    axes.grid(visible=True, axis=axis, linewidth=0.3, color="0.85")  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)

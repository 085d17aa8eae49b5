"""Data and tables of the benchmarks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from rich.table import Table

from tumortrace.data.geometry import Circle, Ellipse, Polygon, Region
from tumortrace.phantoms.slices import write_phantom_dataset


@contextmanager
def some_data() -> Iterator[tuple[str, Path]]:
    """Yield the name and folder of Br35H where ``TUMORTRACE_DATA`` names it, or else of generated slices."""
    root = os.environ.get("TUMORTRACE_DATA")
    if root:
        yield "Br35H", Path(root) / "br35h"
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_phantom_dataset(data, counts={"TRAIN": 120, "VAL": 40}, no_tumour=0, seed=0)
        yield "generated slices", data


def as_installed() -> dict[str, str]:
    """Return the environment of a child that keeps compiled modules, as an installation has them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def make_table(title: str, *headings: str) -> Table:
    """Return an empty table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
    return table


def paint_with_opencv(mask: np.ndarray, region: Region) -> None:
    """Paint a region the way a quick script would: whole coordinates, and the outline's pixels too."""
    match region:
        case Polygon(points_xy):
            cv2.fillPoly(mask, [points_xy.astype(np.int32)], 1)
        case Ellipse((x, y), (rx, ry), theta_rad):
            cv2.ellipse(mask, (int(x), int(y)), (int(rx), int(ry)), np.degrees(theta_rad), 0, 360, 1, -1)
        case Circle((x, y), radius):
            cv2.circle(mask, (int(x), int(y)), int(radius), 1, -1)

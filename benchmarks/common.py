"""What the benchmarks share: the data they run on, and how a table looks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from tumortrace.data.phantoms import write_phantom_dataset


@contextmanager
def some_data() -> Iterator[tuple[str, Path]]:
    """The real Br35H slices where ``TUMORTRACE_DATA`` names them, else generated ones; with what they are called."""
    root = os.environ.get("TUMORTRACE_DATA")
    if root:
        yield "Br35H", Path(root) / "br35h"
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_phantom_dataset(data, counts={"TRAIN": 120, "VAL": 40}, no_tumour=0, seed=0)
        yield "generated slices", data


def make_table(title: str, *headings: str) -> Table:
    """An empty table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
    return table

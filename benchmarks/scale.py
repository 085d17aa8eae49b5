"""Throughput and memory of ``segment`` over many generated slices.

``python -m benchmarks.scale --slices 50000`` measures as many. The files are links to a few drawn slices. The model is
one multiplication, so that the time is that of all else: finding, reading, the gate, records and masks. Other programs
on the machine change the processor time little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.inference.recipe import recipe_to_json
from tumortrace.phantoms.slices import draw_phantom

DRAWN = 64
"""Number of different slices."""

SIZE_HW = (96, 112)
PARTS = 10
PAUSE_SECONDS = 0.2


class Sample(NamedTuple):
    """State of the process at one time."""

    records: int
    cpu_seconds: float
    resident_mb: float


def measure(slices: int = 1000) -> Table:
    """Segment generated slices in a process of its own, and watch it; a row for each tenth of the slices."""
    with tempfile.TemporaryDirectory() as folder:
        write_slices(Path(folder) / "slices", slices)
        model = write_model(Path(folder) / "bare.onnx")
        samples = watch(Path(folder), model)
    table = make_table(f"segment --shard 1/1, {slices:,} generated slices", "slices", "CPU ms a slice", "resident MB")
    for number in range(PARTS):
        first, last = (_at(samples, slices * (number + end) // PARTS) for end in (0, 1))
        cost = 1000 * (last.cpu_seconds - first.cpu_seconds) / max(1, last.records - first.records)
        table.add_row(f"{first.records:,} to {last.records:,}", f"{cost:.2f}", f"{last.resident_mb:.0f}")
    return table


def write_slices(folder: Path, count: int) -> None:
    """Write slices in folders of a thousand, each a link to one of a few that are drawn."""
    for number in range(min(count, DRAWN)):
        drawn = draw_phantom(np.random.default_rng(number), size_hw=SIZE_HW, kind="bright")
        write_png(folder.with_name("drawn") / f"{number}.png", drawn.pixels)
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(folder.with_name("drawn") / f"{number % DRAWN}.png", path)


def write_model(path: Path) -> Path:
    """Write a model whose logit of tumour is a multiple of the standardised grey value."""
    shapes: dict[str, list[str | int | None]] = {"images": ["N", 1, "H", "W"], "logits": ["N", 2, "H", "W"]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Mul", ["images", "gain"], ["tumour"]),
        helper.make_node("Neg", ["tumour"], ["background"]),
        helper.make_node("Concat", ["background", "tumour"], ["logits"], axis=1),
    ]
    gain = helper.make_tensor("gain", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph(nodes, "bare", [values["images"]], [values["logits"]], [gain])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    recipe = recipe_to_json(Recipe(SIZE_HW, threshold=0.9))
    helper.set_model_props(model, {"tumortrace.recipe": recipe, "tumortrace.card": json.dumps({"name": "bare"})})
    onnx.save(model, path)
    return path


def watch(folder: Path, model: Path) -> list[Sample]:
    """Run ``segment`` over ``slices``, and sample it until it has ended."""
    out = folder / "masks"
    command = [sys.executable, "-m", "tumortrace", "segment", str(folder / "slices"), "--out", str(out)]
    command += ["--shard", "1/1", "--model", str(model)]
    samples: list[Sample] = []
    records = place = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            journal = out / "results-1-of-1.jsonl"
            if journal.exists():
                with journal.open("rb") as file:
                    file.seek(place)
                    records += (new := file.read()).count(b'{"unit"')
                    place += len(new)
            samples += _sample(running.pid, records)
            time.sleep(PAUSE_SECONDS)
    assert running.returncode == 0, "segment failed"
    return samples


def _sample(pid: int, records: int) -> list[Sample]:
    """Return one sample from /proc; none once the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return []
    ticks = int(fields[11]) + int(fields[12])
    return [Sample(records, ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6)]


def _at(samples: list[Sample], records: int) -> Sample:
    """Return the first sample with so many records."""
    return next((sample for sample in samples if sample.records >= records), samples[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=50_000)
    Console(width=130).print(measure(parser.parse_args().slices))

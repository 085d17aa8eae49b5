"""Inference: a slice through the shipped model, bare and with all that makes a mask of it, on all cores."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.table import Table

from benchmarks.common import make_table
from tumortrace.data.slice import Slice
from tumortrace.inference.model import open_model
from tumortrace.inference.predict import predict
from tumortrace.inference.recipe import prepare
from tumortrace.machine import usable_cores

ROUNDS = 200
WARM_UP = 20
SIZE_HW = (344, 283)
"""The median size of Br35H's pictures."""


def measure() -> Table:
    """Median and 95th percentile of the milliseconds a slice, the two taken in turns."""
    model = open_model("default")
    image = Slice(np.random.default_rng(0).integers(0, 256, SIZE_HW, dtype=np.uint8), "noise")
    prepared = prepare(image.pixels, model.recipe)[None, None]
    bare, whole = [], []
    for _ in range(WARM_UP + ROUNDS):
        bare.append(_milliseconds(lambda: model.session.run(["logits"], {"images": prepared})))
        whole.append(_milliseconds(lambda: predict(model, image)))
    table = make_table(
        f"A slice of {SIZE_HW[0]} x {SIZE_HW[1]}, {usable_cores()} threads", "what", "median ms", "95 % ms", "ratio"
    )
    for name, times in (("bare inference", bare), ("prepare, infer, restore, lesions", whole)):
        taken = times[WARM_UP:]
        ratio = np.median(taken) / np.median(bare[WARM_UP:])
        table.add_row(name, f"{np.median(taken):.2f}", f"{np.quantile(taken, 0.95):.2f}", f"{ratio:.2f}")
    return table


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)

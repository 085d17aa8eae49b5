"""What a slice, a file and a record cost on this machine, for ``studies.scale``.

``python -m studies.scale_costs --out studies/scale_costs.json`` generates JPEG pictures and segments few and many of
them in commands of one core: the difference is the cost of a slice, what remains is the start. It counts processor
time, which other programs disturb little. Records are read from a ``results.json`` that repeats real ones, and files
are listed in a temporary folder of this machine's disk.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from studies.scale import Costs
from tumortrace.cli import run_script
from tumortrace.json_csv import write_json
from tumortrace.phantoms.slices import draw_phantom

FEW, MANY = 4, 204
RECORDS = 20_000
FILES = 20_000

READ = """
import json, sys, tracemalloc
tracemalloc.start()
document = json.load(open(sys.argv[1]))
print(tracemalloc.get_traced_memory()[1])
"""


def draw_pictures(folder: Path, count: int) -> None:
    """Write generated slices as JPEG files."""
    folder.mkdir()
    for number in range(count):
        pixels = draw_phantom(np.random.default_rng(number), size_hw=(344, 283), kind="bright").pixels
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg", quality=90)


def time_segmenting(pictures: Path, out: Path, *, model: str, shard: str = "") -> float:
    """Return the processor seconds of one command on one core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "tumortrace", "segment", str(pictures), "--out", str(out), "--model", model]
    command += ["--shard", shard] if shard else []
    subprocess.run(command, check=True, capture_output=True, preexec_fn=_keep_to_one_core)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _time_again(pictures: Path, out: Path) -> float:
    """Return the processor seconds of a shard that was finished before."""
    return [time_segmenting(pictures, out, model="fast", shard="1/1") for _ in range(2)][1]


def _keep_to_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def measure_reading(results: Path, folder: Path) -> float:
    """Return the bytes of memory that each record of a long ``results.json`` takes when it is read."""
    records = json.loads(results.read_text(encoding="utf-8"))["images"]
    long = folder / "long.json"
    many = [records[number % len(records)] for number in range(RECORDS)]
    long.write_text(json.dumps({"images": many}), encoding="utf-8")
    command = [sys.executable, "-c", READ, str(long)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / RECORDS


def time_listing(folder: Path) -> float:
    """Return the seconds, for each file, to list a folder with the size of each file."""
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:06d}_mask.png").touch()
    started = time.perf_counter()
    for entry in os.scandir(folder):
        entry.stat()
    return (time.perf_counter() - started) / FILES


def measure() -> Costs:
    """Measure everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = folder / "few", folder / "many"
        draw_pictures(few, FEW)
        draw_pictures(many, MANY)
        seconds = {}
        for model in ("default", "fast"):
            short = time_segmenting(few, folder / f"few-{model}", model=model)
            seconds[model] = (time_segmenting(many, folder / f"many-{model}", model=model) - short) / (MANY - FEW)
            start = short - FEW * seconds[model]
        check = max(_time_again(many, folder / "m") - _time_again(few, folder / "f"), 0.0) / (MANY - FEW)
        results = folder / "many-default" / "results.json"
        masks = [path.stat().st_size for path in (folder / "many-default").glob("*_mask.png")]
        return Costs(
            start_seconds=start,
            slice_seconds=seconds["default"],
            fast_slice_seconds=seconds["fast"],
            check_seconds=check,
            input_bytes=float(np.mean([path.stat().st_size for path in many.iterdir()])),
            mask_bytes=float(np.mean(masks)),
            record_bytes=results.stat().st_size / MANY,
            read_bytes=measure_reading(results, folder),
            list_seconds=time_listing(folder / "files"),
        )


def main(out: Annotated[Path, typer.Option(help="JSON file to write.")]) -> None:
    """Measure the costs and write them with the machine."""
    costs = {name: float(f"{value:.4g}") for name, value in asdict(measure()).items()}
    load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    write_json(out, {"machine": f"{platform.machine()}, {load}", "costs": costs})
    print(json.dumps(costs))


if __name__ == "__main__":
    run_script(main)

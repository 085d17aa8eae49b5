"""What remains of work on a Ray cluster whose parts are killed, and its cost.

``python -m studies.cluster kills sweep|crossval|archive --out FOLDER`` kills nodes, workers and drivers in turn, each
at a random moment, until as many kills of each kind are done; every run is compared with that of this process.
``python -m studies.cluster cost --out FOLDER`` measures time, memory and spilling with one worker.
``python -m studies.cluster memory --out FOLDER`` measures what the driver holds of lists of generated paths.
``python -m studies.cluster driver --slices 10000 --out FOLDER`` watches the driver's memory while a cluster segments
tiny slices with a model of one multiplication.
``python -m studies.cluster tune`` times eight short jobs as tasks and by Ray Tune.
Each prints its rows and appends them to ``results.jsonl`` in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from benchmarks.scale import write_model, write_slices
from tools.faults.contents import read_tree

from studies.cluster_nodes import Cluster, add_node, start_nodes
from tumortrace.phantoms.slices import write_phantom_dataset

KINDS = ("node", "worker", "driver")
UNEQUAL = {"tensorboard", "last", "manifest.json", "losses.png", ".tumortrace.lock"}
"""Files and folders that differ from run to run."""

DRAWN = 250
"""Different slices of an archive."""

PATHS = (1_000, 101_000)
"""Paths of two lists, whose difference says what a path costs."""

HOLD = """
import sys
from pathlib import Path
from array import array
from tumortrace.cluster.blocks import divide_units
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.units import Units

units = Units(find_inputs(["@" + sys.argv[1]]))
if sys.argv[2] == "blocks":
    numbers = array("q", range(len(units)))
    blocks = divide_units(units, numbers, listing=Path(sys.argv[1] + ".jsonl"), size=max(len(units) // 200, 128))
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(pages * 4096)
"""

BASE = """
[recipe]
size_hw = [64, 64]
[network]
widths = [8, 16]
[training]
epochs = 12
batch_size = 4
keep = "last"
device = "cpu"
threads = 1
"""
SWEEP = """
base = "{base}"
folds = 3
use = 2
stop_hopeless = true
[grid]
"training.learning_rate" = [1e-4, 1e-5, 1e-6, 1e-7, 0.03, 0.003]
"""


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "cost", "memory", "driver", "tune"))
    parser.add_argument("command", nargs="?", choices=("sweep", "crossval", "archive"), default="archive")
    parser.add_argument("--out", type=Path, default=Path("cluster-study"))
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    parser.add_argument("--slices", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=60, help="after which no further run begins")
    parser.add_argument("--pause", type=float, default=20.0, help="longest time between two kills, in seconds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.what == "kills":
        study_kills(given)
    elif given.what == "cost":
        study_cost(given)
    elif given.what == "memory":
        study_memory(given.out)
    elif given.what == "driver":
        study_driver(given.out, given.slices)
    else:
        study_tune()


# ---- what dies


def study_kills(given: argparse.Namespace) -> None:
    """Kill parts of runs until there are enough kills; compare each run with the one here."""
    words, here = make_command(given.command, given.out, given.slices)
    run_here(words, here)
    rng, done, deadline = random.Random(given.seed), Counter[str](), time.monotonic() + 60 * given.minutes  # noqa: S311
    with start_nodes(2) as cluster:
        number = 0
        while sum(done.values()) < given.kills * len(KINDS) and time.monotonic() < deadline:
            number += 1
            there = given.out / f"{given.command}-{number}"
            shutil.rmtree(there, ignore_errors=True)
            kills, seconds = run_with_kills(cluster, words, there, rng, done, given)
            row = {"study": "kills", "command": given.command, "run": number, "seconds": round(seconds, 1)}
            keep_row(given.out, {**row, **{kind: kills[kind] for kind in KINDS}, **compare_folders(here, there)})


def make_command(command: str, out: Path, slices: int) -> tuple[list[str], Path]:
    """Write the data of a command; return its words, and the folder for the run of this process."""
    data = out / f"data-{command}-{slices}"
    if command == "archive":
        if not data.exists():
            draw_archive(data, out / f"drawn-{slices}", slices)
        return ["segment", str(data), "--model", "fast"], out / f"here-{command}-{slices}"
    if not data.exists():
        write_phantom_dataset(data, counts={"TRAIN": 16, "VAL": 8}, no_tumour=0, seed=3)
    (out / "base.toml").write_text(BASE)
    (out / "sweep.toml").write_text(SWEEP.format(base=out / "base.toml"))
    settings = ["sweep.toml"] if command == "sweep" else ["base.toml"]
    more = [] if command == "sweep" else ["--folds", "6"]
    return [command, str(data), "--config", str(out / settings[0]), *more], out / f"here-{command}"


def draw_archive(data: Path, drawn: Path, slices: int) -> None:
    """Fill a folder with slices, each one of 250 under another name, and a file that is no picture."""
    write_phantom_dataset(drawn, counts={"TEST": min(slices, DRAWN)}, no_tumour=0, seed=9)
    pictures = sorted(path for path in (drawn / "TEST").iterdir() if path.suffix != ".json")
    data.mkdir()
    for number in range(slices):
        picture = pictures[number % len(pictures)]
        (data / f"{number:06}{picture.suffix}").hardlink_to(picture)
    (data / "poison.png").write_bytes(b"\x89PNG\r\n\x1a\n but no picture")


def run_here(words: Sequence[str], out: Path) -> None:
    """Run a command in one process, unless it has been run before."""
    if not (out / "results.json").exists() and not any(out.glob("*.csv")):
        subprocess.run(
            [sys.executable, "-m", "tumortrace", *words, "--out", str(out)], check=False, capture_output=True
        )


def run_with_kills(
    cluster: Cluster, words: Sequence[str], out: Path, rng: random.Random, done: Counter[str], given: argparse.Namespace
) -> tuple[Counter[str], float]:
    """Run a command on the cluster to its end, and kill parts of it on the way."""
    kills: Counter[str] = Counter()
    started = time.monotonic()
    driver = start_driver(cluster, words, out)
    while driver.poll() is None:
        left = [kind for kind in KINDS if done[kind] < given.kills]
        with suppress(subprocess.TimeoutExpired):
            driver.wait(rng.uniform(3.0, given.pause))
        if driver.poll() is None and left:
            kind = rng.choice(left)
            if kill(kind, cluster, driver, rng):
                kills[kind] += 1
                done[kind] += 1
        if driver.poll() == -signal.SIGKILL:
            driver = start_driver(cluster, words, out)
    if driver.returncode not in {0, 1}:  # 1: the poison is named
        print((out.parent / "driver.log").read_text()[-2000:])
    return kills, time.monotonic() - started


def start_driver(cluster: Cluster, words: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    """Start the command of a user in a process of its own."""
    with (out.parent / "driver.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tumortrace", *words, "--out", str(out), "--ray", cluster.address],
            stdout=log,
            stderr=log,
        )


def kill(kind: str, cluster: Cluster, driver: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """Kill one part, as a power cut would; return whether there was one.

    Args:
        kind: One of ``KINDS``.
        cluster: Cluster whose node or worker is killed.
        driver: Process of the command.
        rng: Chooses the worker.
    """
    if kind == "driver":
        driver.kill()
        driver.wait()
        return True
    if kind == "node":
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        add_node(cluster)
        return True
    workers = list_workers()
    if workers:
        os.kill(rng.choice(workers), signal.SIGKILL)
    return bool(workers)


def list_workers() -> list[int]:
    """Return the processes that train or segment for us now."""
    busy = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            title = path.read_bytes().replace(b"\0", b" ").strip()
            if title.startswith(
                (b"ray::_work", b"ray::MapWorker(MapBatches(SegmentActor)).", b"ray::MapBatches(SegmentActor)")
            ):
                busy.append(int(path.parent.name))
    return busy


def compare_folders(here: Path, there: Path) -> dict[str, object]:
    """Compare two folders of results file by file, but for times."""
    one, two = list_results(here), list_results(there)
    differing = [name for name in sorted(one.keys() & two.keys()) if one[name] != two[name]]
    missing, extra = one.keys() - two.keys(), two.keys() - one.keys()
    return {"files": len(one), "missing": len(missing), "extra": len(extra), "differing": " ".join(differing)}


def list_results(folder: Path) -> dict[str, str]:
    """Return a hash of each file that must be the same, by its path, without measured times."""
    return {name: content for name, content in read_tree(folder).items() if not UNEQUAL & set(Path(name).parts)}


# ---- what it costs


def study_cost(given: argparse.Namespace) -> None:
    """Segment few and many slices here and on a cluster, all on one core: the difference is a slice's cost."""
    counts = (given.slices // 5, given.slices)
    with one_core(), start_nodes(1) as cluster:
        for count in counts:
            words, _ = make_command("archive", given.out, count)
            for place, more in (("here", []), ("ray", ["--ray", cluster.address])):
                out = given.out / f"cost-{place}-{count}"
                shutil.rmtree(out, ignore_errors=True)
                started = time.monotonic()
                child = subprocess.Popen(
                    [sys.executable, "-m", "tumortrace", *words, "--out", str(out), *more], stdout=subprocess.DEVNULL
                )
                cpu = watch_cpu(child.pid)
                used = os.wait4(child.pid, 0)[2]
                seconds = time.monotonic() - started
                spilled = count_spilled()
                row = {"study": "cost", "place": place, "slices": count, "seconds": round(seconds, 2)}
                driver = {
                    "driver_mb": round(used.ru_maxrss * 1024 / 1e6, 1),
                    "driver_cpu": used.ru_utime + used.ru_stime,
                }
                keep_row(given.out, {**row, **driver, **cpu, "spilled_bytes": spilled})


def study_memory(out: Path) -> None:
    """Measure the resident memory of a driver before it joins a cluster: with its inputs, and with its tasks too."""
    for held in ("inputs", "blocks"):
        used = []
        for count in PATHS:
            path = out / f"paths-{count}.txt"
            path.write_text("".join(f"archive/study-{number:08}/slice.png\n" for number in range(count)))
            words = [sys.executable, "-c", HOLD, str(path), held]
            used.append(int(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
        slope = (used[1] - used[0]) / (PATHS[1] - PATHS[0]) * 10_000 / 1e6
        keep_row(out, {"study": "memory", "held": held, "mb": round(used[1] / 1e6), "mb_per_10000": round(slope, 2)})


def study_driver(out: Path, slices: int) -> None:
    """Measure a driver's resident memory from the first tenth of its slices to the last one, and what was spilled."""
    folder = out / f"driver-{slices}"
    if not folder.exists():
        write_slices(folder / "slices", slices)
    model, there = write_model(folder / "bare.onnx"), folder / "masks"
    shutil.rmtree(there, ignore_errors=True)
    words = ["segment", str(folder / "slices"), "--model", str(model), "--out", str(there)]
    done: list[int] = []
    held: list[float] = []
    with start_nodes(1, cores=2) as cluster:
        driver = start_driver(cluster, words, there)
        while driver.poll() is None:
            with suppress(OSError, IndexError):
                pages = int(Path(f"/proc/{driver.pid}/statm").read_text().split()[1])
                done.append(sum(1 for path in there.rglob("*_mask.png")))
                held.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
            time.sleep(2.0)
        spilled = count_spilled()
    counts, sizes = np.array(done), np.array(held)
    working = (counts >= slices // 10) & (counts < counts[-1])
    slope = np.polyfit(counts[working], sizes[working], 1)[0] * 10_000
    row = {"study": "driver", "slices": slices, "masks": done[-1], "samples": int(working.sum())}
    sizes_mb = {"first_mb": sizes[working][0], "last_mb": sizes[working][-1], "most_mb": sizes.max(), "slope": slope}
    rounded = {name: round(float(size), 2) for name, size in sizes_mb.items()}
    keep_row(out, {**row, **rounded, "spilled_bytes": spilled, "exit": driver.returncode})


def count_spilled() -> int:
    """Return the bytes that the clusters of this machine, former ones among them, spilled to disk."""
    return sum(path.stat().st_size for path in Path("/tmp/ray").glob("session_*/ray_spilled*/*"))  # noqa: S108


def watch_cpu(driver: int) -> dict[str, float]:
    """Wait until a process has ended; return the CPU seconds that actors and Ray's other processes took meanwhile."""
    first, last = list_cpu(), dict[int, tuple[str, float]]()
    while os.waitid(os.P_PID, driver, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        last |= list_cpu()
        time.sleep(0.2)
    used = dict.fromkeys(("actor_cpu", "ray_cpu"), 0.0)
    for process, (kind, seconds) in last.items():
        used[kind] += seconds - first.get(process, (kind, 0.0))[1]
    return {kind: round(seconds, 2) for kind, seconds in used.items()}


def list_cpu() -> dict[int, tuple[str, float]]:
    """Return the CPU seconds of each process of Ray on this machine, and whether it is an actor of ours."""
    found: dict[int, tuple[str, float]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            title = (path / "cmdline").read_bytes()
            if b"ray" in title[:200] and b"-m\0tumortrace" not in title:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                found[int(path.name)] = ("actor_cpu" if b"(SegmentActor)" in title else "ray_cpu", seconds)
    return found


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process and what it starts in the block run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def study_tune() -> None:
    """Time eight jobs of half a second that import torch, as tasks and as trials of Ray Tune."""
    import ray
    from ray import tune

    def work(_config: object) -> None:
        import torch

        del torch
        time.sleep(0.5)

    with start_nodes(1, cores=2) as cluster:
        ray.init(address=cluster.address, log_to_driver=False)
        task = ray.remote(num_cpus=1)(work)
        for turn in ("first", "second"):
            started = time.monotonic()
            ray.get([task.remote(number) for number in range(8)])
            print(f"tasks, {turn} time: {time.monotonic() - started:.1f} s")
        started = time.monotonic()
        tune.Tuner(
            tune.with_resources(work, {"cpu": 1}), param_space={"number": tune.grid_search(list(range(8)))}
        ).fit()
        print(f"Ray Tune: {time.monotonic() - started:.1f} s")
        ray.shutdown()


def keep_row(out: Path, row: dict[str, object]) -> None:
    """Print a row and append it to the folder's lines."""
    line = json.dumps(row)
    print(line, flush=True)
    with (out / "results.jsonl").open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()

"""Time and price of large archives, by a simulation with measured costs.

``python -m studies.scale --out DIR`` reads ``studies/scale_costs.json``, which ``python -m studies.scale_costs``
measures, and writes three tables: ``scale_shards.csv`` (a million slices in different numbers of shards),
``scale_plan.csv`` (time and price of a million and a thousand million slices) and ``scale_limits.csv`` (what breaks
first). What is not measured is an assumption: a field of ``Cluster`` or ``Prices``, with an option of its own where it
decides.

Each worker takes the next shard when it is free. Its speed differs from the others', and it stops at random moments.
The shard then begins again after a pause, with what it has finished or without.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tumortrace.cli import run_script
from tumortrace.json_csv import write_csv
from tumortrace.wording import percent

COSTS = Path(__file__).parent / "scale_costs.json"
REPEATS = 20
HOUR = 3600.0
GB = 1e9


@dataclass(frozen=True)
class Costs:
    """What was measured on one machine (``studies.scale_costs``).

    Attributes:
        start_seconds: Core time of a command before its first slice, with ``fast``.
        slice_seconds: Core time of a slice with ``default``, from the file to the mask in a file.
        fast_slice_seconds: The same with ``fast``.
        check_seconds: Core time to find that a slice is finished, when a shard begins again.
        input_bytes: Mean size of a picture.
        mask_bytes: Mean size of a mask.
        record_bytes: Size of a slice's record in ``results.json``.
        read_bytes: Memory that reading ``results.json`` takes, for each record in it.
        list_seconds: Time to list a folder, for each file in it.
    """

    start_seconds: float
    slice_seconds: float
    fast_slice_seconds: float
    check_seconds: float
    input_bytes: float
    mask_bytes: float
    record_bytes: float
    read_bytes: float
    list_seconds: float


@dataclass(frozen=True)
class Cluster:
    """Assumptions about the machines.

    Attributes:
        workers: Workers of one core each that compute at a time.
        stops_an_hour: Mean number of times that a worker stops in an hour of work: machines that are taken back.
        pause_seconds: Time from a stop, or from the end of a shard, to the next start: scheduler, container, storage.
        spread: Standard deviation of the logarithm of the workers' speeds.
        slow_share: Fraction of the workers that are slow.
        slow_factor: Factor on the time that slow workers need.
        resumes: Whether a shard that begins again keeps its finished slices.
    """

    workers: int = 64
    stops_an_hour: float = 0.02
    pause_seconds: float = 30.0
    spread: float = 0.1
    slow_share: float = 0.02
    slow_factor: float = 3.0
    resumes: bool = True


@dataclass(frozen=True)
class Prices:
    """Assumptions about prices in US dollars, of the size that large providers publish.

    Attributes:
        core_hour: A core for an hour, on machines that may be taken back.
        gb_month: A gigabyte of object storage for a month.
        million_writes: A million requests that write or list.
        million_reads: A million requests that read.
    """

    core_hour: float = 0.02
    gb_month: float = 0.023
    million_writes: float = 5.0
    million_reads: float = 0.4


@dataclass(frozen=True)
class Outcome:
    """One simulated run.

    Attributes:
        hours: Time from the first start to the end of the last shard, without the pause after it.
        core_hours: Time that workers worked, with starts and repeated work, without pauses.
        useful: Fraction of the core time that segmented slices for the first time, in (0, 1].
        stops: Number of times that a worker stopped.
    """

    hours: float
    core_hours: float
    useful: float
    stops: int


def simulate(slices: int, shards: int, costs: Costs, cluster: Cluster, rng: np.random.Generator) -> Outcome:
    """Simulate one run, shard by shard.

    Args:
        slices: Number of slices, divided equally.
        shards: Number of shards, at least 1.
        costs: Measured costs; ``slice_seconds`` is the model's.
        cluster: Assumptions about the machines.
        rng: Source of speeds and stops.
    """
    factors = rng.lognormal(0.0, cluster.spread, cluster.workers)
    factors[rng.random(cluster.workers) < cluster.slow_share] *= cluster.slow_factor
    free = [(0.0, worker) for worker in range(cluster.workers)]
    useful, spent, stops, last = 0.0, 0.0, 0, 0.0
    for _ in range(shards):
        at, worker = heapq.heappop(free)
        work = slices / shards * costs.slice_seconds * float(factors[worker])
        core, stopped = _run_shard(work, costs.start_seconds, costs.check_seconds / costs.slice_seconds, cluster, rng)
        end = at + core + stopped * cluster.pause_seconds
        heapq.heappush(free, (end + cluster.pause_seconds, worker))
        useful, spent, stops, last = useful + work, spent + core, stops + stopped, max(last, end)
    return Outcome(last / HOUR, spent / HOUR, useful / spent, stops)


def _run_shard(
    work: float, start: float, check: float, cluster: Cluster, rng: np.random.Generator
) -> tuple[float, int]:
    """Return the core time of a shard and its stops.

    Args:
        work: Core time of its slices.
        start: Core time before the first slice of each attempt.
        check: Core time to pass over finished work, as a fraction of that work.
        cluster: Assumptions about the machines.
        rng: Source of stops.
    """
    spent, done, stops = 0.0, 0.0, 0
    while True:
        before = start + check * done
        needed = before + work - done
        lasts = rng.exponential(HOUR / cluster.stops_an_hour) if cluster.stops_an_hour else np.inf
        if lasts >= needed:
            return spent + needed, stops
        spent, stops = spent + lasts, stops + 1
        done = done + max(lasts - before, 0.0) if cluster.resumes else 0.0
        if stops > MOST_STOPS:
            raise ValueError("a shard that never ends: it stops more often than its work allows; take more shards")


MOST_STOPS = 10_000
"""Stops of one shard after which the simulation gives up."""


def repeat(slices: int, shards: int, costs: Costs, cluster: Cluster, *, repeats: int = REPEATS) -> list[Outcome]:
    """Simulate a run several times, each with the seed of its number."""
    return [simulate(slices, shards, costs, cluster, np.random.default_rng(seed)) for seed in range(repeats)]


def compare_shards(costs: Costs, cluster: Cluster, *, slices: int = 1_000_000) -> list[dict[str, str]]:
    """Return a row for each number of shards: time, useful work, and the time without resuming."""
    rows = []
    for shards in (64, 256, 1_024, 4_096, 16_384, 65_536):
        runs = repeat(slices, shards, costs, cluster)
        again = repeat(slices, shards, costs, replace(cluster, resumes=False))
        hours = [run.hours for run in runs]
        rows.append(
            {
                "shards": f"{shards:,}",
                "slices a shard": f"{slices / shards:,.0f}",
                "hours, median": f"{np.median(hours):.2f}",
                "hours, slowest of 20": f"{max(hours):.2f}",
                "useful core time": percent(float(np.mean([run.useful for run in runs])), 1),
                "hours, median, nothing kept at a stop": f"{np.median([run.hours for run in again]):.2f}",
            }
        )
    return rows


def plan(costs: Costs, prices: Prices, cluster: Cluster) -> list[dict[str, str]]:
    """Return a row for each archive and model: time, price and what it leaves on disk."""
    rows = []
    for slices, workers, shards in ((1_000_000, 64, 1_024), (1_000_000_000, 10_000, 100_000)):
        for model, seconds in (("default", costs.slice_seconds), ("fast", costs.fast_slice_seconds)):
            own = replace(costs, slice_seconds=seconds)
            runs = repeat(slices, shards, own, replace(cluster, workers=workers), repeats=3)
            core_hours = float(np.mean([run.core_hours for run in runs]))
            rows.append(
                {
                    "slices": f"{slices:,}",
                    "model": model,
                    "cores": f"{workers:,}",
                    "shards": f"{shards:,}",
                    "hours": f"{np.mean([run.hours for run in runs]):.1f}",
                    "core hours": f"{core_hours:,.0f}",
                    "computing, $": f"{core_hours * prices.core_hour:,.0f}",
                    "requests, a file each, $": f"{price_requests(slices, prices):,.0f}",
                    "requests, archives, $": f"{price_requests(2 * shards, prices):,.2f}",
                    "pictures, TB": f"{slices * costs.input_bytes / 1e12:,.2f}",
                    "masks and records, TB": f"{slices * (costs.mask_bytes + costs.record_bytes) / 1e12:,.3f}",
                    "storing all, $ a month": f"{price_storage(slices, costs, prices):,.0f}",
                }
            )
    return rows


def price_requests(objects: int, prices: Prices) -> float:
    """Return the price of reading as many objects and writing as many."""
    return objects / 1e6 * (prices.million_reads + prices.million_writes)


def price_storage(slices: int, costs: Costs, prices: Prices) -> float:
    """Return the price of keeping pictures, masks and records for a month."""
    return slices * (costs.input_bytes + costs.mask_bytes + costs.record_bytes) / GB * prices.gb_month


def find_limits(costs: Costs) -> list[dict[str, str]]:
    """Return a row for each thing that grows with the archive: its size, where it breaks, and what to do."""
    sizes = (1_000_000, 1_000_000_000)

    def row(what: str, values: Iterable[str], limit: str, remedy: str) -> dict[str, str]:
        million, milliard = values
        return {"what grows": what, "10^6 slices": million, "10^9 slices": milliard, "breaks at": limit, "so": remedy}

    at_memory = 16 * GB / costs.read_bytes
    return [
        row(
            "memory to read one results.json",
            (f"{count * costs.read_bytes / GB:,.1f} GB" for count in sizes),
            f"{at_memory / 1e6:,.0f} million slices on 16 GB",
            "read a shard at a time; join tables, not JSON",
        ),
        row(
            "one results.json",
            (f"{count * costs.record_bytes / GB:,.1f} GB" for count in sizes),
            "what an editor or jq can hold",
            "a shard's own results",
        ),
        row(
            "files in one folder, time to list them",
            (f"{count * costs.list_seconds:,.0f} s" for count in sizes),
            "network folders: 10^5 to 10^6 files",
            "a folder a shard",
        ),
        row(
            "pages of 1,000 keys to list a bucket",
            (f"{count / 1000:,.0f}" for count in sizes),
            "one list of 10^9 keys: about a day in a row",
            "a manifest, written once",
        ),
        row(
            "checking what is finished, core time",
            (f"{count * costs.check_seconds / HOUR:,.2f} h" for count in sizes),
            "never, if shards check their own",
            "resume by shards",
        ),
    ]


def read_costs(path: Path = COSTS) -> Costs:
    """Return the measured costs."""
    return Costs(**json.loads(path.read_text(encoding="utf-8"))["costs"])


def main(
    out: Annotated[Path, typer.Option(help="Folder for the three tables.")],
    stops: Annotated[float, typer.Option(help="Mean number of stops of a worker in an hour.")] = Cluster.stops_an_hour,
    core_hour: Annotated[float, typer.Option(help="Price of a core for an hour, in dollars.")] = Prices.core_hour,
    gb_month: Annotated[float, typer.Option(help="Price of a gigabyte for a month, in dollars.")] = Prices.gb_month,
) -> None:
    """Simulate large archives and write the tables."""
    costs, cluster = read_costs(), Cluster(stops_an_hour=stops)
    prices = Prices(core_hour=core_hour, gb_month=gb_month)
    tables = {
        "shards": compare_shards(costs, cluster),
        "plan": plan(costs, prices, cluster),
        "limits": find_limits(costs),
    }
    for name, rows in tables.items():
        write_csv(out / f"scale_{name}.csv", rows, columns=list(rows[0]))
    print(json.dumps({"cluster": asdict(cluster), "prices": asdict(prices)}))


if __name__ == "__main__":
    run_script(main)

"""The simulation of large archives: by hand where nothing is random, and its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from studies.scale import HOUR, Cluster, Costs, Prices, find_limits, plan, price_requests, read_costs, repeat, simulate

COSTS = Costs(
    start_seconds=10.0,
    slice_seconds=2.0,
    fast_slice_seconds=1.0,
    check_seconds=0.1,
    input_bytes=1000.0,
    mask_bytes=200.0,
    record_bytes=800.0,
    read_bytes=4000.0,
    list_seconds=1e-5,
)
STEADY = Cluster(workers=2, stops_an_hour=0.0, pause_seconds=5.0, spread=0.0, slow_share=0.0)


def test_without_chance_it_is_arithmetic():
    # Three shards of 100 slices on two workers: 200 s of work, 10 s of start each; one worker has two, 5 s apart.
    outcome = simulate(300, 3, COSTS, STEADY, np.random.default_rng(0))
    assert outcome.hours * HOUR == pytest.approx(2 * 210 + 5)
    assert outcome.core_hours * HOUR == pytest.approx(3 * 210)
    assert outcome.useful == pytest.approx(600 / 630)
    assert outcome.stops == 0


def test_slow_workers_need_longer():
    slow = replace(STEADY, slow_share=1.0, slow_factor=3.0)
    assert simulate(300, 3, COSTS, slow, np.random.default_rng(0)).hours * HOUR == pytest.approx(2 * 610 + 5)


def test_useful_time_is_that_of_the_workers_which_did_the_work():
    one_slow = replace(STEADY, slow_share=0.5, slow_factor=3.0)
    # Of four shards the fast worker does three, 200 s of work each, and the slow one 600 s; each starts for 10 s.
    outcome = simulate(400, 4, COSTS, one_slow, np.random.default_rng(1))
    assert outcome.core_hours * HOUR == pytest.approx(3 * 210 + 610)
    assert outcome.useful == pytest.approx(1200 / 1240)


def test_stops_cost_time_and_keeping_finished_slices_saves_it():
    stopping = replace(STEADY, stops_an_hour=4.0)
    kept = repeat(10_000, 20, COSTS, stopping, repeats=5)
    lost = repeat(10_000, 20, COSTS, replace(stopping, resumes=False), repeats=5)
    steady = simulate(10_000, 20, COSTS, STEADY, np.random.default_rng(0))
    assert all(run.stops > 0 for run in kept)
    assert min(run.hours for run in kept) > steady.hours
    assert np.mean([run.core_hours for run in lost]) > 1.2 * np.mean([run.core_hours for run in kept])


def test_one_seed_gives_one_outcome():
    assert repeat(1000, 8, COSTS, Cluster(), repeats=2) == repeat(1000, 8, COSTS, Cluster(), repeats=2)


def test_a_shard_that_never_ends_is_said():
    hopeless = replace(STEADY, stops_an_hour=3600.0, resumes=False)
    with pytest.raises(ValueError, match="take more shards"):
        simulate(100, 1, COSTS, hopeless, np.random.default_rng(0))


def test_prices_and_limits_by_hand():
    assert price_requests(1_000_000, Prices(million_reads=0.5, million_writes=5.0)) == 5.5
    limits = {row["what grows"]: row for row in find_limits(COSTS)}
    assert limits["memory to read one results.json"]["10^6 slices"] == "4.0 GB"
    assert limits["memory to read one results.json"]["breaks at"] == "4 million slices on 16 GB"
    assert limits["files in one folder, time to list them"]["10^6 slices"] == "10 s"


def test_the_plan_names_both_archives_and_models(monkeypatch: pytest.MonkeyPatch):
    outcome = simulate(300, 3, COSTS, STEADY, np.random.default_rng(0))
    monkeypatch.setattr("studies.scale.repeat", lambda *_arguments, **_options: [outcome])
    rows = plan(COSTS, Prices(), STEADY)
    assert [(row["slices"], row["model"]) for row in rows] == [
        ("1,000,000", "default"),
        ("1,000,000", "fast"),
        ("1,000,000,000", "default"),
        ("1,000,000,000", "fast"),
    ]
    assert rows[0]["requests, a file each, $"] == "5"


def test_the_committed_costs_can_be_read():
    assert read_costs().slice_seconds > read_costs().fast_slice_seconds > 0

"""How far a validation loss jumps, and when it arrives, worked out by hand; and a sweep's folder condensed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from reproduction.oscillation import PLAIN, Curve

from reproduction import oscillation
from tumortrace.cli import run_script
from tumortrace.config import load_config, to_toml


def curve(*losses: float, row: str = PLAIN, seed: int = 0) -> Curve:
    return Curve(row, seed, np.array(losses), np.full(len(losses), 0.5))


def test_a_loss_that_jumps_between_two_values_has_half_their_ratio():
    # log losses 0, a, 0, a, ...: every square difference is a^2, so the amplitude is a / sqrt(2).
    losses = np.tile([1.0, math.e**0.2], 9)
    assert oscillation.measure_amplitude(losses) == pytest.approx(0.2 / math.sqrt(2))


def test_a_steady_drift_hardly_counts_and_the_start_not_at_all():
    drifting = np.exp(-0.01 * np.arange(18))
    assert oscillation.measure_amplitude(drifting) == pytest.approx(0.01 / math.sqrt(2))
    wild = drifting.copy()
    wild[:6] = [9.0, 1.0, 9.0, 1.0, 9.0, 1.0]
    wild[6] = drifting[6]
    assert oscillation.measure_amplitude(wild) == pytest.approx(oscillation.measure_amplitude(drifting))


def test_the_amplitude_does_not_depend_on_the_unit():
    losses = np.array([3.0, 2.0, 2.5, 1.5, 1.8, 1.2])
    assert oscillation.measure_amplitude(losses) == pytest.approx(oscillation.measure_amplitude(7 * losses))


def test_a_run_arrives_when_its_smoothed_loss_does():
    losses = np.array([1.0, 0.0, 0.0, 0.0])  # smoothed: 1, 0.6/1.6, 0.36/1.96, ...
    assert oscillation.find_arrival(losses, 0.5) == 2
    assert oscillation.find_arrival(losses, 0.2) == 3
    assert oscillation.find_arrival(losses, 0.01) is None


def test_the_table_takes_the_latest_arrival_of_the_seeds():
    steady = curve(0.1, 0.1, 0.1, 0.1)
    quick = curve(0.1, 0.1, 0.1, 0.1, row="larger batch, 8")
    never = curve(0.2, 0.2, 0.2, 0.2, row="larger batch, 8", seed=1)
    slow = curve(9.0, 0.01, 0.01, 0.01, row="clipped gradients, 0.1")
    rows = {row["row"]: row for row in oscillation.summarise([steady, quick, never, slow])}
    assert rows[PLAIN]["epochs_to_level"] == 1
    assert rows["larger batch, 8"]["seeds"] == 2
    assert rows["larger batch, 8"]["epochs_to_level"] is None
    assert rows["larger batch, 8"]["last_loss"] == pytest.approx(0.15)
    assert rows["clipped gradients, 0.1"]["epochs_to_level"] is None
    assert "schedule, one cycle" not in rows


def test_every_row_is_found_by_its_settings():
    for row, changed in oscillation.ROWS.items():
        training = replace(load_config("narrow").training, **changed)
        settings = {key: getattr(training, key) for key in ("learning_rate", "batch_size", "clip", "loss")}
        settings |= {key: getattr(training, key) for key in ("average", "schedule")}
        assert oscillation.find_row(settings) == row
    assert oscillation.find_row(settings | {"clip": 7.0}) is None


def test_a_sweep_is_condensed_and_drawn_again_without_it(tmp_path):
    config = load_config("narrow")
    lines = ["run,setting,seed,outcome"]
    for number, rate in enumerate((1e-3, 5e-4, 2e-3)):
        run = tmp_path / "sweep" / "runs" / f"s{number}"
        run.mkdir(parents=True)
        changed = replace(config, training=replace(config.training, learning_rate=rate))
        (run / "config.toml").write_text(to_toml(changed))
        epochs = "\n".join(f"{epoch},0.3,{0.2 / epoch},0.{epoch}" for epoch in range(1, 7))
        (run / "metrics.csv").write_text(f"epoch,train_loss,val_loss,val_dice\n{epochs}\n")
        lines.append(f"s{number},s{number},{number},finished")
    lines.append("s9,s9,0,stopped")
    (tmp_path / "sweep" / "results.csv").write_text("\n".join(lines) + "\n")
    oscillation.main([tmp_path / "sweep"], tmp_path)
    table = (tmp_path / "results" / "oscillation.csv").read_bytes()
    assert table.count(b"\n") == 3  # the heading and the two rates that are rows here
    picture = (tmp_path / "figures" / "oscillation.png").read_bytes()
    oscillation.main(None, tmp_path)
    assert (tmp_path / "results" / "oscillation.csv").read_bytes() == table
    assert (tmp_path / "figures" / "oscillation.png").read_bytes() == picture


def test_a_folder_without_a_sweep_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["oscillation", "--sweep", str(tmp_path), "--into", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        run_script(oscillation.main)
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: holds no results.csv of a sweep; give the --out of one that has finished a run\n"
    )
    assert not list(tmp_path.iterdir())

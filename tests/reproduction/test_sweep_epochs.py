"""A sweep's runs with their epochs, those that ended early too."""

from __future__ import annotations

import pytest
from reproduction.committed_numbers import NumbersMissingError
from reproduction.sweep_epochs import read_sweep


def test_runs_come_in_order_with_as_many_epochs_as_they_have(tmp_path):
    (tmp_path / "results.csv").write_text("run,seed\ns1,0\ns2,1\ns3,2\n")
    for name, epochs in (("s1", "1,0.5,0.25\n2,0.5,\n"), ("s2", "")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "metrics.csv").write_text(f"epoch,train_loss,val_loss\n{epochs}")
    first, second, third = read_sweep(tmp_path)
    assert first.row == {"run": "s1", "seed": "0"}
    assert first.folder == tmp_path / "runs" / "s1"
    assert [epoch["val_loss"] for epoch in first.epochs] == [0.25, None]
    assert second.epochs == third.epochs == []


def test_without_a_finished_run_there_is_nothing_to_read(tmp_path):
    with pytest.raises(NumbersMissingError, match=r"holds no results\.csv of a sweep"):
        read_sweep(tmp_path)
    (tmp_path / "results.csv").write_text("run,seed\n")
    with pytest.raises(NumbersMissingError):
        read_sweep(tmp_path)

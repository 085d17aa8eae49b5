"""The expected time of a training, and the warning that other programs slow it down."""

from __future__ import annotations

import os

import pytest
import torch

from tumortrace.training import pace as pace_module
from tumortrace.training.pace import Pace, Work


class Clock:
    """Wall time and CPU time that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, load: float, threads: int, cores: int = 2) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr(pace_module.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(pace_module.time, "process_time", lambda: self.cpu)
        monkeypatch.setattr(pace_module, "usable_cores", lambda: cores)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)


@pytest.mark.usefixtures("shown")
def test_the_expected_time_follows_from_the_steps_after_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = Clock(monkeypatch, load=0.0, threads=1)
    pace = Pace(Work(pixels=10_000, epochs=7), on_cpu=True)
    for seconds in (60.0, 1.0, 2.0, 3.0):  # the first step is slow and not counted
        assert capsys.readouterr().err == ""
        clock.wall += seconds
        pace.step(100)
    assert capsys.readouterr().err == "7 epochs will take about 3 min\n"  # 200 s
    clock.wall += 50.0
    pace.step(100)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("shown")
def test_short_epochs_are_told_apart_by_their_own_steps_and_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = Clock(monkeypatch, load=9.0, threads=2)
    pace = Pace(Work(pixels=10_000, epochs=7), on_cpu=True)
    pace.step(100)
    clock.wall, clock.cpu = 10.0, 20.0  # both threads compute all the time
    pace.step(100)
    pace.end_epoch()
    assert capsys.readouterr().err == ""
    for _ in range(2):
        clock.wall += 5.0
        pace.step(100)
    # 200 pixels in 10 s, in which the training computes nothing.
    slow = "slow: other programs take the CPU (load 9.0 on 2 cores); this training computes 0 % of the time; "
    assert capsys.readouterr().err.startswith(f"7 epochs will take about 8 min\n{slow}")


SLOW = "slow: other programs take the CPU (load 9.1 on 2 cores); this training computes 40 % of the time; "


@pytest.mark.parametrize(
    ("threads", "cpu", "load", "expected"),
    [
        (2, 8.0, 9.1, SLOW + "interrupt it, and continue with --set training.threads=1 too, which waits less"),
        (1, 4.0, 9.1, SLOW + "stop one of them"),
        (2, 13.0, 9.1, ""),  # it gets enough all the same
        (2, 8.0, 2.0, ""),  # nobody else computes: the threads wait for each other
    ],
)
def test_other_programs_are_named_if_they_take_the_cpu(
    threads: int, cpu: float, load: float, expected: str, monkeypatch: pytest.MonkeyPatch
):
    clock = Clock(monkeypatch, load=load, threads=threads)
    pace = Pace(Work(1, 1), on_cpu=True)
    clock.wall, clock.cpu = 10.0, cpu
    assert pace.find_slowdown() == expected


@pytest.mark.usefixtures("shown")
def test_the_warning_comes_once_and_not_for_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    clock = Clock(monkeypatch, load=9.0, threads=2)
    for on_cpu in (False, True):
        pace = Pace(Work(1, 1), on_cpu=on_cpu)
        for _ in range(2):
            clock.wall += 10.0
            pace.end_epoch()
        assert capsys.readouterr().err.count("slow: ") == on_cpu

"""Processes of one training: their places, one line for what ends them, and no survivor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tumortrace import processes
from tumortrace.errors import RunFailedError, TumortraceError
from tumortrace.processes import LOST, Meeting, Place, find_meeting, find_place, launch

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}


def test_a_place_is_read_from_torchruns_variables():
    assert find_place(TORCHRUN) == Place(rank=3, size=4, local_rank=1, local_size=2)
    assert find_place({}) is None
    assert find_place({name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE")}) is None, "of another program"
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert find_place(TORCHRUN | alone) is None


@pytest.mark.parametrize(
    "wrong", [{"RANK": "4"}, {"RANK": "one"}, {"LOCAL_RANK": "2"}, {"LOCAL_WORLD_SIZE": "3"}, {"WORLD_SIZE": "-4"}]
)
def test_a_place_that_cannot_be_is_refused(wrong: dict[str, str]):
    with pytest.raises(TumortraceError, match=r"RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE = .*: no place"):
        find_place(TORCHRUN | wrong)


def test_several_machines_meet_where_the_variables_say():
    assert find_meeting(2, {"MASTER_ADDR": "node0", "NODE_RANK": "1"}) == Meeting("node0", 29500, 1)
    slurm = {"MASTER_ADDR": "node0", "MASTER_PORT": "4711", "SLURM_NODEID": "0"}
    assert find_meeting(2, slurm) == Meeting("node0", 4711, 0)
    alone = find_meeting(1, {"MASTER_ADDR": "node0"})
    assert (alone.address, alone.node) == ("127.0.0.1", 0)
    assert alone.port > 1023


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"MASTER_ADDR": "node0"},
        {"NODE_RANK": "0"},
        {"MASTER_ADDR": "node0", "NODE_RANK": "2"},
        {"MASTER_ADDR": "node0", "NODE_RANK": "first"},
        {"MASTER_ADDR": "node0", "NODE_RANK": "0", "MASTER_PORT": "http"},
    ],
)
def test_machines_that_have_nowhere_to_meet_are_refused(environment: dict[str, str]):
    with pytest.raises(TumortraceError, match="--nodes 2 with MASTER_ADDR="):
        find_meeting(2, environment)


def run(code: str, *, devices: int = 2, nodes: int = 1) -> int:
    return launch(
        [sys.executable, "-c", f"import os, sys, time\nrank = int(os.environ['RANK'])\n{code}"],
        devices=devices,
        nodes=nodes,
    )


def test_each_process_gets_its_place_and_the_first_one_is_heard(capfd):
    told = (
        "' '.join(os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR'))"
    )
    assert run(f"print({told}); print('note', rank, file=sys.stderr)") == 0
    assert capfd.readouterr() == ("0 2 0 2 127.0.0.1\n", "note 0\n")


def test_the_second_machine_counts_on(capfd, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "4711", "NODE_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert (
        run("print(rank, os.environ['WORLD_SIZE'], os.environ['GROUP_RANK'], os.environ['MASTER_PORT'])", nodes=2) == 0
    )
    assert capfd.readouterr().out == "2 4 1 4711\n"


FAIL = "print('noise\\nerror: %s', file=sys.stderr); sys.exit(2)"
LOSE = f"time.sleep(0.2); sys.exit({LOST})"


def test_an_error_of_one_process_ends_all_in_one_line(capfd):
    with pytest.raises(RunFailedError) as caught:
        run(f"if rank == 1: {FAIL % 'b.png: broken'}\n{LOSE}")
    assert str(caught.value) == "process 1 (of 0 to 1): b.png: broken"
    assert capfd.readouterr().err == ""


def test_an_error_that_all_share_is_said_by_the_first_alone(capfd):
    assert run(FAIL % "no such folder") == 2
    assert capfd.readouterr().err == "noise\nerror: no such folder\n"


def test_files_that_cannot_be_read_are_no_failure():
    assert run("sys.exit(1 - rank)") == 1


@POSIX
def test_a_process_that_is_killed_is_named():
    with pytest.raises(
        RunFailedError, match=r"process 1 \(of 0 to 1\): was killed by SIGKILL, perhaps for want of memory"
    ):
        run(f"if rank == 1: os.kill(os.getpid(), 9)\n{LOSE}")
    with pytest.raises(RunFailedError, match=r"process 0 \(of 0 to 1\): was killed by SIGKILL"):
        run(f"if rank == 0: os.kill(os.getpid(), 9)\n{LOSE}")


def test_a_fault_of_the_program_keeps_its_traceback(capfd):
    with pytest.raises(RunFailedError, match="ended with status 1; its own words stand above"):
        run(f"if rank == 1: 1 / 0\n{LOSE}")
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_process_that_notices_nothing_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "PATIENCE_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(RunFailedError, match="process 1"):
        run(f"if rank == 1: {FAIL % 'gone'}\ntime.sleep(60)")
    assert time.monotonic() - started < 30


def test_a_loss_on_another_machine_is_said(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"MASTER_ADDR": "localhost", "NODE_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunFailedError, match="the connection to a process on another machine was lost"):
        run(f"sys.exit({LOST})", nodes=2)


LAUNCHER = """
import signal, sys
from tumortrace.processes import launch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored from birth where the tests run in the background
worker = '''
import os, sys, time
from tumortrace.processes import watch_launcher
watch_launcher()
open(sys.argv[1] + "/" + os.environ["RANK"], "w").write(str(os.getpid()))
time.sleep(60)
'''
try:
    launch([sys.executable, "-c", worker, sys.argv[1]], devices=2)
except KeyboardInterrupt:
    sys.exit(130)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_outlives_the_one_that_started_it(number: signal.Signals, code: int, tmp_path: Path):
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len([path for path in tmp_path.iterdir() if path.stat().st_size]) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    pids = [int((tmp_path / rank).read_text()) for rank in ("0", "1")]
    launcher.send_signal(number)
    assert launcher.wait(timeout=60) == code
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_alive, pids))

"""The processes of one training: their places, and starting them on a machine.

Places are named by torchrun's environment variables, whoever starts the processes. Those that tumortrace starts are
watched: the first one that fails ends all, and so does a signal to the program that started them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tumortrace.errors import RunFailedError, TumortraceError

LOST = 3
"""Exit status of a process that ended only because another one had."""

PATIENCE_SECONDS = 10.0
"""Time in which the others notice by themselves that a process has failed; then they are asked to end."""

TIDYING_SECONDS = 10.0
"""Time that a process has to tidy up after it was asked to end; then it is killed."""

PORT = 29500
"""Port at which machines meet if ``MASTER_PORT`` names none: that of torchrun."""

_LAUNCHED = "TUMORTRACE_LAUNCHED"
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class PeerLostError(RunFailedError):
    """A training that ended because the connection to another of its processes broke."""


@dataclass(frozen=True)
class Place:
    """Place of a process among those of one training.

    Attributes:
        rank: Number of the process, from 0; the first one writes and prints.
        size: Number of processes on all machines.
        local_rank: Number of the process on its machine, from 0.
        local_size: Number of processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


@dataclass(frozen=True)
class Meeting:
    """Where the processes of several machines meet.

    Attributes:
        address: Name or address of the first machine.
        port: Its port.
        node: Number of this machine, from 0.
    """

    address: str
    port: int
    node: int


def find_place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return the place that torchrun or ``launch`` gave to this process; None if it trains alone.

    Args:
        environment: Environment variables.

    Raises:
        TumortraceError: The variables contradict each other.
    """
    if not all(environment.get(name) for name in _VARIABLES):
        return None
    words = [environment[name] for name in _VARIABLES[:4]]
    try:
        rank, size, local_rank, local_size = map(int, words)
    except ValueError:
        rank, size, local_rank, local_size = -1, 0, 0, 1
    if not (0 <= rank < size and 0 <= local_rank < local_size and size % local_size == 0):
        raise TumortraceError(
            f"{', '.join(_VARIABLES[:4])} = {', '.join(words)}: no place in a training; start it with torchrun, or "
            "unset them"
        )
    return Place(rank, size, local_rank, local_size) if size > 1 else None


def is_launched() -> bool:
    """Whether ``launch`` started this process; what a person reads of the end is then printed there."""
    return _LAUNCHED in os.environ


def watch_launcher() -> None:
    """End this process, as a signal would, once the program that launched it has died, however it died."""

    def wait() -> None:
        os.read(0, 1)  # a pipe whose other end the launcher holds; sys.stdin would hold a lock at exit
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def find_meeting(nodes: int, environment: Mapping[str, str] = os.environ) -> Meeting:
    """Return where the processes of a training meet, and the number of this machine.

    Args:
        nodes: Number of machines. One machine meets at a free port of its own.
        environment: Environment variables; several machines need ``MASTER_ADDR`` and ``NODE_RANK`` (or SLURM's
            ``SLURM_NODEID``), and may set ``MASTER_PORT``.

    Raises:
        TumortraceError: One of them is missing or wrong.
    """
    if nodes == 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return Meeting("127.0.0.1", free.getsockname()[1], 0)
    address = environment.get("MASTER_ADDR", "")
    node = environment.get("NODE_RANK") or environment.get("SLURM_NODEID", "")
    port = environment.get("MASTER_PORT") or str(PORT)
    if not address or not node.isdecimal() or not int(node) < nodes or not port.isdecimal():
        raise TumortraceError(
            f"--nodes {nodes} with MASTER_ADDR={address} MASTER_PORT={port} NODE_RANK={node}: set them on each machine "
            f"to the first machine's name, a free port of it and 0 to {nodes - 1}; or use torchrun"
        )
    return Meeting(address, int(port), int(node))


def launch(command: Sequence[str], *, devices: int, nodes: int = 1) -> int:
    """Run a command in several processes of one training, and wait for their end.

    The first process has this one's output. What the others print is kept back, and shown only if one of them fails.

    Args:
        command: Program and arguments, the same for all.
        devices: Number of processes on this machine.
        nodes: Number of machines, each of which launches as many.

    Returns:
        Exit status of the first process on this machine, which has explained it.

    Raises:
        TumortraceError: The machines have nowhere to meet.
        RunFailedError: Another process failed, or one was killed; all have ended.
    """
    meeting = find_meeting(nodes)
    with TemporaryDirectory(prefix="tumortrace-") as folder:
        workers = [
            _start(command, Place(meeting.node * devices + number, devices * nodes, number, devices), meeting, folder)
            for number in range(devices)
        ]
        try:
            _wait(workers)
            return _explain(workers)
        finally:
            _end(workers, patience=0.0)


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process of the training on this machine."""

    process: subprocess.Popen[bytes]
    place: Place
    log: Path

    @property
    def failed(self) -> bool:
        """Whether it has ended without success; the first process ends with 1 where files of the data are broken."""
        code = self.process.poll()
        return code is not None and code not in ((0,) if self.place.local_rank else (0, 1))

    @property
    def cause(self) -> bool:
        """Whether it failed by itself."""
        return self.failed and self.process.returncode != LOST


def _start(command: Sequence[str], place: Place, meeting: Meeting, folder: str) -> _Worker:
    values = (place.rank, place.size, place.local_rank, place.local_size, meeting.address, meeting.port)
    own = {name: str(value) for name, value in zip(_VARIABLES, values, strict=True)}
    own |= {_LAUNCHED: "1", "GROUP_RANK": str(meeting.node)}
    # Of torch's libraries: a single machine meets on its loopback, and their warnings stay out of the terminal.
    usual = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    if place.size == place.local_size:
        usual["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    log = Path(folder) / f"{place.local_rank}.log"
    with log.open("wb") as kept:
        leading = place.local_rank == 0
        process = subprocess.Popen(
            command,
            env={**usual, **os.environ, **own},
            stdin=subprocess.PIPE,
            stdout=None if leading else subprocess.DEVNULL,
            stderr=None if leading else kept,
            start_new_session=True,  # a Ctrl-C comes here alone, and is passed on once
        )
    return _Worker(process, place, log)


def _wait(workers: Sequence[_Worker]) -> None:
    """Wait until all have ended, or until one has failed and the others have had time to notice."""
    while any(worker.process.poll() is None for worker in workers):
        if any(worker.failed for worker in workers):
            _wait_for_all(workers, PATIENCE_SECONDS)
            return
        time.sleep(0.05)


def _wait_for_all(workers: Sequence[_Worker], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(worker.process.poll() is None for worker in workers):
        time.sleep(0.05)


def _end(workers: Sequence[_Worker], *, patience: float) -> None:
    """End the processes that still run: ask, wait, kill."""
    _wait_for_all(workers, patience)
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.terminate()
    _wait_for_all(workers, TIDYING_SECONDS)
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait()
        if worker.process.stdin:
            worker.process.stdin.close()


def _explain(workers: Sequence[_Worker]) -> int:
    """Return the first process's exit status if that explains the end; raise the cause of another process if not."""
    leader = workers[0].process.poll()
    causes = [worker for worker in workers if worker.cause]
    if not any(worker.failed for worker in workers) or (leader is not None and leader > 0 and leader != LOST):
        return leader or 0
    if not causes:
        raise RunFailedError(
            "the connection to a process on another machine was lost; that machine's message says why; start the "
            "training again there and here, with --resume"
        )
    worker = min(causes, key=lambda cause: cause.process.returncode >= 0)  # one that was killed explains the others
    raise RunFailedError(f"process {worker.place.rank} (of 0 to {worker.place.size - 1}): {_last_words(worker)}")


def _last_words(worker: _Worker) -> str:
    """Return why a process failed, in one line; of a fault in the program itself, print the traceback."""
    code = worker.process.returncode
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}, perhaps for want of memory; continue with --resume"
    text = worker.log.read_text(encoding="utf-8", errors="replace")
    errors = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    if errors:
        return errors[-1]
    sys.stderr.write(text)
    return f"ended with status {code}; its own words stand above"

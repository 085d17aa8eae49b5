"""Pieces of work on a Ray cluster, tried again where a worker dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import ray

from tumortrace.cluster.connect import connect
from tumortrace.cluster.site import Site, enter_site
from tumortrace.errors import WORKER_DIED, TumortraceError
from tumortrace.machine import limit_cores
from tumortrace.progress import tell
from tumortrace.wording import counted

RETRIES = 3
"""Times in a row that a piece of work is started again without getting further before it counts as failed."""

QUEUED = 2
"""Pieces of work for each that the cluster has room for: a node that joins finds some to do."""

POLL_SECONDS = 1.0
"""Time after which a wait listens for an interruption."""


class Piece(Protocol):
    """A piece of work; it goes to the workers as it is, with paths and without pixels."""

    @property
    def label(self) -> str:
        """Name of it in messages."""

    def progress(self) -> int:
        """How far it has come, by what it has written; more than before counts as getting further."""


P = TypeVar("P", bound=Piece)

Work = Callable[[P], str | None]
"""What is done with a piece: returns why it failed, empty if it did not, None to be asked again later."""


@dataclass(frozen=True)
class Share:
    """The part of the cluster that one piece of work takes.

    Attributes:
        cores: CPU cores.
        gpus: GPUs.
    """

    cores: int = 1
    gpus: int = 0


@dataclass
class _Try:
    """A piece of work under way: how often it was started without getting further, and how far it was then."""

    piece: Any
    count: int = 1
    progress: int = 0


class TaskPool(Generic[P]):
    """Pieces of work on a cluster, several at a time."""

    def __init__(self, work: Work[P], *, share: Share, site: Site) -> None:
        """Make a pool on the cluster that this process is connected to.

        Args:
            work: Function of a module, which does a piece.
            share: Part of the cluster that one piece takes.
            site: Place where the run was started.
        """
        self._share = share
        self._running: dict[ray.ObjectRef[Any], _Try] = {}
        run: Any = ray.remote(num_cpus=share.cores, num_gpus=share.gpus, max_retries=0)(_work)
        self._start: Callable[[P], ray.ObjectRef[Any]] = lambda piece: run.remote(work, piece, share, site)

    @property
    def at_once(self) -> int:
        """Number of pieces that run at a time; nodes come and go."""
        return _count_slots(self._share)

    @property
    def size(self) -> int:
        """Number of pieces that may be under way at a time, those that wait for room included."""
        return QUEUED * self.at_once

    def start(self, piece: P) -> None:
        """Send a piece of work to the cluster."""
        self._send(_Try(piece, progress=piece.progress()))

    def take(self) -> tuple[P, str | None]:
        """Wait for a piece of work.

        Returns:
            The piece, and what the work returned; why it failed where its worker died too often.

        Raises:
            TumortraceError: As the work, or a worker sees another version or another folder.
            OSError: As the work.
        """
        while True:
            done, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL_SECONDS)
            for reference in done:
                one = self._running.pop(reference)
                try:
                    answer = ray.get(reference)
                except ray.exceptions.RayTaskError:
                    raise  # a bug: it keeps its traceback
                except ray.exceptions.RayError as error:
                    if not self._try_again(one, error):
                        return one.piece, f"{WORKER_DIED} {one.count} times, the last time: {_name(error)}"
                    continue
                if isinstance(answer, Exception):
                    raise answer
                return one.piece, answer

    def _try_again(self, one: _Try, error: Exception) -> bool:
        progress = one.piece.progress()
        count = 1 if progress > one.progress else one.count + 1
        if count > 1 + RETRIES:
            return False
        tell(f"{one.piece.label}: its worker died ({_name(error)}); started again")
        self._send(_Try(one.piece, count, progress))
        return True

    def _send(self, one: _Try) -> None:
        self._running[self._start(one.piece)] = one


@contextmanager
def open_pool(address: str, work: Work[P], *, out: Path, threads: int = 0, gpu: bool = True) -> Iterator[TaskPool[P]]:
    """Connect to a cluster and open a pool there.

    Args:
        address: Address as ``connect`` takes it.
        work: Function that does a piece.
        out: Folder of the results, which all nodes share, locked while pieces are worked on.
        threads: CPU cores of a piece; 0 takes one, or those that go with a GPU.
        gpu: Whether a piece takes a GPU where the cluster has any.

    Raises:
        TumortraceError: As ``connect``, or no node has as many cores.
    """
    with connect(address):
        share = _divide(threads=threads, gpu=gpu)
        slots = _count_slots(share)
        taken = counted(share.cores, "core") + (f" and {counted(share.gpus, 'GPU')}" if share.gpus else "")
        tell(f"Cluster at {address}: {slots} at a time, {taken} each")
        yield TaskPool(work, share=share, site=Site.of(out))


def _divide(*, threads: int, gpu: bool) -> Share:
    """Return what each piece takes: the threads that are asked for, or one core, or the cores that go with a GPU."""
    nodes = _list_nodes()
    gpus = int(sum(node.get("GPU", 0) for node in nodes)) if gpu else 0
    most = int(max(node.get("CPU", 0) for node in nodes))
    if threads > most:
        raise TumortraceError(f"training.threads = {threads}, and no node of the cluster has more than {most} cores")
    cores = int(sum(node.get("CPU", 0) for node in nodes)) // gpus if gpus else 1
    return Share(threads or max(min(cores, most), 1), 1 if gpus else 0)


def _count_slots(share: Share) -> int:
    rooms = [
        min(node.get("CPU", 0) // share.cores, node.get("GPU", 0) // share.gpus if share.gpus else node.get("CPU", 0))
        for node in _list_nodes()
    ]
    return max(int(sum(rooms)), 1)


def _list_nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]] or [{"CPU": 1}]  # type: ignore[no-untyped-call]


def _work(work: Work[P], piece: P, share: Share, site: Site) -> str | Exception | None:
    """Do a piece of work on a worker; an error that a user can fix comes back as it is, not wrapped by Ray."""
    try:
        enter_site(site)
        limit_cores(share.cores)
        return work(piece)
    except (TumortraceError, OSError) as error:
        return error


def _name(error: Exception) -> str:
    return type(error).__name__

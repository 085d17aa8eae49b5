"""The folder and version that each worker of a run must find."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import tumortrace
from tumortrace.errors import TumortraceError
from tumortrace.locks import LOCK


@dataclass(frozen=True)
class Site:
    """Where a run was started.

    Attributes:
        folder: Working directory, in which the paths that the user typed hold.
        out: Folder of the results as it was typed, locked.
        version: Version of tumortrace.
    """

    folder: Path
    out: Path
    version: str

    @classmethod
    def of(cls, out: Path) -> Site:
        """Return the place of this process."""
        return cls(Path.cwd(), out, tumortrace.__version__)


def enter_site(site: Site) -> None:
    """Go to the working directory, on a worker, and check what is there.

    Raises:
        TumortraceError: The worker has another version, or does not see the folder of the results.
    """
    with suppress(OSError):  # a node that lacks the folder can still find absolute paths
        os.chdir(site.folder)
    node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    if tumortrace.__version__ != site.version:
        raise TumortraceError(
            f"node {node} has tumortrace {tumortrace.__version__}, not {site.version}; install the same on all nodes"
        )
    if not (site.out / LOCK).exists():  # who started the run holds it
        raise TumortraceError(
            f"{site.out}: node {node} does not see this folder; give an --out on a file system that all nodes share"
        )


def check_nodes(site: Site) -> None:
    """Check all nodes before any work.

    Raises:
        TumortraceError: As ``enter_site``, for the first node that does not fit.
    """
    check = ray.remote(num_cpus=0, max_retries=3)(_find_fault)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    asked = [
        check.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(site)
        for node in nodes
    ]
    for fault in ray.get(asked):
        if fault:
            raise TumortraceError(fault)


def _find_fault(site: Site) -> str:
    try:
        enter_site(site)
    except TumortraceError as error:
        return str(error)
    return ""

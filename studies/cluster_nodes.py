"""A Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

# Before ray is imported: a cluster of our own, to which nobody else connects, and which reports nothing.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

from ray.cluster_utils import Cluster

STORE_BYTES = 100 * 2**20
"""Object store of a node: paths and records go through it, no pixels."""


@contextmanager
def start_nodes(count: int, *, cores: int = 1) -> Iterator[Cluster]:
    """Start a cluster and end it with the block. All its traffic stays on this machine.

    Args:
        count: Number of nodes, each with processes of its own.
        cores: CPU cores that each node says it has.

    Yields:
        The ``ray.cluster_utils.Cluster``; its ``address`` is what ``--ray`` takes.
    """
    node = {"num_cpus": cores, "object_store_memory": STORE_BYTES, "include_log_monitor": False}
    cluster = Cluster()
    try:
        for number in range(count):
            head = {"include_dashboard": False, "no_monitor": True} if number == 0 else {}
            cluster.add_node(**node, **head)
        yield cluster
    finally:
        cluster.shutdown()

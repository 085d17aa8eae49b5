"""A Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

# Before ray is imported: a cluster of our own, to which nobody else connects, and which reports nothing.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

from ray.cluster_utils import Cluster

__all__ = ["Cluster", "add_node", "start_nodes"]

STORE_BYTES = 100 * 2**20
"""Object store of a node: paths and records go through it, no pixels."""


TRIES = 3
"""Times that a node is started: beside other programs one may not come up within the 30 seconds that Ray gives it."""


@contextmanager
def start_nodes(count: int, *, cores: int = 1) -> Iterator[Cluster]:
    """Start a cluster and end it with the block. All its traffic stays on this machine.

    Args:
        count: Number of nodes, each with processes of its own.
        cores: CPU cores that each node says it has.

    Yields:
        The cluster; its ``address`` is what ``--ray`` takes.
    """
    cluster = Cluster()
    try:
        for _ in range(count):
            add_node(cluster, cores=cores)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Cluster, *, cores: int = 1) -> None:
    """Start one more node; the first one is the head."""
    head = {} if cluster.head_node else {"include_dashboard": False, "no_monitor": True}
    for left in reversed(range(TRIES)):
        try:
            cluster.add_node(num_cpus=cores, object_store_memory=STORE_BYTES, include_log_monitor=False, **head)
        except Exception:
            if not left:
                raise
        else:
            return

"""The connection to a Ray cluster that runs already."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread

import ray

from tumortrace.errors import TumortraceError

TCP_SECONDS = 4.0
"""Time that a host has to accept a connection."""

CLUSTER_SECONDS = 15.0
"""Time that a cluster has to answer once its port is open. Ray itself would wait for 40 seconds."""


@contextmanager
def connect(address: str) -> Iterator[None]:
    """Connect to a cluster for as long as the block lasts. What it still runs for us then ends.

    Args:
        address: ``"auto"`` for the cluster of this machine, or ``HOST:PORT`` of a cluster that this machine is part of.

    Raises:
        TumortraceError: The address is none, nothing answers there, or it is no cluster, or one of another version.
    """
    check_address(address)
    if address != "auto":
        _knock(address)
    try:
        _join(address)
        with suppress(ValueError):  # only the main thread has them; Ray has put its own below Python's, which prints
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Refuse what is no address before any work.

    Raises:
        TumortraceError: It is none, or one of Ray Client; says which command works.
    """
    if address.startswith("ray://"):
        host = address.removeprefix("ray://").partition(":")[0] or "HOST"
        raise TumortraceError(
            f"--ray {address}: Ray Client is not supported; send the command to the cluster instead: "
            f"ray job submit --address http://{host}:8265 -- tumortrace ... --ray auto"
        )
    host, separator, port = address.rpartition(":")
    if address != "auto" and not (separator and host and port.isdecimal() and 0 < int(port) < 2**16):
        raise TumortraceError(f"--ray {address}: no address of a cluster; give auto or HOST:PORT (HOST:6379)")


def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TCP_SECONDS).close()
    except OSError as error:
        raise TumortraceError(
            f"--ray {address}: cannot be reached ({error.strerror or error}); check host and port, and that the "
            "cluster runs: ray status"
        ) from None


def _join(address: str) -> None:
    """Join a cluster; who does not answer is left behind."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    answer = start_aside(lambda: ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR))
    try:
        with _quiet():
            answer.result(CLUSTER_SECONDS)
    except TimeoutError:
        raise TumortraceError(
            f"--ray {address}: no Ray cluster answers there within {CLUSTER_SECONDS:.0f} s; give the port of the "
            "cluster's head (6379 unless it was changed), and run this on a machine of the cluster"
        ) from None
    except ConnectionError:
        raise TumortraceError(
            f"--ray {address}: no Ray cluster runs on this machine; start one with: ray start --head"
        ) from None
    except Exception as error:  # noqa: BLE001 - ray raises RuntimeError, ValueError and classes of its own
        raise TumortraceError(f"--ray {address}: {_explain(error)}") from None


def start_aside(work: Callable[[], object]) -> Future[None]:
    """Start work in a thread of its own, for the main thread to wait for.

    There Ray neither replaces the handlers of signals nor swallows an interruption, and nobody has to wait for it.
    """
    answer: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.set_exception(error)
        else:
            answer.set_result(None)

    Thread(target=run, daemon=True).start()
    return answer


@contextmanager
def _quiet() -> Iterator[None]:
    """Let stderr go nowhere: Ray's own lines, written below Python, would come before the one that counts."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _explain(error: Exception) -> str:
    """Return what ray says as one line, with what to do about a missing token and versions that differ."""
    if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(error):
        return "the cluster asks for its token; copy ~/.ray/auth_token from its head, and set RAY_AUTH_MODE=token"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Version mismatch"):
        versions = [[line for line in lines if line.startswith(f"{name}:")] for name in ("Ray", "Python")]
        differing = "; ".join(", here ".join(each) for each in versions if len(set(each)) > 1)
        return f"the cluster runs other versions ({differing}); install the same on all machines"
    return f"the cluster cannot be used ({lines[0] if lines else type(error).__name__})"

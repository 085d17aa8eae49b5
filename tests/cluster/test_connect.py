"""Addresses of clusters: what is refused, and how soon and in what words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
import ray
from ray._private.utils import check_version_info

from tumortrace.cluster import connect as module
from tumortrace.cluster.connect import check_address, connect
from tumortrace.errors import TumortraceError


def test_usage_reports_are_off_before_ray_is_imported():
    code = (
        "import tumortrace.cluster.tasks; from ray._common.usage import usage_lib as u; print(u.usage_stats_enabled())"
    )
    variables = {name: value for name, value in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("address", ["auto", "head:6379", "127.0.0.1:1", "[::1]:6379"])
def test_addresses(address: str):
    check_address(address)


@pytest.mark.parametrize("address", ["", "head", "head:", ":6379", "head:port", "head:0", "head:65536", "local"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(TumortraceError, match=r"no address of a cluster; give auto or HOST:PORT \(HOST:6379\)$"):
        check_address(address)


def test_ray_client_is_refused_with_the_command_that_works():
    with pytest.raises(TumortraceError, match="ray job submit --address http://head:8265 -- tumortrace") as caught:
        check_address("ray://head:10001")
    assert "\n" not in str(caught.value)


def refusal(address: str) -> str:
    with pytest.raises(TumortraceError) as caught, connect(address):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_address_where_nobody_listens_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert refusal(address).startswith(f"--ray {address}: cannot be reached (Connection refused)")


def test_a_port_that_is_no_clusters_is_named_after_a_bounded_time(monkeypatch: pytest.MonkeyPatch):
    assert module.TCP_SECONDS + module.CLUSTER_SECONDS < 20
    monkeypatch.setattr(module, "CLUSTER_SECONDS", 0.5)
    monkeypatch.setattr(ray, "init", lambda **_: threading.Event().wait(5))  # as long as ray waits, but shorter
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert refusal(address).startswith(f"--ray {address}: no Ray cluster answers there within")


def test_other_versions_are_named(monkeypatch: pytest.MonkeyPatch):
    def init(**_: object) -> None:
        check_version_info({"ray_version": "1.0.0", "python_version": "2.7.18"}, "127.0.0.1")

    monkeypatch.setattr(ray, "init", init)
    line = refusal("auto")
    assert f"Ray: 1.0.0, here Ray: {ray.__version__}; Python: 2.7.18, here Python: " in line
    assert line.endswith("; install the same on all machines")


def test_without_a_cluster_auto_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch):
    def init(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    monkeypatch.setattr(ray, "init", init)
    assert refusal("auto") == "--ray auto: no Ray cluster runs on this machine; start one with: ray start --head"


def test_a_cluster_that_asks_for_a_token_says_where_it_is(monkeypatch: pytest.MonkeyPatch):
    def init(**_: object) -> None:
        raise ray.exceptions.AuthenticationError("RPC error: InvalidAuthToken: it is missing or incorrect. Note: ...")

    monkeypatch.setattr(ray, "init", init)
    assert refusal("auto").endswith("copy ~/.ray/auth_token from its head, and set RAY_AUTH_MODE=token")


def test_whatever_else_ray_says_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def init(**_: object) -> None:
        raise ValueError("\n  cannot do it  \nat all\n")

    monkeypatch.setattr(ray, "init", init)
    assert refusal("auto") == "--ray auto: the cluster cannot be used (cannot do it)"

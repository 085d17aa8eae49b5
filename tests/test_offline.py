"""Every command works where nothing but loopback is there, and none but ``serve`` opens a socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def can_unshare() -> bool:
    """Whether a process may have a network namespace of its own."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="this process may make no network namespace")
def test_every_command_and_the_page_work_without_a_network(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "OTEL_"))}
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-m", "tools.faults.offline", str(tmp_path / "work")],
        cwd=Path(__file__).parents[1],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.endswith(": ok") for line in lines)
    assert lines[-1] == "serve and page: ok"
    assert len(lines) > 12

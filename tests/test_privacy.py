"""Segmenting writes nothing outside the output folder and looks nothing up on the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tumortrace.data.png_writing import write_png
from tumortrace.phantoms.slices import draw_phantom

SECONDS = 20
"""Time that the program goes on after its work: usage reports of ONNX Runtime are sent some seconds after its start."""

PROGRAM = f"""
import subprocess, sys, threading, time

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        print("network:", event, arguments, file=sys.stderr, flush=True)

sys.addaudithook(refuse)
started = time.monotonic()
command = [sys.executable, "-m", "tumortrace", "segment", "scans", "--out", "masks", "--overlay"]
done = subprocess.run(command, check=True)
from tumortrace import Segmenter
assert Segmenter(threads=1).predict("scans/a.png").mask.any()
time.sleep({SECONDS})
"""

NETWORK = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg)\(.*AF_INET")
CREATED = re.compile(r'(?:open(?:at)?|creat|mkdir(?:at)?)\((?:AT_FDCWD, )?"([^"]+)".*= \d+$')


def can_trace() -> bool:
    """Whether the system calls of a child can be watched: strace is installed, and the machine lets it."""
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, with a scan, an empty home and an empty folder for temporary files."""
    write_png(
        tmp_path / "work" / "scans" / "a.png",
        draw_phantom(np.random.default_rng(0), size_hw=(200, 170), kind="bright").pixels,
    )
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()
    return tmp_path


def test_segmenting_stays_within_its_folder_and_off_the_network(folder: Path):
    # It sleeps for most of its time.
    trace = folder / "trace"
    calls = "trace=connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat"
    watch = ["strace", "-f", "-qq", "-s", "300", "-e", calls, "-o", str(trace)] if can_trace() else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*watch, sys.executable, "-c", PROGRAM],
        cwd=folder / "work",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "network:" not in done.stderr
    assert list((folder / "home").rglob("*")) == []
    assert list((folder / "temporary").rglob("*")) == []
    assert sorted(path.name for path in (folder / "work").iterdir()) == ["masks", "scans"]
    if watch:
        lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
        assert len(lines) > 100
        assert [line for line in lines if NETWORK.search(line)] == []
        writing = [line for line in lines if "O_CREAT" in line or "mkdir" in line or "creat(" in line]
        places = {match[1] for line in writing if (match := CREATED.search(line))}
        assert {place for place in places if not place.startswith(("masks", "/dev/"))} == set()

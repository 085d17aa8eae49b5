"""Shards whose process is killed by SIGKILL at random moments: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.inference.batch.test_shards import SIZE_HW, draw, read_all

from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.inference.model import Model

WORK = """
import os, random, signal, sys, time
from pathlib import Path
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.segmenter import Segmenter
from tumortrace.inference.batch.shards import Shard, segment_shard

model, scans, *outs = sys.argv[1:]
inputs, rng = find_inputs([scans]), random.Random(7)

def segment(shard, out):
    segmenter = Segmenter(model, threads=1, gate=False)
    if shard is None:
        segment_all(segmenter, inputs, out=Path(out))
    else:
        segment_shard(segmenter, inputs, shard, out=Path(out))

def kill(shard, out, seconds):
    child = os.fork()
    if not child:
        segment(shard, out)
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return 0
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1

segment(None, outs[0])  # here, so that the children have all modules
started, kills = time.monotonic(), 0
assert not kill(None, outs[0], 60)
whole = time.monotonic() - started
for out in outs[1:]:
    for number in range(100):
        killed = kill(Shard(1 + number % 2, 2), out, rng.uniform(0, whole))
        kills += killed
        if not killed and Path(out, "results.json").exists():
            break
print(kills)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_killed_at_random_moments_the_shards_give_the_single_run(
    tmp_path: Path, open_hand_model: Callable[..., Model], write_series: Callable[..., list[Any]]
):
    model = open_hand_model(Recipe(SIZE_HW, threshold=0.55))
    for number in range(12):
        write_png(tmp_path / f"scans/{number}.png", draw(number))
    (tmp_path / "scans/broken.png").write_bytes(b"no picture")
    write_series(tmp_path / "scans/series", np.stack([draw(1), draw(1), draw(2)]).astype(np.uint16))
    outs = [tmp_path / name for name in ("single", "first", "second", "third")]
    words = [sys.executable, "-c", WORK, str(model.path), str(tmp_path / "scans"), *map(str, outs)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) >= 3
    for out in outs[1:]:
        for lock in out.glob(".tumortrace-*.lock"):  # of a killed shard; the next run removes it
            lock.unlink()
        assert read_all(out) == read_all(outs[0])
        assert not list(out.rglob("*.partial"))

"""Signatures and pairs from other processes are those of this one, also where such a process ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies import apart, find
from tumortrace.copies.apart import Helpers, open_helpers
from tumortrace.copies.compare import CopyPair
from tumortrace.copies.find import score_pairs
from tumortrace.copies.signatures import Signatures, measure_signature, stack_signatures

DrawHead = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Helpers:
    """Two processes, which ``score_pairs`` uses for the fewest pairs."""
    made = Helpers(2)
    monkeypatch.setattr(apart, "Helpers", lambda _count: made)
    monkeypatch.setattr(apart, "usable_cores", lambda: 2)
    return made


def use_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "FEWEST_PAIRS", 1)


def heads_and_copies(draw_head: DrawHead) -> Signatures:
    """Six heads, and behind them a mirrored copy, a negative and a crop, each of another head."""
    heads = [draw_head(seed) for seed in range(6)]
    copies = [heads[1][:, ::-1].copy(), 255 - heads[3], heads[4][:130].copy()]
    return stack_signatures(map(measure_signature, [*heads, *copies]))


def assert_same(first: list[CopyPair], second: list[CopyPair]) -> None:
    assert [(pair.first, pair.second, pair.similarity) for pair in first] == [
        (pair.first, pair.second, pair.similarity) for pair in second
    ]
    assert all(np.array_equal(one.to_second, other.to_second) for one, other in zip(first, second, strict=True))


def test_other_processes_find_the_same_pairs(draw_head, helpers, monkeypatch):
    signatures = heads_and_copies(draw_head)
    here, across_here = score_pairs(signatures), score_pairs(signatures, replace(signatures))
    assert {(1, 6), (3, 7), (4, 8)} <= {(pair.first, pair.second) for pair in here if pair.similarity >= 0.75}
    use_processes(monkeypatch)
    monkeypatch.setattr(find, "_BATCH", 5)
    assert_same(score_pairs(signatures), here)
    assert not helpers._usable  # they have been used, and closed
    monkeypatch.setattr(apart, "Helpers", Helpers)
    assert_same(score_pairs(signatures, replace(signatures)), across_here)


def test_a_signature_from_another_process_is_the_same(draw_head, helpers):
    head = draw_head(1).astype(np.uint16) * 200
    with open_helpers(worth=True) as pool:
        assert pool is helpers
        signature, expected = pool.measure(head), measure_signature(head)
        (child,) = [child for child in pool._free.queue if child is not None]
    assert np.array_equal(signature.windows, expected.windows)
    assert np.array_equal(signature.boxes_xywh, expected.boxes_xywh)
    assert np.array_equal(signature.cut_ltrb, expected.cut_ltrb)
    assert child._process.poll() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_what_a_killed_process_leaves_is_done_here(draw_head, helpers):
    head = draw_head(1)
    with open_helpers(worth=True) as pool:
        pool.measure(head)
        (child,) = [child for child in pool._free.queue if child is not None]
        os.kill(child._process.pid, signal.SIGKILL)
        child._process.wait()
        assert np.array_equal(pool.measure(head).windows, measure_signature(head).windows)
        assert not pool._usable
        assert np.array_equal(pool.measure(head).windows, measure_signature(head).windows)
    assert pool is helpers


def test_little_work_needs_no_processes(draw_head):
    with open_helpers(worth=False) as pool:
        pool.measure(draw_head(1))
        assert pool._free.qsize() == 0

"""Slices measured and compared in processes of their own.

Both are thousands of short calls. In threads Python's lock lets only one core work at a time on such calls.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.children import Child, Head, Message, serve
from tumortrace.copies.candidates import Candidate
from tumortrace.copies.compare import CopyPair, Views, compare_pair
from tumortrace.copies.signatures import Signature, measure_signature
from tumortrace.machine import usable_cores

FEWEST_SLICES, FEWEST_PAIRS = 1000, 4000
"""Slices to measure and pairs to compare, a few seconds of work, from which processes are worth their start."""

_FIRST, _SECOND = 1, 2  # columns of a table of candidates


class Helpers:
    """Processes that are started when they are first needed. Several threads may ask them at a time.

    Attributes:
        threads: Number of threads that keep all busy.
    """

    def __init__(self, count: int) -> None:
        """Prepare the processes.

        Args:
            count: Number of processes; 0 does all work in this one.
        """
        self.threads = 2 * count if count else usable_cores()
        self._free: queue.LifoQueue[Child | None] = queue.LifoQueue()
        self._usable = count > 0
        for _ in range(count):
            self._free.put(None)

    def measure(self, pixels: NDArray[Any]) -> Signature:
        """Measure the signature of a slice, as ``measure_signature`` does."""
        answer = self._ask({"task": "measure"}, pixels)
        return Signature(*answer[1]) if answer else measure_signature(pixels)

    def compare(self, batch: Sequence[list[Candidate]], views: Views, others: Views) -> list[CopyPair | None]:
        """Compare several pairs, each as ``compare_pair`` does."""
        if not self._usable:
            return [compare_pair(hypotheses, views, others) for hypotheses in batch]
        table, counts = _tabulate(batch)
        if views is others:
            table[:, _FIRST : _SECOND + 1], indices = _number(table[:, _FIRST : _SECOND + 1])
            chosen, places = [views.select(indices)], (indices, indices)
        else:
            table[:, _FIRST], firsts = _number(table[:, _FIRST])
            table[:, _SECOND], seconds = _number(table[:, _SECOND])
            chosen, places = [views.select(firsts), others.select(seconds)], (firsts, seconds)
        arrays = [array for each in chosen for array in (each.windows, each.small, each.boxes_xywh)]
        answer = self._ask({"task": "compare"}, table, counts, *arrays)
        if answer is None:
            return [compare_pair(hypotheses, views, others) for hypotheses in batch]
        return _read_pairs(answer[1], *places)

    def close(self) -> None:
        """End all processes."""
        self._usable = False
        with suppress(queue.Empty):
            while True:
                child = self._free.get_nowait()
                if child is not None:
                    child.close()

    def _ask(self, head: Head, *arrays: NDArray[Any]) -> Message | None:
        """Ask the next free process; None if there is none, or if it ended: then this one does its work."""
        if not self._usable:
            return None
        child = self._free.get()
        try:
            if not self._usable:  # since another thread found its process ended
                return None
            child = child or Child(__spec__.name)
            return child.ask(head, *arrays)
        except BaseException as error:
            self._usable = False
            if child is not None:
                child.close()
            child = None
            if isinstance(error, OSError):
                return None
            raise
        finally:
            self._free.put(child)


@contextmanager
def open_helpers(*, worth: bool) -> Iterator[Helpers]:
    """Yield helpers, whose processes end with the block.

    Args:
        worth: Whether there is enough work for processes.
    """
    cores = usable_cores()
    helpers = Helpers(cores if worth and cores > 1 else 0)
    try:
        yield helpers
    finally:
        helpers.close()


def _tabulate(batch: Sequence[list[Candidate]]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return a row for each candidate, and how many rows each pair has."""
    rows = [
        (each.coarse, each.first, each.second, each.window, each.orientation, *each.cut, each.negative)
        for hypotheses in batch
        for each in hypotheses
    ]
    return np.array(rows, dtype=np.float64), np.array([len(hypotheses) for hypotheses in batch])


def _read_table(table: NDArray[np.float64], counts: NDArray[np.intp]) -> Iterator[list[Candidate]]:
    rows = iter(table.tolist())
    for count in counts.tolist():
        pair = []
        for _, (coarse, *whole, left, top, right, bottom, negative) in zip(range(count), rows, strict=False):
            first, second, window, orientation = map(int, whole)
            cut = (left, top, right, bottom)
            pair.append(Candidate(coarse, first, second, window, orientation, cut, negative=bool(negative)))
        yield pair


def _number(indices: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return each index's place among those that occur, and these, in order."""
    occurring, places = np.unique(indices, return_inverse=True)
    return places.reshape(indices.shape), occurring.astype(np.intp)


def _read_pairs(
    arrays: Sequence[NDArray[Any]], firsts: NDArray[np.intp], seconds: NDArray[np.intp]
) -> list[CopyPair | None]:
    """Read what ``_answer`` says of a batch, in which slices have the numbers of their places."""
    pairs: list[CopyPair | None] = []
    for number, similarity, to_second in zip(*arrays, strict=True):
        first, second = number.tolist()
        known = first >= 0
        pairs.append(
            CopyPair(int(firsts[first]), int(seconds[second]), float(similarity), to_second) if known else None
        )
    return pairs


def _answer(head: Head, arrays: Sequence[NDArray[Any]]) -> Message:
    if head["task"] == "measure":
        signature = measure_signature(arrays[0])
        return {}, [signature.windows, signature.boxes_xywh, signature.cut_ltrb]
    table, counts, *windows = arrays
    views = Views(*windows[:3])
    others = Views(*windows[3:]) if windows[3:] else views
    pairs = [compare_pair(hypotheses, views, others) for hypotheses in _read_table(table, counts)]
    numbers = [(pair.first, pair.second) if pair else (-1, -1) for pair in pairs]
    maps = [pair.to_second if pair else np.eye(3) for pair in pairs]
    return {}, [np.array(numbers), np.array([pair.similarity if pair else 0.0 for pair in pairs]), np.array(maps)]


if __name__ == "__main__":
    cv2.setNumThreads(1)  # there are as many of these processes as cores
    serve(_answer)

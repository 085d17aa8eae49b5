"""The study of thresholds: scores of a slice by hand, and the table."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console
from studies.thresholds import THRESHOLDS, Curve, score, tabulate

PROBABILITY = np.array([[0.9, 0.42], [0.32, 0.1]], dtype=np.float32)


def test_scores_of_a_slice_with_tumour():
    truth = np.array([[True, True], [False, False]])
    by_threshold = dict(zip(THRESHOLDS, score(PROBABILITY, truth), strict=True))
    assert by_threshold[0.3] == 2 * 2 / (3 + 2)
    assert by_threshold[0.4] == 1
    assert by_threshold[0.5] == 2 * 1 / (1 + 2)


def test_a_tumour_free_slice_is_marked_or_not():
    marked = score(PROBABILITY - 0.2, np.zeros((2, 2), dtype=np.bool_))
    assert dict(zip(THRESHOLDS, marked, strict=True)) == {each: float(each < 0.71) for each in THRESHOLDS}


def test_the_table_has_a_row_for_each_threshold_and_leaves_out_what_there_is_not():
    ill = np.array([np.linspace(0.0, 0.9, len(THRESHOLDS)), np.full(len(THRESHOLDS), 0.7)])
    curve = Curve(ill, np.array([False, False]), np.zeros((0, len(THRESHOLDS)), dtype=np.bool_))
    console = Console(width=100, file=io.StringIO())
    console.print(tabulate("lgg", curve))
    printed = console.file.getvalue()
    assert "lgg: 2 with tumour, 0 gliomas, 0 tumour-free" in printed
    first = next(line for line in printed.splitlines() if "0.20" in line)
    assert [cell.strip() for cell in first.split("│")[1:-1]] == ["0.20", "0.350", "", "50.0%", ""]

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tumortrace.report.tables import table_of_scores
from tumortrace.trust.evaluation import CaseScore, Evaluation
from tumortrace.trust.metrics import PixelCounts

# Dice: 4/6, 6/7 and 0; precision: 2/3, 1 and undefined; recall: 2/3, 3/4 and 0; IoU: 2/4, 3/4 and 0.
COUNTS = [PixelCounts(2, 1, 1, 5), PixelCounts(3, 0, 1, 5), PixelCounts(0, 0, 4, 5)]
# The nearest mask's Dice: 2/3, 1 and undefined.
NEAREST = [PixelCounts(1, 0, 1, 7), PixelCounts(4, 0, 0, 5), PixelCounts(0, 0, 0, 9)]


def render(evaluation: Evaluation) -> list[str]:
    console = Console(file=io.StringIO(), width=80, markup=False)
    console.print(table_of_scores(evaluation))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def lines() -> list[str]:
    scores = [
        CaseScore(
            f"y{index}",
            "test",
            "0" * 64,
            counts,
            confidence=0.5,
            baselines={"all_background": PixelCounts(0, 0, 4, 5), "nearest_training_mask": nearest},
        )
        for index, (counts, nearest) in enumerate(zip(COUNTS, NEAREST, strict=True))
    ]
    return render(Evaluation(tuple(scores), (), {"name": "first", "sha256": "0"}, threshold=0.25))


def cells_of(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def row_of(lines: list[str], name: str) -> list[str]:
    (row,) = (cells for cells in map(cells_of, lines) if cells[0] == name)
    return row


def test_title_says_what_was_scored(lines: list[str]):
    assert lines[0].strip() == "first on 3 images, threshold 0.25"


def test_columns(lines: list[str]):
    assert cells_of(lines[2]) == ["metric", "mean", "median", "min", "max", "5 %", "95 %", "undef."]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("precision", ["0.833", "0.833", "0.667", "1.000", "0.683", "0.983", "1"]),
        ("recall", ["0.472", "0.667", "0.000", "0.750", "0.067", "0.742", "0"]),
        ("Dice", ["0.508", "0.667", "0.000", "0.857", "0.067", "0.838", "0"]),
        ("IoU", ["0.417", "0.500", "0.000", "0.750", "0.050", "0.725", "0"]),
        ("all background", ["0.000"] * 6 + ["0"]),
        ("nearest training mask", ["0.833", "0.833", "0.667", "1.000", "0.683", "0.983", "1"]),
    ],
)
def test_numbers_by_hand(lines: list[str], name: str, cells: list[str]):
    assert row_of(lines, name) == [name, *cells]


def test_baselines_stand_below_the_model_under_a_heading(lines: list[str]):
    order = [
        next(index for index, line in enumerate(lines) if text in line)
        for text in ("IoU", "Dice without a network:", "all background")
    ]
    assert order == sorted(order)


def test_brackets_in_a_model_s_name_are_no_markup():
    scores = (CaseScore("y0", "", "0" * 64, COUNTS[0], confidence=0.5, baselines={}),)
    lines = render(Evaluation(scores, (), {"name": "[bold]run[/bold]", "sha256": "0"}, threshold=0.5))
    assert lines[0].strip() == "[bold]run[/bold] on 1 images, threshold 0.5"

from __future__ import annotations

import io
import math
from dataclasses import replace

from rich.console import Console

from tumortrace.evaluation.compare import Comparison, Difference, SeedSpread
from tumortrace.reporting.paired_table import alarm_lines, comparison_tables, miss_lines, power_lines, training_lines

DICE = Difference("dice", "first", "second", 40, 9, 1, 0, 0, 0.0312, (0.004, 0.061), 0.0004, 0.02, 30, 8, 0.041)
NOTHING = Difference(
    "hd95", "first", "second", 0, 0, 41, 0, 0, math.nan, (math.nan, math.nan), math.nan, math.nan, 0, 0, math.nan
)


def render(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=80, markup=False)
    for table in comparison_tables(comparison):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_models_differences_and_seeds():
    spread = SeedSpread(("first", "second"), (0, 1), 0.705, 0.0212)
    left_out = tuple((f"y{i}", "not in second") for i in range(7))
    names = ("first", "[b]second[/b]")
    text = render(Comparison(names, 41, left_out, (0.72, math.nan), (DICE, NOTHING), (spread,), (0, 0), (0, 0)))
    assert "41 common images; 7 left out" in text
    assert "[b]second[/b]" in text
    assert "left out: y4" in text
    assert "left out: y5" not in text
    assert "and 2 more" in text
    (dice,) = (line.split() for line in text.splitlines() if line.strip().startswith("Dice"))
    assert dice == ["Dice", "+0.031", "+0.004", "to", "+0.061", "<", "0.001", "0.020", "40", "30/8"]
    (nothing,) = (line.split() for line in text.splitlines() if line.strip().startswith("HD95"))
    assert nothing == ["HD95", "-", "-", "-", "-", "0", "0/0"]
    assert "0.021" in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_seeds_there_is_no_table_of_them():
    assert len(comparison_tables(Comparison(("a", "b"), 1, (), (0.5, 0.5), (DICE,), (), (0, 0), (0, 0)))) == 2


def test_the_smallest_difference_that_would_be_seen():
    (line,) = power_lines(Comparison(("first", "second"), 41, (), (0.72, 0.69), (DICE, NOTHING), (), (0, 0), (0, 0)))
    assert line.startswith("first - second: with these 9 groups, a true difference in mean Dice below 0.041 is missed")
    assert line.endswith(" The groups are few: intervals and this difference are mostly too small; rely on p.")
    many = replace(DICE, groups=10)
    (line,) = power_lines(Comparison(("first", "second"), 41, (), (0.72, 0.69), (many, NOTHING), (), (0, 0), (0, 0)))
    assert line.endswith("one time in five.")


def test_false_alarms_that_no_difference_counts_are_named():
    alarmed = replace(DICE, only_first=2)
    (line,) = alarm_lines(Comparison(("first", "second"), 42, (), (0.4, 0.7), (alarmed, NOTHING), (), (0, 0), (0, 0)))
    assert "tumour-free images that only one of them marks (first 2, second 0) have a Dice of 0 in its mean" in line
    assert not alarm_lines(Comparison(("first", "second"), 41, (), (0.4, 0.4), (DICE, NOTHING), (), (0, 0), (0, 0)))


def test_few_groups_show_no_difference():
    # Of the 32 ways to flip five signs two are as extreme as all: p is 0.0625 at least.
    five, six = (replace(DICE, groups=groups) for groups in (5, 6))
    (line,) = power_lines(Comparison(("first", "second"), 41, (), (0.72, 0.69), (five,), (), (0, 0), (0, 0)))
    assert line == "first - second: no difference can be shown with 5 groups: p is never below 0.062."
    (line,) = power_lines(Comparison(("first", "second"), 41, (), (0.72, 0.69), (six,), (), (0, 0), (0, 0)))
    assert "below 0.041 is missed" in line


def test_tumours_that_only_one_model_misses_are_named():
    missed = replace(NOTHING, only_first=3, only_second=1)  # the first alone has a distance where the second is empty
    (line,) = miss_lines(Comparison(("first", "second"), 42, (), (0.4, 0.7), (DICE, missed), (), (0, 0), (0, 0)))
    assert "that only one of them leaves empty (first 1, second 3) have no HD95" in line
    assert not miss_lines(Comparison(("first", "second"), 42, (), (0.4, 0.7), (DICE, NOTHING), (), (0, 0), (0, 0)))


def test_a_model_that_was_trained_on_the_images_is_named():
    names, trained_on = ("a", "b", "c", "d"), (35, 0, None, None)
    comparison = Comparison(names, 35, (), (0.9, 0.5, 0.4, 0.8), (), (), trained_on, (35, 0, 0, 33))
    first, last, some = training_lines(comparison)
    assert first.startswith("a: 35 of these 35 images are training slices of the model, copies")
    assert first.endswith("its score is likely too high.")
    assert some.startswith("d: at least 33 of these 35 images are training slices of the model, copies")
    assert last == "c: it is unknown which of these images the model was trained on."
    (single,) = training_lines(replace(comparison, trained_on=(1, 0, 0, 0), known_trained_on=(1, 0, 0, 0)))
    assert single.startswith("a: 1 of these 35 images is a training slice of the model, a copy of one, or a slice of a")
